"""Where the thresholds of each plan lie, worked out once: most readings cross none, and are known by that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal

import msgspec

from .events import UsageRecorded
from .message import Name
from .plan_limit_memory import Memory, Metered
from .plan_limit_terms import PLAIN
from .plans import Plan
from .profile import AccountFacts

_EXACT = Context(prec=100)


class Mark(msgspec.Struct, frozen=True, gc=False):
    """One meter of one plan: what is included, and from which total on each threshold is reached.

    Attributes:
        totals: with their thresholds, rising; exact.
    """

    unit: str
    room: Decimal
    totals: tuple[tuple[Decimal, Decimal], ...]


class Quiet(msgspec.Struct, frozen=True, gc=False):
    """What a reading makes of its meter if that is just more of the same: nothing to tell, and nothing to note but itself."""

    event: UsageRecorded
    metered: Metered
    used: Decimal
    total: Decimal


class Marks:
    """The marks of the plans in which a meter's usage counts for that meter alone.

    Args:
        plans: what the company sells.
        thresholds: in percent, rising.
    """

    def __init__(self, plans: Mapping[Name, Plan], thresholds: Sequence[Decimal]) -> None:
        self._by_plan: dict[str | None, dict[Name, Mark]] = {
            name: {
                meter: Mark(
                    allowance.unit,
                    allowance.included,
                    tuple((_EXACT.multiply(each, allowance.included).scaleb(-2, _EXACT), each) for each in thresholds),
                )
                for meter, allowance in plan.allowances.items()
                if allowance.included
            }
            for name, plan in plans.items()
            if not plan.bundles
        }

    def quiet(self, event: UsageRecorded, facts: AccountFacts, memory: Memory) -> Quiet | None:
        """Return what comes of a reading that changes nothing but what is used; None where more may come of it.

        That is one within a cycle that ends, on the plan's own terms, no threshold further or back, on a day that was
        forecast already.
        """
        plan, meter, unit = facts.plan, event.meter, event.unit
        marks = self._by_plan.get(plan)
        if marks is None:
            return None
        for metered in memory.meters:
            if metered.meter == meter:
                break
        else:
            return None
        mark, period = marks.get(meter), metered.period
        if (
            mark is None
            or metered.forecast_on < metered.day
            or metered.terms is not PLAIN
            or metered.plan != plan
            or metered.unit != unit
            or mark.unit != unit
            or period.end is None
            or metered.room != mark.room
            or event.time < period.start
        ):
            return None
        used = metered.counter.used(event) if event.cumulative else event.quantity
        total, top = metered.total + used, None
        for least, threshold in mark.totals:
            if total < least:
                break
            top = threshold
        if top is not metered.told or top is not metered.in_alarm or total < 0:
            return None
        return Quiet(event, metered, used, total)
