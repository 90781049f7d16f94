"""The odds that a charge is bad, learned from labels."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10
from typing import Any

from river import base, linear_model, optim
from river.utils import VectorDict

_FRAUDS_NEEDED = 30
_GOODS_NEEDED = 2_000
_RATE = 0.3


class ChargeOdds(base.Classifier):
    """River's logistic regression on one-hot crosses, with AdaGrad (Duchi, Hazan, Singer 2011), which needs no scaler.

    The intercept is a cross of its own, `0`, so that it learns at AdaGrad's rate too. A `compose.Pipeline` may stand before
    it; the detector hands over its crosses directly, which saves a dictionary a charge.

    Args:
        rate: AdaGrad's; between .2 and .5 nothing changes.

    Attributes:
        frauds: how many bad ones were learned.
        goods: how many others.

    >>> odds = ChargeOdds()
    >>> for _ in range(40):
    ...     odds.learn_one({0: 1.0, 7: 1.0}, True)
    ...     odds.learn_one({0: 1.0, 8: 1.0}, False)
    >>> odds.predict_proba_one({0: 1.0, 7: 1.0})[True] > 0.8, odds.is_ready
    (True, False)
    """

    def __init__(self, rate: float = _RATE) -> None:
        self.rate = rate
        self.frauds = 0
        self.goods = 0
        self._model = linear_model.LogisticRegression(optimizer=optim.AdaGrad(rate), intercept_lr=0.0)

    @property
    def is_ready(self) -> bool:
        """Whether enough labels were learned to be believed: 30 reports alone rank worse than none."""
        return self.frauds >= _FRAUDS_NEEDED and self.goods >= _GOODS_NEEDED

    def predict_proba_one(self, x: dict[Any, float]) -> dict[Any, float]:  # type: ignore[override]
        """Return the probabilities of good and bad."""
        found: dict[Any, float] = self._model.predict_proba_one(x)  # type: ignore[no-untyped-call]
        return found

    def learn_one(self, x: dict[Any, float], y: bool) -> None:  # type: ignore[override]
        """Learn whether it was bad."""
        if y:
            self.frauds += 1
        else:
            self.goods += 1
        self._model.learn_one(x, y)

    def weights_of(self, crosses: Iterable[int]) -> list[float]:
        """Return what each cross adds, in decades of odds."""
        weights = self._model._weights  # noqa: SLF001 - `weights` copies all of them
        return [weights[cross] * _DECADE if cross in weights else 0.0 for cross in crosses]

    def save(self) -> tuple[int, int, list[tuple[int, float, float]]]:
        """Return the labels' counts and, by cross, the weight and AdaGrad's sum of squared gradients."""
        squares = self._model.optimizer.g2
        return self.frauds, self.goods, [(key, weight, squares[key]) for key, weight in self._model.weights.items()]

    def restore(self, saved: tuple[int, int, list[tuple[int, float, float]]]) -> None:
        """Take the place of the model that was saved."""
        self.frauds, self.goods, weights = saved
        self._model = linear_model.LogisticRegression(optimizer=optim.AdaGrad(self.rate), intercept_lr=0.0)
        self._model._weights = VectorDict({key: weight for key, weight, _ in weights})  # noqa: SLF001
        self._model.optimizer.g2.update({key: square for key, _, square in weights})


_DECADE = log10(2.718281828459045)
