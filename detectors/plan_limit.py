"""Plan limits: an allowance that is nearly used up, used up, or will be before the billing cycle ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from sys import intern
from typing import Annotated, ClassVar

import msgspec
from pydantic import Field

from .alerts import Alert, AlertClass, derive_alert_id
from .detector import DetectorSettings, Finding, Settled
from .events import AccountUpdated, AllowanceAdded, UsageRecorded
from .message import Message, Name
from .plan_limit_cycle import (
    day_of,
    limit_of,
    next_key,
    pass_time,
    rearm,
    slide,
    turn,
)
from .plan_limit_ledger import ALL, After, Ledger, used_by
from .plan_limit_marks import Marks
from .plan_limit_memory import KIND, VERSION, Memory, Metered, restore_memory, save_memory, shared_raised
from .plan_limit_pools import Calibration, Pools, restore_pools, save_pools
from .plan_limit_words import FORECAST, View, cycle_over
from .plans import Allowance, Plan
from .profile import AccountFacts


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
    brings usage below a threshold resolves its alert; crossing again tells nothing new. A larger plan or a top-up within
    the cycle resolves too, and arms again what is not crossed any more: 80 % of the larger plan is told. What is resolved
    says why. A reading of an earlier cycle changes nothing here: that cycle's bill is another matter. When a cycle ends,
    its alerts are resolved.

    A prepaid balance counts from its last top-up: 80 % is told when a fifth of that is left. A rolling window counts the
    last days; when usage falls below a threshold again as days pass, it is armed again. Both have no renewal to be passed
    before, so only their thresholds count. An allowance of 0 includes nothing: the first use is told as 100 %.

    Once a local day, a forecast from the account's usage, see `CycleForecast`: if it will pass the allowance before renewal
    with the configured probability, that is told once a cycle, unless 100 % was told already.

    The plan or cycle may arrive after usage: what was used so far is judged then.

    Attributes:
        irregularities: `unknown_plan`: usage of an account whose plan is not configured: counted, judged when it is;
            `unit_mismatch`: a reading or top-up in another unit than the meter's or the plan's: not added, or not judged;
            `zero_allowance`; `too_many_meters`: more than 32: not counted; `ended_period`: it comes after its cycle has
            ended: not counted; `negative_total`: corrections took more than was used; `negative_balance`: a prepaid balance
            was overdrawn; `pause`: more than a week without a reading: no habit is learned of it; `mixed_currencies`: plans
            of two currencies share no cycle in part: the new one counts whole; `expired_top_up`: it never counted.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "limit"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded, AccountUpdated, AllowanceAdded)

    def __init__(self, settings: PlanLimitSettings, plans: Mapping[Name, Plan]) -> None:
        self.irregularities: Counter[str] = Counter()
        self._thresholds = sorted(set(settings.thresholds))
        rooms = (
            each.included for plan in plans.values() for each in (*plan.allowances.values(), *plan.bundles.values())
        )
        self._shared: dict[Decimal | None, Decimal] = {each: each for each in (*rooms, ALL, *self._thresholds)}
        self._marks = Marks(plans, self._thresholds)
        self._forecast_chance = settings.forecast_chance
        self._forecast_after_days = settings.forecast_after_days
        self._ledger = Ledger(plans, self._thresholds, self.irregularities)
        self._pools = Pools()

    def begin(self) -> Memory:
        """Return the memory of an account never seen: nothing of any meter."""
        return Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:
        """Close the local days and the billing cycles that had ended before `now`."""
        since, until = memory.calm_from, memory.calm_until
        if facts is memory.facts and since is not None and until is not None and since <= now < until:
            return
        memory.supposed = None
        if not memory.meters:
            return
        plan = self._ledger.plan_of(facts)
        pass_time(now, facts, plan, memory, self.irregularities)
        for metered in memory.meters:
            if metered.cycle.kind == "rolling":
                slide(metered)
                limit = limit_of(plan, metered)
                if limit is not None and metered.told is not None:
                    reached = self._ledger.reached(metered.total, metered.terms.room(limit))
                    if reached is None or reached < metered.told:
                        rearm(metered, reached)

    def due(self, facts: AccountFacts, memory: Memory) -> datetime | None:  # noqa: ARG002 - the protocol
        """Return when the first billing cycle ends of which an alert is open."""
        soonest = None
        for metered in memory.meters:
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
        plan = self._ledger.plan_of(facts)
        memory.facts = memory.supposed = None
        for metered in memory.meters:
            turn(metered, facts, limit_of(plan, metered), now)
            over = [ended for ended in metered.ended if ended.at <= now]
            findings += [finding for ended in over for finding in cycle_over(metered, ended, facts)]
            metered.ended = tuple([ended for ended in metered.ended if ended.at > now])
        return findings

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return the thresholds that `event` crosses, upwards and back, the day's forecast, and what an ended cycle leaves."""
        findings: list[Finding] = []
        for metered in memory.meters:
            for ended in metered.ended:
                findings += cycle_over(metered, ended, facts)
        if type(event) is UsageRecorded:
            memory.supposed = self._marks.quiet(event, facts, memory)
            if memory.supposed is not None:
                return findings
        plan = self._ledger.plan_of(facts)
        if plan is None:
            return findings
        for after in self._ledger.after(event, facts, memory, plan, None):
            if after.limit is not None:
                findings += self._findings(after, after.limit, plan, facts, event)
        return findings

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to its cycle and day, and note what was told."""
        quiet, memory.supposed = memory.supposed, None
        if quiet is not None and event is quiet.event:
            metered = quiet.metered
            metered.total = quiet.total
            if memory.day == metered.day:
                metered.today += float(quiet.used)
            if event.cumulative:
                metered.counter = metered.counter.after(event)
        else:
            self._learn_at_length(event, facts, memory, self._ledger.plan_of(facts))
        if raised:
            self._note_told(facts, memory, raised)

    def _learn_at_length(self, event: Message, facts: AccountFacts, memory: Memory, plan: Plan | None) -> None:
        """Learn an event of which more may come than that one known meter has used more."""
        count = len(memory.meters)
        source = memory.of(event.meter) if isinstance(event, UsageRecorded) else None
        used = used_by(event, source)
        for after in list(self._ledger.after(event, facts, memory, plan, self._pools)):
            if isinstance(event, UsageRecorded):
                self._take_usage(event, after, used, facts, memory)
            else:
                self._take(after, facts)
        if isinstance(event, UsageRecorded):
            source = memory.of(event.meter)
            if source is not None and event.unit == source.unit:
                source.counter = source.counter.after(event)
            if facts.plan is not None and plan is None:
                self.irregularities["unknown_plan"] += 1
        if len(memory.meters) != count:
            memory.facts = None

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote."""
        return restore_memory(saved, version, self._shared, self._pools.of)

    def save_pools(self) -> Mapping[str, bytes]:
        """Return what forecasts share over accounts, by meter."""
        return save_pools(self._pools)

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote."""
        self._pools = restore_pools(saved, version)

    def calibration(self) -> Calibration:
        """Return how the probabilities that were given compare with what happened, over all meters."""
        return self._pools.calibration()

    def take_settled(self) -> Mapping[int, Settled]:
        """Return the forecasts that were settled since this was last asked, by tenth of the probability they gave."""
        return self._pools.take_settled()

    # what is said, and what was ------------------------------------------------------------------------------------

    def _findings(
        self, after: After, limit: Allowance, plan: Plan, facts: AccountFacts, event: Message
    ) -> Iterator[Finding]:
        metered, total, told = after.metered, after.total, after.told
        top = after.top
        is_new = top is not None and (told is None or top > told)
        may_be_back = (
            metered.in_alarm is not None
            and (metered.raised or metered.moved)
            and (top is None or top < metered.in_alarm)
        )
        is_forecast_due = not is_new and self._is_forecast_due(after)
        if not (is_new or may_be_back or is_forecast_due):
            return
        view = View(metered, total, after.room, limit, plan, facts, event)
        if after.is_rearmed:
            view.period_key = next_key(metered)
        if metered.period.end is not None and metered.forecast.days >= self._forecast_after_days and view.days_left:
            view.outlook = metered.forecast.outlook(float(total), view.days_left, metered.day)
        if is_new and top is not None:
            yield view.crossed(top)
        if may_be_back and metered.in_alarm is not None:
            open_ones = [(Decimal(text), period) for text, period in metered.open if text != FORECAST]
            for threshold, period in sorted(open_ones):
                if threshold <= metered.in_alarm and (top is None or threshold > top):
                    yield view.resolved(threshold, period)
        outlook = view.outlook if is_forecast_due else None
        if outlook is not None and outlook.chance_above(float(after.room)) >= self._forecast_chance:
            yield view.forecast(outlook, self._forecast_chance)

    def _is_forecast_due(self, after: After) -> bool:
        metered = after.metered
        return (
            (not metered.is_forecast_told or after.is_rearmed)
            and metered.forecast_on < metered.day
            and metered.period.end is not None
            and metered.forecast.days >= self._forecast_after_days
            and after.total < after.room
        )

    def _take_usage(
        self, event: UsageRecorded, after: After, used: Decimal, facts: AccountFacts, memory: Memory
    ) -> None:
        self._take(after, facts)
        if day_of(event.time, facts, memory) == after.metered.day:
            after.metered.today += float(used)

    def _take(self, after: After, facts: AccountFacts) -> None:
        """Make the meter what the event makes of it."""
        metered = after.metered
        if after.is_rearmed:
            rearm(metered, after.told)
            metered.terms = msgspec.structs.replace(after.terms, rearmed=metered.terms.rearmed)
        else:
            metered.terms = after.terms
        metered.total, metered.window = after.total, after.window
        if facts.plan is not None and metered.plan != facts.plan:
            metered.plan = intern(facts.plan)
        if after.limit is not None:
            self._note(metered, after.room, after.top)

    def _note(self, metered: Metered, room: Decimal, top: Decimal | None) -> None:
        if metered.room is not room and metered.room is not None and metered.room != room:
            metered.forecast.forget_chances()
        metered.room = room
        metered.in_alarm = top
        if top is not None and (metered.told is None or top > metered.told):
            metered.told = top
        metered.forecast_on = metered.day

    def _note_told(self, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        resolved = {alert.alert_id for alert in raised if alert.state == "resolved"}

        def is_open(meter: str, threshold: str, period: str) -> bool:
            return derive_alert_id(facts.account, self.kind, meter, period, threshold) not in resolved

        if resolved:
            for metered in memory.meters:
                if metered.raised or metered.moved:
                    key = metered.period.key
                    metered.raised = tuple([each for each in metered.raised if is_open(metered.meter, each, key)])
                    metered.moved = tuple([each for each in metered.moved if is_open(metered.meter, *each)])
                metered.ended = tuple(
                    [each for each in metered.ended if any(is_open(metered.meter, *told) for told in each.raised)]
                )
        for alert in raised:
            told_of = memory.of(alert.subject)
            if told_of is not None and alert.state == "triggered":
                threshold = intern(str(alert.facts["threshold"]))
                told_of.is_forecast_told |= threshold == FORECAST
                told_of.raised = shared_raised((*told_of.raised, threshold))
