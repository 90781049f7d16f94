"""Usage spikes: a meter that uses far more than this account usually does at such an hour, while it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import log2, log10, sqrt
from sys import intern
from typing import Annotated, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from pydantic import Field
from river import stats

from .alerts import Alert, AlertClass, FactValue, Reason
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, UsageRecorded
from .message import Message, Name
from .meter_reading import NO_COUNTER, Counter, readable
from .online import WINDOWS, Deviation, HourlyHabit, UpperTail
from .profile import AccountFacts
from .saved_memory import Format

_HOUR = timedelta(hours=1)
_HOURS_A_MONTH = 720
_MOST_METERS = 32
_MOST_POOLS = 200
_OTHERS = ""  # the pool of the meters past those; no meter is named so
_USEFUL = timedelta(hours=24)
_OVER_AT = 0.5  # an episode ends when the score has fallen so far below the line
_CALM_HOURS = 6  # and has stayed there for so long
_HABITUATION = 1 / 72  # hours: what was odd for three days must be odder to count
_HABITUATED_SHARE = 0.7
_SATURDAY = 5
_POOLED_HOURS = 24 * 30  # an account-month, before other customers' hours can judge a newcomer's
_TYPICAL_FADING = 0.001
_NOTABLE = 0.25  # oddness below it is not told apart, so the tail is not asked


class UsageSpikeSettings(DetectorSettings):
    """How the usage-spike detector is tuned.

    Attributes:
        odd_hours_a_month: how many hours of a month may be over the line on an account with nothing wrong, for each meter.
            They come in runs, and a run is one alert; `make bench` shows what that makes on real homes.
        warm_up_hours: hours learned before the account's own habit may ring.
        least_share: what was used must exceed what is usual by this share of it.
        least_extra: and by so much, in the meter's unit; meters that are not named have no such floor.
    """

    odd_hours_a_month: Annotated[float, Field(gt=0, le=100)] = 1.0
    warm_up_hours: Annotated[int, Field(ge=1, le=24 * 60)] = 24 * 7
    least_share: Annotated[float, Field(ge=0)] = 0.5
    least_extra: dict[Name, Annotated[Decimal, Field(ge=0)]] = Field(default_factory=dict)


class _Hour(NamedTuple):
    """An hour of time; what is usual in it goes by the clock on the wall.

    Attributes:
        number: hours since 1970, so that the hour that daylight saving doubles is two.
        on_the_wall: 0 to 23, local.
        is_weekend: Saturday or Sunday, local.
    """

    number: int
    on_the_wall: int
    is_weekend: bool


class _Metered(msgspec.Struct, gc=False):
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
    hour: _Hour | None = None
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


@dataclass(slots=True)
class _Pool:
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
        self.size.learn_one(_size(usage, float(self.typical.get())))


class _SavedPool(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What of a pool changes with every hour."""

    hours: Annotated[int, msgspec.Meta(ge=0)]
    typical: float
    counts: list[list[Annotated[int, msgspec.Meta(ge=0)]]]


_Memory = list[_Metered]


