"""How rare an error is among all that one series has made, in few bytes."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect
from math import log10

from river import base

_PLACES = 56
_PER_DOUBLING = 4
_ZERO = 24  # the place of an error of one spread
EDGES = tuple(2.0 ** ((place - _ZERO) / _PER_DOUBLING) for place in range(1, _PLACES))
"""Where each place but the first begins, in spreads; looked up faster than a logarithm is taken."""
FULL = 65_535  # of a place: a count has two bytes
_FRESH = array("H", [0] * (_PLACES - 1) + [1])


def place_of(error: float) -> int:
    """Return where an error of so many spreads is counted: four places a doubling, from 2^-6 to 2^8."""
    return bisect(EDGES, error)


class SeriesTail(base.Estimator):
    """The empirical upper tail of one series' own errors, in decades: 3.0 is one in a thousand.

    `UpperTail` asks how rare a value is among those of many accounts, on a linear scale, with a table that is seldom worked
    out. Here every series has five of its own, so they are small and exact at once: errors are counted by size on a
    logarithmic scale, in 56 counts of two bytes, which are halved when one is full. River's quantile and histogram
    statistics keep floats by the bin and sort them: 20 times the size, 10 times the time.

    One error larger than any is counted beforehand: what was never seen in n errors is about as rare as one in n.

    >>> tail = SeriesTail()
    >>> for _ in range(999):
    ...     tail.learn_one(1.0)
    >>> round(tail.decades(0.5), 1), round(tail.decades(1.0), 1), round(tail.decades(8.0), 1)
    (0.0, 0.3, 2.8)
    """

    __slots__ = ("counts", "n")

    def __init__(self) -> None:
        self.counts = _FRESH[:]
        self.n = 1

    def learn_one(self, x: float) -> None:
        """Count an error, in spreads; infinity is the largest there is, what is no number is left out."""
        if x == x:  # noqa: PLR0124 - not so for NaN
            self.count(place_of(min(x, 2.0**60)))

    def decades(self, x: float) -> float:
        """Return how rare errors at least as large as `x` are; 0.0 for what is no number."""
        return self.decades_at(place_of(min(x, 2.0**60))) if x == x else 0.0  # noqa: PLR0124

    def count(self, place: int) -> None:
        """Count an error by its place."""
        if self.counts[place] == FULL:
            self.halve()
        self.counts[place] += 1
        self.n += 1

    def halve(self) -> None:
        """Let all counts be half of what they are."""
        self.counts = array("H", [count >> 1 for count in self.counts])
        self.n = sum(self.counts)

    def decades_at(self, place: int) -> float:
        """Return how rare errors are that are counted there or further up; half of the place itself counts as above."""
        counts = self.counts
        return log10((self.n + 1) / (sum(counts[place + 1 :]) + 0.5 * counts[place] + 0.5))

    def place_from(self, decades: float) -> int:
        """Return the first place that is at least so rare; one past the last when none is."""
        most, above = (self.n + 1) / 10.0**decades - 0.5, 0
        for place in range(_PLACES - 1, -1, -1):
            if above + 0.5 * self.counts[place] > most:
                return place + 1
            above += self.counts[place]
        return 0

    def save(self) -> bytes:
        """Return the counts."""
        return little_endian(self.counts).tobytes()

    @classmethod
    def restored(cls, saved: bytes) -> SeriesTail:
        """Return the tail that was saved.

        Raises:
            ValueError: these are not a tail's counts.
        """
        if len(saved) != 2 * _PLACES:
            raise ValueError(f"a tail of {len(saved)} bytes; expected {2 * _PLACES}")
        tail = cls()
        tail.counts = little_endian(array("H", saved))
        tail.n = sum(tail.counts)
        return tail


def little_endian(numbers: array[int]) -> array[int]:
    """Return the numbers as they are saved, on whatever machine."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
