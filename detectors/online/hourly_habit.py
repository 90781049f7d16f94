"""What an account usually uses at this hour of this kind of day, and how far from it the last hours were."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from river import base, stats

HOURS = 24
WINDOWS = (1, 3, 8, 24)
"""Hours over which deviations are added up: a burst shows in the first, a leak in the last."""

_PROFILE_DAYS = 7  # half a percent of recall either way between 6 and 12
_SPREAD_DAYS = 60
_SETTLED_DAYS = 8  # of the account's own spread against that of its kind
_CLIP = 3.0  # an hour may teach no more than this many times the level
_LEAST_SPREAD = 0.05  # of the level: a flat habit must not score by rounding noise
_PRIOR_SPREAD = 0.3  # of the level, for an hour
_LEVEL_FADING = 1 / 336
_TINY = 1e-9
_NORMAL = 1.25  # a normal error's standard deviation over its mean absolute size
_GROWTH = tuple(window**0.7 for window in WINDOWS)  # of sums whose hours are somewhat alike
_ROOTS = tuple(sqrt(window) for window in WINDOWS)


class Deviation(NamedTuple):
    """How far the last hours are above habit.

    Attributes:
        errors: per window, the summed deviation over its usual size; 1.0 is usual.
        seen: per window, what was used.
        usual: per window, what is usual.
        spread: per window, the usual size of the deviation, on the scale of square roots.
    """

    errors: tuple[float, ...]
    seen: tuple[float, ...]
    usual: tuple[float, ...]
    spread: tuple[float, ...]


class _Sums(NamedTuple):
    """Per window, sums over the hours before the running one."""

    residuals: tuple[float, ...]
    usage: tuple[float, ...]
    expected: tuple[float, ...]


class HourlyHabit(base.Estimator):
    """Usage by hour of the day, on workdays and on weekends, as exponentially weighted means of square roots.

    Square roots make the spread of small and large hours alike. Deviations keep their sign while they are added up, so that
    use that moved by an hour cancels out. An hour without a reading counts as usual.

    >>> habit = HourlyHabit()
    >>> for hour in range(24 * 14):
    ...     habit.learn_one(hour % 24, False, 4.0)
    >>> quiet, burst = habit.deviation(0, False, 4.0), habit.deviation(0, False, 64.0)
    >>> max(quiet.errors) < 1.0 < min(burst.errors[:2]), burst.usual[0]
    (True, 4.0)
    """

    def __init__(self) -> None:
        self.hours = 0
        self._level = stats.EWMean(fading_factor=_LEVEL_FADING)
        self._profile: list[float | None] = [None] * (2 * HOURS)
        self._spread: list[float | None] = [None] * len(WINDOWS)
        self._residuals: list[float] = []
        self._usage: list[float] = []
        self._expected: list[float] = []
        self._before, self._sizes = self._sums(), self._usual_sizes()

    @property
    def level(self) -> float:
        """The usual square root of an hour's usage."""
        level: float = self._level.get()
        return level

    def expected(self, hour: int, is_weekend: bool) -> float:
        """Return the usual square root of usage in this hour of such a day."""
        own = self._profile[hour + HOURS * is_weekend]
        other = self._profile[hour + HOURS * (not is_weekend)]
        return own if own is not None else other if other is not None else self.level

    def errors(self, hour: int, is_weekend: bool, usage: float) -> tuple[float, ...]:
        """Return per window how far the hours up to this one are above habit, over the usual size of that; 1.0 is usual.

        Args:
            hour: of the day, 0 to 23, local.
            is_weekend: whether the hour's day is a Saturday or Sunday.
            usage: of the hour so far, in the meter's unit; never negative.
        """
        residual = sqrt(usage) - self.expected(hour, is_weekend)
        return tuple(
            [(residual + past) / spread for past, spread in zip(self._before.residuals, self._sizes, strict=True)]
        )

    def deviation(self, hour: int, is_weekend: bool, usage: float) -> Deviation:
        """Return the errors and what they stand for, to be told."""
        usual = self.expected(hour, is_weekend) ** 2
        return Deviation(
            self.errors(hour, is_weekend, usage),
            tuple(usage + past for past in self._before.usage),
            tuple(usual + past for past in self._before.expected),
            self._sizes,
        )

    def learn_one(self, hour: int, is_weekend: bool, usage: float) -> None:
        """Take in an hour that has ended. Hours must come in order; one that is skipped counts as usual."""
        root = sqrt(usage)
        expected = self.expected(hour, is_weekend) if self.hours else root
        level = self.level
        settled = self.hours >= 2 * HOURS
        taught = min(root, _CLIP * level) if settled and level > 0 else root
        self._learn_spread(root - expected)
        self._remember(root - expected, usage, expected * expected)
        self._level.update(taught)
        self._learn_profile(hour, is_weekend, taught)
        self._before, self._sizes = self._sums(), self._usual_sizes()

    def skip(self, hours: int) -> None:
        """Note hours without a reading: nothing is known of them, so they deviate by nothing."""
        for _ in range(min(hours, HOURS)):
            self._remember(0.0, 0.0, 0.0)
        self._before, self._sizes = self._sums(), self._usual_sizes()

    def _remember(self, residual: float, usage: float, expected: float) -> None:
        for past, value in ((self._residuals, residual), (self._usage, usage), (self._expected, expected)):
            past.append(value)
            if len(past) >= HOURS:
                del past[0]
        self.hours += 1

    def _sums(self) -> _Sums:
        return _Sums(*map(_over_windows, (self._residuals, self._usage, self._expected)))

    def _usual_sizes(self) -> tuple[float, ...]:
        """Return the usual size of each window's deviation: the account's own, mixed with its kind's while it is young."""
        level, days = self.level, min(self.hours / HOURS, _SPREAD_DAYS)
        weight = days / (days + _SETTLED_DAYS)
        return tuple(
            [
                level * ((1 - weight) * _PRIOR_SPREAD * growth + _LEAST_SPREAD * root)
                + weight * (own if own is not None else level * _PRIOR_SPREAD * growth)
                + _TINY
                for own, growth, root in zip(self._spread, _GROWTH, _ROOTS, strict=True)
            ]
        )

    def _learn_spread(self, residual: float) -> None:
        days = self.hours / HOURS
        weight = max(1 / (1 + days), 1 / _SPREAD_DAYS) if self.hours else 1.0
        for number, past in enumerate(self._before.residuals):
            size, own = _NORMAL * abs(residual + past), self._spread[number]
            if own is None:
                self._spread[number] = size
            else:
                size = min(size, 4 * own) if days > _SETTLED_DAYS else size
                self._spread[number] = own + weight / _ROOTS[number] * (size - own)

    def _learn_profile(self, hour: int, is_weekend: bool, root: float) -> None:
        own, other = hour + HOURS * is_weekend, hour + HOURS * (not is_weekend)
        days = self.hours / HOURS
        rate = max(1 / (1 + days), 1 / _PROFILE_DAYS)
        for cell, weight in ((own, rate), (other, 0.05 if days > _SETTLED_DAYS else 0.25)):
            known = self._profile[cell]
            self._profile[cell] = root if known is None else known + weight * (root - known)


def _over_windows(past: list[float]) -> tuple[float, ...]:
    """Return per window the sum over the hours before the running one."""
    return tuple([sum(past[1 - window :]) if window > 1 else 0.0 for window in WINDOWS])
