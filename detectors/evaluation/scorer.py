"""What is evaluated: anything that scores an event and then learns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Event = Mapping[str, Any]


class Scorer(Protocol):
    """One detector over all accounts, fed one event at a time, in the order of time."""

    def score(self, event: Event) -> float:
        """Return how much `event` is worth an alert; more is more. Changes nothing that a later score depends on."""

    def learn(self, event: Event) -> None:
        """Take `event` in. Called after its score was asked for."""


class LabelledScorer(Scorer, Protocol):
    """A scorer that also learns from what becomes known later."""

    def feedback(self, event: Event, is_bad: bool) -> None:
        """Learn that an earlier event was bad, or good; `event` carries when that was known, as `now`."""
