"""What a charge event says beside amount, card and merchant, and how rare that is for its account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import log10

from .events import ChargePosted
from .profile import AccountFacts
from .suspicious_charge_core import (
    CATEGORY_CROSSES,
    CHANNEL_CROSSES,
    CURRENCY_CROSS,
    DENIED_CROSSES,
    NEWS,
    NEWS_CROSSES,
    TIME_CROSSES,
    VELOCITY_CROSSES,
    Extra,
)
from .suspicious_charge_memory import Memory, has, news_of
from .suspicious_charge_pools import Pools

WARM_UP = 5
"""Charges, until an account's habits can be broken."""

HOUR_SECONDS = 3600
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_CHANNELS = (None, "card_present", "online", "recurring", "withdrawal")
_CATEGORIES = 256
_HOURS_A_CROSS = 3
_MOST_VELOCITY = 12
_POOLED_CHARGES = 10.0  # of an account's own, that the other accounts' love of the new counts for
_TINY = 1e-6
_MOST_DECADES = 5.0


def seconds_of(moment: datetime) -> int:
    """Return epoch seconds, rounded down."""
    return (moment - _EPOCH) // _SECOND


def velocity_of(at: int, memory: Memory) -> int:
    """Return how many charges there were within the hour up to this one, itself counted."""
    return 1 + sum(1 for earlier in memory.lately if 0 <= at - earlier < HOUR_SECONDS)


def extra_of(event: ChargePosted, facts: AccountFacts, memory: Memory, pools: Pools, denials: int) -> Extra:
    """Return the crosses and rarities of category, country, channel, velocity, time of day and currency.

    Args:
        event: the charge.
        facts: of the account.
        memory: of the account.
        pools: of the partition.
        denials: how often customers denied a charge of the merchant, whoever was to blame.
    """
    crosses = [TIME_CROSSES + event.time.astimezone(facts.zone).hour // _HOURS_A_CROSS]
    rarities: list[tuple[str, float]] = []
    if memory.charges >= WARM_UP:
        crosses += _news_crosses(event, memory)
        rarities += _rarest_news(event, memory, pools)
    velocity = min(velocity_of(seconds_of(event.time), memory), _MOST_VELOCITY)
    if velocity > 1:
        crosses.append(VELOCITY_CROSSES + velocity)
        rarities.append(("velocity", pools.velocity.decades(velocity)))
    if event.channel is not None:
        crosses.append(CHANNEL_CROSSES + _CHANNELS.index(event.channel))
    digests = news_of(event)
    if digests[1]:
        crosses.append(CATEGORY_CROSSES + digests[1][0] % _CATEGORIES)
    if memory.cards and not any(name.startswith(event.currency) for name in memory.cards):
        crosses.append(CURRENCY_CROSS)
    if denials:
        crosses.append(DENIED_CROSSES + min(denials, 3))
    return Extra(tuple(crosses), tuple(rarities), denials)


def is_new(event: ChargePosted, memory: Memory) -> list[bool]:
    """Return for each of `NEWS` whether the account never met it."""
    return [
        digest != b"" and not has(known, digest) for digest, known in zip(news_of(event), memory.known, strict=True)
    ]


def _news_crosses(event: ChargePosted, memory: Memory) -> list[int]:
    said = zip(news_of(event), is_new(event, memory), strict=True)
    return [NEWS_CROSSES + 2 * number + new for number, (digest, new) in enumerate(said) if digest]


def _rarest_news(event: ChargePosted, memory: Memory, pools: Pools) -> list[tuple[str, float]]:
    """Return the rarest alone: a new merchant's category is often new, and that is one surprise."""
    news = []
    for name, new, count, mean in zip(NEWS, is_new(event, memory), memory.news, pools.broken, strict=True):
        if new:
            pooled = float(mean.get()) * _POOLED_CHARGES
            share = (count + pooled) / (memory.charges - WARM_UP + _POOLED_CHARGES)
            news.append((name, min(_MOST_DECADES, max(0.0, -log10(share + _TINY)))))
    return [max(news, key=lambda each: each[1])] if news else []
