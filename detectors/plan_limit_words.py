"""What the plan-limit detector says: an allowance is nearly used up, used up, will be, or is no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Literal

from .alerts import FactValue, Harm, Reason
from .detector import Finding
from .events import UsageRecorded
from .message import Message
from .meter_reading import readable
from .plan_limit_memory import Ended, Metered
from .plans import Allowance, Plan
from .profile import AccountFacts

FORECAST = "forecast"
_DAY = timedelta(days=1)
_NO_END = timedelta(days=30)
_CENT = Decimal("0.01")


@dataclass(slots=True)
class View:
    """One meter's state as an alert would tell it."""

    metered: Metered
    total: Decimal
    allowance: Allowance
    plan: Plan
    facts: AccountFacts
    event: Message

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

    def crossed(self, threshold: Decimal) -> Finding:
        """Return that so much of the allowance is used."""
        percent = self._percent()
        what = (
            f"{readable(self.total)} {self.allowance.unit} of the {readable(self.allowance.quantity)} {self.allowance.unit} of "
            f"{self.meter} in plan {self.facts.plan} are used, {percent} %; the customer is told at {readable(threshold)} %."
        )
        share = float(self.total / self.allowance.quantity)
        is_over = threshold >= 100  # noqa: PLR2004 - percent
        return self._finding(
            threshold=readable(threshold),
            score=share / float(threshold / 100),
            is_severe=is_over,
            reason=Reason(
                what=what,
                usual=f"{readable(threshold)} %",
                seen=f"{percent} %",
                contribution=share / float(threshold / 100),
            ),
            chance=1.0 if is_over else None,
        )

    def resolved(self, threshold: Decimal, period: str) -> Finding:
        """Return that usage is below a threshold again that an alert of `period` named."""
        share, unit = float(self.total / self.allowance.quantity), self.allowance.unit
        used = f"{readable(self.total)} {unit}, {self._percent()} %, which is below {readable(threshold)} %"
        if isinstance(self.event, UsageRecorded) and self.event.correction:
            what = f"A correction brought {self.meter} back to {used}."
        else:
            room = f"{readable(self.allowance.quantity)} {unit} of {self.meter}"
            what = f"The allowance of plan {self.facts.plan} is {room} now; used are {used}."
        finding = self._finding(
            threshold=readable(threshold),
            score=max(0.0, share / float(threshold / 100)),
            is_severe=False,
            reason=Reason(what=what),
            chance=None,
            state="resolved",
        )
        return replace(finding, period=period)

    def forecast(self, chance: float, line: float) -> Finding:
        """Return that the allowance will be used up before renewal; `line` is the chance from which that is told."""
        mean, _ = self.metered.rate.remaining(self.days_left)
        a_day = mean / self.days_left
        left = float(self.allowance.quantity - self.total)
        breach = self.now + timedelta(days=left / a_day)
        overage = Decimal(max(0.0, mean - left))
        what = (
            f"At {a_day:.3g} {self.allowance.unit} a day the {readable(self.allowance.quantity)} {self.allowance.unit} of {self.meter} "
            f"will be used up around {breach.astimezone(self.facts.zone):%d %B}, {ceil(self.days_left)} days before renewal at the most; "
            f"the chance is {chance:.0%}."
        )
        return self._finding(
            threshold=FORECAST,
            score=chance / line,
            is_severe=False,
            reason=Reason(what=what, usual=f"{a_day:.3g} {self.allowance.unit} a day", contribution=chance / line),
            chance=chance,
            breach=breach,
            overage=overage,
        )

    def _percent(self) -> int:
        return int(self.total * 100 / self.allowance.quantity)

    def _finding(
        self,
        *,
        threshold: str,
        score: float,
        is_severe: bool,
        reason: Reason,
        chance: float | None,
        breach: datetime | None = None,
        overage: Decimal | None = None,
        state: Literal["triggered", "resolved"] = "triggered",
    ) -> Finding:
        end = self.metered.period.end
        over = overage if overage is not None else max(Decimal(0), self.total - self.allowance.quantity)
        cost = (
            None if self.allowance.overage is None else (over * self.allowance.overage).quantize(_CENT, ROUND_HALF_UP)
        )
        zone = self.facts.zone
        facts: dict[str, FactValue] = {
            "account_ending": self.facts.account[-4:],
            "meter": self.meter,
            "unit": self.allowance.unit,
            "used": _plain(self.total),
            "allowance": _plain(self.allowance.quantity),
            "remaining": _plain(max(Decimal(0), self.allowance.quantity - self.total)),
            "percent": self._percent(),
            "threshold": threshold,
            "plan": self.facts.plan,
            "cycle_end": end.astimezone(zone).isoformat() if end else None,
            "days_left": ceil(self.days_left) if end else None,
            "breach_date": breach.astimezone(zone).date().isoformat() if breach else None,
            "chance": round(chance, 3) if chance is not None else None,
            "overage": cost,
            "currency": self.plan.currency,
        }
        return Finding(
            subject=self.meter,
            period=self.metered.period.key,
            threshold=threshold,
            score=score,
            severity="warning" if is_severe else "notice",
            occurred_at=self.now,
            useful_until=end if end is not None else self.now + _NO_END,
            state=state,
            reasons=(reason,),
            facts=facts,
            harm=Harm(amount=cost, currency=self.plan.currency, probability=chance) if cost and chance else None,
        )


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
            },
        )


def _plain(number: Decimal) -> Decimal:
    return Decimal(readable(number))
