"""What the monitored-series detector remembers of an account, and how that is saved."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Annotated

import msgspec

from .meter_reading import NO_COUNTER, Counter
from .online.series_watch import SeriesWatch
from .saved_memory import Format

KIND = "monitored_series"
VERSION = 1


class Watched(msgspec.Struct, gc=False):
    """What is kept of one meter of one account.

    Attributes:
        episode: when the anomaly was told that has not ended, RFC 3339 in UTC; empty when all is usual.
        odd_since: when the present or last run of odd readings began, in seconds since 1970.
        calm: readings since the last odd one.
    """

    meter: str
    unit: str
    watch: SeriesWatch
    counter: Counter = NO_COUNTER
    episode: str = ""
    odd_since: float = 0.0
    calm: int = 0


Memory = list[Watched]


class _SavedWatched(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved."""

    meter: str
    unit: str
    readings: Annotated[int, msgspec.Meta(ge=0)]
    numbers: tuple[float, ...]
    habit: bytes
    tails: bytes
    counter: Counter | None
    episode: str
    odd_since: float
    calm: Annotated[int, msgspec.Meta(ge=0)]


def of_meter(meter: str, memory: Memory) -> Watched | None:
    """Return what is kept of one meter."""
    for watched in memory:
        if watched.meter == meter:
            return watched
    return None


def save_memory(memory: Memory) -> bytes:
    """Return the memory in the format of `VERSION`."""
    return _FORMAT.encode(
        [
            (
                watched.meter,
                watched.unit,
                *watched.watch.save(),
                None if watched.counter is NO_COUNTER else watched.counter,
                watched.episode,
                watched.odd_since,
                watched.calm,
            )
            for watched in memory
        ]
    )


def restore_memory(saved: bytes, version: int, rule_of: Callable[[str], tuple[float, int]]) -> Memory:
    """Return the memory that `save_memory` of that version wrote; `rule_of` tells a meter's gate and direction."""
    try:
        return [
            Watched(
                intern(watched.meter),
                intern(watched.unit),
                SeriesWatch.restored(
                    (watched.readings, watched.numbers, watched.habit, watched.tails), *rule_of(watched.meter)
                ),
                NO_COUNTER if watched.counter is None else watched.counter,
                watched.episode,
                watched.odd_since,
                watched.calm,
            )
            for watched in _FORMAT.decode(saved, version)
        ]
    except ValueError as error:
        raise _FORMAT.damaged(str(error)) from error


_FORMAT = Format(KIND, VERSION, list[_SavedWatched])
