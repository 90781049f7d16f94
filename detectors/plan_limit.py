"""Plan limits: an allowance that is nearly used up, used up, or will be before the billing cycle ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Annotated, ClassVar

from pydantic import Field

from .alerts import Alert, AlertClass, FactValue, Harm, Reason
from .billing_cycle import Period, period_at
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, Cycle, UsageRecorded
from .message import Message, Name
from .meter_reading import Counter, readable
from .online import Pace
from .plans import Allowance, Plan
from .profile import AccountFacts

FORECAST = "forecast"
_DAY = timedelta(days=1)
_MOST_METERS = 32
_NO_END = timedelta(days=30)
_CENT = Decimal("0.01")


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


@dataclass(slots=True)
class _Metered:
    """What is kept of one meter of one account.

    Attributes:
        total: used in the current period; exact.
        told: thresholds that were crossed in this period, which are not told again before renewal.
        raised: those of them that an alert named.
        today: used on the local day that `day` names.
        forecast_on: the last day a forecast was made.
    """

    unit: str
    period: Period
    cycle: Cycle
    total: Decimal = Decimal(0)
    told: set[Decimal] = field(default_factory=set)
    raised: set[Decimal] = field(default_factory=set)
    in_alarm: set[Decimal] = field(default_factory=set)
    is_forecast_told: bool = False
    rate: Pace = field(default_factory=Pace)
    day: str = ""
    today: Decimal = Decimal(0)
    forecast_on: str = ""
    counter: Counter = field(default_factory=Counter)


_Memory = dict[str, _Metered]


class PlanLimit:
    """Tell once per meter, billing cycle and threshold; on the line is over it.

    Thresholds re-arm at renewal. One event that crosses several is one alert, which names the highest. A correction that
    brings usage below a threshold resolves its alert; crossing again tells nothing new. A reading of an earlier cycle
    changes nothing here: that cycle's bill is another matter. A prepaid balance has no renewal to be passed before, so
    only its thresholds count.

    Once a local day, a forecast from the account's usage of the last weeks: if it will pass the allowance before renewal
    with the configured probability, that is told once a cycle, unless 100 % was told already.

    The plan or cycle may arrive after usage: what was used so far is judged then.
    """

    kind: ClassVar[str] = "plan_limit"
    version: ClassVar[int] = 1
    alert_class: ClassVar[AlertClass] = "limit"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded, AccountUpdated)

    def __init__(self, settings: PlanLimitSettings, plans: Mapping[Name, Plan]) -> None:
        self._thresholds = sorted(set(settings.thresholds))
        self._forecast_chance = settings.forecast_chance
        self._forecast_after_days = settings.forecast_after_days
        self._plans = plans

    def begin(self) -> _Memory:
        """Return the memory of an account never seen: nothing of any meter."""
        return {}

    def settle(self, now: datetime, facts: AccountFacts, memory: _Memory) -> None:
        """Close the local days and the billing cycles that had ended before `now`."""
        day = now.astimezone(facts.zone).date().isoformat()
        for metered in memory.values():
            if metered.day < day:
                _close_days(metered, day)
            if metered.cycle != facts.cycle:
                _change_cycle(metered, facts, now)
            elif metered.period.end is not None and now >= metered.period.end:
                _renew(metered, period_at(facts.cycle, facts.zone, now))

    def score(self, event: Message, facts: AccountFacts, memory: _Memory) -> Sequence[Finding]:
        """Return the thresholds that `event` crosses, upwards and back, and the day's forecast."""
        plan = self._plans.get(facts.plan) if facts.plan else None
        if plan is None:
            return ()
        if isinstance(event, UsageRecorded):
            allowance = plan.allowances.get(event.meter)
            metered = memory.get(event.meter)
            if allowance is None or (metered is not None and event.time < metered.period.start):
                return ()
            if metered is None:
                metered = _Metered(event.unit, period_at(facts.cycle, facts.zone, event.time), facts.cycle)
            total = metered.total + metered.counter.used(event)
            return tuple(self._findings(event.meter, metered, total, allowance, plan, facts, event))
        return tuple(
            finding
            for meter, metered in memory.items()
            if (allowance := plan.allowances.get(meter)) is not None and allowance.unit == metered.unit
            for finding in self._findings(meter, metered, metered.total, allowance, plan, facts, event)
        )

    def learn(self, event: Message, facts: AccountFacts, memory: _Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to its cycle and day, and note what was told."""
        if isinstance(event, UsageRecorded):
            metered = memory.get(event.meter)
            if metered is None:
                if len(memory) >= _MOST_METERS:
                    return
                metered = memory[event.meter] = _Metered(
                    event.unit, period_at(facts.cycle, facts.zone, event.time), facts.cycle
                )
                metered.day = event.time.astimezone(facts.zone).date().isoformat()
            used = metered.counter.take(event)
            if event.time >= metered.period.start:
                metered.total += used
            if event.time.astimezone(facts.zone).date().isoformat() == metered.day:
                metered.today += used
        plan = self._plans.get(facts.plan) if facts.plan else None
        for meter, metered in memory.items():
            allowance = plan.allowances.get(meter) if plan else None
            if allowance is not None and (not isinstance(event, UsageRecorded) or event.meter == meter):
                self._note(metered, allowance)
        for alert in raised:
            _note_told(memory[alert.subject], alert)

    def _note(self, metered: _Metered, allowance: Allowance) -> None:
        metered.in_alarm = set(self._reached(metered.total, allowance))
        metered.told |= metered.in_alarm
        metered.forecast_on = metered.day

    def _reached(self, total: Decimal, allowance: Allowance) -> list[Decimal]:
        return [threshold for threshold in self._thresholds if total * 100 >= threshold * allowance.quantity]

    def _findings(
        self,
        meter: str,
        metered: _Metered,
        total: Decimal,
        allowance: Allowance,
        plan: Plan,
        facts: AccountFacts,
        event: Message,
    ) -> Iterator[Finding]:
        view = _View(meter, metered, total, allowance, plan, facts, event.time)
        reached = self._reached(total, allowance)
        new = [threshold for threshold in reached if threshold not in metered.told]
        if new:
            yield view.crossed(new[-1])
        for threshold in sorted(metered.raised & metered.in_alarm - set(reached)):
            yield view.resolved(threshold)
        if not new and self._is_forecast_due(metered, total, allowance):
            days_left = view.days_left
            chance = metered.rate.chance_above(float(allowance.quantity - total), days_left) if days_left else 0.0
            if chance >= self._forecast_chance:
                yield view.forecast(chance, self._forecast_chance)

    def _is_forecast_due(self, metered: _Metered, total: Decimal, allowance: Allowance) -> bool:
        return (
            not metered.is_forecast_told
            and metered.forecast_on < metered.day
            and metered.period.end is not None
            and metered.rate.days >= self._forecast_after_days
            and total < allowance.quantity
        )


@dataclass(slots=True)
class _View:
    """One meter's state as an alert would tell it."""

    meter: str
    metered: _Metered
    total: Decimal
    allowance: Allowance
    plan: Plan
    facts: AccountFacts
    now: datetime

    @property
    def days_left(self) -> float:
        """Days until renewal; 0 where there is none."""
        end = self.metered.period.end
        return max(0.0, (end - self.now) / _DAY) if end is not None else 0.0

    def crossed(self, threshold: Decimal) -> Finding:
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

    def resolved(self, threshold: Decimal) -> Finding:
        share = float(self.total / self.allowance.quantity)
        what = (
            f"A correction brought {self.meter} back to {readable(self.total)} {self.allowance.unit}, {self._percent()} %, "
            f"which is below {readable(threshold)} %."
        )
        return self._finding(
            threshold=readable(threshold),
            score=max(0.0, share / float(threshold / 100)),
            is_severe=False,
            reason=Reason(what=what),
            chance=None,
            state="resolved",
        )

    def forecast(self, chance: float, line: float) -> Finding:
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
        state: str = "triggered",
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
            state="resolved" if state == "resolved" else "triggered",
            reasons=(reason,),
            facts=facts,
            harm=Harm(amount=cost, currency=self.plan.currency, probability=chance) if cost and chance else None,
        )


