"""What the usage-spike detector pools over the accounts of a partition, meter by meter, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log2
from sys import intern
from typing import Annotated

import msgspec
from river import stats

from .online import WINDOWS, UpperTail
from .saved_memory import Format
from .usage_spike_memory import KIND, VERSION

_TYPICAL_FADING = 0.001


@dataclass(slots=True)
class Pool:
    """What is pooled over the accounts of a partition for one meter.

    Attributes:
        errors: per window, the tail of deviations over their usual size.
        oddness: the tail of what those add up to.
        size: the tail of how often the typical hour's usage is doubled.
        typical: what an hour holds, on average.
        hours: how many were learned.
    """

    errors: tuple[UpperTail, ...] = field(default_factory=lambda: tuple(UpperTail(1.5, 2000) for _ in WINDOWS))
    oddness: UpperTail = field(default_factory=lambda: UpperTail(1.0, 2000))
    size: UpperTail = field(default_factory=lambda: UpperTail(1.5, 1000))
    typical: stats.EWMean = field(default_factory=lambda: stats.EWMean(_TYPICAL_FADING))
    hours: int = 0

    @property
    def tails(self) -> tuple[UpperTail, ...]:
        """All of them, in the order in which they are saved."""
        return (*self.errors, self.oddness, self.size)

    def learn_size(self, usage: float) -> None:
        """Take in what some account used in an hour, for those that have no habit yet."""
        self.hours += 1
        self.typical.update(usage)
        self.size.learn_one(size_of(usage, float(self.typical.get())))


class _SavedPool(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What of a pool changes with every hour."""

    hours: Annotated[int, msgspec.Meta(ge=0)]
    typical: float
    counts: list[list[Annotated[int, msgspec.Meta(ge=0)]]]


def size_of(usage: float, typical: float) -> float:
    """Return how often the typical hour's usage is doubled; 0 below it."""
    return log2(usage / typical) if usage > typical > 0 else 0.0


def save_pools(pools: Mapping[str, Pool]) -> dict[str, bytes]:
    """Return each meter's counts, which every hour changes, and its tables, which change ever more seldom."""
    parts = {}
    for meter, pool in pools.items():
        counts = [tail.save_counts() for tail in pool.tails]
        parts[f"counts/{meter}"] = _COUNTS.encode(_SavedPool(pool.hours, float(pool.typical.get()), counts))
        parts[f"tables/{meter}"] = _TABLES.encode([tail.save_table() for tail in pool.tails])
    return parts


def restore_pools(saved: Mapping[str, bytes], version: int) -> dict[str, Pool]:
    """Return the pools that `save_pools` of that version wrote."""
    pools = {}
    for name in sorted(saved):
        which, _, meter = name.partition("/")
        if which == "counts":
            pools[intern(meter)] = _restored_pool(
                _COUNTS.decode(saved[name], version), _TABLES.decode(saved.get(f"tables/{meter}", b""), version)
            )
        elif which != "tables" or f"counts/{meter}" not in saved:
            raise _COUNTS.damaged(f"the pools have a part {name!r} that belongs to nothing")
    return pools


def _restored_pool(saved: _SavedPool, tables: list[tuple[int, list[float]]]) -> Pool:
    pool = Pool(hours=saved.hours)
    if saved.hours:
        pool.typical.update(saved.typical)  # the first value is the mean
    try:
        for tail, counts, table in zip(pool.tails, saved.counts, tables, strict=True):
            tail.restore(counts, table)
    except ValueError as error:
        raise _COUNTS.damaged(str(error)) from error
    return pool


_COUNTS = Format(KIND, VERSION, _SavedPool)
_TABLES = Format(KIND, VERSION, list[tuple[int, list[float]]])
