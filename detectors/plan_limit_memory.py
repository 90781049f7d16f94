"""What the plan-limit detector remembers of an account, and how that is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from sys import intern
from typing import Annotated, Any

import msgspec

from .billing_cycle import Period, shared_period
from .cycle_forecast import CycleForecast, ForecastPool
from .events import Cycle, CycleKind
from .meter_reading import NO_COUNTER, Counter
from .plan_limit_terms import PLAIN, Terms
from .profile import BY_THE_MONTH, AccountFacts, cycle_of
from .saved_memory import Format

KIND = "plan_limit"
VERSION = 2
DAY_ONE = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_ZERO = Decimal(0)

Raised = tuple[tuple[str, str], ...]
"""Thresholds that an alert named, each with the key of the period that is part of the alert's id."""

Window = tuple[tuple[int, Decimal], ...]
"""What was used on each day of a rolling window, the oldest first; days are counted from 1970."""


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
    """What is kept of one meter, or bundle of meters, of one account.

    Attributes:
        total: used in the current period; exact. Of a prepaid balance that was topped up: its size less what it holds.
        told: the highest threshold that was crossed in this period; up to it nothing is told again before renewal.
        in_alarm: the highest threshold that is crossed now.
        room: what might be used when that was last looked at; None where there was no plan to say.
        plan: the plan that said so.
        terms: what adds to the plan's allowance.
        raised: thresholds that an alert of this period named and none took back.
        moved: those of a period that became this one when the account's cycle, or what it may use, was changed.
        window: of a rolling period.
        today: used on the local day `day`; days are counted from 1970.
        forecast_on: the last day a forecast was made.
    """

    meter: str
    unit: str
    period: Period
    cycle: Cycle
    forecast: CycleForecast
    total: Decimal = _ZERO
    told: Decimal | None = None
    in_alarm: Decimal | None = None
    room: Decimal | None = None
    plan: str | None = None
    terms: Terms = PLAIN
    raised: tuple[str, ...] = ()
    moved: Raised = ()
    window: Window = ()
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


class Memory(msgspec.Struct, gc=False):
    """What is kept of an account: its meters.

    Attributes:
        meters: in the order in which they were first used.
        facts: those that the meters were last settled with; None where they were not, since the start.
        calm_from: since when, and
        calm_until: until when nothing ends, for an account with these facts; all of it on the local day
        day: counted from 1970, which is that of the moment last settled.
        supposed: what the event scored last makes of its meter, so that `learn` need not work it out again.
            None of these is saved.
    """

    meters: tuple[Metered, ...] = ()
    facts: AccountFacts | None = None
    calm_from: datetime | None = None
    calm_until: datetime | None = None
    day: int = 0
    supposed: Any = None

    def of(self, meter: str) -> Metered | None:
        """Return what is kept of one meter."""
        for metered in self.meters:
            if metered.meter == meter:
                return metered
        return None


_SavedPeriod = tuple[str | int, datetime, datetime | None]
_SavedCycle = tuple[CycleKind, datetime | None, Annotated[int, msgspec.Meta(ge=1, le=366)]] | None
_SavedForecast = tuple[Annotated[int, msgspec.Meta(ge=0)], bytes, bytes]


class _SavedMetered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved.

    Attributes:
        period: its key, start and end; a key that is a date as the number of the day.
        cycle: its kind, anchor and length; None for the usual one.
    """

    meter: str
    unit: str
    period: _SavedPeriod
    cycle: _SavedCycle
    forecast: _SavedForecast
    total: Decimal
    told: Decimal | None
    in_alarm: Decimal | None
    room: Decimal | None
    plan: str | None
    terms: Terms | None
    raised: tuple[str, ...]
    moved: Raised
    window: Window
    is_forecast_told: bool
    day: int
    today: float
    forecast_on: int
    counter: Counter | None
    ended: tuple[Ended, ...]


class _FirstMetered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as version 1 saved it; `rate` is days, and the fading mean and mean square of a day's usage."""

    meter: str
    unit: str
    period: _SavedPeriod
    cycle: _SavedCycle
    rate: tuple[Annotated[int, msgspec.Meta(ge=0)], float, float]
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


