"""What is usual in one long series, by level, by hour of the day and of the week, and by value."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from math import copysign, log10, sqrt
from typing import NamedTuple, TypeAlias

import msgspec

DAY, WEEK = 24, 168
_VALUES = 64
_LAST, _MIDDLE = _VALUES - 1, _VALUES // 2
_PER_SPREAD = 8
_FULL = 65_535
_SETTLED = 4.0  # readings of a cell, against the mean of the series
_MOST_READINGS = 150  # of a cell: from then on it follows with 1/150, so that a habit may change
_RARITY_AFTER = 51  # readings, before a value may be called rare
_MOST_SPREADS = 32.0  # a reading teaches no more than this, once the spread is known
_KNOWN_AFTER = 20  # readings
_RESOLUTION = 2.0**-40  # of the values: what floats round off is no news, whatever the unit

_SLOW, _QUICK, _LONG = 2 / 201, 2 / 9, 2 / 3001
_RESIDUAL, _RARE = 2 / 13, 2 / 25


Errors: TypeAlias = tuple[float, float, float, float, float]
Looked: TypeAlias = tuple[float, Errors, float, float, float, int, int, float, float, float, float, int, float]
"""The fields of a `Look`, bare: a tuple with names takes three times as long to make, and there is one a reading."""


class Look(NamedTuple):
    """What one reading would change, worked out before it is learned.

    Attributes:
        errors: the five, in spreads but for the last, which is in decades; above zero in the direction that is watched.
    """

    value: float
    errors: Errors
    slow: float
    quick: float
    long: float
    day: int
    week: int
    residual_day: float
    residual_week: float
    smooth_day: float
    smooth_week: float
    at: int
    rare: float


class SeriesHabit(msgspec.Struct, gc=False):
    """Means, spreads and profiles of one series, on plain numbers.

    All values are kept as differences from the first one and all errors are divided by spreads, so neither the unit nor the
    zero of the scale matters. Means over the last n readings are exponentially weighted with 2 / (n + 1), as River's
    `EWMean`; mean and square are Welford's, as River's `Var`: an object for each of them would take ten times the memory
    and twice the time. Profiles are kept in four bytes a cell, in memory as where they are saved.

    Attributes:
        n: how many readings were learned.
        origin: the first reading.
        mean: of all readings; with `square`, the sum of squared deviations.
        slow: mean of the last 200, `quick`: of the last 8, `long`: of the last 3,000.
        smooth_day: mean of the last 12 deviations from the hour of the day; `smooth_week`: from the hour of the week.
        sum_day: of those deviations' squares; `sum_week` likewise.
        rare: mean of the last 24 readings' rarity, in decades.
        cells: what is usual by hour of the day, then by hour of the week; `counts`: from how many readings.
        values: how often each value was seen, by eighths of a spread around the mean.
    """

    n: int = 0
    origin: float = 0.0
    mean: float = 0.0
    square: float = 0.0
    slow: float = 0.0
    quick: float = 0.0
    long: float = 0.0
    smooth_day: float = 0.0
    smooth_week: float = 0.0
    sum_day: float = 0.0
    sum_week: float = 0.0
    rare: float = 0.0
    cells: array[float] = msgspec.field(default_factory=lambda: array("f", bytes(4 * (DAY + WEEK))))
    counts: bytearray = msgspec.field(default_factory=lambda: bytearray(DAY + WEEK))
    values: array[int] = msgspec.field(default_factory=lambda: array("H", bytes(2 * _VALUES)))

    def look(self, t: float, x: float, direction: int = 0) -> Look:
        """Return what the reading `x` at `t` would change, see `looked`."""
        return Look(*self.looked(t, x, direction))

    def looked(self, t: float, x: float, direction: int = 0) -> Looked:
        """Return what the reading `x` at `t` would change.

        Args:
            t: seconds since 1970; the hour's number modulo 24 and 168 chooses the cells.
            x: finite, of a size whose square is finite.
            direction: 1 to see only what is above the usual, -1 below it, 0 both.
        """
        n, mean, cells, counts = self.n, self.mean, self.cells, self.counts
        origin = self.origin
        least = (abs(origin) + abs(mean)) * _RESOLUTION
        if n:
            value = x - origin
            spread, spread_day, spread_week = sqrt(self.square / n), sqrt(self.sum_day / n), sqrt(self.sum_week / n)
            if not (spread > least and spread_day > least and spread_week > least):
                least = least or abs(x) * _RESOLUTION or 1.0  # where all was zero any other value is far away
                spread, spread_day, spread_week = max(spread, least), max(spread_day, least), max(spread_week, least)
            if n > _KNOWN_AFTER and abs(value - mean) > _MOST_SPREADS * spread:
                value = mean + copysign(_MOST_SPREADS * spread, value - mean)
        else:
            value, spread, spread_day, spread_week = 0.0, 1.0, 1.0, 1.0
        slow, quick, long = self.slow, self.quick, self.long
        slow += (value - slow) * _SLOW
        quick += (value - quick) * _QUICK
        long += (value - long) * _LONG
        hour = int(t // 3600)
        day, week = hour % DAY, DAY + hour % WEEK
        away = value - mean
        count = counts[day]
        residual_day = away - count / (count + _SETTLED) * (cells[day] - mean)
        count = counts[week]
        residual_week = away - count / (count + _SETTLED) * (cells[week] - mean)
        smooth_day, smooth_week, rare = self.smooth_day, self.smooth_week, self.rare
        smooth_day += (residual_day - smooth_day) * _RESIDUAL
        smooth_week += (residual_week - smooth_week) * _RESIDUAL
        at, rarity = int(away / spread * _PER_SPREAD + _MIDDLE), 0.0  # the value's place, and how rare values there are
        if not 0 <= at < _VALUES:
            at = 0 if at < 0 else _LAST
        if n >= _RARITY_AFTER and direction * away >= 0:
            values = self.values
            beside = (values[at - 1] if at else 0) + (values[at + 1] if at < _LAST else 0)
            times = (n + 1) / (values[at] + 0.5 * beside + 0.5)
            if times > 1.0:
                rarity = log10(times)
        rare += (rarity - rare) * _RARE
        level, move, by_day, by_week = slow - mean, quick - long, smooth_day, smooth_week
        if direction:
            level, move = max(0.0, direction * level), max(0.0, direction * move)
            by_day, by_week = max(0.0, direction * by_day), max(0.0, direction * by_week)
        errors = (
            abs(level) / spread, abs(move) / spread, abs(by_day) / spread_day, abs(by_week) / spread_week, rare,
        )  # fmt: skip
        return (
            value, errors, slow, quick, long, day, week, residual_day, residual_week, smooth_day, smooth_week, at, rare,
        )  # fmt: skip

    def learn(self, look: Looked, x: float) -> None:
        """Take in a reading that was looked at, and nothing since."""
        if not self.n:
            self.origin = x
        self.n = n = self.n + 1
        (
            value, _, self.slow, self.quick, self.long, day, week, residual_day, residual_week,
            self.smooth_day, self.smooth_week, at, self.rare,
        ) = look  # fmt: skip
        self.sum_day += residual_day * residual_day
        self.sum_week += residual_week * residual_week
        cells, counts, values = self.cells, self.counts, self.values
        count = counts[day]
        if count < _MOST_READINGS:
            counts[day] = count = count + 1
        cells[day] += (value - cells[day]) / count
        count = counts[week]
        if count < _MOST_READINGS:
            counts[week] = count = count + 1
        cells[week] += (value - cells[week]) / count
        if values[at] == _FULL:
            values[:] = array("H", [count >> 1 for count in values])
        values[at] += 1
        mean = self.mean
        away = value - mean
        self.mean = mean = mean + away / n
        self.square += away * (value - mean)

    def meet(self, share: float) -> None:
        """Let the long mean go by `share` of the way to the quick one."""
        self.long += share * (self.quick - self.long)

    def usual(self, day: int) -> tuple[float, float]:
        """Return the usual value at this hour of the day, and the spread of single readings around it."""
        weight = self.counts[day] / (self.counts[day] + _SETTLED)
        usual = weight * self.cells[day] + (1 - weight) * self.mean
        return self.origin + usual, sqrt(self.sum_day / self.n) if self.n else 0.0

    def save(self) -> tuple[int, tuple[float, ...], bytes]:
        """Return the count, the numbers, and the profiles and values packed."""
        numbers = (
            self.origin, self.mean, self.square, self.slow, self.quick, self.long,
            self.smooth_day, self.smooth_week, self.sum_day, self.sum_week, self.rare,
        )  # fmt: skip
        return self.n, numbers, _bytes_of(self.cells) + bytes(self.counts) + _bytes_of(self.values)

    @classmethod
    def restored(cls, n: int, numbers: Sequence[float], packed: bytes) -> SeriesHabit:
        """Return the habit that was saved.

        Raises:
            ValueError: these are not a habit's numbers.
        """
        cells, counts = 4 * (DAY + WEEK), DAY + WEEK
        if len(packed) != cells + counts + 2 * _VALUES or len(numbers) != _NUMBERS:
            raise ValueError(f"a series of {len(numbers)} numbers and {len(packed)} bytes")
        habit = cls(
            n,
            cells=_array_of("f", packed[:cells]),
            counts=bytearray(packed[cells : cells + counts]),
            values=_array_of("H", packed[cells + counts :]),
        )
        (
            habit.origin, habit.mean, habit.square, habit.slow, habit.quick, habit.long,
            habit.smooth_day, habit.smooth_week, habit.sum_day, habit.sum_week, habit.rare,
        ) = numbers  # fmt: skip
        return habit


_NUMBERS = 11


def _bytes_of(numbers: array[float] | array[int]) -> bytes:
    """Return the numbers as they are saved, on whatever machine."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _array_of(typecode: str, saved: bytes) -> array:  # type: ignore[type-arg]
    numbers = array(typecode, saved)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
