"""How much will be used in the days that are left?"""

from __future__ import annotations

from math import erfc, sqrt

from river import base, stats


class Pace(base.Estimator):
    """Usage a day; see run_rate.py, which replaces it."""

    def __init__(self, fading_factor: float = 1 / 7) -> None:
        self.fading_factor = fading_factor
        self.days = 0
        self._mean = stats.EWMean(fading_factor)
        self._variance = stats.EWVar(fading_factor)

    def learn_one(self, y: float) -> None:
        """Take in a day's usage."""
        self.days += 1
        self._mean.update(y)
        self._variance.update(y)

    def remaining(self, days: float) -> tuple[float, float]:
        """Return the mean and the standard deviation of the usage in the next `days`."""
        mean = float(self._mean.get())
        if mean <= 0 or days <= 0:
            return 0.0, 0.0
        scatter = float(self._variance.get()) / mean**2
        drift = 0.14 * (1 + 3 / sqrt(max(self.days, 1)))
        total = mean * days
        return total, total * sqrt(1.3 * scatter / days + drift**2)

    def chance_above(self, limit: float, days: float) -> float:
        """Return the probability that more than `limit` is used in the next `days`."""
        mean, deviation = self.remaining(days)
        if deviation == 0:
            return float(mean > limit)
        return 0.5 * erfc((limit - mean) / deviation / sqrt(2))
