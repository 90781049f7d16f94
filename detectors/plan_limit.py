"""Plan limits: an allowance that is nearly used up, used up, or will be before the billing cycle ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from sys import intern
from typing import Annotated, ClassVar, NamedTuple

import msgspec
from pydantic import Field

from .alerts import Alert, AlertClass, derive_alert_id
from .cycle_forecast import ForecastPool
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, AllowanceAdded, UsageRecorded
from .message import Message, Name
from .plan_limit_cycle import (
    begun,
    day_of,
    limit_of,
    next_key,
    pass_time,
    rearm,
    slide,
    turn,
    window_after,
)
from .plan_limit_memory import KIND, VERSION, Memory, Metered, Window, restore_memory, save_memory
from .plan_limit_pools import Calibration, Pools, restore_pools, save_pools
from .plan_limit_terms import Terms, pro_rata
from .plan_limit_words import FORECAST, View, cycle_over
from .plans import Allowance, Plan
from .profile import AccountFacts

_MOST_METERS = 32
_ZERO = Decimal(0)
_ALL = Decimal(100)


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


class _After(NamedTuple):
    """What an event makes of one meter: what is used then, on which terms; and whether thresholds are armed again.

    Attributes:
        told: up to which threshold the customer was told already.
    """

    metered: Metered
    limit: Allowance | None
    total: Decimal
    terms: Terms
    window: Window
    room: Decimal
    told: Decimal | None
    is_rearmed: bool


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
        self._shared: dict[Decimal | None, Decimal] = {threshold: threshold for threshold in (_ALL, *self._thresholds)}
        self._forecast_chance = settings.forecast_chance
        self._forecast_after_days = settings.forecast_after_days
        self._plans = plans
        self._bundles = {
            name: {
                meter: tuple(plan.bundles_of(meter)) for bundle in plan.bundles.values() for meter in bundle.meters
            }
            for name, plan in plans.items()
        }
        self._pools = Pools()
        self._no_pool = ForecastPool()  # of what `score` only supposes

    def begin(self) -> Memory:
        """Return the memory of an account never seen: nothing of any meter."""
        return Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:
        """Close the local days and the billing cycles that had ended before `now`."""
        since, until = memory.calm_from, memory.calm_until
        if facts is memory.facts and since is not None and until is not None and since <= now < until:
            return
        if not memory.meters:
            return
        plan = self._plan(facts)
        pass_time(now, facts, plan, memory, self.irregularities)
        for metered in memory.meters:
            if metered.cycle.kind == "rolling":
                slide(metered)
                limit = limit_of(plan, metered)
                if limit is not None and metered.told is not None:
                    reached = self._reached(metered.total, metered.terms.room(limit))
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
        plan = self._plan(facts)
        memory.facts = None
        for metered in memory.meters:
            turn(metered, facts, limit_of(plan, metered), now)
            over = [ended for ended in metered.ended if ended.at <= now]
            findings += [finding for ended in over for finding in cycle_over(metered, ended, facts)]
            metered.ended = tuple([ended for ended in metered.ended if ended.at > now])
        return findings

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return the thresholds that `event` crosses, upwards and back, the day's forecast, and what an ended cycle leaves."""
        findings = [
            finding
            for metered in memory.meters
            if metered.ended
            for ended in metered.ended
            for finding in cycle_over(metered, ended, facts)
        ]
        plan = self._plan(facts)
        if plan is not None:
            for after in self._after(event, facts, memory, plan, None):
                if after.limit is not None:
                    findings += self._findings(after, after.limit, plan, facts, event)
        return findings

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to its cycle and day, and note what was told."""
        plan = self._plan(facts)
        count = len(memory.meters)
        source = memory.of(event.meter) if isinstance(event, UsageRecorded) else None
        used = _used(event, source)
        for after in list(self._after(event, facts, memory, plan, self._pools)):
            metered = after.metered
            if after.is_rearmed:
                rearm(metered, after.told)
                metered.terms = msgspec.structs.replace(after.terms, rearmed=metered.terms.rearmed)
            else:
                metered.terms = after.terms
            metered.total, metered.window = after.total, after.window
            if facts.plan is not None and metered.plan != facts.plan:
                metered.plan = intern(facts.plan)
            if isinstance(event, UsageRecorded) and day_of(event.time, facts, memory) == metered.day:
                metered.today += float(used)
            if after.limit is not None:
                self._note(metered, after.room)
        if isinstance(event, UsageRecorded):
            source = memory.of(event.meter)
            if source is not None and event.unit == source.unit:
                source.counter = source.counter.after(event)
            if facts.plan is not None and plan is None:
                self.irregularities["unknown_plan"] += 1
        if len(memory.meters) != count:
            memory.facts = None
        if raised:
            self._note_told(facts, memory, raised)

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

    # what an event makes of a meter -----------------------------------------------------------------------------

    def _plan(self, facts: AccountFacts) -> Plan | None:
        return self._plans.get(facts.plan) if facts.plan is not None else None

    def _after(
        self, event: Message, facts: AccountFacts, memory: Memory, plan: Plan | None, pools: Pools | None
    ) -> Iterator[_After]:
        """Yield what `event` makes of each meter that it is about; with `pools`, meters are begun and oddities counted."""
        if isinstance(event, UsageRecorded):
            source = memory.of(event.meter)
            used = _used(event, source)
            for name in self._subjects(event.meter, facts, plan):
                metered = source if name == event.meter else memory.of(name)
                metered = metered or self._begun(name, event.unit, event, facts, memory, pools)
                if metered is None or not self._is_countable(event, metered, pools):
                    continue
                yield self._with_usage(event, metered, used, facts, memory, plan, pools)
        elif isinstance(event, AllowanceAdded):
            metered = memory.of(event.meter) or self._begun(event.meter, event.unit, event, facts, memory, pools)
            if metered is not None and self._is_addable(event, metered, plan, pools):
                yield self._topped_up(event, metered, plan)
        else:
            for metered in memory.meters:
                limit = limit_of(plan, metered)
                terms = self._terms_of_plan(event, metered, facts, limit, pools)
                yield self._judged(metered, limit, metered.total, terms, metered.window, metered.total)

    def _subjects(self, meter: str, facts: AccountFacts, plan: Plan | None) -> tuple[str, ...]:
        if plan is None or facts.plan is None or not plan.bundles:
            return (meter,)
        return (meter, *self._bundles[facts.plan].get(meter, ()))

    def _begun(
        self, name: str, unit: str, event: Message, facts: AccountFacts, memory: Memory, pools: Pools | None
    ) -> Metered | None:
        if len(memory.meters) >= _MOST_METERS:  # it could not be remembered that it was told
            if pools is not None:
                self.irregularities["too_many_meters"] += 1
            return None
        metered = begun(name, unit, event.time, facts, self._no_pool if pools is None else pools.of(name))
        plan = self._plan(facts)
        bundle = plan.bundles.get(name) if plan is not None else None
        if bundle is not None:  # the plan came after usage
            alike = [each for each in memory.meters if each.meter in bundle.meters and each.unit == unit]
            metered.total = sum([each.total for each in alike if each.period == metered.period], _ZERO)
        if pools is not None:
            memory.meters.append(metered)
        return metered

    def _is_countable(self, event: UsageRecorded, metered: Metered, pools: Pools | None) -> bool:
        what = (
            "unit_mismatch"
            if event.unit != metered.unit
            else "ended_period"
            if event.time < metered.period.start
            else None
        )
        if what is not None and pools is not None:
            self.irregularities[what] += 1
        return what is None

    def _is_addable(self, event: AllowanceAdded, metered: Metered, plan: Plan | None, pools: Pools | None) -> bool:
        limit = plan.limit_of(event.meter) if plan is not None else None
        what = (
            "unit_mismatch"
            if event.unit != metered.unit or (limit is not None and limit.unit != event.unit)
            else "expired_top_up"
            if event.expires_at is not None and event.expires_at <= event.time
            else "ended_period"
            if event.time < metered.period.start
            else None
        )
        if what is not None and pools is not None:
            self.irregularities[what] += 1
        return what is None

    def _with_usage(
        self,
        event: UsageRecorded,
        metered: Metered,
        used: Decimal,
        facts: AccountFacts,
        memory: Memory,
        plan: Plan | None,
        pools: Pools | None,
    ) -> _After:
        limit = limit_of(plan, metered)
        total, window = metered.total + used, metered.window
        if metered.cycle.kind == "rolling":
            window = window_after(metered, day_of(event.time, facts, memory), used)
            total = sum([each for _, each in window], _ZERO)
        after = self._judged(metered, limit, total, metered.terms, window, metered.total)
        if pools is not None:
            self._count_oddities(after, plan, metered)
        return after

    def _count_oddities(self, after: _After, plan: Plan | None, metered: Metered) -> None:
        is_prepaid = metered.cycle.kind == "prepaid"
        if after.total < 0 and not is_prepaid:
            self.irregularities["negative_total"] += 1
        if after.limit is None:
            if plan is not None and plan.limit_of(metered.meter) is not None:
                self.irregularities["unit_mismatch"] += 1
        elif not after.room:
            self.irregularities["zero_allowance"] += 1
        elif is_prepaid and metered.total <= after.room < after.total:
            self.irregularities["negative_balance"] += 1

    def _topped_up(self, event: AllowanceAdded, metered: Metered, plan: Plan | None) -> _After:
        limit = limit_of(plan, metered)
        if metered.cycle.kind != "prepaid":
            terms = metered.terms.added(event.quantity, event.expires_at, metered.period.end)
            return self._judged(metered, limit, metered.total, terms, metered.window, metered.total)
        before = (metered.terms.base or _ZERO) if limit is None else metered.terms.own(limit)
        terms = msgspec.structs.replace(metered.terms, base=event.quantity)
        total = metered.total - before  # less the balance that was left: all of the top-up and it may be used
        return self._judged(metered, limit, total, terms, metered.window, total, is_new_balance=True)

    def _terms_of_plan(
        self, event: Message, metered: Metered, facts: AccountFacts, limit: Allowance | None, pools: Pools | None
    ) -> Terms:
        """Return the terms on the plan that the account is on now: those of a plan it came to in part, if that says so."""
        terms = metered.terms
        if metered.plan is None or metered.plan == facts.plan or metered.cycle.kind == "prepaid":
            return terms
        old, new = self._plans.get(metered.plan), self._plan(facts)
        before, end, base = limit_of(old, metered), metered.period.end, None
        if new is not None and new.on_change == "pro_rata" and old and limit and before and end is not None:
            if old.currency == new.currency:
                was = before.included if terms.base is None else terms.base
                base = pro_rata(was, limit.included, metered.period.start, event.time, end)
            elif pools is not None:
                self.irregularities["mixed_currencies"] += 1
        return terms if base is None and terms.base is None else msgspec.structs.replace(terms, base=base)

    def _judged(
        self,
        metered: Metered,
        limit: Allowance | None,
        total: Decimal,
        terms: Terms,
        window: Window,
        before: Decimal,
        *,
        is_new_balance: bool = False,
    ) -> _After:
        """Return what comes of `total` on these terms; `before` is what was used before it, judged on them too."""
        room = _ZERO if limit is None else terms.room(limit)
        told, is_rearmed = metered.told, False
        if told is not None and limit is not None and metered.room is not None:
            if room > metered.room or is_new_balance:
                reached = self._reached(before, room)
                is_rearmed = reached is None or reached < told
                told = reached if is_rearmed else told
        return _After(metered, limit, total, terms, window, room, told, is_rearmed)

    # what is said, and what was ------------------------------------------------------------------------------------

    def _reached(self, total: Decimal, room: Decimal) -> Decimal | None:
        """Return the highest threshold that `total` reaches; where nothing is included, any use reaches all of it."""
        if not room:
            return _ALL if total > 0 else None
        percent, highest = total * 100, None
        for threshold in self._thresholds:
            if percent < threshold * room:
                break
            highest = threshold
        return highest

    def _findings(
        self, after: _After, limit: Allowance, plan: Plan, facts: AccountFacts, event: Message
    ) -> Iterator[Finding]:
        metered, total, told = after.metered, after.total, after.told
        top = self._reached(total, after.room)
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
        if is_forecast_due and view.outlook is not None:
            if view.outlook.chance_above(float(after.room)) >= self._forecast_chance:
                yield view.forecast(view.outlook, self._forecast_chance)

    def _is_forecast_due(self, after: _After) -> bool:
        metered = after.metered
        return (
            (not metered.is_forecast_told or after.is_rearmed)
            and metered.forecast_on < metered.day
            and metered.period.end is not None
            and metered.forecast.days >= self._forecast_after_days
            and after.total < after.room
        )

    def _note(self, metered: Metered, room: Decimal) -> None:
        if metered.room is not None and metered.room != room:
            metered.forecast.forget_chances()
        metered.room = room
        metered.in_alarm = top = self._reached(metered.total, room)
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
                told_of.raised = (*told_of.raised, threshold)


def _used(event: Message, source: Metered | None) -> Decimal:
    """Return what a reading says was used; of a counter that cannot be remembered nothing is known."""
    if not isinstance(event, UsageRecorded):
        return _ZERO
    if source is None:
        return _ZERO if event.cumulative else event.quantity
    return source.counter.used(event) if event.unit == source.unit else _ZERO
