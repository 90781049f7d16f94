"""What the usage-spike detector remembers of an account, and how that is saved."""

from __future__ import annotations

from sys import intern
from typing import Annotated

import msgspec

from .local_hour import Hour, hour_known
from .meter_reading import NO_COUNTER, Counter
from .online import HourlyHabit
from .saved_memory import Format

KIND = "usage_spike"
VERSION = 1


class Metered(msgspec.Struct, gc=False):
    """What is kept of one meter of one account.

    Attributes:
        hour: the running one; None when there is none.
        usage: what was used in it so far.
        learned_until: the number of the first hour that has not ended; readings of earlier ones come too late.
        habituation: the mean oddness of the last days.
        episode: the local date on which the spike began that was told and has not ended; empty when all is usual.
        calm_hours: closed hours since the score was last high.
    """

    meter: str
    unit: str
    habit: HourlyHabit
    counter: Counter = NO_COUNTER
    hour: Hour | None = None
    usage: float = 0.0
    learned_until: int = 0
    habituation: float = 0.0
    episode: str = ""
    calm_hours: int = 0


class _SavedMetered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved.

    Attributes:
        hour: the running one's place on the wall and, past 24, in the weekend; its number is `learned_until`.
    """

    meter: str
    unit: str
    hours: int
    habit: bytes
    counter: Counter | None
    hour: Annotated[int, msgspec.Meta(ge=0, lt=48)] | None
    usage: Annotated[float, msgspec.Meta(ge=0)]
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
                *metered.habit.save(),
                None if metered.counter is NO_COUNTER else metered.counter,
                None if metered.hour is None else metered.hour.on_the_wall + 24 * metered.hour.is_weekend,
                metered.usage,
                metered.learned_until,
                metered.habituation,
                metered.episode,
                metered.calm_hours,
            )
            for metered in memory
        ]
    )


def restore_memory(saved: bytes, version: int) -> Memory:
    """Return the memory that `save_memory` of that version wrote."""
    try:
        return [
            Metered(
                intern(metered.meter),
                intern(metered.unit),
                HourlyHabit.restored(metered.hours, metered.habit),
                NO_COUNTER if metered.counter is None else metered.counter,
                None if metered.hour is None else hour_known(metered.learned_until, *divmod(metered.hour, 24)),
                metered.usage,
                metered.learned_until,
                metered.habituation,
                metered.episode,
                metered.calm_hours,
            )
            for metered in _FORMAT.decode(saved, version)
        ]
    except ValueError as error:
        raise _FORMAT.damaged(str(error)) from error


_FORMAT = Format(KIND, VERSION, list[_SavedMetered])
