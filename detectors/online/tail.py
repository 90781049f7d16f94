"""An empirical upper tail: how rare is a value as large as this?"""

from __future__ import annotations

from math import floor, log10

from river import base

_BINS = 96
_PER_UNIT = 4
_REFRESH_SHARE = 0.02
_MOST_DECADES = 9.0


class UpperTail(base.Estimator):
    """How rare values are that are at least as large, learned from all values so far.

    Errors are heavy-tailed, so no distribution is assumed: values are counted in bins a quarter wide, from 0 to 24. Until
    many are counted, a prior speaks: the share of values at or above x is 10 to the power of -x / `prior_decade`.

    Args:
        prior_decade: how much larger a value must be to be ten times rarer, before anything is learned.
        prior_weight: how many values the prior counts for.

    >>> tail = UpperTail(prior_decade=1.0, prior_weight=100)
    >>> tail.decades(2.0)
    2.0
    >>> for _ in range(100_000):
    ...     tail.learn_one(0.5)
    >>> tail.decades(0.2), round(tail.decades(2.0), 1)
    (0.0, 5.0)
    """

    __slots__ = ("_counts", "_n", "_prior", "_refresh_at", "_refreshed_at", "_table", "prior_decade", "prior_weight")

    def __init__(self, prior_decade: float = 1.0, prior_weight: float = 1000.0) -> None:
        self.prior_decade = prior_decade
        self.prior_weight = prior_weight
        self._prior = [prior_weight * 10.0 ** (-(number / _PER_UNIT) / prior_decade) for number in range(_BINS)]
        self._counts = [0] * _BINS
        self._n = 0
        self._refreshed_at = self._refresh_at = 0
        self._table = [0.0] * _BINS
        self._refresh()

    def learn_one(self, x: float) -> None:
        """Count `x`."""
        number = int(x * _PER_UNIT) if 0.0 < x < _BINS else 0 if x <= 0.0 else _BINS - 1
        self._counts[number if number < _BINS else _BINS - 1] += 1
        self._n += 1
        if self._n >= self._refresh_at:
            self._refresh()

    def decades(self, x: float) -> float:
        """Return how rare values at or above `x` are: 3.0 is one in a thousand."""
        number = int(x * _PER_UNIT) if 0.0 < x < _BINS else 0 if x <= 0.0 else _BINS - 1
        return self._table[number if number < _BINS else _BINS - 1]

    def _refresh(self) -> None:
        above, weight = 0, self._n + self.prior_weight
        for number in range(_BINS - 1, -1, -1):
            above += self._counts[number]
            self._table[number] = min(_MOST_DECADES, max(0.0, -log10((above + self._prior[number]) / weight)))
        self._refreshed_at, self._refresh_at = self._n, _next_refresh(self._n)

    def save_counts(self) -> list[int]:
        """Return what changes with every value."""
        return self._counts

    def save_table(self) -> tuple[int, list[float]]:
        """Return what changes ever more seldom, and is as old as it says: it is not what the counts say now."""
        return self._refreshed_at, self._table

    def restore(self, counts: list[int], table: tuple[int, list[float]]) -> None:
        """Take the place of the tail that was saved.

        Raises:
            ValueError: this is not one's counts and table.
        """
        refreshed_at, decades = table
        if not len(counts) == len(decades) == _BINS or not refreshed_at <= sum(counts):
            raise ValueError(
                f"{len(counts)} counts and {len(decades)} decades after {refreshed_at} of {sum(counts)} values; "
                f"expected {_BINS} of each, and a table no newer than the counts"
            )
        self._counts, self._n = counts, sum(counts)
        self._refreshed_at, self._refresh_at, self._table = refreshed_at, _next_refresh(refreshed_at), decades


def _next_refresh(after: int) -> int:
    """Return how many values are counted when a table is next worked out: ever more seldom."""
    return floor((after + 16) / (1 - _REFRESH_SHARE)) + 1
