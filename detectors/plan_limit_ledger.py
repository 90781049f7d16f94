"""What an event makes of each meter that it is about: what is used then, on which terms, and up to where that was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from .cycle_forecast import ForecastPool
from .events import AllowanceAdded, UsageRecorded
from .message import Message, Name
from .plan_limit_cycle import begun, day_of, limit_of, window_after
from .plan_limit_memory import Memory, Metered, Window
from .plan_limit_pools import Pools
from .plan_limit_terms import Terms, pro_rata
from .plans import Allowance, Plan
from .profile import AccountFacts

_MOST_METERS = 32
_ZERO = Decimal(0)
ALL = Decimal(100)


class After(msgspec.Struct, frozen=True, gc=False):
    """What an event makes of one meter: what is used then, on which terms; and whether thresholds are armed again.

    Attributes:
        top: the highest threshold that is reached then.
        told: up to which threshold the customer was told already.
    """

    metered: Metered
    limit: Allowance | None
    total: Decimal
    terms: Terms
    window: Window
    room: Decimal
    top: Decimal | None
    told: Decimal | None
    is_rearmed: bool


class Ledger:
    """Adds up what is used and what may be, by the plans; changes no meter, but begins new ones where it is told to.

    Args:
        plans: what the company sells.
        thresholds: in percent, rising.
        irregularities: where oddities are counted.
    """

    def __init__(self, plans: Mapping[Name, Plan], thresholds: Sequence[Decimal], irregularities: Counter[str]) -> None:
        self._plans = plans
        self._thresholds = thresholds
        self._irregularities = irregularities
        self._bundles = {
            name: {meter: tuple(plan.bundles_of(meter)) for bundle in plan.bundles.values() for meter in bundle.meters}
            for name, plan in plans.items()
        }
        self._no_pool = ForecastPool()  # of what is only supposed

    def plan_of(self, facts: AccountFacts) -> Plan | None:
        """Return the plan that an account is on; None where none is known, or it is not configured."""
        return self._plans.get(facts.plan) if facts.plan is not None else None

    def after(
        self, event: Message, facts: AccountFacts, memory: Memory, plan: Plan | None, pools: Pools | None
    ) -> Iterator[After]:
        """Yield what `event` makes of each meter that it is about; with `pools`, meters are begun and oddities counted."""
        if isinstance(event, UsageRecorded):
            source = memory.of(event.meter)
            used = used_by(event, source)
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
                self._irregularities["too_many_meters"] += 1
            return None
        metered = begun(name, unit, event.time, facts, self._no_pool if pools is None else pools.of(name))
        plan = self.plan_of(facts)
        bundle = plan.bundles.get(name) if plan is not None else None
        if bundle is not None:  # the plan came after usage
            alike = [each for each in memory.meters if each.meter in bundle.meters and each.unit == unit]
            metered.total = sum([each.total for each in alike if each.period == metered.period], _ZERO)
        if pools is not None:
            memory.meters = (*memory.meters, metered)
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
            self._irregularities[what] += 1
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
            self._irregularities[what] += 1
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
    ) -> After:
        limit = limit_of(plan, metered)
        total, window = metered.total + used, metered.window
        if metered.cycle.kind == "rolling":
            window = window_after(metered, day_of(event.time, facts, memory), used)
            total = sum([each for _, each in window], _ZERO)
        after = self._judged(metered, limit, total, metered.terms, window, metered.total)
        if pools is not None:
            self.count_oddities(after, plan)
        return after

    def count_oddities(self, after: After, plan: Plan | None) -> None:
        """Count what is irregular in what a reading makes of a meter that did not take it in yet."""
        metered = after.metered
        is_prepaid = metered.cycle.kind == "prepaid"
        if after.total < 0 and not is_prepaid:
            self._irregularities["negative_total"] += 1
        if after.limit is None:
            if plan is not None and plan.limit_of(metered.meter) is not None:
                self._irregularities["unit_mismatch"] += 1
        elif not after.room:
            self._irregularities["zero_allowance"] += 1
        elif is_prepaid and metered.total <= after.room < after.total:
            self._irregularities["negative_balance"] += 1

    def _topped_up(self, event: AllowanceAdded, metered: Metered, plan: Plan | None) -> After:
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
        old, new = self._plans.get(metered.plan), self.plan_of(facts)
        before, end, base = limit_of(old, metered), metered.period.end, None
        if new is not None and new.on_change == "pro_rata" and old and limit and before and end is not None:
            if old.currency == new.currency:
                was = before.included if terms.base is None else terms.base
                base = pro_rata(was, limit.included, metered.period.start, event.time, end)
            elif pools is not None:
                self._irregularities["mixed_currencies"] += 1
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
    ) -> After:
        """Return what comes of `total` on these terms; `before` is what was used before it, judged on them too."""
        room = _ZERO if limit is None else terms.room(limit)
        told, is_rearmed = metered.told, False
        has_grown = metered.room is not None and (is_new_balance or (room is not metered.room and room > metered.room))
        if has_grown and told is not None and limit is not None:
            reached = self.reached(before, room)
            is_rearmed = reached is None or reached < told
            told = reached if is_rearmed else told
        top = None if limit is None else self.reached(total, room)
        return After(metered, limit, total, terms, window, room, top, told, is_rearmed)

    def reached(self, total: Decimal, room: Decimal) -> Decimal | None:
        """Return the highest threshold that `total` reaches; where nothing is included, any use reaches all of it."""
        if not room:
            return ALL if total > 0 else None
        percent, highest = total * 100, None
        for threshold in self._thresholds:
            if percent < threshold * room:
                break
            highest = threshold
        return highest


def used_by(event: Message, source: Metered | None) -> Decimal:
    """Return what a reading says was used; of a counter that cannot be remembered nothing is known."""
    if not isinstance(event, UsageRecorded):
        return _ZERO
    if source is None:
        return _ZERO if event.cumulative else event.quantity
    return source.counter.used(event) if event.unit == source.unit else _ZERO
