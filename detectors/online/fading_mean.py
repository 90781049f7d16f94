"""A mean that learns fast while it is young and forgets slowly once it is grown."""

from __future__ import annotations

from river import stats


class FadingMean(stats.base.Univariate):
    """The plain mean of the first `memory` values, then their exponentially weighted mean.

    Unlike `river.stats.EWMean`, whose first value weighs as much as all of its memory, it can be believed from the
    second value on.

    Args:
        memory: how many values a grown mean remembers.

    Raises:
        ValueError: `memory` is less than 1.

    Attributes:
        n: values learned.

    >>> usual = FadingMean(memory=4)
    >>> for value in (1.0, 3.0, 5.0, 7.0, 8.0):
    ...     usual.update(value)
    >>> usual.n, usual.get()
    (5, 5.0)
    """

    def __init__(self, memory: int = 30) -> None:
        if memory < 1:
            raise ValueError(f"memory={memory}: expected at least 1 value to remember")
        self.memory = memory
        self.n = 0
        self._mean = 0.0

    def update(self, x: float) -> None:
        """Learn `x`."""
        self.n += 1
        self._mean += (x - self._mean) / min(self.n, self.memory)

    def get(self) -> float:
        """Return the mean; 0 before the first value."""
        return self._mean
