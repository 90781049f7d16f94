"""What an account usually uses at this hour of this kind of day, and how far from it the last hours were."""

from __future__ import annotations

import sys
from array import array
from math import sqrt
from typing import NamedTuple

from river import base

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
_PRIOR_SIZES = tuple(_PRIOR_SPREAD * growth for growth in _GROWTH)
_LEAST_SIZES = tuple(_LEAST_SPREAD * root for root in _ROOTS)

# where things are among the numbers that a habit keeps
_UNKNOWN = -1.0  # no root of a usage is
_PAST = HOURS - 1  # hours before the running one, the oldest first
_RESIDUALS = 2 * HOURS  # after what is usual by hour: on workdays, then on weekends
_USAGE = _RESIDUALS + _PAST
_SPREAD = _USAGE + _PAST
_LEVEL = _SPREAD + len(WINDOWS)
_END = _LEVEL + 1
_BEGINNING = array("f", [_UNKNOWN] * _RESIDUALS + [0.0] * (2 * _PAST) + [_UNKNOWN] * (_END - _SPREAD))

# all before the spread are kept to 16 bits, so that their last byte need not be saved
_SPLITTER = 2.0**37 + 1
_LEAST = 1e-20  # below it is nothing: the smallest floats have fewer bits
_SAVED_BYTES = 4 * _END - _SPREAD


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


