"""What the suspicious-charge detector pools over the accounts of a partition, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import intern
from typing import Annotated

import msgspec
from river import stats

from .online import AmountHabit, UpperTail
from .saved_memory import Format
from .suspicious_charge_memory import HABITS, KIND, VERSION, SavedHabit

_MOST_POPULATIONS = 300  # there are some 180 currencies
_RARE_AT_FIRST = 0.1  # how often a habit is broken, before anything was counted
_FADING = 0.001


class Pools:
    """What all accounts' charges have in common.

    Attributes:
        population: what is paid, by currency.
        surplus: the tail of how far amounts are above their account's habit.
        velocity: the tail of how many charges come within an hour.
        total: the tail of what all signs against a charge add up to.
        broken: how often each habit is broken, in the order of `HABITS`.
    """

    def __init__(self, broken: Sequence[float] = (_RARE_AT_FIRST,) * len(HABITS)) -> None:
        self.population: dict[str, AmountHabit] = {}
        self.surplus = UpperTail(1.5, 500)
        self.velocity = UpperTail(0.6, 500)
        self.total = UpperTail(1.4, 1000)  # of several surprises: less rare than one that large
        self.broken = tuple(stats.EWMean(_FADING) for _ in HABITS)
        for mean, value in zip(self.broken, broken, strict=True):
            mean.update(value)  # the first value is the mean

    @property
    def tails(self) -> tuple[UpperTail, ...]:
        """All of them, in the order in which they are saved."""
        return self.surplus, self.velocity, self.total

    def population_to_teach(self, currency: str) -> AmountHabit | None:
        """Return what is paid in a currency; None where there are too many of them."""
        population = self.population.get(currency)
        if population is None and len(self.population) < _MOST_POPULATIONS:
            population = self.population[intern(currency)] = AmountHabit()
        return population

    def save(self) -> dict[str, bytes]:
        """Return the counts and means, which every charge changes, and the tables, which change ever more seldom."""
        broken = [float(mean.get()) for mean in self.broken]
        population = {currency: habit.save() for currency, habit in self.population.items()}
        counts = [tail.save_counts() for tail in self.tails]
        return {
            "counts": _COUNTS.encode((broken, population, counts)),
            "tables": _TABLES.encode([tail.save_table() for tail in self.tails]),
        }

    @classmethod
    def restored(cls, saved: Mapping[str, bytes], version: int) -> Pools:
        """Return the pools that `save` of that version wrote."""
        if saved.keys() != {"counts", "tables"}:
            raise _COUNTS.damaged(f"the pools have the parts {', '.join(sorted(saved)) or 'none'}")
        found, tables = _COUNTS.decode(saved["counts"], version), _TABLES.decode(saved["tables"], version)
        pools = cls(found.broken)
        try:
            for tail, counts, table in zip(pools.tails, found.counts, tables, strict=True):
                tail.restore(counts, table)
        except ValueError as error:
            raise _COUNTS.damaged(str(error)) from error
        pools.population = {
            intern(currency): AmountHabit.restored(habit) for currency, habit in found.population.items()
        }
        return pools


class _SavedPools(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What of the pools changes with every charge."""

    broken: tuple[float, float, float, float]
    population: dict[str, SavedHabit]
    counts: list[list[Annotated[int, msgspec.Meta(ge=0)]]]


_COUNTS = Format(KIND, VERSION, _SavedPools)
_TABLES = Format(KIND, VERSION, list[tuple[int, list[float]]])
