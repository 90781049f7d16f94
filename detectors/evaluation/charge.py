"""Suspicious charges for an outside scorer: the production core and memories, fed with plain mappings."""

# ruff: noqa: FURB136 - min and max are calls, and this is timed for every charge

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from detectors.online.charge_population import AmountPopulation
from detectors.online.merchant_runs import BadRun
from detectors.suspicious_charge_core import Sight
from detectors.suspicious_charge_labels import keep_waiting, learn_label
from detectors.suspicious_charge_memory import Memory, card_of, keep_card
from detectors.suspicious_charge_pools import Pools
from detectors.suspicious_charge_waiting import card_name, key_of

_ONE_CURRENCY = "XXX"  # ISO 4217: no currency
_ONE_CARD = card_name(_ONE_CURRENCY, None)
_SMALLEST, _LARGEST = 1e-30, 1e12
_LAST_SECOND = 2**32 - 1
_INFINITE = float("inf")
_NOTHING_SEEN: tuple[Mapping[str, Any] | None, Sight | None, Memory] = None, None, Memory()


class ChargeAdapter:
    """Score charges `{"id", "account", "merchant", "t" (epoch seconds), "amount"}` and learn from labels.

    Amounts that are not finite or not above zero score 0 and teach nothing; they are counted. Times before 1970 or after
    2106 count as these.

    Attributes:
        irregularities: how many charges or labels were of no use, by `unusable_amount`, `unknown_label`, `waited_too_long`.

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
        self._core = self._pools.core
        self._population = self._pools.population_to_teach(_ONE_CURRENCY)
        self._memories: dict[Any, Memory] = {}
        self._runs: dict[str, BadRun] = {}
        self._seen = _NOTHING_SEEN

    def score(self, event: Mapping[str, Any]) -> float:
        """Return how likely the charge is bad, 0..1: it ranks charges of all accounts."""
        sight = self._see(event)
        return 0.0 if sight is None else self._core.probability(sight)

    def learn(self, event: Mapping[str, Any]) -> None:
        """Learn what needs no label."""
        seen = self._seen[0]
        if seen is not event and (seen is None or any(seen[name] != event[name] for name in ("id", "account"))):
            self._see(event)
        _, sight, memory = self._seen
        self._seen = _NOTHING_SEEN
        if sight is None:
            self.irregularities["unusable_amount"] += 1
            return
        merchant = str(event["merchant"])
        keep_card(_ONE_CARD, self._core.take(sight, self._population, merchant), memory)
        if keep_waiting(memory, _key(event["id"]), merchant, sight):
            self.irregularities["waited_too_long"] += 1

    def feedback(self, event: Mapping[str, Any], is_bad: bool) -> None:
        """Learn whether a charge was bad, as it became known at `event["now"]`."""
        self._seen = _NOTHING_SEEN  # what was seen before a label is not what would be seen after it
        memory = self._memories.get(event["account"]) or self._memory(event["account"])
        core, population, now = self._core, self._population, event["now"]
        waiting = learn_label(core, memory, _key(event["id"]), bool(is_bad), now, self._runs.get, self._population_of)
        if waiting is None:
            self.irregularities["unknown_label"] += 1
        elif is_bad and not core.blames_card(waiting, population):
            run = self._runs.get(waiting.merchant)
            at = waiting.at
            self._runs[waiting.merchant] = BadRun(at, at, 1) if run is None else run.extended(at)

    def _population_of(self, _: str) -> AmountPopulation:
        return self._population

    def _memory(self, account: Any) -> Memory:
        return self._memories.setdefault(account, Memory())

    def _see(self, event: Mapping[str, Any]) -> Sight | None:
        """Look at a charge, and keep that for when it is learned."""
        amount, at, account, sight = event["amount"], event["t"], event["account"], None
        memory = self._memories.get(account) or self._memory(account)
        if 0 < amount < _INFINITE and at == at and abs(at) < _INFINITE:  # noqa: PLR0124 - not a number is none
            amount = _SMALLEST if amount < _SMALLEST else _LARGEST if amount > _LARGEST else amount
            at = 0 if at < 0 else _LAST_SECOND if at > _LAST_SECOND else at
            merchant = str(event["merchant"])
            run = self._runs.get(merchant)
            sight = self._core.see(card_of(_ONE_CARD, memory), self._population, merchant, run, at, amount)
        self._seen = event, sight, memory
        return sight


def _key(identity: Any) -> bytes:
    """Return the key of a charge: a whole number's own last four bytes, anything else's text hashed."""
    return (identity & 0xFFFFFFFF).to_bytes(4, "little") if type(identity) is int else key_of(str(identity))
