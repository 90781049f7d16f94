"""How much will an account use on each of the next days?"""

# a comparison takes a third of what a call of min or max does, and a day's usage has eight of them
# ruff: noqa: FURB136, PLR1730

from __future__ import annotations

from math import sqrt
from struct import Struct
from typing import Any, NamedTuple

from river.time_series.base import Forecaster

from .daily_cohort import WEEK, DailyCohort

_NUMBERS = Struct(f"<{4 + WEEK}f")
NUMBERS_SIZE = _NUMBERS.size
_unpack, _pack = _NUMBERS.unpack, _NUMBERS.pack
_LARGEST = 1e30  # squares and sums of these still are numbers in single precision's exponent, or nearly
_SMALLEST = 1e-30
_SURE_WEEKS = 4  # an account's own weekday factors count half after so many weeks
_MOST_WEEKS = 15
_COHORT_AFTER = 20  # days until the slow level is worth comparing with
_CORRELATED = 1.3  # days that follow each other are alike: their errors cancel less than independent ones
_REVERT = 0.2
_LEAST_FACTOR = 0.3  # a weekday without usage says nothing of the level
_LARGEST_ERROR = 2.0
_LARGEST_SHARE = 3.0
_COHORT = 0.5
_MOST_BACK = 0.7
_LEAST_MOVE = -0.5


class Rates(NamedTuple):
    """How fast levels follow, as the weight of the newest day; and `drift`, the relative error of a level over a cycle."""

    fast: float = 1 / 6
    slow: float = 1 / 15
    long: float = 1 / 365
    drift: float = 0.14


USUAL_RATES = Rates()


# the maths, on what is kept of an account: how many days, and eleven numbers in single precision, packed. Bytes are a
# third of what an array or a list of floats takes, and are unpacked and packed at once for less than an array's items cost.


def beginning(cohort: DailyCohort) -> bytes:
    """Return the numbers of an account never seen: three levels, the scatter, and seven weekday factors."""
    return _pack(0.0, 0.0, 0.0, cohort.scatter, *cohort.week)


def of_level(level: float, scatter: float, cohort: DailyCohort) -> bytes:
    """Return the numbers of an account of which only the level of a day and its relative error are known."""
    return _pack(level, level, level, scatter, *cohort.week)


def after_day(
    numbers: bytes, days: int, usage: float, weekday: int, day: int, cohort: DailyCohort, rates: Rates = USUAL_RATES
) -> bytes | None:
    """Return the numbers after the usage of `weekday`, the account's `days`-th; None where it says nothing.

    The cohort learns from it too, for which the day's number among all days is `day`.
    """
    if not usage <= _LARGEST:
        return None
    if usage < _SMALLEST:
        usage = 0.0
    fast, slow, long, scatter, *own = _unpack(numbers)
    level = usage
    if fast > 0.0:
        weeks = days // WEEK + 1 if days < WEEK * _MOST_WEEKS else _MOST_WEEKS + 1
        sure, week, mine = weeks / (weeks + _SURE_WEEKS), cohort.week, own[weekday]
        factor = week[weekday] + (mine - week[weekday]) * sure
        if days > _COHORT_AFTER:
            cohort.learn_one(usage / (slow * factor + _SMALLEST) - 1.0, day)
        share = usage / fast
        error = share - factor
        if error < 0.0:
            error = -error if error > -1.0 else 1.0
        error = 1.25 * error if error < _LARGEST_ERROR else 1.25 * _LARGEST_ERROR
        if share > _LARGEST_SHARE:
            share = _LARGEST_SHARE
        scatter += (error - scatter) * (1.0 / (days + WEEK) if days < 50 - WEEK else 0.02)
        own[weekday] = mine = mine + (share - mine) / (weeks + 3)
        cohort.learn_week(weekday, share, error)
        factor = week[weekday] + (mine - week[weekday]) * sure
        level = usage / (factor if factor > _LEAST_FACTOR else _LEAST_FACTOR)
    young = 1.0 / (days + 1)
    quick, slower, slowest, _ = rates
    return _pack(
        fast + (level - fast) * (quick if quick > young else young),
        slow + (level - slow) * (slower if slower > young else young),
        long + (level - long) * (slowest if slowest > young else young),
        scatter,
        *own,
    )


