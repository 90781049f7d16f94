"""The series detector as an outside scorer asks it: event by event, many series interleaved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.online.series_watch import SeriesWatch


class SeriesAdapter:
    """Score plain events `{"account", "t", "value"}` with the state and the rule that `monitored_series` keeps.

    The score is 0.0 but for the reading that would ring, and then in decades: comparable over series and units.

    >>> adapter = SeriesAdapter()
    >>> for hour in range(200):
    ...     adapter.learn({"account": "a", "t": 3600.0 * hour, "value": float(hour % 5)})
    >>> adapter.score({"account": "a", "t": 720_000.0, "value": 3.0}), adapter.score({"account": "b", "t": 0.0, "value": 9.0})
    (0.0, 0.0)
    """

    def __init__(self) -> None:
        self._watches: dict[Any, SeriesWatch] = {}

    def score(self, event: Mapping[str, Any]) -> float:
        """Return the score of a reading; a series never seen scores 0.0."""
        watch = self._watches.get(event["account"])
        return watch.score(event["t"], event["value"]) if watch is not None else 0.0

    def learn(self, event: Mapping[str, Any]) -> None:
        """Take in a reading."""
        watch = self._watches.get(event["account"])
        if watch is None:
            watch = self._watches[event["account"]] = SeriesWatch()
        watch.learn(event["t"], event["value"])
