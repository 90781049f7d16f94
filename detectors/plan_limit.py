"""Plan limits: an allowance that is nearly used up, used up, or will be before the billing cycle ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from math import ceil
from sys import intern
from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import Field

from .alerts import Alert, AlertClass, FactValue, Harm, Reason, derive_alert_id
from .billing_cycle import Period, period_at, shared_period
from .detector import DetectorSettings, Finding
from .events import AccountUpdated, Cycle, UsageRecorded
from .message import Message, Name
from .meter_reading import NO_COUNTER, Counter, readable
from .online import Pace
from .plans import Allowance, Plan
from .profile import BY_THE_MONTH, AccountFacts, cycle_of
from .saved_memory import Format

FORECAST = "forecast"
_DAY = timedelta(days=1)
_MOST_METERS = 32
_MOST_ENDED = 8
_ZERO = Decimal(0)
_DAY_ONE = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
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


_Raised = tuple[tuple[str, str], ...]
"""Thresholds that an alert named, each with the key of the period that is part of the alert's id."""


class _Ended(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A cycle that has ended and whose alerts were not taken back yet.

    Attributes:
        at: when it ended, in UTC.
        total: used in it.
        is_topped_up: it ended because a balance was filled.
    """

    at: datetime
    total: Decimal
    raised: _Raised
    is_topped_up: bool


class _Metered(msgspec.Struct, gc=False):
    """What is kept of one meter of one account.

    Attributes:
        total: used in the current period; exact.
        told: the highest threshold that was crossed in this period; up to it nothing is told again before renewal.
        in_alarm: the highest threshold that is crossed now.
        raised: thresholds that an alert of this period named and none took back.
        moved: those of a period that became this one when the account's cycle was changed.
        today: used on the local day `day`; days are counted from 1970.
        forecast_on: the last day a forecast was made.
    """

    meter: str
    unit: str
    period: Period
    cycle: Cycle
    rate: Pace
    total: Decimal = _ZERO
    told: Decimal | None = None
    in_alarm: Decimal | None = None
    raised: tuple[str, ...] = ()
    moved: _Raised = ()
    is_forecast_told: bool = False
    day: int = 0
    today: float = 0.0
    forecast_on: int = 0
    counter: Counter = NO_COUNTER
    ended: tuple[_Ended, ...] = ()

    @property
    def open(self) -> _Raised:
        """What an alert named and none took back."""
        return self.moved + tuple([(threshold, self.period.key) for threshold in self.raised])


_CycleKind = Literal["month", "week", "days", "prepaid"]


class _SavedMetered(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved.

    Attributes:
        period: its key, start and end; a key that is a date as the number of the day.
        cycle: its kind, anchor and length; None for the usual one.
    """

    meter: str
    unit: str
    period: tuple[str | int, datetime, datetime | None]
    cycle: tuple[_CycleKind, datetime | None, Annotated[int, msgspec.Meta(ge=1, le=366)]] | None
    rate: tuple[int, float, float]
    total: Decimal
    told: Decimal | None
    in_alarm: Decimal | None
    raised: tuple[str, ...]
    moved: _Raised
    is_forecast_told: bool
    day: int
    today: float
    forecast_on: int
    counter: Counter | None
    ended: tuple[_Ended, ...]


_Memory = list[_Metered]


class PlanLimit:
    """Tell once per meter, billing cycle and threshold; on the line is over it.

    Thresholds re-arm at renewal. One event that crosses several is one alert, which names the highest. A correction that
    brings usage below a threshold resolves its alert; crossing again tells nothing new. A reading of an earlier cycle
    changes nothing here: that cycle's bill is another matter. When a cycle ends, its alerts are resolved. A prepaid balance has no renewal to be passed before, so
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
        self._shared: dict[Decimal | None, Decimal] = {threshold: threshold for threshold in self._thresholds}
        self._forecast_chance = settings.forecast_chance
        self._forecast_after_days = settings.forecast_after_days
        self._plans = plans

    def begin(self) -> _Memory:
        """Return the memory of an account never seen: nothing of any meter."""
        return []

    def settle(self, now: datetime, facts: AccountFacts, memory: _Memory) -> None:
        """Close the local days and the billing cycles that had ended before `now`."""
        if not memory:
            return
        day = _day(now, facts)
        for metered in memory:
            if metered.day < day:
                _close_days(metered, day)
            _turn(metered, facts, now)

    def due(self, facts: AccountFacts, memory: _Memory) -> datetime | None:  # noqa: ARG002 - the protocol
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

    def wake(self, now: datetime, facts: AccountFacts, memory: _Memory) -> Sequence[Finding]:
        """Return that the alerts of the cycles that ended are resolved, and begin the next cycles."""
        findings = []
        for metered in memory:
            _turn(metered, facts, now)
            over = [ended for ended in metered.ended if ended.at <= now]
            findings += [finding for ended in over for finding in _of_ended(metered, ended, facts)]
            metered.ended = tuple([ended for ended in metered.ended if ended.at > now])
        return findings

    def score(self, event: Message, facts: AccountFacts, memory: _Memory) -> Sequence[Finding]:
        """Return the thresholds that `event` crosses, upwards and back, the day's forecast, and what an ended cycle leaves."""
        findings = [
            finding
            for metered in memory
            if metered.ended
            for ended in metered.ended
            for finding in _of_ended(metered, ended, facts)
        ]
        plan = self._plans.get(facts.plan) if facts.plan else None
        if plan is None:
            return findings
        if isinstance(event, UsageRecorded):
            allowance = plan.allowances.get(event.meter)
            metered = _of_meter(event.meter, memory)
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

    def learn(self, event: Message, facts: AccountFacts, memory: _Memory, raised: Sequence[Alert]) -> None:
        """Add `event` to its cycle and day, and note what was told."""
        plan = self._plans.get(facts.plan) if facts.plan else None
        if isinstance(event, UsageRecorded):
            metered = _of_meter(event.meter, memory)
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

    def save(self, memory: _Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return _FORMAT.encode(
            [
                (
                    metered.meter,
                    metered.unit,
                    (_saved_key(metered.period.key), metered.period.start, metered.period.end),
                    _saved_cycle(metered.cycle),
                    metered.rate.save(),
                    metered.total,
                    metered.told,
                    metered.in_alarm,
                    metered.raised,
                    metered.moved,
                    metered.is_forecast_told,
                    metered.day,
                    metered.today,
                    metered.forecast_on,
                    None if metered.counter is NO_COUNTER else metered.counter,
                    metered.ended,
                )
                for metered in memory
            ]
        )

    def restore(self, saved: bytes, version: int) -> _Memory:
        """Return the memory that `save` of that version wrote."""
        found = _FORMAT.decode(saved, version)
        try:
            return [
                _Metered(
                    intern(metered.meter),
                    intern(metered.unit),
                    shared_period(_key(metered.period[0]), *metered.period[1:]),
                    BY_THE_MONTH if metered.cycle is None else cycle_of(*metered.cycle),
                    Pace.restored(metered.rate),
                    metered.total,
                    self._shared.get(metered.told, metered.told),
                    self._shared.get(metered.in_alarm, metered.in_alarm),
                    tuple(map(intern, metered.raised)),
                    metered.moved,
                    metered.is_forecast_told,
                    metered.day,
                    metered.today,
                    metered.forecast_on,
                    NO_COUNTER if metered.counter is None else metered.counter,
                    metered.ended,
                )
                for metered in found
            ]
        except (ValueError, OverflowError) as error:
            raise _FORMAT.damaged(str(error)) from error

    def _note(self, metered: _Metered, plan: Plan | None) -> None:
        allowance = plan.allowances.get(metered.meter) if plan else None
        if allowance is None:
            return
        metered.in_alarm = top = self._reached(metered.total, allowance)
        if top is not None and (metered.told is None or top > metered.told):
            metered.told = top
        metered.forecast_on = metered.day

    def _note_told(self, facts: AccountFacts, memory: _Memory, raised: Sequence[Alert]) -> None:
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
            told_of = _of_meter(alert.subject, memory)
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
        self, metered: _Metered, total: Decimal, allowance: Allowance, plan: Plan, facts: AccountFacts, event: Message
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
        view = _View(metered, total, allowance, plan, facts, event)
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

    metered: _Metered
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


def _of_meter(meter: str, memory: _Memory) -> _Metered | None:
    for metered in memory:
        if metered.meter == meter:
            return metered
    return None


def _day(moment: datetime, facts: AccountFacts) -> int:
    """Return the local day that `moment` is in."""
    return moment.astimezone(facts.zone).toordinal() - _DAY_ONE


@lru_cache(maxsize=1_000)
def _saved_key(key: str) -> str | int:
    """Return a period's key as it is saved."""
    try:
        day = date.fromisoformat(key).toordinal() - _DAY_ONE
    except ValueError:
        return key
    return day if _key(day) == key else key


@lru_cache(maxsize=1_000)
def _key(saved: str | int) -> str:
    """Return the key that was saved.

    Raises:
        ValueError: there is no such day.
    """
    return saved if isinstance(saved, str) else date.fromordinal(saved + _DAY_ONE).isoformat()


def _saved_cycle(cycle: Cycle) -> tuple[_CycleKind, datetime | None, int] | None:
    """Return the cycle as it is saved: None for the usual one."""
    return None if cycle is BY_THE_MONTH or cycle == BY_THE_MONTH else (cycle.kind, cycle.anchor, cycle.length)


def _begun(event: UsageRecorded, facts: AccountFacts) -> _Metered:
    period = period_at(facts.cycle, facts.zone, event.time)
    return _Metered(intern(event.meter), intern(event.unit), period, facts.cycle, Pace())


def _add(event: UsageRecorded, facts: AccountFacts, metered: _Metered) -> None:
    used = metered.counter.used(event)
    metered.counter = metered.counter.after(event)
    if event.time >= metered.period.start:
        metered.total += used
    if _day(event.time, facts) == metered.day:
        metered.today += float(used)


def _close_days(metered: _Metered, day: int) -> None:
    gap = day - metered.day
    metered.rate.learn_one(max(0.0, metered.today))
    if gap <= 7:  # noqa: PLR2004 - a week without a reading is a pause in the data, not a week without usage
        for _ in range(gap - 1):
            metered.rate.learn_one(0.0)
    metered.day, metered.today = day, 0.0


def _turn(metered: _Metered, facts: AccountFacts, now: datetime) -> None:
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


def _renew(metered: _Metered, period: Period, ended_at: datetime | None) -> None:
    """Begin `period`; `ended_at` is None where a balance was filled."""
    if metered.raised or metered.moved:
        ended = _Ended(ended_at or period.start, metered.total, metered.open, is_topped_up=ended_at is None)
        metered.ended = (*metered.ended, ended)[-_MOST_ENDED:]
    metered.period = period
    metered.total = _ZERO
    metered.told = metered.in_alarm = None
    metered.raised, metered.moved = (), ()
    metered.is_forecast_told = False


def _of_ended(metered: _Metered, ended: _Ended, facts: AccountFacts) -> Iterator[Finding]:
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


_FORMAT = Format(PlanLimit.kind, PlanLimit.version, list[_SavedMetered])
