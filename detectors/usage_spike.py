"""Usage spikes: a meter that uses far more than this account usually does at such an hour, while it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import log10
from sys import intern
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .alerts import Alert, AlertClass, AnswerGiven, derive_alert_id
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, UsageRecorded
from .local_hour import Hour, HourCount, local_hour
from .message import Message, Name
from .online.usage_cohort import UsageCohort
from .online.usage_figures import growth_of, window_of
from .online.usage_habit import UsageHabit
from .online.usage_spikes import SELDOM_HOURS, regrained
from .profile import AccountFacts
from .usage_spike_memory import KIND, NEVER, VERSION, Memory, Metered, of_meter, restore_memory, save_memory
from .usage_spike_pools import UsagePools, tag_of
from .usage_spike_words import GROWTH, end_of_spike, figures_of, growth, newcomers_spike, period_of, spike

_MOST_METERS = 32
_HOURS_A_MONTH = 720
_FOREIGN = 3
_CLOCK_BACK = 24
_TOLD_HOURS = 24 * 14  # after a spike; then the level that it brought is the one that growth is measured from


class UsageSpikeSettings(DetectorSettings):
    """How the usage-spike detector is tuned.

    Attributes:
        alerts_a_month: how many alerts a month an account with nothing wrong may get, for each meter. The line that leaves
            so many is learned from the accounts' own scores.
        warm_up_hours: hours, or days' worth of them, learned before the account's own habit may ring.
        least_share: what was used must exceed what is usual by this share of it.
        least_extra: and by so much, in the meter's unit; meters that are not named have no such floor.
        growth_share: how much more than half a year ago, as a share of that, is told even if no day was odd.
        buckets: whether a meter is looked at by the hour or by the day; for those not named its readings show it.
    """

    alerts_a_month: Annotated[float, Field(gt=0, le=100)] = 0.25
    warm_up_hours: Annotated[int, Field(ge=1, le=24 * 60)] = 24 * 3
    least_share: Annotated[float, Field(ge=0)] = 0.5
    least_extra: dict[Name, Annotated[Decimal, Field(ge=0)]] = Field(default_factory=dict)
    growth_share: Annotated[float, Field(gt=0)] = 1.0
    buckets: dict[Name, Literal["hour", "day"]] = Field(default_factory=dict)


class UsageSpike:
    """Compare the running hour and the last 2, 4, 8 and 24 with what they usually hold, and the day's least with the usual least.

    Readings add up in the account's local hours. The running hour counts while it fills: use is never negative, so what a
    part of an hour shows the whole hour would show too. A meter that is read once a day is looked at by the day: then only
    spikes of about a day's usage are found. How odd the last hours are is worked out by `UsageHabit`, with what accounts of
    the same segment or area do just now, `UsageCohort`; the line is learned by `AlertLine`. One-sided: unusually low usage
    worries no customer. Two floors, one relative and one in the meter's unit, keep out what is odd and small.

    A spike is one alert from the hour in which it was first told until the score was low for six hours. Meanwhile, for three
    days, what is odd teaches no habit; after that it does, so a change of habit costs one alert. The customer is asked:
    "I know why" makes the new level the habit at once; "I do not" keeps it from becoming one for ten days more, and takes the
    spike out of what the line is learned from. An alert that is declined as not useful raises this meter's bar by a quarter
    for a month, up to three times; one that is accepted takes that back.

    What creeps up by less each day than days differ never looks odd; a level or a base load that is twice what it was
    half a year ago is told once.

    Corrections and late readings teach nothing and ring nothing. A counter's step is spread over the hours it took. An
    account that has no habit yet is judged by what all accounts on the meter use.

    Irregularities: `late_reading`, `clock_set_back`, `counter_reset`, `unit_changed`, `too_many_meters`, `habit_too_old`,
    `older_memory`, `older_pools`.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "limit"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded, AccountUpdated, AnswerGiven)

    def __init__(self, settings: UsageSpikeSettings) -> None:
        self._settings = settings
        self._least_extra = {meter: float(extra) for meter, extra in settings.least_extra.items()}
        self._hours = HourCount()
        self._pools = UsagePools(settings.alerts_a_month)
        self.irregularities: Counter[str] = Counter()

    def begin(self) -> Memory:
        """Return the memory of an account never seen: no meter yet."""
        return []

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:
        """Learn the local hours and days that had ended before `now`."""
        number = self._hours.number_at(now)
        for metered in memory:
            if number > metered.habit.bucket or metered.habit.daily:
                self._begin(metered, local_hour(number, facts.zone), facts)

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return a spike that `event` makes plain, or that one is over."""
        if not isinstance(event, UsageRecorded) or event.correction:
            return ()
        metered = of_meter(event.meter, memory)
        if metered is None:
            metered = self._new(event.meter, event.unit)
            if len(memory) >= _MOST_METERS:  # it could not be remembered that it was told
                return ()
        hour = local_hour(self._hours.number_at(event.time), facts.zone)
        if metered.unit != event.unit or metered.habit.bucket not in (NEVER, _bucket(metered.habit, hour)):
            return ()
        if metered.is_open:
            is_over = metered.habit.calm >= metered.habit.grain.told_apart
            return (end_of_spike(event, facts, metered),) if is_over else ()
        return self._findings(event, facts, metered, hour.number)

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to the running hour, note what was told, and what was answered."""
        if isinstance(event, AnswerGiven):
            self._learn_answer(event, memory)
        elif isinstance(event, UsageRecorded):
            metered = self._metered(event, memory)
            if metered is not None:
                self._learn_reading(event, facts, metered)
                if raised:
                    _note(raised, metered, self._hours.number_at(event.time))

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote; of an older one the habits begin anew."""
        memory = restore_memory(saved, version)
        self.irregularities["older_memory"] += version < VERSION
        return memory

    def save_pools(self) -> dict[str, bytes]:
        """Return each cohort's counts, which every hour changes, and its tables, which change ever more seldom."""
        return self._pools.save()

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote; older ones begin anew."""
        if version < VERSION:
            self._pools.restore({}, VERSION)
            self.irregularities["older_pools"] += 1
        else:
            self._pools.restore(saved, version)

    # scoring ----------------------------------------------------------------------------------------------------------

    def _findings(self, event: UsageRecorded, facts: AccountFacts, metered: Metered, number: int) -> Sequence[Finding]:
        habit, used = metered.habit, _used(event, metered)
        cohort = self._pools.of(self._pools.key(event.meter, event.unit, facts, habit.daily))
        if habit.n * habit.grain.seconds < self._settings.warm_up_hours * 3600:
            return self._newcomers_spike(event, facts, habit.value + used, cohort)
        score = habit.score_one(used, cohort) / habit.line(cohort)
        if score >= 1.0:
            return self._spike(event, facts, habit, used, cohort, score)
        if habit.filled or metered.told_at != NEVER:
            return ()
        grown = (growth_of(habit) - 1.0) / self._settings.growth_share
        return (growth(event, facts, habit, number, grown),) if grown >= 1.0 else ()

    def _spike(
        self,
        event: UsageRecorded,
        facts: AccountFacts,
        habit: UsageHabit,
        used: float,
        cohort: UsageCohort,
        score: float,
    ) -> Sequence[Finding]:
        figures = figures_of(habit, window_of(habit, used, cohort), used, facts.zone, self._hours.number_at(event.time))
        if not self._is_large(event.meter, figures.seen, figures.usual):
            return ()
        return (spike(event, facts, figures, score, self._hours.number_at(event.time)),)

    def _newcomers_spike(
        self, event: UsageRecorded, facts: AccountFacts, usage: float, cohort: UsageCohort
    ) -> Sequence[Finding]:
        """Judge an account without a habit by what all accounts on this meter use."""
        buckets = _HOURS_A_MONTH * 3600 / cohort.grain.seconds
        line = max(1.0, log10(buckets / self._settings.alerts_a_month))
        score, typical = cohort.rarity_of_usage(usage) / line, cohort.typical
        if score < 1.0 or not self._is_large(event.meter, usage, typical):
            return ()
        return (newcomers_spike(event, facts, usage, typical, score, self._hours.number_at(event.time)),)

    def _is_large(self, meter: str, seen: float, usual: float) -> bool:
        extra = seen - usual
        return extra > self._settings.least_share * usual and extra >= self._least_extra.get(meter, 0.0)

    # learning ---------------------------------------------------------------------------------------------------------

    def _begin(self, metered: Metered, hour: Hour, facts: AccountFacts) -> None:
        habit = metered.habit
        bucket = _bucket(habit, hour)
        if bucket <= habit.bucket:
            return
        key = self._pools.key(metered.meter, metered.unit, facts, habit.daily)
        cohort, tag = self._pools.to_teach(key), tag_of(key)
        slot, kind = (hour.weekday, 0) if habit.daily else (hour.on_the_wall, int(hour.is_weekend))
        if not habit.begin(bucket, slot, kind, cohort, tag):
            self.irregularities["habit_too_old"] += 1
            metered.is_open = False

    def _metered(self, event: UsageRecorded, memory: Memory) -> Metered | None:
        """Return what is kept of the event's meter, which may begin now; None where its reading cannot be used."""
        metered = of_meter(event.meter, memory)
        if metered is None:
            if len(memory) >= _MOST_METERS:
                self.irregularities["too_many_meters"] += 1
                return None
            metered = self._new(intern(event.meter), intern(event.unit))
            memory.append(metered)
        elif metered.unit == event.unit:
            metered.foreign = 0
        else:
            self.irregularities["unit_changed"] += 1
            metered.foreign += 1
            if metered.foreign < _FOREIGN:
                return None
            daily = metered.habit.daily
            memory[memory.index(metered)] = metered = Metered(metered.meter, intern(event.unit), UsageHabit(daily))
        return metered

    def _new(self, meter: str, unit: str) -> Metered:
        return Metered(meter, unit, UsageHabit(self._settings.buckets.get(meter) == "day"))

    def _learn_reading(self, event: UsageRecorded, facts: AccountFacts, metered: Metered) -> None:
        if event.cumulative and metered.counter.is_reset_by(event):
            self.irregularities["counter_reset"] += 1
        used = _used(event, metered)
        metered.counter = metered.counter.after(event)
        if event.correction:
            return
        hour = local_hour(self._hours.number_at(event.time), facts.zone)
        if metered.strange or metered.habit.daily or hour.number - metered.read_at >= SELDOM_HOURS:
            self._look_closer_or_less(metered, hour.number)
        habit = metered.habit
        if _bucket(habit, hour) > habit.bucket:
            self._begin(metered, hour, facts)
        if _bucket(habit, hour) < habit.bucket:
            self.irregularities["late_reading"] += 1
            metered.late += 1
            if metered.late < _CLOCK_BACK:
                return
            self.irregularities["clock_set_back"] += 1
            habit.rewind(_bucket(habit, hour))
            self._begin(metered, hour, facts)
        if metered.told_at != NEVER and hour.number - metered.told_at > _TOLD_HOURS and not metered.is_open:
            metered.told_at = NEVER
            habit.forget_growth()  # it was told
        metered.late = 0
        metered.read_at = hour.number
        habit.learn_one(used, self._pools.to_teach(self._pools.key(event.meter, event.unit, facts, habit.daily)))

    def _look_closer_or_less(self, metered: Metered, number: int) -> None:
        """Change between hours and days when the readings say so; the habit begins anew then."""
        if metered.read_at == NEVER or metered.meter in self._settings.buckets:
            return
        habit, metered.strange = regrained(metered.habit, number - metered.read_at, metered.strange)
        if habit is not metered.habit:
            metered.habit, metered.is_open = habit, False

    def _learn_answer(self, event: AnswerGiven, memory: Memory) -> None:
        for metered in memory:
            if metered.told_at != NEVER and event.alert_id == _alert_id(event.account, metered.meter, metered.told_at):
                habit = metered.habit
                if event.means == "declined":
                    habit.dismiss()
                elif event.means == "accepted":
                    habit.dismissed = 0
                elif not metered.is_open:
                    return
                elif event.means == "confirmed":
                    told_at = (
                        metered.told_at if not habit.daily else habit.bucket - (metered.read_at - metered.told_at) // 24
                    )
                    habit.adopt(habit.bucket - told_at)
                else:
                    habit.deny()
                return


def _bucket(habit: UsageHabit, hour: Hour) -> int:
    return hour.day if habit.daily else hour.number


def _used(event: UsageRecorded, metered: Metered) -> float:
    """Return what was used in a bucket; a counter's step is spread over the buckets it took."""
    if not event.cumulative:
        return max(0.0, float(event.quantity))
    hours = metered.counter.hours_since(event)
    buckets = max(1.0, hours / 24) if metered.habit.daily else hours
    return max(0.0, float(metered.counter.used(event))) / buckets


def _note(raised: Sequence[Alert], metered: Metered, number: int) -> None:
    """Remember what was told."""
    for alert in raised:
        if alert.state != "triggered":
            metered.is_open = False
        elif alert.alert_id == _alert_id(alert.account, metered.meter, number, GROWTH):
            metered.habit.forget_growth()
        else:
            metered.told_at, metered.is_open, metered.habit.calm = number, True, 0


def _alert_id(account: str, meter: str, told_at: int, threshold: str = "") -> str:
    return derive_alert_id(account, KIND, meter, period_of(told_at), threshold)
