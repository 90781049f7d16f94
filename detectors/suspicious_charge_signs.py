"""What speaks against a charge: how rare each side of it is, for this account and among all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from math import log10
from typing import NamedTuple

from .events import ChargePosted
from .online import AmountHabit
from .suspicious_charge_memory import HABITS, Memory, habit_in, habits_of, has
from .suspicious_charge_pools import Pools

WARM_UP = 5
"""Charges, until an account's habits can be broken."""

_HOUR = timedelta(hours=1)
_POOLED_CHARGES = 10.0  # of an account's own, that the other accounts' love of the new counts for
_TINY = 1e-6
_MOST_DECADES = 5.0
_DENIED_DECADES = 2.0  # for each customer of whom it is known that the merchant's charge was not theirs, up to two


class Sign(NamedTuple):
    """One thing that speaks against a charge, in decades of rarity.

    Attributes:
        what: a name of `HABITS`, or amount, velocity, denied.
    """

    decades: float
    what: str


def signs_of(event: ChargePosted, memory: Memory, pools: Pools, denied: int) -> list[Sign]:
    """Return all that speaks against a charge; `denied` says how many customers denied one of its merchant."""
    surplus = pools.surplus.decades(surplus_of(event, memory, pools))
    signs = [Sign(min(_MOST_DECADES, surplus), "amount")]
    if memory.charges >= WARM_UP and (news := _news(event, memory, pools)):
        signs.append(max(news, key=_decades))  # a new merchant's category is often new: one surprise
    count = velocity_of(event, memory)
    if count > 1:
        signs.append(Sign(pools.velocity.decades(count), "velocity"))
    if denied:
        signs.append(Sign(_DENIED_DECADES * min(denied, 2), "denied"))
    return signs


def _news(event: ChargePosted, memory: Memory, pools: Pools) -> list[Sign]:
    news = []
    for name, digest, known, count, mean in zip(
        HABITS, habits_of(event), memory.known, memory.news, pools.broken, strict=True
    ):
        if digest and not has(known, digest):
            pooled = float(mean.get()) * _POOLED_CHARGES
            share = (count + pooled) / (memory.charges - WARM_UP + _POOLED_CHARGES)
            news.append(Sign(min(_MOST_DECADES, max(0.0, -log10(share + _TINY))), name))
    return news


def surplus_of(event: ChargePosted, memory: Memory, pools: Pools) -> float:
    """Return how many spreads the amount is above what the account usually pays; 0 below it."""
    habit = habit_in(event.currency, memory) or _NO_HABIT
    return max(0.0, habit.surplus(float(event.amount), pools.population.get(event.currency)))


def velocity_of(event: ChargePosted, memory: Memory) -> float:
    """Return how many charges there were within the hour up to this one, itself counted."""
    return 1.0 + sum(1 for at in memory.lately if timedelta() <= event.time - at < _HOUR)


def total_of(signs: Sequence[Sign]) -> float:
    """Return what the signs add up to."""
    return sum(sign.decades for sign in signs)


def _decades(sign: Sign) -> float:
    return sign.decades


_NO_HABIT = AmountHabit()  # of an account of which nothing was learned; it stays so