def remaining_after(
    numbers: bytes, days: int, left: float, weekday: int, cohort: DailyCohort, drift: float = USUAL_RATES.drift
) -> tuple[float, float]:
    """Return the mean and standard deviation of the usage in the next `left` days, which begin on `weekday`.

    A part of a day at the end counts as that part of its usage. Nothing is expected of an account that never used any.
    """
    fast, slow, long, scatter, *own = _unpack(numbers)
    if fast <= 0.0 or left <= 0.0:
        return 0.0, 0.0
    back = long / fast - 1.0
    back = _REVERT * (back if -_MOST_BACK < back < _MOST_BACK else _MOST_BACK if back > 0.0 else -_MOST_BACK)
    if days > _COHORT_AFTER and slow > 0.0:
        back += _COHORT * (cohort.move - (fast / slow - 1.0))
    back = back if _LEAST_MOVE < back < _MOST_BACK else _MOST_BACK if back > 0.0 else _LEAST_MOVE
    weeks, week = days // WEEK + 1 if days < WEEK * _MOST_WEEKS else _MOST_WEEKS + 1, cohort.week
    full = int(left)
    whole = full // WEEK
    rest, factors = full - WEEK * whole, 0.0
    if whole:
        factors = whole * (weeks * sum(own) + _SURE_WEEKS * sum(week))
    if rest:
        until = weekday + rest
        factors += weeks * sum((own + own)[weekday:until]) + _SURE_WEEKS * sum((week + week)[weekday:until])
    if left > full:
        at = (weekday + full) % WEEK
        factors += (left - full) * (weeks * own[at] + _SURE_WEEKS * week[at])
    total = fast * (1.0 + back) * factors / (weeks + _SURE_WEEKS)
    drift *= 1.0 + 3.0 / sqrt(days)
    return total, total * sqrt(_CORRELATED * scatter * scatter / (left if left > 1.0 else 1.0) + drift * drift)


class UsageForecaster(Forecaster):
    """Daily usage: the level of the last week, drawn to the account's long mean and half way to the cohort's move.

    Three exponentially weighted means of usage over its weekday's factor (6, 15 and 365 days; plain means while young);
    the factors shrink to the cohort's. The sum over R days has two errors: the days' own scatter, which averages out, and
    that of the level, which does not: deviation = sum * sqrt(1.3 scatter^2 / R + u^2), u = .14 (1 + 3 / sqrt(days)).
    Structure and constants: measured on daily forecasts of real homes over 30-day cycles, beside single levels,
    regressions of the error and trends, which were worse.

    River's `HoltWinters` and `SNARIMAX` hold no pooled part and give no error; they are slower by a factor of ten and more.

    `x` may name the `weekday`, 0..6; without it days are counted. A usage that is negative counts as none; one that is not
    finite or above 1e30 is ignored, as if the day had not been.

    Args:
        cohort: what accounts of one kind share; its own, of one account, by default.
        fast: weight of the newest day in the level.
        slow: the same of the level that the cohort's move is measured from.
        long: the same of the long mean.
        drift: relative error of the level over a cycle, of an account that is known well.

    Attributes:
        days: how many were learned.
        numbers: all that changes, in single precision, packed: three levels, the scatter, and seven weekday factors.

    >>> forecaster = UsageForecaster()
    >>> for day in range(365):
    ...     forecaster.learn_one(1.0 if day % 7 else 3.0)
    >>> [round(usage) for usage in forecaster.forecast(7)]
    [1, 1, 1, 1, 1, 1, 3]
    """

    __slots__ = ("cohort", "days", "drift", "fast", "long", "numbers", "slow")

    def __init__(
        self,
        cohort: DailyCohort | None = None,
        fast: float = USUAL_RATES.fast,
        slow: float = USUAL_RATES.slow,
        long: float = USUAL_RATES.long,
        drift: float = USUAL_RATES.drift,
    ) -> None:
        self.cohort = DailyCohort() if cohort is None else cohort
        self.fast = fast
        self.slow = slow
        self.long = long
        self.drift = drift
        self.days = 0
        self.numbers = beginning(self.cohort)

    def learn_one(self, y: float, x: dict[Any, Any] | None = None) -> None:
        """Take in a day's usage."""
        self.learn_day(y, self._weekday(x, 0))

    def learn_day(self, usage: float, weekday: int, day: int | None = None) -> None:
        """Take in the usage of `weekday`; `day` is its number among all days, for the cohort."""
        day = self.days if day is None else day
        rates = Rates(self.fast, self.slow, self.long, self.drift)
        numbers = after_day(self.numbers, self.days, usage, weekday, day, self.cohort, rates)
        if numbers is not None:
            self.days, self.numbers = self.days + 1, numbers

    def forecast(self, horizon: int, xs: list[dict[Any, Any]] | None = None) -> list[float]:
        """Return the usage expected on each of the next `horizon` days."""
        weekdays = [self._weekday(xs[ahead] if xs else None, ahead) for ahead in range(horizon)]
        return [self.remaining(1.0, weekday)[0] for weekday in weekdays]

    def remaining(self, days: float, weekday: int) -> tuple[float, float]:
        """Return the mean and standard deviation of the usage in the next `days`, which begin on `weekday`."""
        return remaining_after(self.numbers, self.days, days, weekday, self.cohort, self.drift)

    def _weekday(self, x: dict[Any, Any] | None, ahead: int) -> int:
        named = x.get("weekday") if x else None
        return (self.days + ahead if named is None else int(named)) % WEEK
