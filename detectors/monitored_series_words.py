"""What the monitored-series detector says: this meter does what it never did, and all is as usual again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from .alerts import AlertState, FactValue, Reason
from .detector import Finding
from .events import UsageRecorded
from .meter_reading import readable
from .online.series_watch import Why
from .profile import AccountFacts

_USEFUL = timedelta(hours=24)
_LEAST_READABLE = 0.001  # three places show no digit of what is smaller
_SEEN = (  # by the error that is the rarest
    "The level has moved: lately {meter} is about {seen} {unit}",
    "There was a move: the last readings of {meter} are about {seen} {unit}",
    "Unusual for this hour of the day: {meter} is {seen} {unit}",
    "Unusual for this hour of the week: {meter} is {seen} {unit}",
    "Unusual values: {meter} is {seen} {unit}",
)


def anomaly(
    event: UsageRecorded, facts: AccountFacts, why: Why, since: datetime, period: str, score: float, state: AlertState
) -> Finding:
    """Return that a series does what it never did, or still does and more so."""
    seen, usual = _short(why.seen), _short(why.usual)
    low, high = _short(why.usual - why.spread), _short(why.usual + why.spread)
    began = since.astimezone(facts.zone).isoformat(timespec="minutes")
    what = (
        f"{_SEEN[why.rarest].format(meter=event.meter, seen=seen, unit=event.unit)}, usual is {usual} {event.unit} "
        f"(between {low} and {high}); it has been unusual since {began}."
    )
    known: dict[str, FactValue] = {
        "account_ending": facts.account[-4:],
        "meter": event.meter,
        "unit": event.unit,
        "seen": seen,
        "usual": usual,
        "usual_low": low,
        "usual_high": high,
        "since": began,
    }
    return Finding(
        subject=event.meter,
        period=period,
        score=score,
        severity="warning",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        state=state,
        reasons=(
            Reason(what=what, usual=f"{low} to {high} {event.unit}", seen=f"{seen} {event.unit}", contribution=score),
        ),
        facts=known,
    )


def end_of_anomaly(event: UsageRecorded, facts: AccountFacts, period: str, calm: int) -> Finding:
    """Return that the anomaly that was told is over."""
    return Finding(
        subject=event.meter,
        period=period,
        score=0.0,
        severity="info",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        state="resolved",
        reasons=(Reason(what=f"{event.meter} has been as usual for {calm} readings."),),
        facts={"account_ending": facts.account[-4:], "meter": event.meter, "unit": event.unit},
    )


def moment_of(seconds: float) -> datetime:
    """Return the moment so many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _short(number: float) -> str:
    if 0 < abs(number) < _LEAST_READABLE:
        return f"{number:.3g}"
    return readable(Decimal(f"{number:.3g}"))
