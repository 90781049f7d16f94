"""An empirical upper tail: how rare is a value as large as this?"""

from __future__ import annotations

from math import log10

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

    def __init__(self, prior_decade: float = 1.0, prior_weight: float = 1000.0) -> None:
        self.prior_decade = prior_decade
        self.prior_weight = prior_weight
        self._counts = [0.0] * _BINS
        self._n = 0
        self._refreshed_at = 0
        self._table = [0.0] * _BINS
        self._refresh()

    def learn_one(self, x: float) -> None:
        """Count `x`."""
        self._counts[_bin(x)] += 1.0
        self._n += 1
        if self._n - self._refreshed_at > 16 + _REFRESH_SHARE * self._n:
            self._refresh()

    def decades(self, x: float) -> float:
        """Return how rare values at or above `x` are: 3.0 is one in a thousand."""
        return self._table[_bin(x)]

    def _refresh(self) -> None:
        above = 0.0
        for number in range(_BINS - 1, -1, -1):
            above += self._counts[number]
            prior = 10.0 ** (-(number / _PER_UNIT) / self.prior_decade)
            share = (above + self.prior_weight * prior) / (self._n + self.prior_weight)
            self._table[number] = min(_MOST_DECADES, max(0.0, -log10(share)))
        self._refreshed_at = self._n


def _bin(x: float) -> int:
    if x <= 0.0:
        return 0
    number = int(x * _PER_UNIT)
    return number if number < _BINS else _BINS - 1
