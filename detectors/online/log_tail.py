"""An empirical upper tail on a logarithmic scale: how rare is an error as large as this?"""

from __future__ import annotations

from math import floor, log2, log10

from river import base

BINS = 72
NOTABLE = 0.5
"""Errors up to it are not told apart: nothing of interest is usual."""

_AN_OCTAVE = 4
_ABSURD = 1e6
_REFRESH_SHARE = 0.02
_SOON = 64  # values between two tables in the beginning


def bin_of(x: float) -> int:
    """Return which bin `x` is in, a quarter of an octave each from `NOTABLE` up; -1 below.

    >>> bin_of(0.5), bin_of(0.51), bin_of(1.0), bin_of(1e300)
    (-1, 1, 4, 71)
    """
    if not x > NOTABLE:  # NaN too
        return -1
    number = int(log2(x) * _AN_OCTAVE) + 4 if x < _ABSURD else BINS
    return number if number < BINS else BINS - 1


class LogTail(base.Estimator):
    """How rare errors are that are at least as large, learned from all errors so far.

    Errors are heavy-tailed, so no distribution is assumed: they are counted in bins a quarter of an octave wide, from 0.5 to
    100 thousand. Until many are counted a prior speaks: the share of errors at or above x is 10 to the power of
    -x / `prior_decade`. What is not a number is not counted.

    River's `stats.Quantile` answers the opposite question, one share an estimator, and knows no tails beyond what it saw.

    Args:
        prior_decade: how much larger an error must be to be ten times rarer, before anything is learned.
        prior_weight: how many errors the prior counts for.

    >>> tail = LogTail(prior_decade=1.5, prior_weight=100)
    >>> for number in range(100_000):
    ...     tail.learn_one(0.1 if number % 1000 else 4.0)
    >>> round(tail.decades(0.2), 1), round(tail.decades(4.0), 1)
    (0.0, 3.3)
    """

    __slots__ = ("_prior", "counts", "n", "prior_decade", "prior_weight", "refresh_at", "refreshed_at", "squares")

    def __init__(self, prior_decade: float = 1.5, prior_weight: float = 2000.0) -> None:
        self.prior_decade = prior_decade
        self.prior_weight = prior_weight
        middles = [2.0 ** ((number - 3.5) / _AN_OCTAVE) for number in range(BINS)]
        self._prior = [prior_weight * 10.0 ** -min(300.0, middle / prior_decade) for middle in middles]
        self.counts = [0] * BINS
        self.n = self.refreshed_at = self.refresh_at = 0
        self.squares = [0.0] * BINS
        self.refresh()

    def learn_one(self, x: float) -> None:
        """Count `x`."""
        if x == x:  # noqa: PLR0124 - not NaN
            self.count(bin_of(x))

    def count(self, number: int) -> None:
        """Count an error of that bin."""
        self.n += 1
        if number >= 0:
            self.counts[number] += 1
        if self.n >= self.refresh_at:
            self.refresh()

    def decades(self, x: float) -> float:
        """Return how rare errors at or above `x` are: 3.0 is one in a thousand."""
        number = bin_of(x)
        return float(self.squares[number] ** 0.5) if number >= 0 else 0.0

    def refresh(self) -> None:
        """Work the table out anew, of squares: that is what is added up."""
        above, weight = 0.0, self.n + self.prior_weight + 1.0
        for number in range(BINS - 1, -1, -1):
            above += self.counts[number]
            here = above - 0.5 * self.counts[number] + self._prior[number] + 0.5
            self.squares[number] = max(0.0, log10(weight / here)) ** 2
        self.refreshed_at, self.refresh_at = self.n, next_refresh(self.n)

    def restore(self, n: int, refreshed_at: int, counts: list[int], squares: list[float]) -> None:
        """Take the place of the tail that had these; its table is as old as it says.

        Raises:
            ValueError: these are not one's numbers.
        """
        if not len(counts) == len(squares) == BINS or not 0 <= refreshed_at <= n or sum(counts) > n or min(counts) < 0:
            raise ValueError(f"{len(counts)} counts and {len(squares)} decades of {n} errors; expected {BINS} of each")
        self.n, self.counts[:], self.squares[:] = n, counts, squares
        self.refreshed_at, self.refresh_at = refreshed_at, next_refresh(refreshed_at)


def next_refresh(after: int) -> int:
    """Return how many errors are counted when a table is next worked out: ever more seldom."""
    return max(after + _SOON, floor(after / (1 - _REFRESH_SHARE)) + 1)
