"""Charges as River's classifiers take them: a mapping in, one-hot crosses out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from river import base

from .card_habit import CARD, Card, accused, new_card
from .charge_population import AmountPopulation
from .charge_state import ChargeState, Waiting
from .merchant_runs import BadRun

_LAST_SECOND = 2**32 - 1
_SMALLEST, _LARGEST = 1e-30, 1e12
_MOST_RUNS = 10_000
_NUMBERS = (float, int)  # asked for the exact type: a boolean is no amount


class ChargeCrosses(base.Transformer):
    """What a charge looks like on its card and at its merchant, as one-hot crosses for a model that is linear.

    `ChargeCrosses() | ChargeOdds()` is a `compose.Pipeline` around `linear_model.LogisticRegression`. When a charge comes,
    ask `predict_proba_one(x)` and then `learn_one(x)`, which needs no label; when its label comes, `learn_one(x, y)`: a
    charge of an id that waits is then learned as it looked when it came. Where the label is there at once, the last call is
    enough. The detector calls the same parts without the mappings.

    What cannot be used (an amount or a time that is missing, NaN, infinite, or an amount not above zero) has no crosses
    and teaches nothing. Amounts are of one currency.

    Args:
        charge: the feature with the charge's id; None where labels come at once.
        account: the feature with the account; None where all is one account's.
        merchant: the feature with the merchant; None where all is one merchant's.
        time: the feature with the time, in seconds of 1970 to 2106.
        amount: the feature with the amount, in the currency's major unit.
        now: the feature with the time at which the label became known; the charge's own where it is missing.
        most_accounts: the one that came first is forgotten when there are more.
        most_waiting: the charge that came first is forgotten when more wait for their label.

    >>> from detectors.online import ChargeOdds
    >>> model = ChargeCrosses() | ChargeOdds()
    >>> for number in range(60):
    ...     x = {"id": number, "account": "a", "merchant": f"m{number % 3}", "t": 3600 * number, "amount": 20.0 + number % 7}
    ...     chance = model.predict_proba_one(x)[True]
    ...     model.learn_one(x)
    ...     model.learn_one(x | {"now": 3600 * number + 60}, number % 3 == 0)
    >>> x = {"id": 60, "account": "a", "t": 3600 * 60, "amount": 21.0}
    >>> bad, good = (model.predict_proba_one(x | {"merchant": merchant})[True] for merchant in ("m0", "m1"))
    >>> bad > 0.8, good < 0.2
    (True, True)
    """

    def __init__(
        self,
        charge: str | None = "id",
        account: str | None = "account",
        merchant: str | None = "merchant",
        time: str = "t",
        amount: str = "amount",
        now: str = "now",
        most_accounts: int = 1_000_000,
        most_waiting: int = 200_000,
    ) -> None:
        self.charge = charge
        self.account = account
        self.merchant = merchant
        self.time = time
        self.amount = amount
        self.now = now
        self.most_accounts = most_accounts
        self.most_waiting = most_waiting
        self._state = ChargeState()
        self._state.counts_rarity = False  # that is for the time without labels, see `ChargeCore`
        self._population = AmountPopulation()
        self._cards: dict[Any, bytes] = {}
        self._runs: dict[str, BadRun] = {}
        self._waiting: dict[Any, tuple[Any, Waiting]] = {}

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"charge": None, "account": None, "merchant": None, "time": "ordinal_date", "amount": "gallup"}

    @property
    def _supervised(self) -> bool:
        """Labels teach: River's own `SupervisedTransformer` is not used, as a pipeline of 0.26 takes it for the last step."""
        return True

    def transform_one(self, x: dict[Any, Any]) -> dict[Any, float]:
        """Return the crosses of a charge, each worth 1.0; of one that waits those which it had when it came."""
        known = self._waiting.get(x.get(self.charge)) if self.charge is not None else None
        if known is not None:
            return dict(known[1].crosses)
        seen = self._seen(x)
        return {} if seen is None else seen.crosses

    def learn_one(self, x: dict[Any, Any], y: Any = None) -> None:
        """Take in a charge that is not known yet, and, if `y` says so, whether it was bad."""
        identity = x.get(self.charge) if self.charge is not None else None
        known = self._waiting.pop(identity, None) if identity is not None else None
        if known is None:
            waiting = self._taken(x)
            if waiting is None:
                return
            known = x.get(self.account) if self.account is not None else None, waiting
        if y is not None:
            now = x.get(self.now)
            self._tell(*known, bool(y), float(now) if isinstance(now, _NUMBERS) else known[1].at)
        elif identity is not None:
            self._waiting[identity] = known
            _drop_first(self._waiting, self.most_waiting)

    def _seen(self, x: dict[Any, Any]) -> Any:
        at: Any = x.get(self.time)
        amount: Any = x.get(self.amount)
        usable = (
            type(at) in _NUMBERS and type(amount) in _NUMBERS and abs(at) < float("inf") and 0 < amount < float("inf")
        )
        if not usable:
            return None
        merchant = self._merchant(x)
        kept = self._cards.get(x.get(self.account) if self.account is not None else None)
        card: Card = new_card() if kept is None else CARD.unpack(kept)
        at, amount = min(max(at, 0), _LAST_SECOND), min(max(amount, _SMALLEST), _LARGEST)
        return self._state.see(card, self._population, merchant, self._runs.get(merchant), at, amount)

    def _taken(self, x: dict[Any, Any]) -> Waiting | None:
        seen, merchant = self._seen(x), self._merchant(x)
        if seen is None:
            return None
        account = x.get(self.account) if self.account is not None else None
        self._cards[account] = self._state.take(seen, self._population, merchant)
        _drop_first(self._cards, self.most_accounts)
        return self._state.waiting(seen, merchant)

    def _tell(self, account: Any, waiting: Waiting, bad: bool, now: float) -> None:
        run = self._runs.get(waiting.merchant)
        accuses = self._state.tell(waiting, bad, now, self._population, run)
        card = self._cards.get(account)
        if accuses and card is not None:
            self._cards[account] = accused(CARD.unpack(card), waiting.at, now)
        if bad and not self._state.blames_card(waiting, self._population):
            at = waiting.at
            self._runs[waiting.merchant] = BadRun(at, at, 1) if run is None else run.extended(at)
            _drop_first(self._runs, _MOST_RUNS)

    def _merchant(self, x: dict[Any, Any]) -> str:
        return "" if self.merchant is None else str(x.get(self.merchant))


def _drop_first(kept: dict[Any, Any], most: int) -> None:
    if len(kept) > most:
        del kept[next(iter(kept))]
