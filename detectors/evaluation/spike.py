"""The usage-spike detector's core as outside scorers ask it: a mapping in, a score out."""

from __future__ import annotations

from typing import Any

from detectors.online.usage_spikes import UsageSpikes


class SpikeAdapter:
    """Score readings `{"account", "t" (seconds since 1970), "value"}` in the order of time, all accounts interleaved.

    It drives the habits and cohorts that the production detector drives; the score is in decades, before the line is drawn.
    """

    def __init__(self) -> None:
        self._spikes = UsageSpikes()

    def score(self, event: dict[Any, Any]) -> float:
        """Return how odd the account's usage is with this reading; higher is odder, 0 is usual."""
        return self._spikes.score_one(event)

    def learn(self, event: dict[Any, Any]) -> None:
        """Take in the reading that was scored."""
        self._spikes.learn_one(event)
