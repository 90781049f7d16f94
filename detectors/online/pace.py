"""How much will be used in the days that are left?"""

from __future__ import annotations

from math import erfc, sqrt

from river import base

_FADING = 1 / 7
_CORRELATED = 1.3  # days that follow each other are alike: their errors cancel less than independent ones
_DRIFT = 0.14  # relative error of the level itself over a cycle, of an account that is known well
_DRIFT_WHEN_YOUNG = 3.0  # times that over the root of the days seen, on top


class Pace(base.Estimator):
    """Usage a day, as an exponentially weighted mean, and how sure it is.

    The sum over the days left has two errors: the days' own scatter, which averages out, and that of the level, which does
    not: sd = mean * sqrt(1.3 cv^2 / days + u^2), u = .14 (1 + 3 / sqrt n); constants from daily forecasts of real homes.
    Mean and variance fade as River's `EWMean` and `EWVar` do; they are plain numbers since there is a pace for every account.

    Args:
        fading_factor: weight of the newest day.

    Attributes:
        days: how many were learned.

    >>> pace = Pace()
    >>> for _ in range(20):
    ...     pace.learn_one(1.0)
    >>> pace.remaining(10)[0], pace.chance_above(12.0, 10) < 0.3, pace.chance_above(5.0, 10) > 0.9
    (10.0, True, True)
    """

    __slots__ = ("_mean", "_square", "days", "fading_factor")

    def __init__(self, fading_factor: float = _FADING) -> None:
        self.fading_factor = fading_factor
        self.days = 0
        self._mean = 0.0
        self._square = 0.0

    def learn_one(self, y: float) -> None:
        """Take in a day's usage."""
        weight = self.fading_factor if self.days else 1.0
        self.days += 1
        self._mean = weight * y + (1 - weight) * self._mean
        self._square = weight * y * y + (1 - weight) * self._square

    def remaining(self, days: float) -> tuple[float, float]:
        """Return the mean and the standard deviation of the usage in the next `days`."""
        mean = self._mean
        if mean <= 0 or days <= 0:
            return 0.0, 0.0
        scatter = max(0.0, self._square / mean**2 - 1)
        drift = _DRIFT * (1 + _DRIFT_WHEN_YOUNG / sqrt(max(self.days, 1)))
        total = mean * days
        return total, total * sqrt(_CORRELATED * scatter / days + drift**2)

    def chance_above(self, limit: float, days: float) -> float:
        """Return the probability that more than `limit` is used in the next `days`."""
        mean, deviation = self.remaining(days)
        if deviation == 0:
            return float(mean > limit)
        return 0.5 * erfc((limit - mean) / deviation / sqrt(2))

    def save(self) -> tuple[int, float, float]:
        """Return what was learned."""
        return self.days, self._mean, self._square

    @classmethod
    def restored(cls, saved: tuple[int, float, float]) -> Pace:
        """Return the pace that was saved."""
        pace = cls()
        pace.days, pace._mean, pace._square = saved
        return pace
