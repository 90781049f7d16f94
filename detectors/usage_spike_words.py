"""What the usage-spike detector says: so much more than usual is used, and all is as usual again."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from math import sqrt
from zoneinfo import ZoneInfo

from .alerts import FactValue, Reason
from .detector import Finding
from .events import UsageRecorded
from .meter_reading import readable
from .online import WINDOWS, Deviation
from .profile import AccountFacts
from .usage_spike_memory import Metered

_HOUR = timedelta(hours=1)
_USEFUL = timedelta(hours=24)


def spike(event: UsageRecorded, facts: AccountFacts, deviation: Deviation, window: int, score: float) -> Finding:
    """Return that the account uses far more than it usually does; `window` is the one that says most."""
    seen, usual, spread = deviation.seen[window], deviation.usual[window], deviation.spread[window]
    hours = WINDOWS[window]
    # the spread is one of square roots, summed over the window: share it out over the window's hours and square back
    low, high = (max(0.0, sqrt(usual / hours) + side * spread / hours) ** 2 * hours for side in (-1, 1))
    span = "the last hour" if hours == 1 else f"the last {hours} hours"
    times = f"{seen / usual:.1f} times" if usual > 0 else "more than"
    reason = Reason(
        what=(
            f"In {span} {_short(seen)} {event.unit} of {event.meter} were used, {times} what is usual at this time "
            f"for this account, {_short(usual)} {event.unit} (between {_short(low)} and {_short(high)})."
        ),
        usual=f"{_short(low)} to {_short(high)} {event.unit}",
        seen=f"{_short(seen)} {event.unit}",
        contribution=score,
    )
    return _finding(event, facts, reason, score, hours, (seen, usual, low, high))


def newcomers_spike(event: UsageRecorded, facts: AccountFacts, usage: float, typical: float, score: float) -> Finding:
    """Return that an account without a habit uses far more in an hour than other customers do."""
    what = (
        f"In the last hour {_short(usage)} {event.unit} of {event.meter} were used; customers with this meter use "
        f"{_short(typical)} {event.unit} an hour, and this one's own habit is not known yet."
    )
    seen, usual = f"{_short(usage)} {event.unit}", f"{_short(typical)} {event.unit} for other customers"
    reason = Reason(what=what, usual=usual, seen=seen, contribution=score)
    return _finding(event, facts, reason, score, 1, (usage, typical, 0.0, 2 * typical))


def end_of_spike(event: UsageRecorded, facts: AccountFacts, metered: Metered) -> Finding:
    """Return that the spike that was told is over."""
    what = f"{event.meter} has been as usual for {metered.calm_hours} hours."
    return Finding(
        subject=event.meter,
        period=metered.episode,
        score=0.0,
        severity="info",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        state="resolved",
        reasons=(Reason(what=what),),
        facts={"account_ending": facts.account[-4:], "meter": event.meter, "unit": event.unit},
    )


def _finding(
    event: UsageRecorded,
    facts: AccountFacts,
    reason: Reason,
    score: float,
    hours: int,
    figures: tuple[float, float, float, float],
) -> Finding:
    """Return a spike of the last `hours`; `figures` are what was seen, the usual, and its low and high end."""
    seen, usual, low, high = map(_short, figures)
    known: dict[str, FactValue] = {
        "account_ending": facts.account[-4:],
        "meter": event.meter,
        "unit": event.unit,
        "seen": seen,
        "usual": usual,
        "usual_low": low,
        "usual_high": high,
        "since": _since(event.time, facts.zone, hours).isoformat(),
    }
    return Finding(
        subject=event.meter,
        period=event.time.astimezone(facts.zone).date().isoformat(),
        score=score,
        severity="warning",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        reasons=(reason,),
        facts=known,
    )


def _since(moment: datetime, zone: ZoneInfo, hours: int) -> datetime:
    return (moment - (hours - 1) * _HOUR).astimezone(zone).replace(minute=0, second=0, microsecond=0)


def _short(number: float) -> str:
    return readable(Decimal(f"{number:.3g}"))
