"""What one meter of an account will have used when its cycle ends, how sure that is, and how past forecasts did.

Plain numbers only: the plan-limit detector and the evaluation adapter both stand on this.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from sys import byteorder
from typing import NamedTuple

from .online.daily_cohort import WEEK, DailyCohort
from .online.forecast_errors import ForecastErrors
from .online.reliability import Reliability
from .online.usage_forecaster import NUMBERS, UsageForecaster

_KEPT_DAYS = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 16, 19, 22, 25, 28, 30, 45, 60, 90, 135, 180, 240, 300, 360))
_MOST_PENDING = 24
_USUAL_WIDTH = 0.7  # forecasts at neighbouring distances err alike, so that few of them say little of the width
_WIDTH_COUNTS_FOR = 25.0
_MOST_SETTLED = 200.0  # the own width follows the last year or so: a month settles sixteen forecasts
_LARGEST_ERROR = 4.0
_SHARES = 250  # a pending probability takes a byte
_NO_CHANCE = 255
_PENDING = 3
_OWN_NUMBERS = 2
_ERROR, _SETTLED = range(_OWN_NUMBERS)
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


class Outlook(NamedTuple):
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


class CycleForecast:
    """Forecasts of a cycle's total, made once a day and settled when the cycle ends.

    A forecast is kept until then only at some distances from the end (1 to 7, 9, 11 ... days): neighbours say the same.
    The width of the pooled errors is stretched by the account's own past errors, so that a very regular account is
    forecast narrowly.

    Args:
        pool: what is shared; it learns from this account too.

    >>> forecast = CycleForecast(ForecastPool())
    >>> for day in range(28):
    ...     forecast.learn_day(1.0, day)
    >>> outlook = forecast.outlook(used=10.0, days_left=7.0, day=28)
    >>> round(outlook.end, 3), outlook.chance_above(30.0) < 0.05
    (17.0, True)
    """

    __slots__ = ("_chances", "_numbers", "_pending", "_pool", "forecaster")

    def __init__(self, pool: ForecastPool) -> None:
        self._pool = pool
        self.forecaster = UsageForecaster(pool.cohort)
        self._numbers = array("f", [0.0] * _OWN_NUMBERS)
        self._pending = array("f")
        self._chances = bytearray()

    @property
    def days(self) -> int:
        """How many days were learned."""
        return self.forecaster.days

    @property
    def pending(self) -> int:
        """How many forecasts wait for their cycle's end."""
        return len(self._chances)

    def learn_day(self, usage: float, day: int) -> None:
        """Take in the usage of a day, whose number counts from 1970-01-01."""
        self.forecaster.learn_day(usage, day % WEEK, day)

    def outlook(self, used: float, days_left: float, day: int) -> Outlook:
        """Forecast the total from what is `used`, with `days_left` until the end, of which the first is `day`."""
        mean, deviation = self.forecaster.remaining(days_left, day % WEEK)
        return Outlook(used + mean, deviation * self._width, days_left, self._pool.errors)

    def keep(self, outlook: Outlook, allowance: float | None) -> None:
        """Keep a forecast for settling, with the chance that it gave `allowance`, if there is one."""
        if outlook.deviation <= 0.0 or round(outlook.days) not in _KEPT_DAYS or len(self._chances) >= _MOST_PENDING:
            return
        self._pending.extend((outlook.days, outlook.end, outlook.deviation))
        if self._pending[-1] <= 0.0:  # too small for single precision
            del self._pending[-_PENDING:]
            return
        self._chances.append(_NO_CHANCE if allowance is None else round(_SHARES * outlook.chance_above(allowance)))

    def settle(self, total: float, allowance: float | None) -> None:
        """Compare what was forecast with the `total` of the cycle that ended, before the next one's first day is learned."""
        pool, pending, width = self._pool, self._pending, self._width
        for number, chance in enumerate(self._chances):
            days, end, deviation = pending[_PENDING * number : _PENDING * (number + 1)]
            z = (total - end) / deviation
            pool.errors.learn_one(z, days)
            self._learn_width(min(abs(z), _LARGEST_ERROR) * 1.25 * width)
            if chance != _NO_CHANCE and allowance is not None:
                pool.reliability.learn_one(chance / _SHARES, total > allowance)
        self.forget()

    def forget(self) -> None:
        """Drop what was forecast: the cycle it was about is no more."""
        if self._chances:
            self._pending = array("f")
            self._chances = bytearray()

    def forget_chances(self) -> None:
        """Drop the probabilities that were given: the allowance they were about is another now."""
        self._chances = bytearray([_NO_CHANCE] * len(self._chances))

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
        week = self.forecaster.forecast(WEEK, [{"weekday": (day + ahead) % WEEK} for ahead in range(WEEK)])
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

    @property
    def _width(self) -> float:
        error, settled = self._numbers
        return (_WIDTH_COUNTS_FOR * _USUAL_WIDTH + settled * error) / (_WIDTH_COUNTS_FOR + settled)

    def _learn_width(self, error: float) -> None:
        numbers = self._numbers
        numbers[_SETTLED] = settled = min(numbers[_SETTLED] + 1.0, _MOST_SETTLED)
        numbers[_ERROR] += (error - numbers[_ERROR]) / settled

    def save(self) -> tuple[int, bytes, bytes]:
        """Return what was learned: days, all numbers in single precision, and the pending probabilities."""
        return self.days, _bytes(self.forecaster.numbers + self._numbers + self._pending), bytes(self._chances)

    @classmethod
    def restored(cls, saved: tuple[int, bytes, bytes], pool: ForecastPool) -> CycleForecast:
        """Return the forecast that was saved.

        Raises:
            ValueError: these are not one's numbers.
        """
        days, numbers, chances = saved
        if len(numbers) != 4 * (NUMBERS + _OWN_NUMBERS + _PENDING * len(chances)) or len(chances) > _MOST_PENDING:
            raise ValueError(f"{len(numbers)} bytes of a forecast with {len(chances)} pending")
        found = _array(numbers)
        pending = found[NUMBERS + _OWN_NUMBERS :]
        if not all(deviation > 0.0 for deviation in pending[_PENDING - 1 :: _PENDING]):
            raise ValueError("a pending forecast without a deviation")
        forecast = cls(pool)
        forecast.forecaster.restore(days, found[:NUMBERS])
        forecast._numbers = found[NUMBERS : NUMBERS + _OWN_NUMBERS]
        forecast._pending, forecast._chances = pending, bytearray(chances)
        return forecast

    @classmethod
    def of_level(cls, days: int, mean: float, square: float, pool: ForecastPool) -> CycleForecast:
        """Return what an earlier version's fading mean and mean square of a day's usage know."""
        forecast = cls(pool)
        if days > 0 and mean > 0.0:
            scatter = min(max(square / mean**2 - 1.0, 0.0), 4.0) ** 0.5
            forecast.forecaster.restore(days, array("f", [mean, mean, mean, scatter, *pool.cohort.week]))
        return forecast


def _bytes(numbers: array[float]) -> bytes:
    """Return the numbers, the lowest byte first."""
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _array(saved: bytes) -> array[float]:
    numbers = array("f", saved)
    if byteorder == "big":
        numbers.byteswap()
    return numbers