class UsageSpike:
    """Compare the running hour and the last 3, 8 and 24 with what they usually hold.

    Readings add up in the account's local hours. The running hour counts while it fills: use is never negative, so what a
    part of an hour shows the whole hour would show too. Only hours that have ended are learned, and none may teach more than
    three times the level: a spike does not become the habit, a change of habit does, over days, at the cost of one alert.

    One-sided: unusually low usage worries no customer. How odd the last hours are is the quadratic mean over the windows of
    how rare their deviations are, in decades, among all accounts' deviations on this meter; the line is where the pooled tail
    of that leaves `odd_hours_a_month`. Two floors, one relative and one in the meter's unit, keep out what is odd and small.

    Corrections and late readings teach nothing and ring nothing. A counter's step is spread over the hours it took.

    An account that has no habit yet is judged by the hours of all accounts on the meter, against the same line.
    """

    kind: ClassVar[str] = "usage_spike"
    version: ClassVar[int] = 1
    alert_class: ClassVar[AlertClass] = "limit"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded, AccountUpdated)

    def __init__(self, settings: UsageSpikeSettings) -> None:
        self._settings = settings
        self._least_extra = {meter: float(extra) for meter, extra in settings.least_extra.items()}
        self._line_decades = log10(_HOURS_A_MONTH / settings.odd_hours_a_month)
        self._pools: dict[str, _Pool] = {}
        self._blank = _Pool()  # of a meter of which nothing was learned; it stays so

    def begin(self) -> _Memory:
        """Return the memory of an account never seen: no meter yet."""
        return []

    def settle(self, now: datetime, facts: AccountFacts, memory: _Memory) -> None:  # noqa: ARG002 - the protocol
        """Learn the local hours that had ended before `now`."""
        number = int(now.timestamp() // 3600)
        for metered in memory:
            if metered.hour is not None and number > metered.hour.number:
                self._close(metered, metered.hour, self._pool_to_teach(metered.meter), number)

    def score(self, event: Message, facts: AccountFacts, memory: _Memory) -> Sequence[Finding]:
        """Return a spike that `event` makes plain, or that one is over."""
        if not isinstance(event, UsageRecorded) or event.correction:
            return ()
        metered = _of_meter(event.meter, memory)
        if metered is None:
            if len(memory) >= _MOST_METERS:  # it could not be remembered that it was told
                return ()
            metered = _Metered(event.meter, event.unit, HourlyHabit())
        hour = _hour_at(event.time, facts.zone)
        if hour.number < metered.learned_until:
            return ()
        if metered.episode:
            return self._end_of_episode(event, facts, metered)
        if metered.habit.hours < self._settings.warm_up_hours:
            return self._newcomers_spikes(event, facts, metered)
        return self._spikes(event, facts, metered, hour)

    def learn(self, event: Message, facts: AccountFacts, memory: _Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to the running hour, and note what was told."""
        if not isinstance(event, UsageRecorded):
            return
        metered = _of_meter(event.meter, memory)
        if metered is None:
            if len(memory) >= _MOST_METERS:
                return
            metered = _Metered(intern(event.meter), intern(event.unit), HourlyHabit())
            memory.append(metered)
        used = _used(event, metered.counter)
        metered.counter = metered.counter.after(event)
        hour = _hour_at(event.time, facts.zone)
        if event.correction or hour.number < metered.learned_until:
            return
        if metered.hour is None:
            metered.hour, metered.usage, metered.learned_until = hour, 0.0, hour.number
        metered.usage += used
        for alert in raised:
            if alert.state == "triggered":
                metered.episode = event.time.astimezone(facts.zone).date().isoformat()
                metered.calm_hours = 0
            else:
                metered.episode = ""

    def save(self, memory: _Memory) -> bytes:
        """Return the memory in the format of `version`."""
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

    def restore(self, saved: bytes, version: int) -> _Memory:
        """Return the memory that `save` of that version wrote."""
        try:
            return [
                _Metered(
                    intern(metered.meter),
                    intern(metered.unit),
                    HourlyHabit.restored(metered.hours, metered.habit),
                    NO_COUNTER if metered.counter is None else metered.counter,
                    None if metered.hour is None else _hour_known(metered.learned_until, *divmod(metered.hour, 24)),
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

    def save_pools(self) -> dict[str, bytes]:
        """Return each meter's counts, which every hour changes, and its tables, which change ever more seldom."""
        parts = {}
        for meter, pool in self._pools.items():
            counts = [tail.save_counts() for tail in pool.tails]
            parts[f"counts/{meter}"] = _COUNTS.encode(_SavedPool(pool.hours, float(pool.typical.get()), counts))
            parts[f"tables/{meter}"] = _TABLES.encode([tail.save_table() for tail in pool.tails])
        return parts

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote."""
        pools = {}
        for name in sorted(saved):
            which, _, meter = name.partition("/")
            if which == "counts":
                pools[intern(meter)] = _restored_pool(
                    _COUNTS.decode(saved[name], version), _TABLES.decode(saved.get(f"tables/{meter}", b""), version)
                )
            elif which != "tables" or f"counts/{meter}" not in saved:
                raise _COUNTS.damaged(f"the pools have a part {name!r} that belongs to nothing")
        self._pools = pools

    def _spikes(self, event: UsageRecorded, facts: AccountFacts, metered: _Metered, hour: _Hour) -> Sequence[Finding]:
        usage = self._usage_with(event, metered)
        score, window = self._judge(
            event.meter, metered, metered.habit.errors(hour.on_the_wall, hour.is_weekend, usage)
        )
        if score < 1.0:
            return ()
        deviation = metered.habit.deviation(hour.on_the_wall, hour.is_weekend, usage)
        if not self._is_large(event.meter, deviation, window):
            return ()
        return (self._spike(event, facts, deviation, window, score),)

    def _newcomers_spikes(self, event: UsageRecorded, facts: AccountFacts, metered: _Metered) -> Sequence[Finding]:
        """Judge an account without a habit by the hours of all accounts on this meter."""
        pool = self._pool(event.meter)
        if pool.hours < _POOLED_HOURS:
            return ()
        usage, typical = self._usage_with(event, metered), float(pool.typical.get())
        score = pool.size.decades(_size(usage, typical)) / self._line_decades
        if score < 1.0 or usage - typical < max(
            self._settings.least_share * typical, self._least_extra.get(event.meter, 0.0)
        ):
            return ()
        what = (
            f"In the last hour {_short(usage)} {event.unit} of {event.meter} were used; customers with this meter use "
            f"{_short(typical)} {event.unit} an hour, and this one's own habit is not known yet."
        )
        seen, usual = f"{_short(usage)} {event.unit}", f"{_short(typical)} {event.unit} for other customers"
        reason = Reason(what=what, usual=usual, seen=seen, contribution=score)
        return (_finding(event, facts, reason, score, 1, (usage, typical, 0.0, 2 * typical)),)

    def _usage_with(self, event: UsageRecorded, metered: _Metered) -> float:
        """Return the running hour's usage with `event` in it; a counter's step is spread over the hours it took."""
        return _used(event, metered.counter) + (metered.usage if metered.hour is not None else 0.0)

    def _pool(self, meter: str) -> _Pool:
        pool = self._pools.get(meter)
        return pool if pool is not None else self._pools.get(_OTHERS, self._blank)

    def _pool_to_teach(self, meter: str) -> _Pool:
        pool = self._pools.get(meter)
        if pool is None:
            key = meter if len(self._pools) < _MOST_POOLS else _OTHERS
            pool = self._pools.setdefault(key, _Pool())
        return pool

    def _judge(self, meter: str, metered: _Metered, errors: tuple[float, ...]) -> tuple[float, int]:
        """Return the score and the window that says most."""
        pool = self._pool(meter)
        oddness, window = _oddness(pool, errors)
        return self._score_of(pool, _above_habituation(oddness, metered)), window

    def _score_of(self, pool: _Pool, above: float) -> float:
        return pool.oddness.decades(above) / self._line_decades

    def _is_large(self, meter: str, deviation: Deviation, window: int) -> bool:
        extra, usual = deviation.seen[window] - deviation.usual[window], deviation.usual[window]
        return extra > self._settings.least_share * usual and extra >= self._least_extra.get(meter, 0.0)

    def _close(self, metered: _Metered, hour: _Hour, pool: _Pool, now: int) -> None:
        errors = metered.habit.errors(hour.on_the_wall, hour.is_weekend, metered.usage)
        oddness, _ = _oddness(pool, errors)
        above = _above_habituation(oddness, metered)
        if metered.habit.hours >= self._settings.warm_up_hours:
            is_calm = self._score_of(pool, above) < _OVER_AT
            metered.calm_hours = metered.calm_hours + 1 if is_calm else 0
            if not metered.episode:  # a spike that goes on for days is one rarity, not a hundred
                for tail, error in zip(pool.errors, errors, strict=True):
                    tail.learn_one(error)
                pool.oddness.learn_one(above)
        if not metered.episode:
            pool.learn_size(metered.usage)
        metered.habituation += _HABITUATION * (oddness - metered.habituation)
        metered.habit.learn_one(hour.on_the_wall, hour.is_weekend, metered.usage)
        gap = now - hour.number - 1
        if gap > 0:
            metered.habit.skip(gap)
            metered.calm_hours += gap
        metered.hour, metered.usage, metered.learned_until = None, 0.0, hour.number + 1

    def _end_of_episode(self, event: UsageRecorded, facts: AccountFacts, metered: _Metered) -> Sequence[Finding]:
        if metered.calm_hours < _CALM_HOURS:
            return ()
        what = f"{event.meter} has been as usual for {metered.calm_hours} hours."
        return (
            Finding(
                subject=event.meter,
                period=metered.episode,
                score=0.0,
                severity="info",
                occurred_at=event.time,
                useful_until=event.time + _USEFUL,
                state="resolved",
                reasons=(Reason(what=what),),
                facts={"account_ending": facts.account[-4:], "meter": event.meter, "unit": event.unit},
            ),
        )

    def _spike(
        self, event: UsageRecorded, facts: AccountFacts, deviation: Deviation, window: int, score: float
    ) -> Finding:
        seen, usual, spread = deviation.seen[window], deviation.usual[window], deviation.spread[window]
        hours = WINDOWS[window]
        # the spread is one of square roots, summed over the window: share it out over the window's hours and square back
        low, high = (max(0.0, sqrt(usual / hours) + side * spread / hours) ** 2 * hours for side in (-1, 1))
        span = "the last hour" if hours == 1 else f"the last {hours} hours"
        times = f"{seen / usual:.1f} times" if usual > 0 else "more than"
        reason = Reason(
            what=(
                f"In {span} {_short(seen)} {event.unit} of {event.meter} were used, {times} what is usual at this time "
                f"for this account, {_short(usual)} {event.unit} (between {_short(low)} and {_short(high)})."
            ),
            usual=f"{_short(low)} to {_short(high)} {event.unit}",
            seen=f"{_short(seen)} {event.unit}",
            contribution=score,
        )
        return _finding(event, facts, reason, score, hours, (seen, usual, low, high))


def _finding(
    event: UsageRecorded,
    facts: AccountFacts,
    reason: Reason,
    score: float,
    hours: int,
    figures: tuple[float, float, float, float],
) -> Finding:
    """Return a spike of the last `hours`; `figures` are what was seen, the usual, and its low and high end."""
    seen, usual, low, high = map(_short, figures)
    known: dict[str, FactValue] = {
        "account_ending": facts.account[-4:],
        "meter": event.meter,
        "unit": event.unit,
        "seen": seen,
        "usual": usual,
        "usual_low": low,
        "usual_high": high,
        "since": _since(event.time, facts.zone, hours).isoformat(),
    }
    return Finding(
        subject=event.meter,
        period=event.time.astimezone(facts.zone).date().isoformat(),
        score=score,
        severity="warning",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        reasons=(reason,),
        facts=known,
    )


def _restored_pool(saved: _SavedPool, tables: list[tuple[int, list[float]]]) -> _Pool:
    pool = _Pool(hours=saved.hours)
    if saved.hours:
        pool.typical.update(saved.typical)  # the first value is the mean
    try:
        for tail, counts, table in zip(pool.tails, saved.counts, tables, strict=True):
            tail.restore(counts, table)
    except ValueError as error:
        raise _COUNTS.damaged(str(error)) from error
    return pool


def _of_meter(meter: str, memory: _Memory) -> _Metered | None:
    for metered in memory:
        if metered.meter == meter:
            return metered
    return None


def _used(event: UsageRecorded, counter: Counter) -> float:
    """Return what was used in an hour; a counter's step is spread over the hours it took."""
    if not event.cumulative:
        return max(0.0, float(event.quantity))
    return max(0.0, float(counter.used(event))) / counter.hours_since(event)


def _size(usage: float, typical: float) -> float:
    """Return how often the typical hour's usage is doubled; 0 below it."""
    return log2(usage / typical) if usage > typical > 0 else 0.0


def _oddness(pool: _Pool, errors: tuple[float, ...]) -> tuple[float, int]:
    """Return the quadratic mean of the windows' rarities, in decades, and the window that says most."""
    if max(errors) <= _NOTABLE:
        return 0.0, 0
    total, most, window = 0.0, -1.0, 0
    for number, error in enumerate(errors):
        if error <= _NOTABLE:
            continue
        decades = pool.errors[number].decades(error)
        total += decades * decades
        if decades > most:
            most, window = decades, number
    return sqrt(total / len(errors)), window


def _above_habituation(oddness: float, metered: _Metered) -> float:
    """Return how much odder this is than the account has been for days."""
    return max(0.0, oddness - _HABITUATED_SHARE * metered.habituation)


def _hour_at(moment: datetime, zone: ZoneInfo) -> _Hour:
    return _hour(int(moment.timestamp() // 3600), zone)


@lru_cache(maxsize=100_000)
def _hour(number: int, zone: ZoneInfo) -> _Hour:
    """Return an hour by its number: the accounts of a zone share it, and converting times is slow."""
    local = datetime.fromtimestamp(number * 3600, UTC).astimezone(zone)
    return _hour_known(number, int(local.weekday() >= _SATURDAY), local.hour)


@lru_cache(maxsize=100_000)
def _hour_known(number: int, is_weekend: int, on_the_wall: int) -> _Hour:
    return _Hour(number, on_the_wall, bool(is_weekend))


def _since(moment: datetime, zone: ZoneInfo, hours: int) -> datetime:
    return (moment - (hours - 1) * _HOUR).astimezone(zone).replace(minute=0, second=0, microsecond=0)


def _short(number: float) -> str:
    return readable(Decimal(f"{number:.3g}"))


_FORMAT = Format(UsageSpike.kind, UsageSpike.version, list[_SavedMetered])
_COUNTS = Format(UsageSpike.kind, UsageSpike.version, _SavedPool)
_TABLES = Format(UsageSpike.kind, UsageSpike.version, list[tuple[int, list[float]]])
