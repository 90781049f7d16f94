"""The odds that a charge is bad, learned from labels."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10, sqrt
from typing import Any

from river import base, linear_model, optim
from river.utils import VectorDict

_FRAUDS_NEEDED = 30
_GOODS_NEEDED = 2_000
_RATE = 0.3


class ConstantAdaGrad(optim.AdaGrad):
    """River's AdaGrad for a rate that does not change: it is asked for once a step, not once a weight.

    Squares and roots are taken by `*` and `sqrt` rather than by powers, so the last bit may differ.

    >>> model = linear_model.LogisticRegression(optimizer=ConstantAdaGrad(0.3))
    >>> model.learn_one({"a": 1.0}, True)
    >>> round(model.weights["a"], 3)
    0.3
    """

    def step(self, w: Any, g: Any) -> Any:
        """Move the weights `w`, a mapping, against the gradient `g`, and return them."""
        rate, eps, squares = self.learning_rate, self.eps, self.g2
        for name, each in g.items():
            square = squares[name] = squares[name] + each * each
            w[name] -= rate / sqrt(square + eps) * each
        self.n_iterations += 1
        return w


class ChargeOdds(base.Classifier):
    """River's logistic regression on one-hot crosses, with AdaGrad (Duchi, Hazan, Singer 2011), which needs no scaler.

    The intercept is a cross of its own, `0`, so that it learns at AdaGrad's rate too. `ChargeCrosses() | ChargeOdds()` is a
    `compose.Pipeline` that takes charges; the detector hands over its crosses directly.

    Args:
        rate: AdaGrad's; between .2 and .5 nothing changes.

    Attributes:
        frauds: how many bad ones were learned.
        goods: how many others.
        is_ready: whether enough labels were learned to be believed: 30 reports alone rank worse than none.

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
        self.is_ready = False
        self._model = _model(rate)

    def predict_proba_one(self, x: dict[Any, float]) -> dict[Any, float]:  # type: ignore[override]
        """Return the probabilities of good and bad."""
        found: dict[Any, float] = self._model.predict_proba_one(x)
        return found

    def learn_one(self, x: dict[Any, float], y: bool | None = None) -> None:  # type: ignore[override]
        """Learn whether it was bad; None, of a charge whose label is still to come, teaches nothing."""
        if y is None:
            return
        if y:
            self.frauds += 1
        else:
            self.goods += 1
        if not self.is_ready:
            self.is_ready = self._is_enough()
        self._model.learn_one(x, y)

    def _is_enough(self) -> bool:
        return self.frauds >= _FRAUDS_NEEDED and self.goods >= _GOODS_NEEDED

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
        self.is_ready = self._is_enough()
        self._model = _model(self.rate)
        self._model._weights = VectorDict({key: weight for key, weight, _ in weights})  # noqa: SLF001
        self._model.optimizer.g2.update({key: square for key, _, square in weights})


def _model(rate: float) -> Any:
    return linear_model.LogisticRegression(optimizer=ConstantAdaGrad(rate), intercept_lr=0.0)


_DECADE = log10(2.718281828459045)
