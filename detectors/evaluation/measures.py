"""Measures of scores against what was true, each computed for weighted rows so that accounts can be drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]
Truths: TypeAlias = npt.NDArray[np.bool_]

_TENTHS = 10


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows by falling score, with the ends of runs of equal scores: sorted once, measured many times.

    Attributes:
        order: where each row stood.
        is_bad: of the rows in this order.
        last_of_ties: the index of the last row of each run of equal scores.
    """

    order: npt.NDArray[np.intp]
    is_bad: Truths
    last_of_ties: npt.NDArray[np.intp]

    @classmethod
    def of(cls, scores: Numbers, is_bad: Truths) -> Ranking:
        """Return the ranking of these rows.

        Raises:
            ValueError: they are not of one length, or a score is not a number.
        """
        if scores.shape != is_bad.shape:
            raise ValueError(f"{scores.size} scores for {is_bad.size} rows; expected one for each")
        if np.isnan(scores).any():
            raise ValueError(f"the score of row {int(np.flatnonzero(np.isnan(scores))[0])} is not a number")
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        last_of_ties = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), max(ranked.size - 1, 0))
        return cls(order, is_bad[order], last_of_ties.astype(np.intp))

    def average_precision(self, weights: Numbers | None = None) -> float:
        """Return the mean of precision over recall, summed by steps: sum of (R_n - R_{n-1}) P_n; nan without a bad row.

        Equal scores count as one step, so their order does not matter. As scikit-learn's `average_precision_score`.
        """
        drawn = np.ones(self.is_bad.size) if weights is None else weights[self.order]
        bad = np.cumsum(drawn * self.is_bad)[self.last_of_ties] if drawn.size else np.zeros(1)
        if not bad.size or bad[-1] <= 0:
            return float("nan")
        every = np.cumsum(drawn)[self.last_of_ties]
        recall_steps = np.diff(bad, prepend=0.0) / bad[-1]
        precision = np.divide(bad, every, out=np.zeros_like(bad), where=every > 0)
        return float(recall_steps @ precision)

    def precision_at(self, most: int) -> float:
        """Return the share of bad ones among the `most` highest scores; of ties at the edge, the share they have on average."""
        if self.is_bad.size == 0 or most < 1:
            return float("nan")
        most = min(most, self.is_bad.size)
        edge = int(np.searchsorted(self.last_of_ties, most - 1))
        end = int(self.last_of_ties[edge]) + 1
        start = int(self.last_of_ties[edge - 1]) + 1 if edge else 0
        surely = float(self.is_bad[:start].sum())
        maybe = float(self.is_bad[start:end].mean()) * (most - start)
        return (surely + maybe) / most


def brier(chances: Numbers, happened: Truths, weights: Numbers | None = None) -> float:
    """Return the mean squared distance between what was foretold and what happened: 0 is perfect, .25 a coin's."""
    if chances.size == 0:
        return float("nan")
    return float(np.average((chances - happened) ** 2, weights=weights))


@dataclass(frozen=True, slots=True)
class Tenth:
    """Forecasts of about one probability, and how often it came true."""

    foretold: float
    happened: float
    count: int


def reliability(chances: Numbers, happened: Truths) -> list[Tenth]:
    """Return, for each tenth of probability that was foretold, what was foretold on average and how often it happened."""
    tenths = np.minimum((chances * _TENTHS).astype(int), _TENTHS - 1)
    found = []
    for number in range(_TENTHS):
        inside = tenths == number
        if inside.any():
            found.append(Tenth(float(chances[inside].mean()), float(happened[inside].mean()), int(inside.sum())))
    return found


def calibration_error(chances: Numbers, happened: Truths, weights: Numbers | None = None) -> float:
    """Return the expected calibration error: the distance of each tenth from the diagonal, weighted by its rows."""
    if chances.size == 0:
        return float("nan")
    drawn = np.ones(chances.size) if weights is None else weights
    tenths = np.minimum((chances * _TENTHS).astype(int), _TENTHS - 1)
    gaps = np.bincount(tenths, drawn * (chances - happened), minlength=_TENTHS)
    return float(np.abs(gaps).sum() / drawn.sum())