def _close_days(metered: _Metered, day: str) -> None:
    gap = (datetime.fromisoformat(day) - datetime.fromisoformat(metered.day)).days
    metered.rate.learn_one(max(0.0, float(metered.today)))
    if gap <= 7:  # noqa: PLR2004 - a week without a reading is a pause in the data, not a week without usage
        for _ in range(gap - 1):
            metered.rate.learn_one(0.0)
    metered.day, metered.today = day, Decimal(0)


def _renew(metered: _Metered, period: Period) -> None:
    metered.period = period
    metered.total = Decimal(0)
    metered.told, metered.raised, metered.in_alarm = set(), set(), set()
    metered.is_forecast_told = False


def _change_cycle(metered: _Metered, facts: AccountFacts, now: datetime) -> None:
    """Keep what was used: a bill that moves is not a bill that starts again, unless a cycle or a new balance began since."""
    period = period_at(facts.cycle, facts.zone, now)
    is_topped_up = metered.cycle.kind == facts.cycle.kind == "prepaid" and period.start > metered.period.start
    if is_topped_up or (metered.period.end is not None and now >= metered.period.end):
        _renew(metered, period)
    metered.period, metered.cycle = period, facts.cycle


def _note_told(metered: _Metered, alert: Alert) -> None:
    threshold = str(alert.facts["threshold"])
    if threshold == FORECAST:
        metered.is_forecast_told = True
    elif alert.state == "triggered":
        metered.raised.add(Decimal(threshold))


def _plain(number: Decimal) -> Decimal:
    return Decimal(readable(number))
