"""What the usage-spike detector remembers of an account, and how that is saved."""

from __future__ import annotations

from sys import intern
from typing import Annotated

import msgspec

from .meter_reading import NO_COUNTER, Counter
from .online.usage_habit import UsageHabit
from .saved_memory import Format

KIND = "usage_spike"
VERSION = 2
NEVER = -1
_SMALL = msgspec.Meta(ge=0, le=255)


class Metered(msgspec.Struct, gc=False):
    """What is kept of one meter of one account.

    Attributes:
        read_at: the number of the hour of the last reading, from 1970; `NEVER` before any.
        strange: readings in a row that came too seldom or too often for the habit's buckets.
        foreign: readings in a row in another unit.
        late: readings in a row of a time that had ended.
        told_at: the hour in which the last spike was told; it is part of the alert's id.
        is_open: whether that spike has not ended.
    """

    meter: str
    unit: str
    habit: UsageHabit
    counter: Counter = NO_COUNTER
    read_at: int = NEVER
    strange: int = 0
    foreign: int = 0
    late: int = 0
    told_at: int = NEVER
    is_open: bool = False


class _SavedMetered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved.

    Attributes:
        since_read: hours from the last reading to the running bucket, for days roughly.
    """

    meter: str
    unit: str
    habit: bytes
    counter: Counter | None
    since_read: int
    strange: Annotated[int, _SMALL]
    foreign: Annotated[int, _SMALL]
    late: Annotated[int, _SMALL]
    told_at: Annotated[int, msgspec.Meta(ge=NEVER)]
    is_open: bool


class _MeteredOfOld(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What version 1 saved: of it only the meter, its unit and its counter are still of use."""

    meter: str
    unit: str
    hours: int
    habit: bytes
    counter: Counter | None
    hour: int | None
    usage: float
    learned_until: int
    habituation: float
    episode: str
    calm_hours: int


Memory = list[Metered]


def of_meter(meter: str, memory: Memory) -> Metered | None:
    """Return what is kept of one meter."""
    for metered in memory:
        if metered.meter == meter:
            return metered
    return None


def save_memory(memory: Memory) -> bytes:
    """Return the memory in the format of `VERSION`."""
    return _FORMAT.encode(
        [
            (
                metered.meter,
                metered.unit,
                metered.habit.save(),
                None if metered.counter is NO_COUNTER else metered.counter,
                _hour_of(metered.habit) - metered.read_at,
                metered.strange,
                metered.foreign,
                metered.late,
                metered.told_at,
                metered.is_open,
            )
            for metered in memory
        ]
    )


def restore_memory(saved: bytes, version: int) -> Memory:
    """Return the memory that `save_memory` of that version wrote; of version 1 the habits begin anew."""
    if version == _OLD_VERSION:
        return [
            Metered(intern(old.meter), intern(old.unit), UsageHabit(), old.counter or NO_COUNTER)
            for old in _OLD_FORMAT.decode(saved, version)
        ]
    try:
        return [
            Metered(
                intern(metered.meter),
                intern(metered.unit),
                habit := UsageHabit.restored(metered.habit),
                NO_COUNTER if metered.counter is None else metered.counter,
                _hour_of(habit) - metered.since_read,
                metered.strange,
                metered.foreign,
                metered.late,
                metered.told_at,
                metered.is_open,
            )
            for metered in _FORMAT.decode(saved, version)
        ]
    except ValueError as error:
        raise _FORMAT.damaged(str(error)) from error


def _hour_of(habit: UsageHabit) -> int:
    return habit.bucket * (habit.grain.seconds // 3600)


_OLD_VERSION = 1
_FORMAT = Format(KIND, VERSION, list[_SavedMetered])
_OLD_FORMAT = Format(KIND, _OLD_VERSION, list[_MeteredOfOld])