def save_memory(memory: Memory) -> bytes:
    """Return the memory in the format of `VERSION`."""
    return _FORMAT.encode(
        [
            (
                metered.meter,
                metered.unit,
                (_saved_key(metered.period.key), metered.period.start, metered.period.end),
                _saved_cycle(metered.cycle),
                metered.forecast.save(),
                metered.total,
                metered.told,
                metered.in_alarm,
                metered.room,
                metered.plan,
                None if metered.terms is PLAIN else metered.terms,
                metered.raised,
                metered.moved,
                metered.window,
                metered.is_forecast_told,
                metered.day,
                metered.today,
                metered.forecast_on,
                None if metered.counter is NO_COUNTER else metered.counter,
                metered.ended,
            )
            for metered in memory.meters
        ]
    )


def restore_memory(
    saved: bytes, version: int, shared: Mapping[Decimal | None, Decimal], pool_of: Callable[[str], ForecastPool]
) -> Memory:
    """Return the memory that `save_memory` of that version wrote.

    Args:
        saved: its bytes.
        version: that they are in; what version 1 saved is read too.
        shared: the thresholds and allowances that are configured, by their value; accounts share them.
        pool_of: what a meter's forecasts share over accounts.
    """
    try:
        if version == 1:
            return Memory(tuple([_migrated(metered, pool_of) for metered in _FIRST.decode(saved, version)]))
        return Memory(tuple([_restored(metered, shared, pool_of) for metered in _FORMAT.decode(saved, version)]))
    except (ValueError, OverflowError) as error:
        raise _FORMAT.damaged(str(error)) from error


def _restored(
    metered: _SavedMetered, shared: Mapping[Decimal | None, Decimal], pool_of: Callable[[str], ForecastPool]
) -> Metered:
    return Metered(
        intern(metered.meter),
        intern(metered.unit),
        shared_period(_key(metered.period[0]), *metered.period[1:]),
        BY_THE_MONTH if metered.cycle is None else cycle_of(*metered.cycle),
        CycleForecast.restored(metered.forecast, pool_of(metered.meter)),
        metered.total,
        shared.get(metered.told, metered.told),
        shared.get(metered.in_alarm, metered.in_alarm),
        None if metered.room is None else shared.get(metered.room, metered.room),
        None if metered.plan is None else intern(metered.plan),
        PLAIN if metered.terms is None else metered.terms,
        shared_raised(metered.raised),
        metered.moved,
        metered.window,
        metered.is_forecast_told,
        metered.day,
        metered.today,
        metered.day if metered.forecast_on == metered.day else metered.forecast_on,  # one object for both
        NO_COUNTER if metered.counter is None else metered.counter,
        metered.ended,
    )


def _migrated(metered: _FirstMetered, pool_of: Callable[[str], ForecastPool]) -> Metered:
    """Return what version 1 knew: the cycle goes on where it stood, the forecast from the level that was learned."""
    return Metered(
        intern(metered.meter),
        intern(metered.unit),
        shared_period(_key(metered.period[0]), *metered.period[1:]),
        BY_THE_MONTH if metered.cycle is None else cycle_of(*metered.cycle),
        CycleForecast.of_level(*metered.rate, pool_of(metered.meter)),
        total=metered.total,
        told=metered.told,
        in_alarm=metered.in_alarm,
        raised=tuple(map(intern, metered.raised)),
        moved=metered.moved,
        is_forecast_told=metered.is_forecast_told,
        day=metered.day,
        today=metered.today,
        forecast_on=metered.forecast_on,
        counter=NO_COUNTER if metered.counter is None else metered.counter,
        ended=metered.ended,
    )


@lru_cache(maxsize=1_000)
def shared_raised(raised: tuple[str, ...]) -> tuple[str, ...]:
    """Return these thresholds; accounts that were told of the same share them."""
    return tuple(map(intern, raised))


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


def _saved_cycle(cycle: Cycle) -> tuple[CycleKind, datetime | None, int] | None:
    """Return the cycle as it is saved: None for the usual one."""
    return None if cycle is BY_THE_MONTH or cycle == BY_THE_MONTH else (cycle.kind, cycle.anchor, cycle.length)


_FORMAT = Format(KIND, VERSION, list[_SavedMetered])
_FIRST = Format(KIND, 1, list[_FirstMetered])
