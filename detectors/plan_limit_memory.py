"""What the plan-limit detector remembers of an account, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from sys import intern
from typing import Annotated, Literal

import msgspec

from .billing_cycle import Period, shared_period
from .events import Cycle
from .meter_reading import NO_COUNTER, Counter
from .online import Pace
from .profile import BY_THE_MONTH, cycle_of
from .saved_memory import Format

KIND = "plan_limit"
VERSION = 1
DAY_ONE = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_ZERO = Decimal(0)

Raised = tuple[tuple[str, str], ...]
"""Thresholds that an alert named, each with the key of the period that is part of the alert's id."""


class Ended(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A cycle that has ended and whose alerts were not taken back yet.

    Attributes:
        at: when it ended, in UTC.
        total: used in it.
        is_topped_up: it ended because a balance was filled.
    """

    at: datetime
    total: Decimal
    raised: Raised
    is_topped_up: bool


class Metered(msgspec.Struct, gc=False):
    """What is kept of one meter of one account.

    Attributes:
        total: used in the current period; exact.
        told: the highest threshold that was crossed in this period; up to it nothing is told again before renewal.
        in_alarm: the highest threshold that is crossed now.
        raised: thresholds that an alert of this period named and none took back.
        moved: those of a period that became this one when the account's cycle was changed.
        today: used on the local day `day`; days are counted from 1970.
        forecast_on: the last day a forecast was made.
    """

    meter: str
    unit: str
    period: Period
    cycle: Cycle
    rate: Pace
    total: Decimal = _ZERO
    told: Decimal | None = None
    in_alarm: Decimal | None = None
    raised: tuple[str, ...] = ()
    moved: Raised = ()
    is_forecast_told: bool = False
    day: int = 0
    today: float = 0.0
    forecast_on: int = 0
    counter: Counter = NO_COUNTER
    ended: tuple[Ended, ...] = ()

    @property
    def open(self) -> Raised:
        """What an alert named and none took back."""
        return self.moved + tuple([(threshold, self.period.key) for threshold in self.raised])


_CycleKind = Literal["month", "week", "days", "prepaid"]


class _SavedMetered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved.

    Attributes:
        period: its key, start and end; a key that is a date as the number of the day.
        cycle: its kind, anchor and length; None for the usual one.
    """

    meter: str
    unit: str
    period: tuple[str | int, datetime, datetime | None]
    cycle: tuple[_CycleKind, datetime | None, Annotated[int, msgspec.Meta(ge=1, le=366)]] | None
    rate: tuple[int, float, float]
    total: Decimal
    told: Decimal | None
    in_alarm: Decimal | None
    raised: tuple[str, ...]
    moved: Raised
    is_forecast_told: bool
    day: int
    today: float
    forecast_on: int
    counter: Counter | None
    ended: tuple[Ended, ...]


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
                (_saved_key(metered.period.key), metered.period.start, metered.period.end),
                _saved_cycle(metered.cycle),
                metered.rate.save(),
                metered.total,
                metered.told,
                metered.in_alarm,
                metered.raised,
                metered.moved,
                metered.is_forecast_told,
                metered.day,
                metered.today,
                metered.forecast_on,
                None if metered.counter is NO_COUNTER else metered.counter,
                metered.ended,
            )
            for metered in memory
        ]
    )


def restore_memory(saved: bytes, version: int, thresholds: Mapping[Decimal | None, Decimal]) -> Memory:
    """Return the memory that `save_memory` of that version wrote.

    Args:
        saved: its bytes.
        version: that they are in.
        thresholds: those that are configured, by their value; accounts share them.
    """
    found = _FORMAT.decode(saved, version)
    try:
        return [
            Metered(
                intern(metered.meter),
                intern(metered.unit),
                shared_period(_key(metered.period[0]), *metered.period[1:]),
                BY_THE_MONTH if metered.cycle is None else cycle_of(*metered.cycle),
                Pace.restored(metered.rate),
                metered.total,
                thresholds.get(metered.told, metered.told),
                thresholds.get(metered.in_alarm, metered.in_alarm),
                tuple(map(intern, metered.raised)),
                metered.moved,
                metered.is_forecast_told,
                metered.day,
                metered.today,
                metered.forecast_on,
                NO_COUNTER if metered.counter is None else metered.counter,
                metered.ended,
            )
            for metered in found
        ]
    except (ValueError, OverflowError) as error:
        raise _FORMAT.damaged(str(error)) from error


@lru_cache(maxsize=1_000)
def _saved_key(key: str) -> str | int:
    """Return a period's key as it is saved."""
    try:
        day = date.fromisoformat(key).toordinal() - DAY_ONE
    except ValueError:
        return key
    return day if _key(day) == key else key


@lru_cache(maxsize=1_000)
def _key(saved: str | int) -> str:
    """Return the key that was saved.

    Raises:
        ValueError: there is no such day.
    """
    return saved if isinstance(saved, str) else date.fromordinal(saved + DAY_ONE).isoformat()


def _saved_cycle(cycle: Cycle) -> tuple[_CycleKind, datetime | None, int] | None:
    """Return the cycle as it is saved: None for the usual one."""
    return None if cycle is BY_THE_MONTH or cycle == BY_THE_MONTH else (cycle.kind, cycle.anchor, cycle.length)


_FORMAT = Format(KIND, VERSION, list[_SavedMetered])