class HourlyHabit(base.Estimator):
    """Usage by hour of the day, on workdays and on weekends, as exponentially weighted means of square roots.

    Square roots make the spread of small and large hours alike. Deviations keep their sign while they are added up, so that
    use that moved by an hour cancels out. An hour without a reading counts as usual.

    All numbers are in one array, of four bytes each, since there is a habit for every account and meter; most of them are
    rounded to five digits.

    >>> habit = HourlyHabit()
    >>> for hour in range(24 * 14):
    ...     habit.learn_one(hour % 24, False, 4.0)
    >>> quiet, burst = habit.deviation(0, False, 4.0), habit.deviation(0, False, 64.0)
    >>> max(quiet.errors) < 1.0 < min(burst.errors[:2]), burst.usual[0]
    (True, 4.0)
    """

    __slots__ = ("_cells", "_ready", "hours")

    def __init__(self) -> None:
        self.hours = 0
        self._cells = _BEGINNING[:]
        self._ready: array[float] | None = None  # derived from the rest, once an hour

    @property
    def level(self) -> float:
        """The usual square root of an hour's usage."""
        return max(0.0, self._cells[_LEVEL])

    def expected(self, hour: int, is_weekend: bool) -> float:
        """Return the usual square root of usage in this hour of such a day."""
        own = self._cells[hour + HOURS * is_weekend]
        if own >= 0:
            return own
        other = self._cells[hour + HOURS * (not is_weekend)]
        return other if other >= 0 else self.level

    def errors(self, hour: int, is_weekend: bool, usage: float) -> tuple[float, float, float, float]:
        """Return per window how far the hours up to this one are above habit, over the usual size of that; 1.0 is usual.

        Args:
            hour: of the day, 0 to 23, local.
            is_weekend: whether the hour's day is a Saturday or Sunday.
            usage: of the hour so far, in the meter's unit; never negative.
        """
        residual = sqrt(usage) - self.expected(hour, is_weekend)
        some, many, most, first, second, third, fourth = self._ready or self._prepare()
        return residual / first, (residual + some) / second, (residual + many) / third, (residual + most) / fourth

    def deviation(self, hour: int, is_weekend: bool, usage: float) -> Deviation:
        """Return the errors and what they stand for, to be told."""
        cells, usual = self._cells, self.expected(hour, is_weekend) ** 2
        used = cells[_USAGE:_SPREAD]
        expected = [(sqrt(past) - cells[_RESIDUALS + number]) ** 2 for number, past in enumerate(used)]
        return Deviation(
            self.errors(hour, is_weekend, usage),
            tuple(usage + sum(used[_PAST + 1 - window :]) for window in WINDOWS),
            tuple(usual + sum(expected[_PAST + 1 - window :]) for window in WINDOWS),
            tuple((self._ready or self._prepare())[-len(WINDOWS) :]),
        )

    def learn_one(self, hour: int, is_weekend: bool, usage: float) -> None:
        """Take in an hour that has ended. Hours must come in order; one that is skipped counts as usual."""
        root, level = sqrt(usage), self._cells[_LEVEL]
        residual = root - self.expected(hour, is_weekend) if self.hours else 0.0
        taught = min(root, _CLIP * level) if self.hours >= 2 * HOURS and level > 0 else root
        self._learn_spread(residual)
        self._remember(residual, usage)
        self._cells[_LEVEL] = taught if level < 0 else _LEVEL_FADING * taught + (1 - _LEVEL_FADING) * level
        self._learn_profile(hour, is_weekend, taught)

    def skip(self, hours: int) -> None:
        """Note hours without a reading: nothing is known of them, so they deviate by nothing."""
        for _ in range(min(hours, HOURS)):
            self._remember(0.0, 0.0)

    def save(self) -> tuple[int, bytes]:
        """Return what was learned."""
        whole = _little_endian(self._cells).tobytes()
        cut = whole[: 4 * _SPREAD]
        return self.hours, cut[1::4] + cut[2::4] + cut[3::4] + whole[4 * _SPREAD :]

    @classmethod
    def restored(cls, hours: int, saved: bytes) -> HourlyHabit:
        """Return the habit that was saved.

        Raises:
            ValueError: these are not a habit's numbers.
        """
        if len(saved) != _SAVED_BYTES:
            raise ValueError(f"a habit of {len(saved)} bytes; expected {_SAVED_BYTES}")
        whole = bytearray(4 * _SPREAD)
        for number in range(3):
            whole[number + 1 :: 4] = saved[number * _SPREAD : (number + 1) * _SPREAD]
        habit = cls()
        habit.hours, habit._cells = hours, _little_endian(array("f", bytes(whole) + saved[3 * _SPREAD :])[:])
        return habit

    def _remember(self, residual: float, usage: float) -> None:
        cells = self._cells
        cells[_RESIDUALS : _USAGE - 1] = cells[_RESIDUALS + 1 : _USAGE]
        cells[_USAGE : _SPREAD - 1] = cells[_USAGE + 1 : _SPREAD]
        cells[_USAGE - 1], cells[_SPREAD - 1] = _rounded(residual), _rounded(usage)
        self.hours += 1
        self._ready = None

    def _prepare(self) -> array[float]:
        """Return the sums of deviations before the running hour, and the usual size of each window's deviation.

        The size is the account's own, mixed with its kind's while the account is young.
        """
        cells, level, days = self._cells, self.level, min(self.hours / HOURS, _SPREAD_DAYS)
        weight = days / (days + _SETTLED_DAYS)
        rest, past, sizes = 1 - weight, cells[_RESIDUALS:_USAGE], cells[_SPREAD:_LEVEL]
        if sizes[0] < 0:  # all are learned at once
            sizes = array("d", [level * prior for prior in _PRIOR_SIZES])
        last = past[-1] + past[-2]
        ready = [last, sum(past[-7:-2], last), sum(past)]
        for own, prior, least in zip(sizes, _PRIOR_SIZES, _LEAST_SIZES, strict=True):
            ready.append(level * (rest * prior + least) + weight * own + _TINY)
        self._ready = array("d", ready)
        return self._ready

    def _learn_spread(self, residual: float) -> None:
        cells, days = self._cells, self.hours / HOURS
        weight = max(1 / (1 + days), 1 / _SPREAD_DAYS)
        is_settled, ready, past = days > _SETTLED_DAYS, self._ready or self._prepare(), 0.0
        for number, root in enumerate(_ROOTS):
            size, own = _NORMAL * abs(residual + past), cells[_SPREAD + number]
            if own < 0:
                cells[_SPREAD + number] = size
            else:
                if is_settled and size > 4 * own:
                    size = 4 * own
                cells[_SPREAD + number] = own + weight / root * (size - own)
            past = ready[number]

    def _learn_profile(self, hour: int, is_weekend: bool, root: float) -> None:
        own, other = hour + HOURS * is_weekend, hour + HOURS * (not is_weekend)
        days = self.hours / HOURS
        rate = max(1 / (1 + days), 1 / _PROFILE_DAYS)
        for cell, weight in ((own, rate), (other, 0.05 if days > _SETTLED_DAYS else 0.25)):
            known = self._cells[cell]
            self._cells[cell] = _rounded(root if known < 0 else known + weight * (root - known))


def _rounded(x: float) -> float:
    """Return `x` rounded to 16 significant bits, by Dekker's splitting (Numerische Mathematik 18, 1971)."""
    if -_LEAST < x < _LEAST:
        return 0.0
    far = _SPLITTER * x
    return far - (far - x)


def _little_endian(numbers: array[float]) -> array[float]:
    """Return the numbers as they are saved, on whatever machine."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
