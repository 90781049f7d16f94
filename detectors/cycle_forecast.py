"""What one meter of an account will have used when its cycle ends, how sure that is, and how past forecasts did.

Plain numbers only: the plan-limit detector and the evaluation adapter both stand on this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

import msgspec

from .online.daily_cohort import WEEK, DailyCohort
from .online.forecast_errors import ForecastErrors
from .online.reliability import Reliability
from .online.usage_forecaster import NUMBERS_SIZE, after_day, beginning, of_level, remaining_after

_KEPT_DAYS = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 16, 19, 22, 25, 28, 30, 45, 60, 90, 135, 180, 240, 300, 360))
_MOST_PENDING = 24
_USUAL_WIDTH = 0.7  # forecasts at neighbouring distances err alike, so that few of them say little of the width
_WIDTH_COUNTS_FOR = 25.0
_MOST_SETTLED = 200.0  # the own width follows the last year or so: a month settles sixteen forecasts
_LARGEST_ERROR = 4.0
_SHARES = 250  # a pending probability takes a byte
_NO_CHANCE = 255
_WIDTH = Struct("<2f")  # the mean error of what was settled, and of how many
_width_of = _WIDTH.unpack_from
_NO_WIDTH = _WIDTH.pack(0.0, 0.0)
_PENDING = Struct("<BB2f")  # how many days before the end, the probability given, the total expected, its deviation
_FULL = _WIDTH.size + _MOST_PENDING * _PENDING.size
_FURTHEST_KEPT = 255  # of days before the end; errors of all that are beyond 22 are counted together
_LARGEST = 1e37  # single precision
_SMALLEST = 1e-37
_FURTHEST_DAYS = 400


@dataclass(slots=True)
class ForecastPool:
    """What forecasts of one kind of meter share over accounts.

    Attributes:
        cohort: the week, the scatter and the present move.
        errors: how wrong forecasts were, by horizon.
        reliability: how probabilities that were given compare with what happened.
    """

    cohort: DailyCohort = field(default_factory=DailyCohort)
    errors: ForecastErrors = field(default_factory=ForecastErrors)
    reliability: Reliability = field(default_factory=Reliability)


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """A forecast of what will have been used when the cycle ends.

    Attributes:
        end: the total expected.
        deviation: its standard deviation; 0 where nothing can be said.
        days: until the end.
        errors: how wrong such forecasts were.
    """

    end: float
    deviation: float
    days: float
    errors: ForecastErrors

    def chance_above(self, allowance: float) -> float:
        """Return the probability that the total will exceed `allowance`."""
        if self.deviation <= 0.0:
            return float(self.end > allowance)
        return self.errors.chance_above((allowance - self.end) / self.deviation, self.days)

    def expected_excess(self, allowance: float) -> float:
        """Return the mean, over all that may come, of what will be used beyond `allowance`."""
        if self.deviation <= 0.0:
            return max(0.0, self.end - allowance)
        return self.deviation * self.errors.expected_excess((allowance - self.end) / self.deviation, self.days)


class CycleForecast(msgspec.Struct, gc=False):
    """Forecasts of a cycle's total, made once a day and settled when the cycle ends.

    A forecast is kept until then only at some distances from the end (1 to 7, 9, 11 ... days): neighbours say the same.
    The width of the pooled errors is stretched by the account's own past errors, so that a very regular account is
    forecast narrowly. All that is kept is packed, in memory as where it is saved.

    Attributes:
        pool: what is shared; it learns from this account too.
        days: how many were learned.
        numbers: of the account's usage, see `UsageForecaster`.
        settling: the account's own width, then what waits for the cycle's end.

    >>> forecast = CycleForecast(ForecastPool())
    >>> for day in range(28):
    ...     forecast.learn_day(1.0, day)
    >>> outlook = forecast.outlook(used=10.0, days_left=7.0, day=28)
    >>> round(outlook.end, 3), outlook.chance_above(30.0) < 0.05
    (17.0, True)
    """

    pool: ForecastPool
    days: int = 0
    numbers: bytes = b""
    settling: bytes = _NO_WIDTH

    def __post_init__(self) -> None:
        if not self.numbers:
            self.numbers = beginning(self.pool.cohort)

    @property
    def pending(self) -> int:
        """How many forecasts wait for their cycle's end."""
        return (len(self.settling) - _WIDTH.size) // _PENDING.size

    def learn_day(self, usage: float, day: int) -> None:
        """Take in the usage of a day, whose number counts from 1970-01-01."""
        numbers = after_day(self.numbers, self.days, usage, day % WEEK, day, self.pool.cohort)
        if numbers is not None:
            self.numbers = numbers
            self.days += 1

    def outlook(self, used: float, days_left: float, day: int) -> Outlook:
        """Forecast the total from what is `used`, with `days_left` until the end, of which the first is `day`."""
        pool = self.pool
        mean, deviation = remaining_after(self.numbers, self.days, days_left, day % WEEK, pool.cohort)
        error, settled = _width_of(self.settling)
        return Outlook(used + mean, deviation * _width(error, settled), days_left, pool.errors)

    def keep(self, outlook: Outlook, allowance: float | None) -> None:
        """Keep a forecast for settling, with the chance that it gave `allowance`, if there is one."""
        days = int(outlook.days + 0.5)
        if days not in _KEPT_DAYS or len(self.settling) >= _FULL:
            return
        if not (_SMALLEST < outlook.deviation < _LARGEST and -_LARGEST < outlook.end < _LARGEST):
            return
        chance = _NO_CHANCE if allowance is None else round(_SHARES * outlook.chance_above(allowance))
        self.settling += _PENDING.pack(min(days, _FURTHEST_KEPT), chance, outlook.end, outlook.deviation)

    def settle(self, total: float, allowance: float | None) -> None:
        """Compare what was forecast with the `total` of the cycle that ended, before the next one's first day is learned."""
        settling, pool = self.settling, self.pool
        if len(settling) == _WIDTH.size:
            return
        error, settled = _width_of(settling)
        width, learn = _width(error, settled), pool.errors.learn_one
        for days, chance, end, deviation in _PENDING.iter_unpack(settling[_WIDTH.size :]):
            z = (total - end) / deviation
            learn(z, days)
            if settled < _MOST_SETTLED:
                settled += 1.0
            error += (min(abs(z), _LARGEST_ERROR) * 1.25 * width - error) / settled
            if chance != _NO_CHANCE and allowance is not None:
                pool.reliability.learn_one(chance / _SHARES, total > allowance)
        self.settling = _WIDTH.pack(error, settled)

    def forget(self) -> None:
        """Drop what was forecast: the cycle it was about is no more."""
        self.settling = self.settling[: _WIDTH.size]

    def forget_chances(self) -> None:
        """Drop the probabilities that were given: the allowance they were about is another now."""
        settling = bytearray(self.settling)
        settling[_WIDTH.size + 1 :: _PENDING.size] = bytes([_NO_CHANCE]) * self.pending
        self.settling = bytes(settling)

    def reached_in(self, amount: float, day: int) -> tuple[float, float | None, float | None] | None:
        """Return in how many days `amount` will be used: expected, at the earliest and at the latest, nine times in ten.

        A time is None, and so is the whole, where it is further away than 400 days.
        """
        expected = self._reached(amount, day, 1.0)
        if expected is None:
            return None
        outlook = self.outlook(0.0, max(expected, 1.0), day)
        relative = outlook.deviation / outlook.end
        faster, slower = (1 + relative * outlook.errors.quantile(share, outlook.days) for share in (0.95, 0.05))
        return expected, self._reached(amount, day, max(faster, 1.0)), self._reached(amount, day, min(slower, 1.0))

    def _reached(self, amount: float, day: int, factor: float) -> float | None:
        """Return in how many days `amount` is used at `factor` times the pace that is expected."""
        week = [self.outlook(0.0, 1.0, day + ahead).end for ahead in range(WEEK)]
        in_a_week = factor * sum(week)
        if amount <= 0.0:
            return 0.0
        if in_a_week <= 0.0 or amount / in_a_week > _FURTHEST_DAYS / WEEK:
            return None
        weeks, rest = divmod(amount, in_a_week)
        for ahead, usage in enumerate(week):
            if rest < factor * usage:
                return weeks * WEEK + ahead + rest / (factor * usage)
            rest -= factor * usage
        return weeks * WEEK + WEEK

    def save(self) -> tuple[int, bytes, bytes]:
        """Return what was learned: days, the numbers, and what waits."""
        return self.days, self.numbers, self.settling

    @classmethod
    def restored(cls, saved: tuple[int, bytes, bytes], pool: ForecastPool) -> CycleForecast:
        """Return the forecast that was saved.

        Raises:
            ValueError: these are not one's numbers.
        """
        days, numbers, settling = saved
        count, odd = divmod(len(settling) - _WIDTH.size, _PENDING.size)
        if days < 0 or len(numbers) != NUMBERS_SIZE or odd or not 0 <= count <= _MOST_PENDING:
            raise ValueError(f"{days} days, {len(numbers)} and {len(settling)} bytes of a forecast")
        if count and not all(deviation > 0.0 for *_, deviation in _PENDING.iter_unpack(settling[_WIDTH.size :])):
            raise ValueError("a pending forecast without a deviation")
        return cls(pool, days, numbers, settling)

    @classmethod
    def of_level(cls, days: int, mean: float, square: float, pool: ForecastPool) -> CycleForecast:
        """Return what an earlier version's fading mean and mean square of a day's usage know."""
        if days <= 0 or not 0.0 < mean < _LARGEST:
            return cls(pool)
        scatter = min(max(square / mean**2 - 1.0, 0.0), 4.0) ** 0.5
        return cls(pool, days, of_level(mean, scatter, pool.cohort))


def _width(error: float, settled: float) -> float:
    """Return by how much an account's forecasts are to be stretched, whose errors were so large."""
    return (_WIDTH_COUNTS_FOR * _USUAL_WIDTH + settled * error) / (_WIDTH_COUNTS_FOR + settled)
