"""What becomes known of charges later: kept with their account until then, and learned as they were when scored."""

from __future__ import annotations

from collections.abc import Callable

from .online.charge_population import AmountPopulation
from .online.merchant_runs import BadRun
from .suspicious_charge_core import ChargeCore, Sight, Waiting
from .suspicious_charge_memory import MOST_WAITING, Memory
from .suspicious_charge_waiting import is_confirmed, packed, place_of, time_of, unpacked

RunOf = Callable[[str], BadRun | None]
PopulationOf = Callable[[str], AmountPopulation]


def keep_waiting(memory: Memory, key: bytes, card: str, merchant: str, sight: Sight) -> bool:
    """Keep a charge until its label comes; return whether an older one had to go for it."""
    look = sight.look
    waiting = Waiting(int(look.at), look.amount, merchant, look.ratio, sight.is_out_of_habit, sight.crosses)
    memory.waiting.append(packed(key, card, waiting))
    if len(memory.waiting) > MOST_WAITING:
        del memory.waiting[0]
        return True
    return False


def waiting_of(memory: Memory, key: bytes) -> tuple[str, Waiting] | None:
    """Return a charge that waits for its label, and its card's name."""
    place = place_of(key, memory.waiting)
    return None if place < 0 else unpacked(memory.waiting[place])


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
    place = place_of(key, memory.waiting)
    if place < 0:
        return None
    record = memory.waiting.pop(place)
    card, waiting = unpacked(record)
    if bad or not is_confirmed(record):
        core.label(waiting, bad, now, memory.cards.get(card), population_of(card[:3]), run_of(waiting.merchant))
    if keep:
        memory.waiting.insert(place, packed(key, card, waiting, is_confirmed=True))
    return waiting


def age(
    core: ChargeCore, memory: Memory, now: float, within_seconds: float, run_of: RunOf, population_of: PopulationOf
) -> None:
    """Learn as good the charges that nobody disputed for so long. Looks no further than the first that is younger."""
    while memory.waiting and now - time_of(memory.waiting[0]) > within_seconds:
        learn_label(core, memory, memory.waiting[0][:6], False, now, run_of, population_of)
