"""What a charge event says beside amount, card and merchant, and how rare that is for its account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import log10
from struct import Struct
from typing import NamedTuple

from .events import ChargePosted
from .online.charge_cross_numbers import extra_bits
from .profile import AccountFacts
from .suspicious_charge_core import NEWS, Extra
from .suspicious_charge_memory import Habits, Memory, habits_of, has, has_currency, news_of
from .suspicious_charge_pools import Pools

WARM_UP = 5
"""Charges, until an account's habits can be broken."""

HOUR_SECONDS = 3600
LAST_SECOND = 2**32 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_CHANNELS = {None: 0, "card_present": 1, "online": 2, "recurring": 3, "withdrawal": 4}
_HOURS_A_CROSS = 3
_MOST_VELOCITY = 12
_MOST_DENIALS = 3
_MOST_LATELY = 12
_POOLED_CHARGES = 10.0  # of an account's own, that the other accounts' love of the new counts for
_TINY = 1e-6
_SECOND_BYTES = 4
_NEW = 2
_NOTHING_NEW = (False, False, False, False)
_MOST_DECADES = 5.0


class Signs(NamedTuple):
    """What was worked out of a charge to score it, and is used again to learn it.

    Attributes:
        habits: of the account, before the charge.
        digests: of what can be new in it; empty for what it does not say.
        is_new: whether the account never met that; all False until its habits are known.
        velocity: charges within the hour up to this one, itself counted.
        extra: for the core.
    """

    habits: Habits
    digests: tuple[bytes, bytes, bytes, bytes]
    is_new: tuple[bool, bool, bool, bool]
    velocity: int
    extra: Extra


def seconds_of(moment: datetime) -> int:
    """Return epoch seconds, rounded down, of 1970 to 2106: what is earlier or later counts as the first or last."""
    at = (moment - _EPOCH) // _SECOND
    return at if 0 <= at <= LAST_SECOND else 0 if at < 0 else LAST_SECOND


@lru_cache(maxsize=_MOST_LATELY + 1)
def _times(count: int) -> Struct:
    return Struct(f"<{count}I")


def lately(memory: Memory) -> tuple[int, ...]:
    """Return the times of the charges within the hour before the latest, in epoch seconds; at least one, once there was."""
    return _times(len(memory.lately) // _SECOND_BYTES).unpack(memory.lately)


def keep_lately(at: int, memory: Memory) -> None:
    """Remember that there was a charge, and forget those more than an hour before the latest."""
    packed = memory.lately
    if len(packed) <= _SECOND_BYTES and at - int.from_bytes(packed, "little") >= HOUR_SECONDS:  # as it mostly is
        memory.lately = at.to_bytes(_SECOND_BYTES, "little")
        return
    times = (*lately(memory), at)
    latest = max(times)
    kept = [each for each in times if latest - each < HOUR_SECONDS][-_MOST_LATELY:]
    memory.lately = _times(len(kept)).pack(*kept)


def velocity_of(at: int, memory: Memory) -> int:
    """Return how many charges there were within the hour up to this one, itself counted."""
    count = 1
    for earlier in lately(memory):
        if 0 <= at - earlier < HOUR_SECONDS:
            count += 1
    return count


def signs_of(event: ChargePosted, at: int, facts: AccountFacts, memory: Memory, pools: Pools, denials: int) -> Signs:
    """Return what category, country, channel, velocity, time of day and currency say, as bits and as rarities.

    Args:
        event: the charge.
        at: its time in epoch seconds.
        facts: of the account.
        memory: of the account.
        pools: of the partition.
        denials: how often customers denied a charge of the merchant, whoever was to blame.
    """
    habits, digests = habits_of(memory), news_of(event)
    is_new, said = _NOTHING_NEW, (0, 0, 0, 0)
    rarities: list[tuple[str, float]] = []
    if habits.charges >= WARM_UP:
        merchant, category, country, channel = map(_newness, digests, habits.known)
        said = merchant, category, country, channel
        if max(said) == _NEW:
            is_new = merchant == _NEW, category == _NEW, country == _NEW, channel == _NEW
            rarities.append(_rarest_news(is_new, habits, pools))
    velocity = min(velocity_of(at, memory), _MOST_VELOCITY) if memory.lately else 1
    if velocity > 1:
        rarities.append(("velocity", pools.velocity.decades(velocity)))
    label = digests[1]
    bits = extra_bits(
        1 + event.time.astimezone(facts.zone).hour // _HOURS_A_CROSS,
        said,
        velocity if velocity > 1 else 0,
        _CHANNELS[event.channel],
        1 + label[0] if label else 0,
        memory.cards != b"" and not has_currency(event.currency, memory),
        min(denials, _MOST_DENIALS),
    )
    return Signs(habits, digests, is_new, velocity, Extra(bits, tuple(rarities), denials))


def _newness(digest: bytes, known: bytes) -> int:
    """Return 0 for what is not said, 1 for what the account met before, 2 for what is new to it."""
    return 0 if not digest else 1 if known.endswith(digest) or has(known, digest) else _NEW


def _rarest_news(is_new: tuple[bool, ...], habits: Habits, pools: Pools) -> tuple[str, float]:
    """Return the rarest alone: a new merchant's category is often new, and that is one surprise."""
    news = []
    for name, new, count, mean in zip(NEWS, is_new, habits.news, pools.broken, strict=True):
        if new:
            pooled = float(mean.get()) * _POOLED_CHARGES
            share = (count + pooled) / (habits.charges - WARM_UP + _POOLED_CHARGES)
            news.append((name, min(_MOST_DECADES, max(0.0, -log10(share + _TINY)))))
    return max(news, key=lambda each: each[1])
