"""How far a figure could be off by the luck of which accounts were seen: the bootstrap over accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .measures import Numbers

DRAWS = 200
_COVERED = 0.9


class Interval(NamedTuple):
    """A figure and the range that nine of ten draws of accounts give."""

    value: float
    low: float
    high: float


def over_accounts(
    measure: Callable[[Numbers], float], accounts: npt.NDArray[np.intp], *, seed: int, draws: int = DRAWS
) -> Interval:
    """Return a figure with its range.

    Accounts are drawn with replacement, each with all its rows: rows of one account are alike, and drawing those would make
    the range far too narrow (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 8).

    Args:
        measure: takes the weight of each row and returns the figure.
        accounts: of each row, its account's number, from 0.
        seed: of the draws.
        draws: how many.
    """
    value = measure(np.ones(accounts.size))
    number = int(accounts.max()) + 1 if accounts.size else 0
    if number < 2:  # noqa: PLR2004 - of one account there is nothing to draw
        return Interval(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = np.bincount(random.integers(number, size=number), minlength=number).astype(np.float64)
        figure = measure(drawn[accounts])
        if not np.isnan(figure):
            found.append(figure)
    if not found:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - _COVERED) / 2, (1 + _COVERED) / 2])
    return Interval(value, float(low), float(high))
