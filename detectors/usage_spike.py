"""Usage spikes: a meter that uses far more than this account usually does at such an hour, while it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import log10, sqrt
from sys import intern
from typing import Annotated, ClassVar

from pydantic import Field

from .alerts import Alert, AlertClass
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, UsageRecorded
from .local_hour import Hour, HourCount, local_hour
from .message import Message, Name
from .meter_reading import Counter
from .online import Deviation, HourlyHabit
from .profile import AccountFacts
from .usage_spike_memory import KIND, VERSION, Memory, Metered, of_meter, restore_memory, save_memory
from .usage_spike_pools import Pool, restore_pools, save_pools, size_of
from .usage_spike_words import end_of_spike, newcomers_spike, spike

_HOURS_A_MONTH = 720
_MOST_METERS = 32
_MOST_POOLS = 200
_OTHERS = ""  # the pool of the meters past those; no meter is named so
_OVER_AT = 0.5  # an episode ends when the score has fallen so far below the line
_CALM_HOURS = 6  # and has stayed there for so long
_HABITUATION = 1 / 72  # hours: what was odd for three days must be odder to count
_HABITUATED_SHARE = 0.7
_POOLED_HOURS = 24 * 30  # an account-month, before other customers' hours can judge a newcomer's
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

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "limit"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded, AccountUpdated)

    def __init__(self, settings: UsageSpikeSettings) -> None:
        self._settings = settings
        self._least_extra = {meter: float(extra) for meter, extra in settings.least_extra.items()}
        self._line_decades = log10(_HOURS_A_MONTH / settings.odd_hours_a_month)
        self._hours = HourCount()
        self._pools: dict[str, Pool] = {}
        self._blank = Pool()  # of a meter of which nothing was learned; it stays so

    def begin(self) -> Memory:
        """Return the memory of an account never seen: no meter yet."""
        return []

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:  # noqa: ARG002 - the protocol
        """Learn the local hours that had ended before `now`."""
        number = self._hours.number_at(now)
        for metered in memory:
            if metered.hour is not None and number > metered.hour.number:
                self._close(metered, metered.hour, self._pool_to_teach(metered.meter), number)

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return a spike that `event` makes plain, or that one is over."""
        if not isinstance(event, UsageRecorded) or event.correction:
            return ()
        metered = of_meter(event.meter, memory)
        if metered is None:
            if len(memory) >= _MOST_METERS:  # it could not be remembered that it was told
                return ()
            metered = Metered(event.meter, event.unit, HourlyHabit())
        hour = local_hour(self._hours.number_at(event.time), facts.zone)
        if hour.number < metered.learned_until:
            return ()
        if metered.episode:
            return (end_of_spike(event, facts, metered),) if metered.calm_hours >= _CALM_HOURS else ()
        if metered.habit.hours < self._settings.warm_up_hours:
            return self._newcomers_spikes(event, facts, metered)
        return self._spikes(event, facts, metered, hour)

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to the running hour, and note what was told."""
        if not isinstance(event, UsageRecorded):
            return
        metered = of_meter(event.meter, memory)
        if metered is None:
            if len(memory) >= _MOST_METERS:
                return
            metered = Metered(intern(event.meter), intern(event.unit), HourlyHabit())
            memory.append(metered)
        used = _used(event, metered.counter)
        metered.counter = metered.counter.after(event)
        hour = local_hour(self._hours.number_at(event.time), facts.zone)
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

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote."""
        return restore_memory(saved, version)

    def save_pools(self) -> dict[str, bytes]:
        """Return each meter's counts, which every hour changes, and its tables, which change ever more seldom."""
        return save_pools(self._pools)

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote."""
        self._pools = restore_pools(saved, version)

    def _spikes(self, event: UsageRecorded, facts: AccountFacts, metered: Metered, hour: Hour) -> Sequence[Finding]:
        usage = self._usage_with(event, metered)
        score, window = self._judge(
            event.meter, metered, metered.habit.errors(hour.on_the_wall, hour.is_weekend, usage)
        )
        if score < 1.0:
            return ()
        deviation = metered.habit.deviation(hour.on_the_wall, hour.is_weekend, usage)
        if not self._is_large(event.meter, deviation, window):
            return ()
        return (spike(event, facts, deviation, window, score),)

    def _newcomers_spikes(self, event: UsageRecorded, facts: AccountFacts, metered: Metered) -> Sequence[Finding]:
        """Judge an account without a habit by the hours of all accounts on this meter."""
        pool = self._pool(event.meter)
        if pool.hours < _POOLED_HOURS:
            return ()
        usage, typical = self._usage_with(event, metered), float(pool.typical.get())
        score = pool.size.decades(size_of(usage, typical)) / self._line_decades
        if score < 1.0 or usage - typical < max(
            self._settings.least_share * typical, self._least_extra.get(event.meter, 0.0)
        ):
            return ()
        return (newcomers_spike(event, facts, usage, typical, score),)

    def _usage_with(self, event: UsageRecorded, metered: Metered) -> float:
        """Return the running hour's usage with `event` in it; a counter's step is spread over the hours it took."""
        return _used(event, metered.counter) + (metered.usage if metered.hour is not None else 0.0)

    def _pool(self, meter: str) -> Pool:
        pool = self._pools.get(meter)
        return pool if pool is not None else self._pools.get(_OTHERS, self._blank)

    def _pool_to_teach(self, meter: str) -> Pool:
        pool = self._pools.get(meter)
        if pool is None:
            key = meter if len(self._pools) < _MOST_POOLS else _OTHERS
            pool = self._pools.setdefault(key, Pool())
        return pool

    def _judge(self, meter: str, metered: Metered, errors: tuple[float, ...]) -> tuple[float, int]:
        """Return the score and the window that says most."""
        pool = self._pool(meter)
        oddness, window = _oddness(pool, errors)
        return self._score_of(pool, _above_habituation(oddness, metered)), window

    def _score_of(self, pool: Pool, above: float) -> float:
        return pool.oddness.decades(above) / self._line_decades

    def _is_large(self, meter: str, deviation: Deviation, window: int) -> bool:
        extra, usual = deviation.seen[window] - deviation.usual[window], deviation.usual[window]
        return extra > self._settings.least_share * usual and extra >= self._least_extra.get(meter, 0.0)

    def _close(self, metered: Metered, hour: Hour, pool: Pool, now: int) -> None:
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


def _used(event: UsageRecorded, counter: Counter) -> float:
    """Return what was used in an hour; a counter's step is spread over the hours it took."""
    if not event.cumulative:
        return max(0.0, float(event.quantity))
    return max(0.0, float(counter.used(event))) / counter.hours_since(event)


def _oddness(pool: Pool, errors: tuple[float, ...]) -> tuple[float, int]:
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


def _above_habituation(oddness: float, metered: Metered) -> float:
    """Return how much odder this is than the account has been for days."""
    return max(0.0, oddness - _HABITUATED_SHARE * metered.habituation)
