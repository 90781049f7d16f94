"""What becomes known of charges later: kept with their account until then, and learned as they were when scored."""

from __future__ import annotations

from collections.abc import Callable

from .online.charge_population import AmountPopulation
from .online.merchant_runs import BadRun
from .suspicious_charge_core import ChargeCore, Sight, Waiting
from .suspicious_charge_memory import MOST_WAITING, Memory, accuse_card
from .suspicious_charge_waiting import (
    KEY_BYTES,
    SIZE,
    added,
    confirmed,
    currency_of,
    is_confirmed,
    removed,
    start_of,
    time_of,
    unpacked,
)

RunOf = Callable[[str], BadRun | None]
PopulationOf = Callable[[str], AmountPopulation]


def keep_waiting(memory: Memory, key: bytes, merchant: str, sight: Sight) -> bool:
    """Keep a charge until its label comes; return whether an older one had to go for it."""
    waiting, ids = memory.waiting, memory.merchants
    is_full = len(waiting) >= MOST_WAITING * SIZE
    if is_full:
        waiting = removed(waiting, 0)
    memory.waiting, memory.merchants = added(waiting, ids, key, merchant, sight)
    return is_full


def waiting_of(memory: Memory, key: bytes) -> Waiting | None:
    """Return a charge that waits for its label; None where none such does."""
    start = start_of(key, memory.waiting)
    return None if start < 0 else unpacked(memory.waiting, memory.merchants, start)


def learn_label(
    core: ChargeCore,
    memory: Memory,
    key: bytes,
    bad: bool,
    now: float,
    run_of: RunOf,
    population_of: PopulationOf,
    *,
    keep: bool = False,
) -> Waiting | None:
    """Learn whether a charge was bad and return it; None where none such waits.

    Args:
        core: what is pooled.
        memory: of the account.
        key: the charge's.
        bad: whether it was.
        now: when that became known, in epoch seconds.
        run_of: a merchant's run.
        population_of: what is paid in a currency.
        keep: keep it as confirmed, since a denial may still override that.
    """
    packed = memory.waiting
    start = start_of(key, packed)
    if start < 0:
        return None
    waiting = unpacked(packed, memory.merchants, start)
    _, _, merchant, card, _, _, _ = waiting
    if bad or not is_confirmed(packed, start):
        accuses = core.label(waiting, bad, now, population_of(currency_of(card)), run_of(merchant))
        if accuses:
            accuse_card(card, waiting.at, now, memory)
    if keep:
        memory.waiting = confirmed(packed, start)
    else:
        memory.waiting = removed(packed, start)
    return waiting


def age(
    core: ChargeCore, memory: Memory, now: float, within_seconds: float, run_of: RunOf, population_of: PopulationOf
) -> None:
    """Learn as good the charges that nobody disputed for so long. Looks no further than the first that is younger."""
    while memory.waiting and now - time_of(memory.waiting) > within_seconds:
        learn_label(core, memory, memory.waiting[:KEY_BYTES], False, now, run_of, population_of)
