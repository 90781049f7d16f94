"""How wrong were forecasts of this many days? Empirical, since errors are heavy-tailed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import floor, sqrt
from typing import Any

from river import base

HORIZONS = (1, 2, 4, 7, 11, 16, 22)
"""Days ahead up to which errors are counted together; the last group has no end."""

GROUPS = len(HORIZONS) + 1
_LAST = HORIZONS[-1]
_GROUP_OF = [bisect_left(HORIZONS, days) for days in range(_LAST + 1)]
_BINS = 81
_HALF = 40
_PER_DEVIATION = 10
_FURTHEST = _HALF / _PER_DEVIATION
_FAR = 1e4  # beyond it the closed form is rounding errors


class ForecastErrors(base.Estimator):
    """The distribution of (what came - mean) / deviation by horizon, pooled over accounts.

    Counted in tenths of a deviation from -4 to 4 and halved now and then, so that it follows. Student's t with four
    degrees of freedom, whose tails are as heavy as those of most errors, counts as `pseudo_counts` errors that were seen.
    River's `stats.Quantile` and `proba.Gaussian` give one quantile or no tail; a histogram gives any probability, in a
    microsecond.

    Args:
        pseudo_counts: how many errors Student's t counts for.
        most: errors of one horizon at which all its counts are halved.

    >>> errors = ForecastErrors()
    >>> round(errors.chance_above(1.0, days=3), 3)
    0.187
    >>> for _ in range(900):
    ...     errors.learn_one(0.0, days=3)
    >>> round(errors.chance_above(1.0, days=3), 3)
    0.01
    """

    __slots__ = ("_counts", "_sizes", "_tables", "most", "pseudo_counts")

    def __init__(self, pseudo_counts: float = 50.0, most: int = 4000) -> None:
        self.pseudo_counts = pseudo_counts
        self.most = most
        self._counts = [[0.0] * _BINS for _ in range(GROUPS)]
        self._sizes = [0.0] * GROUPS
        self._tables: list[list[float] | None] = [None] * GROUPS

    def __getstate__(self) -> tuple[Any, ...]:
        """Return what was learned; the tables are made of it when they are first asked for."""
        return self.pseudo_counts, self.most, self._counts, self._sizes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.pseudo_counts, self.most, self._counts, self._sizes = state
        self._tables = [None] * GROUPS

    def learn_one(self, z: float, days: float) -> None:
        """Count an error in deviations, of a forecast over `days`; one that is no number is ignored."""
        if z != z:  # noqa: PLR0124 - NaN
            return
        group = _GROUP_OF[int(days + 0.5)] if days < _LAST + 0.5 else GROUPS - 1
        at = _HALF + floor(_PER_DEVIATION * z) if -_FURTHEST < z < _FURTHEST else 0 if z < 0 else _BINS - 1
        self._counts[group][at] += 1.0
        self._sizes[group] += 1.0
        self._tables[group] = None
        if self._sizes[group] > self.most:
            self._counts[group] = [count * 0.5 for count in self._counts[group]]
            self._sizes[group] = sum(self._counts[group])

    def chance_above(self, z: float, days: float) -> float:
        """Return the probability of an error above `z` deviations."""
        group = _GROUP_OF[int(days + 0.5)] if days < _LAST + 0.5 else GROUPS - 1
        if -_FURTHEST < z < _FURTHEST:
            table = self._tables[group]
            if table is None:
                table = self._tables[group] = self._table(group)
            at = (z + _FURTHEST) * _PER_DEVIATION
            number = int(at)
            chance = table[number]
            return chance + (table[number + 1] - chance) * (at - number)
        size, prior, seen = self._sizes[group], self.pseudo_counts, 0.0
        if z <= -_FURTHEST:
            seen = size
        elif z >= _FURTHEST:
            seen = (
                self._counts[group][-1] * (_FURTHEST / z) ** 3
            )  # how far beyond was not counted: a tail as heavy as most
        return (seen + _student_above(z) * prior) / (size + prior)

    def _table(self, group: int) -> list[float]:
        """Return the probability of an error beyond where each bin begins."""
        size, prior = self._sizes[group], self.pseudo_counts
        seen = accumulate(reversed(self._counts[group]))
        table = [(more + prior * supposed) / (size + prior) for more, supposed in zip(seen, _STUDENT, strict=True)]
        table.reverse()
        return table

    def expected_excess(self, z: float, days: float) -> float:
        """Return the mean of max(0, error - z), in deviations: of what is left, how much will be missing."""
        group = _GROUP_OF[int(days + 0.5)] if days < _LAST + 0.5 else GROUPS - 1
        size, prior = self._sizes[group], self.pseudo_counts
        density: float = 0.375 * (1.0 + z * z / 4.0) ** -2.5
        supposed = (4.0 + z * z) / 3.0 * density - z * _student_above(z)
        counts = self._counts[group]
        seen = sum(
            count * max(0.0, min(max((number - _HALF + 0.5) / _PER_DEVIATION, -_FURTHEST), _FURTHEST) - z)
            for number, count in enumerate(counts)
            if count
        )
        return (seen + max(0.0, supposed) * prior) / (size + prior)

    def quantile(self, share: float, days: float) -> float:
        """Return how many deviations are exceeded with the probability 1 - `share`, from -4 to 4."""
        low, high = -_FURTHEST, _FURTHEST
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if self.chance_above(middle, days) > 1 - share else (low, middle)
        return (low + high) / 2

    def save(self) -> tuple[tuple[float, ...], ...]:
        """Return the counts of each horizon."""
        return tuple(tuple(counts) for counts in self._counts)

    def restore(self, counts: Sequence[Sequence[float]]) -> None:
        """Take the place of the errors that were saved.

        Raises:
            ValueError: these are not their counts.
        """
        if len(counts) != GROUPS or any(len(each) != _BINS or not all(n >= 0 for n in each) for each in counts):
            raise ValueError(f"errors of {len(counts)} horizons; expected {GROUPS} of {_BINS} counts each")
        self._counts = [list(map(float, each)) for each in counts]
        self._sizes = [sum(each) for each in self._counts]
        self._tables = [None] * GROUPS


def _student_above(z: float) -> float:
    """Return the probability above `z` of Student's t with four degrees of freedom, which has a closed form.

    >>> round(_student_above(2.132), 3), round(_student_above(-2.132), 3)
    (0.05, 0.95)
    """
    if not -_FAR < z < _FAR:
        return float(z < 0)
    q = 1.0 + z * z / 4.0
    return max(0.0, min(1.0, 0.5 - 0.375 * z / sqrt(q) * (1.0 - z * z / q / 12.0)))


_STUDENT = tuple(_student_above((number - _HALF) / _PER_DEVIATION) for number in range(_BINS - 1, -1, -1))
"""The same where each bin begins, the last bin first."""
