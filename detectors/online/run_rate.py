"""How much will be used in the days to come, and how likely that is more than a limit."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, pi, sqrt
from typing import Any

from river.time_series.base import Forecaster

from .fading_mean import FadingMean

_DAYS = 7
_WEEKS_BELIEVED = 15  # after which a weekday's own share moves at a steady rate
_SHRINK_WEEKS = 4  # weeks of an even week that a weekday's own share is mixed with
_UNTRUSTED_DAYS = 7  # days that the starting spread weighs
_REVERT = 0.2  # a level that left its long mean is expected to come back by a fifth
_MOST_REVERTED = 0.7
_CORRELATED = 1.3  # days that follow each other are alike: their errors cancel less than independent ones


class RunRate(Forecaster):
    """Daily usage: a recent level, drawn a little to its long mean, times the weekday's share; with its spread.

    The constants were measured on homes and on unlike series (shared notes, "UsageLimit2"); all are shares or days,
    so they hold for any meter.

    Args:
        recent: days that the level remembers.
        long: days that the long mean remembers.
        spread: relative spread of a single day that is believed before the account has shown its own.
        drift: relative error of the level itself over the days to come, for a grown account.

    Attributes:
        n: days learned.

    >>> rate = RunRate()
    >>> for day in range(28):
    ...     rate.learn_one(2.0, {"weekday": day % 7})
    >>> round(rate.total([0, 1, 2])[0], 3)
    6.0
    >>> round(rate.chance(5.0, [0, 1, 2]), 2), round(rate.chance(10.0, [0, 1, 2]), 2)
    (0.77, 0.0)
    """

    def __init__(self, recent: int = 6, long: int = 365, spread: float = 0.35, drift: float = 0.14) -> None:
        self.recent = recent
        self.long = long
        self.spread = spread
        self.drift = drift
        self._level = FadingMean(recent)
        self._long = FadingMean(long)
        self._relative_error = spread
        self._own_shares = [1.0] * _DAYS
        self._shares = [1.0] * _DAYS

    @property
    def n(self) -> int:
        """Days learned."""
        return int(self._level.n)

    def learn_one(self, y: float, x: dict[str, Any] | None = None) -> None:
        """Learn a whole day's usage `y`; `x["weekday"]` is 0 on Mondays."""
        weekday = int(x.get("weekday", 0)) % _DAYS if x else 0
        level = self._level.get()
        if level > 0:
            error = min(abs(y - level * self._shares[weekday]) / level, 2.0) * 1.25  # mean absolute to standard
            self._relative_error += max(1 / (self.n + _UNTRUSTED_DAYS), 0.02) * (error - self._relative_error)
            weeks = min(self.n // _DAYS, _WEEKS_BELIEVED) + 1
            share = self._own_shares[weekday]
            self._own_shares[weekday] = share + (min(y / level, 3.0) - share) / (weeks + 3)
            trusted = weeks / (weeks + _SHRINK_WEEKS)
            self._shares[weekday] = trusted * self._own_shares[weekday] + 1 - trusted
        even = y / max(self._shares[weekday], 0.3)
        self._level.update(even)
        self._long.update(even)

    def forecast(self, horizon: int, xs: list[dict[str, Any]] | None = None) -> list[float]:
        """Return the usage expected on each of the next `horizon` days; `xs` may tell their weekdays."""
        level = self._expected_level()
        days = [x.get("weekday") for x in xs] if xs else [None] * horizon
        return [level * (1.0 if day is None else self._shares[int(day) % _DAYS]) for day in days]

    def total(self, weekdays: Sequence[int]) -> tuple[float, float]:
        """Return the usage expected over these days together, and its standard deviation."""
        if not weekdays or not self.n:
            return 0.0, 0.0
        mean = self._expected_level() * sum(self._shares[day] for day in weekdays)
        drift = self.drift * (1 + 3 / sqrt(self.n))
        return mean, mean * sqrt(_CORRELATED * self._relative_error**2 / len(weekdays) + drift * drift)

    def chance(self, room: float, weekdays: Sequence[int]) -> float:
        """Return how likely it is that these days together use `room` or more, 0..1."""
        mean, deviation = self.total(weekdays)
        if deviation <= 0:
            return float(mean >= room)
        return 0.5 * erfc((room - mean) / deviation / sqrt(2))

    def excess(self, room: float, weekdays: Sequence[int]) -> float:
        """Return how much more than `room` these days are expected to use, the chance that it is nothing included."""
        mean, deviation = self.total(weekdays)
        if deviation <= 0:
            return max(mean - room, 0.0)
        z = (mean - room) / deviation
        return deviation * (z * 0.5 * erfc(-z / sqrt(2)) + exp(-z * z / 2) / sqrt(2 * pi))

    def _expected_level(self) -> float:
        level = self._level.get()
        if level <= 0:
            return 0.0
        away = self._long.get() / level - 1
        return level * (1 + _REVERT * max(-_MOST_REVERTED, min(_MOST_REVERTED, away)))
