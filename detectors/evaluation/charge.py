"""Suspicious charges for an outside scorer: the production core and memories, fed with plain mappings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isfinite
from typing import Any

from detectors.online.merchant_runs import BadRun
from detectors.suspicious_charge_core import Sight
from detectors.suspicious_charge_labels import keep_waiting, learn_label
from detectors.suspicious_charge_memory import Memory, card_of, keep_card
from detectors.suspicious_charge_pools import Pools
from detectors.suspicious_charge_waiting import key_of

_ONE_CURRENCY = "XXX"  # ISO 4217: no currency
_LARGEST = 1e12


class ChargeAdapter:
    """Score charges `{"id", "account", "merchant", "t" (epoch seconds), "amount"}` and learn from labels.

    Amounts that are not finite or not above zero score 0 and teach nothing; they are counted.

    Attributes:
        irregularities: how many charges or labels were of no use, by `unusable_amount`, `unknown_label`.

    >>> adapter = ChargeAdapter()
    >>> event = {"id": 1, "account": "c1", "merchant": "m1", "t": 0.0, "amount": 20.0}
    >>> 0 < adapter.score(event) < 0.01
    True
    >>> adapter.learn(event)
    >>> adapter.feedback(event | {"now": 86400.0}, True)
    """

    def __init__(self) -> None:
        self.irregularities: Counter[str] = Counter()
        self._pools = Pools()
        self._population = self._pools.population_to_teach(_ONE_CURRENCY)
        self._memories: dict[Any, Memory] = {}
        self._runs: dict[str, BadRun] = {}
        self._seen: tuple[Any, Sight | None] = (None, None)

    def score(self, event: Mapping[str, Any]) -> float:
        """Return how likely the charge is bad, 0..1: it ranks charges of all accounts."""
        sight = self._see(event)
        self._seen = event["id"], sight
        return 0.0 if sight is None else self._pools.core.probability(sight)

    def learn(self, event: Mapping[str, Any]) -> None:
        """Learn what needs no label."""
        seen, sight = self._seen
        if seen != event["id"]:
            sight = self._see(event)
        self._seen = None, None
        if sight is None:
            self.irregularities["unusable_amount"] += 1
            return
        memory, merchant = self._memory(event), str(event["merchant"])
        card = card_of(_ONE_CURRENCY, memory)
        self._pools.core.take(sight, card, self._population, merchant)
        keep_card(_ONE_CURRENCY, card, memory)
        if keep_waiting(memory, key_of(str(event["id"])), _ONE_CURRENCY, merchant, sight):
            self.irregularities["waited_too_long"] += 1

    def feedback(self, event: Mapping[str, Any], is_bad: bool) -> None:
        """Learn whether a charge was bad, as it became known at `event["now"]`."""
        memory, key = self._memory(event), key_of(str(event["id"]))
        core = self._pools.core
        waiting = learn_label(core, memory, key, bool(is_bad), event["now"], self._runs.get, lambda _: self._population)
        if waiting is None:
            self.irregularities["unknown_label"] += 1
        elif is_bad and not core.blames_card(waiting, self._population):
            run = self._runs.get(waiting.merchant)
            at = waiting.at
            self._runs[waiting.merchant] = BadRun(at, at, 1) if run is None else run.extended(at)

    def _memory(self, event: Mapping[str, Any]) -> Memory:
        memory = self._memories.get(event["account"])
        if memory is None:
            memory = self._memories[event["account"]] = Memory()
        return memory

    def _see(self, event: Mapping[str, Any]) -> Sight | None:
        amount = event["amount"]
        if not (isfinite(amount) and amount > 0 and isfinite(event["t"])):
            return None
        merchant, card = str(event["merchant"]), card_of(_ONE_CURRENCY, self._memory(event))
        run = self._runs.get(merchant)
        return self._pools.core.see(card, self._population, merchant, run, event["t"], min(amount, _LARGEST))
