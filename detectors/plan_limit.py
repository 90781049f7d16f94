"""Plan limits: an allowance that is nearly used up, used up, or will be before the billing cycle ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from sys import intern
from typing import Annotated, ClassVar

from pydantic import Field

from .alerts import Alert, AlertClass, derive_alert_id
from .billing_cycle import Period, period_at
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, UsageRecorded
from .message import Message, Name
from .online import Pace
from .plan_limit_memory import DAY_ONE, KIND, VERSION, Ended, Memory, Metered, of_meter, restore_memory, save_memory
from .plan_limit_words import FORECAST, View, cycle_over
from .plans import Allowance, Plan
from .profile import AccountFacts

_MOST_METERS = 32
_MOST_ENDED = 8
_ZERO = Decimal(0)


class PlanLimitSettings(DetectorSettings):
    """How the plan-limit detector is tuned.

    Attributes:
        thresholds: in percent of the allowance; may be above 100.
        forecast_chance: a forecast is told when the allowance is passed before renewal with at least this probability.
        forecast_after_days: days of usage seen before the first forecast.
    """

    thresholds: Annotated[tuple[Annotated[Decimal, Field(gt=0, le=1000)], ...], Field(min_length=1)] = (
        Decimal(80),
        Decimal(100),
    )
    forecast_chance: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    forecast_after_days: Annotated[int, Field(ge=2, le=60)] = 5


class PlanLimit:
    """Tell once per meter, billing cycle and threshold; on the line is over it.

    Thresholds re-arm at renewal. One event that crosses several is one alert, which names the highest. A correction that
    brings usage below a threshold resolves its alert; crossing again tells nothing new. A reading of an earlier cycle
    changes nothing here: that cycle's bill is another matter. When a cycle ends, its alerts are resolved. A prepaid balance
    has no renewal to be passed before, so only its thresholds count.

    Once a local day, a forecast from the account's usage of the last weeks: if it will pass the allowance before renewal
    with the configured probability, that is told once a cycle, unless 100 % was told already.

    The plan or cycle may arrive after usage: what was used so far is judged then.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "limit"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded, AccountUpdated)

    def __init__(self, settings: PlanLimitSettings, plans: Mapping[Name, Plan]) -> None:
        self._thresholds = sorted(set(settings.thresholds))
        self._shared: dict[Decimal | None, Decimal] = {threshold: threshold for threshold in self._thresholds}
        self._forecast_chance = settings.forecast_chance
        self._forecast_after_days = settings.forecast_after_days
        self._plans = plans

    def begin(self) -> Memory:
        """Return the memory of an account never seen: nothing of any meter."""
        return []

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:
        """Close the local days and the billing cycles that had ended before `now`."""
        if not memory:
            return
        day = _day(now, facts)
        for metered in memory:
            if metered.day < day:
                _close_days(metered, day)
            _turn(metered, facts, now)

    def due(self, facts: AccountFacts, memory: Memory) -> datetime | None:  # noqa: ARG002 - the protocol
        """Return when the first billing cycle ends of which an alert is open."""
        soonest = None
        for metered in memory:
            end = (
                metered.ended[0].at
                if metered.ended
                else metered.period.end
                if metered.raised or metered.moved
                else None
            )
            if end is not None and (soonest is None or end < soonest):
                soonest = end
        return soonest

    def wake(self, now: datetime, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return that the alerts of the cycles that ended are resolved, and begin the next cycles."""
        findings = []
        for metered in memory:
            _turn(metered, facts, now)
            over = [ended for ended in metered.ended if ended.at <= now]
            findings += [finding for ended in over for finding in cycle_over(metered, ended, facts)]
            metered.ended = tuple([ended for ended in metered.ended if ended.at > now])
        return findings

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return the thresholds that `event` crosses, upwards and back, the day's forecast, and what an ended cycle leaves."""
        findings = [
            finding
            for metered in memory
            if metered.ended
            for ended in metered.ended
            for finding in cycle_over(metered, ended, facts)
        ]
        plan = self._plans.get(facts.plan) if facts.plan else None
        if plan is None:
            return findings
        if isinstance(event, UsageRecorded):
            allowance = plan.allowances.get(event.meter)
            metered = of_meter(event.meter, memory)
            if allowance is None or (metered is not None and event.time < metered.period.start):
                return findings
            if metered is None:
                if len(memory) >= _MOST_METERS:  # it could not be remembered that it was told
                    return findings
                metered = _begun(event, facts)
            findings += self._findings(
                metered, metered.total + metered.counter.used(event), allowance, plan, facts, event
            )
            return findings
        for metered in memory:
            allowance = plan.allowances.get(metered.meter)
            if allowance is not None and allowance.unit == metered.unit:
                findings += self._findings(metered, metered.total, allowance, plan, facts, event)
        return findings

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to its cycle and day, and note what was told."""
        plan = self._plans.get(facts.plan) if facts.plan else None
        if isinstance(event, UsageRecorded):
            metered = of_meter(event.meter, memory)
            if metered is None:
                if len(memory) >= _MOST_METERS:
                    return
                metered = _begun(event, facts)
                metered.day = _day(event.time, facts)
                memory.append(metered)
            _add(event, facts, metered)
            self._note(metered, plan)
        else:
            for metered in memory:
                self._note(metered, plan)
        if raised:
            self._note_told(facts, memory, raised)

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote."""
        return restore_memory(saved, version, self._shared)

    def _note(self, metered: Metered, plan: Plan | None) -> None:
        allowance = plan.allowances.get(metered.meter) if plan else None
        if allowance is None:
            return
        metered.in_alarm = top = self._reached(metered.total, allowance)
        if top is not None and (metered.told is None or top > metered.told):
            metered.told = top
        metered.forecast_on = metered.day

    def _note_told(self, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        resolved = {alert.alert_id for alert in raised if alert.state == "resolved"}

        def is_open(meter: str, threshold: str, period: str) -> bool:
            return derive_alert_id(facts.account, self.kind, meter, period, threshold) not in resolved

        if resolved:
            for metered in memory:
                if metered.raised or metered.moved:
                    key = metered.period.key
                    metered.raised = tuple([each for each in metered.raised if is_open(metered.meter, each, key)])
                    metered.moved = tuple([each for each in metered.moved if is_open(metered.meter, *each)])
                metered.ended = tuple(
                    [each for each in metered.ended if any(is_open(metered.meter, *told) for told in each.raised)]
                )
        for alert in raised:
            told_of = of_meter(alert.subject, memory)
            if told_of is not None and alert.state == "triggered":
                threshold = intern(str(alert.facts["threshold"]))
                told_of.is_forecast_told |= threshold == FORECAST
                told_of.raised = (*told_of.raised, threshold)

    def _reached(self, total: Decimal, allowance: Allowance) -> Decimal | None:
        """Return the highest threshold that `total` reaches."""
        percent, highest = total * 100, None
        for threshold in self._thresholds:
            if percent < threshold * allowance.quantity:
                break
            highest = threshold
        return highest

    def _findings(
        self, metered: Metered, total: Decimal, allowance: Allowance, plan: Plan, facts: AccountFacts, event: Message
    ) -> Iterator[Finding]:
        top = self._reached(total, allowance)
        is_new = top is not None and (metered.told is None or top > metered.told)
        may_be_back = (
            metered.in_alarm is not None
            and (metered.raised or metered.moved)
            and (top is None or top < metered.in_alarm)
        )
        is_forecast_due = not is_new and self._is_forecast_due(metered, total, allowance)
        if not (is_new or may_be_back or is_forecast_due):
            return
        view = View(metered, total, allowance, plan, facts, event)
        if is_new and top is not None:
            yield view.crossed(top)
        if may_be_back and metered.in_alarm is not None:
            open_ones = [(Decimal(text), period) for text, period in metered.open if text != FORECAST]
            for threshold, period in sorted(open_ones):
                if threshold <= metered.in_alarm and (top is None or threshold > top):
                    yield view.resolved(threshold, period)
        if is_forecast_due:
            days_left = view.days_left
            chance = metered.rate.chance_above(float(allowance.quantity - total), days_left) if days_left else 0.0
            if chance >= self._forecast_chance:
                yield view.forecast(chance, self._forecast_chance)

    def _is_forecast_due(self, metered: Metered, total: Decimal, allowance: Allowance) -> bool:
        return (
            not metered.is_forecast_told
            and metered.forecast_on < metered.day
            and metered.period.end is not None
            and metered.rate.days >= self._forecast_after_days
            and total < allowance.quantity
        )


def _day(moment: datetime, facts: AccountFacts) -> int:
    """Return the local day that `moment` is in."""
    return moment.astimezone(facts.zone).toordinal() - DAY_ONE


def _begun(event: UsageRecorded, facts: AccountFacts) -> Metered:
    period = period_at(facts.cycle, facts.zone, event.time)
    return Metered(intern(event.meter), intern(event.unit), period, facts.cycle, Pace())


def _add(event: UsageRecorded, facts: AccountFacts, metered: Metered) -> None:
    used = metered.counter.used(event)
    metered.counter = metered.counter.after(event)
    if event.time >= metered.period.start:
        metered.total += used
    if _day(event.time, facts) == metered.day:
        metered.today += float(used)


def _close_days(metered: Metered, day: int) -> None:
    gap = day - metered.day
    metered.rate.learn_one(max(0.0, metered.today))
    if gap <= 7:  # noqa: PLR2004 - a week without a reading is a pause in the data, not a week without usage
        for _ in range(gap - 1):
            metered.rate.learn_one(0.0)
    metered.day, metered.today = day, 0.0


def _turn(metered: Metered, facts: AccountFacts, now: datetime) -> None:
    """Begin the period of `now` if it is another, or the account is billed otherwise than before.

    A bill that moves is not a bill that starts again: what was used stays, unless a cycle or a new balance began since.
    """
    is_over = metered.period.end is not None and now >= metered.period.end
    if metered.cycle is facts.cycle or metered.cycle == facts.cycle:
        if is_over:
            _renew(metered, period_at(facts.cycle, facts.zone, now), metered.period.end)
        return
    period = period_at(facts.cycle, facts.zone, now)
    is_topped_up = metered.cycle.kind == facts.cycle.kind == "prepaid" and period.start > metered.period.start
    if is_topped_up:
        _renew(metered, period, None)
    elif is_over:
        _renew(metered, period, metered.period.end)
    if metered.period != period:
        metered.moved, metered.raised = metered.open, ()
    metered.period, metered.cycle = period, facts.cycle


def _renew(metered: Metered, period: Period, ended_at: datetime | None) -> None:
    """Begin `period`; `ended_at` is None where a balance was filled."""
    if metered.raised or metered.moved:
        ended = Ended(ended_at or period.start, metered.total, metered.open, is_topped_up=ended_at is None)
        metered.ended = (*metered.ended, ended)[-_MOST_ENDED:]
    metered.period = period
    metered.total = _ZERO
    metered.told = metered.in_alarm = None
    metered.raised, metered.moved = (), ()
    metered.is_forecast_told = False
