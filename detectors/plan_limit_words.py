"""What the plan-limit detector says: an allowance is nearly used up, used up, will be, or is no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Literal

from .alerts import FactValue, Harm, Reason
from .cycle_forecast import Outlook
from .detector import Finding
from .events import AllowanceAdded, UsageRecorded
from .message import Message
from .meter_reading import readable
from .plan_limit_memory import DAY_ONE, Ended, Metered
from .plans import Allowance, Plan
from .profile import AccountFacts

FORECAST = "forecast"
_DAY = timedelta(days=1)
_NO_END = timedelta(days=30)
_CENT = Decimal("0.01")
_LARGEST_COST = Decimal(10) ** 15
_HUNDRED = 100
_ZERO = Decimal(0)

Because = Literal["correction", "larger_plan", "top_up", "window_slid", "cycle_end", "new_balance"]


@dataclass(slots=True)
class View:
    """One meter's state as an alert would tell it.

    Attributes:
        room: all that may be used.
        outlook: what will have been used at the cycle's end; None where that is not asked, or not known yet.
        period_key: what is new is told of this period; None is the meter's.
    """

    metered: Metered
    total: Decimal
    room: Decimal
    allowance: Allowance
    plan: Plan
    facts: AccountFacts
    event: Message
    outlook: Outlook | None = None
    period_key: str | None = None

    @property
    def meter(self) -> str:
        """What is counted."""
        return self.metered.meter

    @property
    def now(self) -> datetime:
        """The event's time."""
        return self.event.time

    @property
    def days_left(self) -> float:
        """Days until renewal; 0 where there is none."""
        end = self.metered.period.end
        return max(0.0, (end - self.now) / _DAY) if end is not None else 0.0

    @property
    def share(self) -> float:
        """How much of the room is used; of none at all, whatever is used is all of it."""
        return float(self.total / self.room) if self.room else float(self.total > 0)

    def crossed(self, threshold: Decimal) -> Finding:
        """Return that so much of the allowance is used."""
        is_over = threshold >= _HUNDRED
        score = self.share / float(threshold / 100)
        reason = Reason(
            what=self._what_is_used(threshold),
            usual=f"{readable(threshold)} %",
            seen=f"{self._percent()} %",
            contribution=score,
        )
        if is_over:
            return self._finding(threshold=readable(threshold), score=score, is_severe=True, reason=reason, chance=1.0)
        chance = None if self.outlook is None else self.outlook.chance_above(float(self.room))
        return self._finding(threshold=readable(threshold), score=score, is_severe=False, reason=reason, chance=chance)

    def _what_is_used(self, threshold: Decimal) -> str:
        unit = self.allowance.unit
        told = f"the customer is told at {readable(threshold)} %"
        if not self.room:
            return f"{readable(self.total)} {unit} of {self.meter} are used, of which plan {self.facts.plan} includes nothing."
        if self.metered.cycle.kind == "prepaid":
            left = f"{readable(self.room - self.total)} {unit} of {self.meter} are left of {readable(self.room)} {unit}"
            return f"{left}, {self._percent()} % are used; {told}."
        of = f"the {readable(self.room)} {unit} of {self.meter} in plan {self.facts.plan}"
        if self.metered.cycle.kind == "rolling":
            of += f" for any {self.metered.cycle.length} days"
        return f"{readable(self.total)} {unit} of {of} are used, {self._percent()} %; {told}."

    def resolved(self, threshold: Decimal, period: str) -> Finding:
        """Return that usage is below a threshold again that an alert of `period` named."""
        unit, because = self.allowance.unit, self._because()
        used = f"{readable(self.total)} {unit}, {self._percent()} %, which is below {readable(threshold)} %"
        room = f"{readable(self.room)} {unit} of {self.meter}"
        what = {
            "correction": f"A correction brought {self.meter} back to {used}.",
            "top_up": f"A top-up makes it {room}; used are {used}.",
            "window_slid": f"Older days are no longer counted: {self.meter} is at {used}.",
        }.get(because, f"The allowance of plan {self.facts.plan} is {room} now; used are {used}.")
        finding = self._finding(
            threshold=readable(threshold),
            score=max(0.0, self.share / float(threshold / 100)),
            is_severe=False,
            reason=Reason(what=what),
            chance=None,
            state="resolved",
            because=because,
        )
        return replace(finding, period=period)

    def _because(self) -> Because:
        if isinstance(self.event, AllowanceAdded):
            return "top_up"
        if isinstance(self.event, UsageRecorded):
            if self.event.correction:
                return "correction"
            if self.metered.cycle.kind == "rolling":
                return "window_slid"
        return "larger_plan"

    def forecast(self, outlook: Outlook, line: float) -> Finding:
        """Return that the allowance will be used up before renewal; `line` is the chance from which that is told."""
        chance, unit = outlook.chance_above(float(self.room)), self.allowance.unit
        a_day = (outlook.end - float(self.total)) / outlook.days
        excess = Decimal(outlook.expected_excess(float(self.room)))
        finding = self._finding(
            threshold=FORECAST,
            score=chance / line,
            is_severe=False,
            reason=Reason(what="", usual=f"{a_day:.3g} {unit} a day", contribution=chance / line),
            chance=chance,
            excess=excess,
        )
        around = finding.facts["breach_date"]
        range_ = f" (between {finding.facts['breach_from']} and {finding.facts['breach_to'] or 'renewal'})"
        what = (
            f"At {a_day:.3g} {unit} a day the {readable(self.room)} {unit} of {self.meter} will be used up around "
            f"{around}{range_}, renewal is in {ceil(self.days_left)} days; the chance is {chance:.0%}."
        )
        return replace(finding, reasons=(finding.reasons[0].model_copy(update={"what": what}),))

    def _percent(self) -> int:
        return int(self.total * 100 / self.room) if self.room else _HUNDRED * (self.total > 0)

    def _breach(self) -> dict[str, FactValue]:
        """Return on which local dates the rest will be used up: expected, and the range that holds nine times in ten."""
        none: dict[str, FactValue] = {"breach_date": None, "breach_from": None, "breach_to": None}
        left = float(self.room - self.total)
        if left <= 0 or self.metered.cycle.kind == "rolling":
            return none
        local = self.now.astimezone(self.facts.zone)
        found = self.metered.forecast.reached_in(left, local.toordinal() - DAY_ONE)
        if found is None:
            return none
        end = self.metered.period.end

        def date_in(days: float | None) -> str | None:
            moment = None if days is None else self.now + timedelta(days=days)
            if moment is None or (end is not None and moment >= end):
                return None
            return moment.astimezone(self.facts.zone).date().isoformat()

        return dict(zip(none, map(date_in, found), strict=True))

    def _cost(self, quantity: Decimal) -> Decimal | None:
        if self.allowance.overage is None:
            return None
        return min(quantity * self.allowance.overage, _LARGEST_COST).quantize(_CENT, ROUND_HALF_UP)

    def _finding(
        self,
        *,
        threshold: str,
        score: float,
        is_severe: bool,
        reason: Reason,
        chance: float | None,
        excess: Decimal | None = None,
        state: Literal["triggered", "resolved"] = "triggered",
        because: Because | None = None,
    ) -> Finding:
        end, zone = self.metered.period.end, self.facts.zone
        over = max(_ZERO, self.total - self.room)
        cost = self._cost(over if excess is None else excess)
        breach = self._breach() if state == "triggered" else {}
        if threshold == FORECAST and end is not None and breach["breach_date"] is None:
            # the level says never before renewal, yet the chance is high: as late as can be
            breach["breach_date"] = (end - timedelta(seconds=1)).astimezone(zone).date().isoformat()
        facts: dict[str, FactValue] = {
            "account_ending": self.facts.account[-4:],
            "meter": self.meter,
            "unit": self.allowance.unit,
            "used": _plain(self.total),
            "allowance": _plain(self.room),
            "remaining": _plain(max(_ZERO, self.room - self.total)),
            "percent": self._percent(),
            "threshold": threshold,
            "plan": self.facts.plan,
            "cycle_end": end.astimezone(zone).isoformat() if end else None,
            "days_left": ceil(self.days_left) if end else None,
            "breach_date": None,
            "chance": round(chance, 3) if chance is not None else None,
            "overage": cost,
            "currency": self.plan.currency,
            **breach,
        }
        if because is not None:
            facts["because"] = because
        package = self.allowance.package_in_use(self.total)
        if package is not None:
            facts["package"] = package
        if isinstance(self.event, UsageRecorded) and self.event.member is not None:
            facts["member"] = self.event.member
        return Finding(
            subject=self.meter,
            period=self.period_key or self.metered.period.key,
            threshold=threshold,
            score=score,
            severity="warning" if is_severe else "notice",
            occurred_at=self.now,
            useful_until=end if end is not None else self.now + _NO_END,
            state=state,
            reasons=(reason,),
            facts=facts,
            harm=None if state == "resolved" else self._harm(over, chance),
        )

    def _harm(self, over: Decimal, chance: float | None) -> Harm | None:
        """Return what going on like this costs if it comes to that, and how likely it comes: together what is expected."""
        if not chance or self.allowance.overage is None:
            return None
        excess = float(over)
        if self.outlook is not None:
            excess = max(excess, self.outlook.expected_excess(float(self.room)) / chance)
        amount = self._cost(Decimal(excess))
        return Harm(amount=amount, currency=self.plan.currency, probability=chance) if amount else None


def cycle_over(metered: Metered, ended: Ended, facts: AccountFacts) -> Iterator[Finding]:
    """Yield that each alert of a cycle is resolved, since the cycle ended."""
    began = "A new balance" if ended.is_topped_up else "A new billing cycle"
    what = f"{began} of {metered.meter} began; in the last one {readable(ended.total)} {metered.unit} were used."
    for threshold, period in ended.raised:
        yield Finding(
            subject=metered.meter,
            period=period,
            threshold=threshold,
            score=0.0,
            severity="notice",
            occurred_at=ended.at,
            useful_until=ended.at + _DAY,
            state="resolved",
            reasons=(Reason(what=what),),
            facts={
                "account_ending": facts.account[-4:],
                "meter": metered.meter,
                "unit": metered.unit,
                "used": _plain(ended.total),
                "threshold": threshold,
                "plan": facts.plan,
                "cycle_end": ended.at.astimezone(facts.zone).isoformat(),
                "because": "new_balance" if ended.is_topped_up else "cycle_end",
            },
        )


def _plain(number: Decimal) -> Decimal:
    return Decimal(readable(number))
