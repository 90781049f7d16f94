"""What the usage-spike detector says: so much more than usual is used, and all is as usual again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt
from typing import NamedTuple
from zoneinfo import ZoneInfo

from .alerts import FactValue, Option, Question, Reason
from .detector import Finding
from .events import UsageRecorded
from .local_hour import local_hour
from .meter_reading import readable
from .online.usage_figures import days_of, growth_of, span_of, spread_of, usual_of
from .online.usage_habit import UsageHabit
from .profile import AccountFacts
from .usage_spike_memory import Metered

GROWTH = "growth"
"""The threshold of an alert about what crept up over months."""

QUESTION = Question(
    text_key="do_you_know_why",
    options=(
        Option(means="confirmed", label="Yes, I know why"),
        Option(means="denied", label="No, I do not know why"),
    ),
)

_USEFUL = timedelta(hours=24)
_DAY = 24


class Figures(NamedTuple):
    """What is told of a span.

    Attributes:
        hours: how many, up to the running one.
        seen: what was used.
        usual: what is usual.
        low: where the usual range begins.
        high: and ends.
        since: when the span began, local.
    """

    hours: int
    seen: float
    usual: float
    low: float
    high: float
    since: datetime


def period_of(told_at: int) -> str:
    """Return the hour in which a spike was told, as part of its alert's id.

    >>> period_of(0)
    '1970-01-01T00:00Z'
    """
    return datetime.fromtimestamp(told_at * 3600, UTC).strftime("%Y-%m-%dT%H:%MZ")


def figures_of(habit: UsageHabit, window: int, more: float, zone: ZoneInfo, number: int) -> Figures:
    """Return what was used in about a window up to hour `number`, and what is usual in it."""
    buckets, seen = span_of(habit, window, more)
    hours = buckets * _DAY if habit.daily else buckets
    usual = 0.0
    for back in range(buckets):
        hour = local_hour(number - back * (_DAY if habit.daily else 1), zone)
        usual += (
            usual_of(habit, hour.weekday, 0) if habit.daily else usual_of(habit, hour.on_the_wall, int(hour.is_weekend))
        )
    # the spread is one of square roots: share the usual out over the buckets and square back
    root, spread = sqrt(usual / buckets), spread_of(habit, window)
    low, high = max(0.0, root - spread) ** 2 * buckets, (root + spread) ** 2 * buckets
    start = datetime.fromtimestamp((number - (0 if habit.daily else hours - 1)) * 3600, UTC).astimezone(zone)
    if habit.daily:
        start = start.replace(hour=0) - timedelta(days=buckets - 1)
    return Figures(hours, seen, usual, low, high, start)


def spike(event: UsageRecorded, facts: AccountFacts, figures: Figures, score: float, number: int) -> Finding:
    """Return that the account uses far more than it usually does."""
    seen, usual, low, high = map(_short, figures[1:5])
    span = "the last hour" if figures.hours == 1 else f"the last {figures.hours} hours"
    times = f"{figures.seen / figures.usual:.1f} times" if figures.usual > 0 else "more than"
    over = _short(figures.seen - figures.high)
    reason = Reason(
        what=(
            f"In {span} {seen} {event.unit} of {event.meter} were used, {times} what is usual at this time for this "
            f"account, {usual} {event.unit} (between {low} and {high}); that is {over} {event.unit} above the usual range."
        ),
        usual=f"{low} to {high} {event.unit}",
        seen=f"{seen} {event.unit}",
        contribution=score,
    )
    return _finding(event, facts, reason, score, number, figures)


def newcomers_spike(
    event: UsageRecorded, facts: AccountFacts, usage: float, typical: float, score: float, number: int
) -> Finding:
    """Return that an account without a habit uses far more in an hour than other customers do."""
    what = (
        f"In the last hour {_short(usage)} {event.unit} of {event.meter} were used; customers with this meter use "
        f"{_short(typical)} {event.unit} an hour, and this one's own habit is not known yet."
    )
    seen, usual = f"{_short(usage)} {event.unit}", f"{_short(typical)} {event.unit} for other customers"
    reason = Reason(what=what, usual=usual, seen=seen, contribution=score)
    since = datetime.fromtimestamp(number * 3600, UTC).astimezone(facts.zone)
    return _finding(event, facts, reason, score, number, Figures(1, usage, typical, 0.0, 2 * typical, since))


def growth(event: UsageRecorded, facts: AccountFacts, habit: UsageHabit, number: int, score: float) -> Finding:
    """Return that usage has crept up over months."""
    times = growth_of(habit)
    seen, usual = days_of(habit)
    what = (
        f"Use of {event.meter} has grown slowly to {times:.1f} times what it was half a year ago, "
        f"now about {_short(seen)} {event.unit} a day."
    )
    reason = Reason(
        what=what,
        usual=f"{_short(usual)} {event.unit} a day",
        seen=f"{_short(seen)} {event.unit} a day",
        contribution=score,
    )
    since = event.time.astimezone(facts.zone).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=180)
    return _finding(event, facts, reason, score, number, Figures(0, seen, usual, usual, usual, since), GROWTH)


def end_of_spike(event: UsageRecorded, facts: AccountFacts, metered: Metered) -> Finding:
    """Return that the spike that was told is over."""
    habit = metered.habit
    span = f"{habit.calm} {'days' if habit.daily else 'hours'}"
    return Finding(
        subject=event.meter,
        period=period_of(metered.told_at),
        score=0.0,
        severity="info",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        state="resolved",
        reasons=(Reason(what=f"{event.meter} has been as usual for {span}."),),
        facts={"account_ending": facts.account[-4:], "meter": event.meter, "unit": event.unit},
    )


def _finding(
    event: UsageRecorded,
    facts: AccountFacts,
    reason: Reason,
    score: float,
    number: int,
    figures: Figures,
    threshold: str = "",
) -> Finding:
    seen, usual, low, high = map(_short, figures[1:5])
    known: dict[str, FactValue] = {
        "account_ending": facts.account[-4:],
        "meter": event.meter,
        "unit": event.unit,
        "seen": seen,
        "usual": usual,
        "usual_low": low,
        "usual_high": high,
        "since": figures.since.isoformat(),
    }
    return Finding(
        subject=event.meter,
        period=period_of(number),
        threshold=threshold,
        score=score,
        severity="warning",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        reasons=(reason,),
        facts=known,
        question=None if threshold else QUESTION,
    )


def _short(number: float) -> str:
    return readable(Decimal(f"{number:.3g}"))
