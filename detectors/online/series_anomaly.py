"""Anomalies of one long series, as a River model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import nan
from typing import Any

from river import base

from .series_watch import GATE, LEAST_GATE, SeriesWatch


class SeriesAnomaly(base.AnomalyDetector):
    """Tell when one long series does what it never did: a move, a new level, an odd hour, odd values.

    For series whose kind is not known: load, temperatures, demand, prices. Five errors are compared with the series' own
    past ones, so there is no unit and nothing to tune: the last 200 readings against all before, the last 8 against the last
    3,000, the last 12 against the hour of the day and of the week, and how rare the values of the last 24 are. See
    `SeriesHabit` and `SeriesWatch` for the formulas; silent for the first 60 readings. About 1.9 KB.

    `score_one` scores every reading, as `anomaly.ThresholdFilter` and `QuantileFilter` want it. `alarm_one` is made for a
    person who is called each time: it is 0.0 but for the one reading that should ring.

    Args:
        time: the feature that holds the time, in seconds since 1970.
        value: the feature that is watched.
        gate: decades of oddness from which on it may ring, at least 0.5.
        direction: 1 to see only what is above the usual, -1 below it, 0 both.

    Attributes:
        irregularities: readings that were ignored, and why: `missing`, `not_a_number`, `absurd_value` (1e30 and beyond) and
            `not_a_time`; `time_went_back` is counted and learned.

    Raises:
        ValueError: the gate or the direction is none.

    >>> from random import Random
    >>> random, model = Random(7), SeriesAnomaly()
    >>> rang = []
    >>> for hour in range(1000):
    ...     x = {"t": 3600.0 * hour, "value": random.gauss(50, 1) + 20 * (hour >= 900)}
    ...     rang += [hour] if model.alarm_one(x) > 2 else []
    ...     model.learn_one(x)
    >>> rang
    [900]
    """

    def __init__(self, time: str = "t", value: str = "value", gate: float = GATE, direction: int = 0) -> None:
        if not LEAST_GATE <= gate < float("inf") or direction not in {-1, 0, 1}:
            raise ValueError(
                f"gate={gate}, direction={direction}; expected a gate of at least {LEAST_GATE} decades and a direction of "
                "-1 (below the usual), 0 (both) or 1 (above)"
            )
        self.time = time
        self.value = value
        self.gate = gate
        self.direction = direction
        self.irregularities: Counter[str] = Counter()
        self._watch = SeriesWatch(gate, direction)

    def score_one(self, x: Mapping[Any, Any]) -> float:
        """Return how odd this reading is, in decades: 3.0 is one in a thousand."""
        return self._watch.oddness(*self._reading(x))

    def alarm_one(self, x: Mapping[Any, Any]) -> float:
        """Return the oddness over the series' own bar, in decades, if this reading should ring; else 0.0."""
        return self._watch.score(*self._reading(x))

    def learn_one(self, x: Mapping[Any, Any]) -> None:
        """Take in a reading."""
        if x.get(self.time) is None or x.get(self.value) is None:
            self.irregularities["missing"] += 1
            return
        t, value = self._reading(x)
        what = self._watch.irregularity(t, value)
        if what:
            self.irregularities[what] += 1
        self._watch.learn(t, value)

    def _reading(self, x: Mapping[Any, Any]) -> tuple[float, float]:
        t, value = x.get(self.time), x.get(self.value)
        return nan if t is None else float(t), nan if value is None else float(value)

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"time": "Time", "value": "Amount"}
