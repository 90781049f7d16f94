"""How time passes for one meter: days close, cycles end, windows slide, top-ups expire."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from sys import intern

import msgspec

from .billing_cycle import Period, day_bounds, period_at, shared_period
from .cycle_forecast import CycleForecast, ForecastPool
from .plan_limit_memory import DAY_ONE, Ended, Memory, Metered
from .plan_limit_terms import PLAIN
from .plans import Allowance, Plan
from .profile import AccountFacts

_MOST_ENDED = 8
_LONGEST_PAUSE_DAYS = 7
_DAY = timedelta(days=1)
_ZERO = Decimal(0)
_REARMED = "#"


def day_of(moment: datetime, facts: AccountFacts, memory: Memory) -> int:
    """Return the local day that `moment` is in, counted from 1970."""
    since, until = memory.calm_from, memory.calm_until
    if facts is memory.facts and since is not None and until is not None and since <= moment < until:
        return memory.day
    return moment.astimezone(facts.zone).toordinal() - DAY_ONE


def begun(meter: str, unit: str, now: datetime, facts: AccountFacts, pool: ForecastPool) -> Metered:
    """Return what is kept of a meter that was never seen."""
    metered = Metered(
        intern(meter), intern(unit), period_at(facts.cycle, facts.zone, now), facts.cycle, CycleForecast(pool)
    )
    metered.day = now.astimezone(facts.zone).toordinal() - DAY_ONE
    metered.plan = None if facts.plan is None else intern(facts.plan)
    return metered


def limit_of(plan: Plan | None, metered: Metered) -> Allowance | None:
    """Return the allowance of a meter, if the plan has one in the meter's unit."""
    limit = plan.limit_of(metered.meter) if plan is not None else None
    return limit if limit is not None and limit.unit == metered.unit else None


def pass_time(now: datetime, facts: AccountFacts, plan: Plan | None, memory: Memory, met: Counter[str]) -> None:
    """Close what had ended before `now`, and forecast once a day; `met` counts pauses in the data."""
    day = now.astimezone(facts.zone).toordinal() - DAY_ONE
    start, until = day_bounds(facts.zone, day + DAY_ONE)
    since = start
    for metered in memory.meters:
        limit, before, is_new_day = limit_of(plan, metered), metered.period, metered.day < day
        if is_new_day:
            _close_days(metered, day, met)
        turn(metered, facts, limit, now)
        metered.terms = metered.terms.at(now, metered.total, limit)
        if is_new_day or metered.period is not before:
            _look_ahead(metered, limit, max(start, metered.period.start))
        since = max(since, metered.period.start)
        until = min((until, *_next_ends(metered)))
    memory.facts, memory.day, memory.calm_from, memory.calm_until = facts, day, since, until


def _next_ends(metered: Metered) -> list[datetime]:
    ends = [] if metered.period.end is None else [metered.period.end]
    return ends + [grant.expires_at for grant in metered.terms.grants if grant.expires_at is not None]


def _close_days(metered: Metered, day: int, met: Counter[str]) -> None:
    gap = day - metered.day
    metered.forecast.learn_day(max(0.0, metered.today), metered.day)
    if gap <= _LONGEST_PAUSE_DAYS:  # more without a reading is a pause in the data, not time without usage
        for missing in range(metered.day + 1, day):
            metered.forecast.learn_day(0.0, missing)
    else:
        met["pause"] += 1
    metered.day, metered.today = day, 0.0


def _look_ahead(metered: Metered, limit: Allowance | None, at: datetime) -> None:
    """Forecast the cycle from `at`, and keep that until it is known how it came."""
    end = metered.period.end
    if end is None or at >= end:
        return
    outlook = metered.forecast.outlook(float(metered.total), (end - at) / _DAY, metered.day)
    metered.forecast.keep(outlook, None if limit is None else float(metered.terms.room(limit)))


def turn(metered: Metered, facts: AccountFacts, limit: Allowance | None, now: datetime) -> None:
    """Begin the period of `now` if it is another, or the account is billed otherwise than before.

    A bill that moves is not a bill that starts again: what was used stays, unless a cycle or a new balance began since.
    """
    is_over = metered.period.end is not None and now >= metered.period.end
    if metered.cycle is facts.cycle or metered.cycle == facts.cycle:
        if is_over:
            _renew(metered, period_at(facts.cycle, facts.zone, now), metered.period.end, limit, now)
        return
    period = period_at(facts.cycle, facts.zone, now)
    is_topped_up = metered.cycle.kind == facts.cycle.kind == "prepaid" and period.start > metered.period.start
    if is_topped_up:
        _renew(metered, period, None, limit, now)
    elif is_over:
        _renew(metered, period, metered.period.end, limit, now)
    if metered.period != period:
        metered.moved, metered.raised = metered.open, ()
        metered.forecast.forget()  # it was about another end
        if facts.cycle.kind != "prepaid":
            metered.terms = msgspec.structs.replace(metered.terms, base=None)
    metered.window = ((metered.day, metered.total),) if facts.cycle.kind == "rolling" and metered.total else ()
    metered.period, metered.cycle = period, facts.cycle


def _renew(metered: Metered, period: Period, ended_at: datetime | None, limit: Allowance | None, now: datetime) -> None:
    """Begin `period`; `ended_at` is None where a balance was filled."""
    if metered.raised or metered.moved:
        ended = Ended(ended_at or period.start, metered.total, metered.open, is_topped_up=ended_at is None)
        metered.ended = (*metered.ended, ended)[-_MOST_ENDED:]
    metered.forecast.settle(float(metered.total), None if limit is None else float(metered.terms.room(limit)))
    if ended_at is None:
        metered.terms = PLAIN
    else:
        metered.terms = metered.terms.renewed(
            metered.total, limit, whole_cycles_unused=period.start > ended_at, now=now
        )
    metered.period = period
    metered.total = _ZERO
    metered.told = metered.in_alarm = metered.room = None
    metered.raised, metered.moved = (), ()
    metered.is_forecast_told = False


def window_after(metered: Metered, day: int, used: Decimal) -> tuple[tuple[int, Decimal], ...]:
    """Return the days that count at the meter's day, with what was `used` on `day`; a day too old counts no more."""
    days = dict(metered.window)
    days[day] = days.get(day, _ZERO) + used
    oldest = metered.day - metered.cycle.length + 1
    return tuple(sorted((each, total) for each, total in days.items() if each >= oldest))


def slide(metered: Metered) -> None:
    """Let the days fall out of a rolling window that are too old on the meter's day."""
    oldest = metered.day - metered.cycle.length + 1
    if metered.window and metered.window[0][0] < oldest:
        gone = len(list(takewhile(lambda each: each[0] < oldest, metered.window)))
        metered.window = metered.window[gone:]
        metered.total = sum([used for _, used in metered.window], _ZERO)


def next_key(metered: Metered) -> str:
    """Return the key under which thresholds are told that were armed again within the period."""
    return f"{metered.period.key.partition(_REARMED)[0]}{_REARMED}{metered.terms.rearmed + 1}"


def rearm(metered: Metered, told: Decimal | None) -> None:
    """Arm the thresholds above `told` again: what is told of them is another alert than before."""
    period = shared_period(next_key(metered), metered.period.start, metered.period.end)
    metered.moved, metered.raised = metered.open, ()
    metered.period = period
    metered.told = told
    metered.is_forecast_told = False
    metered.terms = msgspec.structs.replace(metered.terms, rearmed=metered.terms.rearmed + 1)
