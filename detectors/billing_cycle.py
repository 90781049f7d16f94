"""Billing cycles: the period that a moment is billed in, in the account's own days, daylight saving included."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from .events import Cycle

_MONTHS = 12
_WEEK = 7
_A_FIRST, _A_MONDAY = date(1970, 1, 1), date(1970, 1, 5)
_BEGINNING = datetime(1, 1, 3, tzinfo=UTC)  # the first day that every zone can express


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time that is billed as one: from `start` up to, not including, `end`.

    Attributes:
        key: names the period among those of one account: the local date it starts on.
        start: in UTC, since times of one local zone compare by their clock face, which the doubled hour makes wrong.
        end: in UTC; None where it never ends: a prepaid balance is not renewed by the calendar.
    """

    key: str
    start: datetime
    end: datetime | None

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)


@lru_cache(maxsize=10_000)
def shared_period(key: str, start: datetime, end: datetime | None) -> Period:
    """Return a period; accounts that are billed alike share it."""
    return Period(key, start, end)


def period_at(cycle: Cycle, zone: ZoneInfo, moment: datetime) -> Period:
    """Return the period of `cycle` that `moment` is in.

    Periods start at the anchor's local time of day, without an anchor at midnight. A start that a short month lacks
    is on its last day; one in the hour that daylight saving skips is the first instant after it, one in the doubled
    hour its first occurrence. A prepaid balance starts with its anchor, when it was last filled, and has no end. A rolling
    window is one period for ever: what is counted in it slides.

    Args:
        cycle: how the account is billed.
        zone: where its days are counted.
        moment: an aware time.

    Raises:
        ValueError: `moment` has no time zone.

    >>> stockholm = ZoneInfo("Europe/Stockholm")
    >>> anchor = datetime(2026, 1, 31, tzinfo=stockholm)
    >>> march = period_at(Cycle(kind="month", anchor=anchor), stockholm, datetime(2026, 3, 5, tzinfo=UTC))
    >>> march.key, march.start.isoformat(), march.end.isoformat()
    ('2026-02-28', '2026-02-27T23:00:00+00:00', '2026-03-30T22:00:00+00:00')
    """
    if moment.tzinfo is None:
        raise ValueError(f"moment {moment.isoformat()} has no time zone; expected an aware time")
    if cycle.kind == "prepaid":
        return _prepaid(cycle, moment)
    if cycle.kind == "rolling":
        return shared_period("rolling", _BEGINNING, None)
    moment = moment.astimezone(UTC)
    anchor = cycle.anchor.astimezone(zone) if cycle.anchor else None
    at = anchor.time() if anchor else time()
    local_day = moment.astimezone(zone).date()
    if cycle.kind == "month":
        length, first = 0, anchor.date() if anchor else _A_FIRST
        number = local_day.year * _MONTHS + local_day.month - 1
    else:
        length, first = _WEEK if cycle.kind == "week" else cycle.length, anchor.date() if anchor else _A_MONDAY
        number = (local_day - first).days // length
    # the guess is at most one off; where a zone skipped a day, two starts are one instant and the later one counts
    while (period := _numbered(number, length, first, at, zone)).start > moment:
        number -= 1
    while moment not in period:
        number += 1
        period = _numbered(number, length, first, at, zone)
    return period


@lru_cache(maxsize=10_000)
def day_bounds(zone: ZoneInfo, ordinal: int) -> tuple[datetime, datetime]:
    """Return when a local day starts and ends, in UTC; `ordinal` is the date's.

    >>> start, end = day_bounds(ZoneInfo("Europe/Stockholm"), date(2026, 3, 29).toordinal())
    >>> (end - start).total_seconds() / 3600
    23.0
    """
    day = date.fromordinal(ordinal)
    return _instant(day, time(), zone), _instant(day + timedelta(days=1), time(), zone)


def _prepaid(cycle: Cycle, moment: datetime) -> Period:
    if cycle.anchor is None:
        return shared_period("prepaid", _BEGINNING, None)
    filled = cycle.anchor.astimezone(UTC)
    if moment < filled:
        return shared_period("prepaid", _BEGINNING, filled)
    return shared_period(filled.isoformat(), filled, None)


@lru_cache(maxsize=10_000)
def _numbered(number: int, length: int, first: date, at: time, zone: ZoneInfo) -> Period:
    """Return the `number`th period, of `length` days from `first`; where that is 0, month since the year 0."""
    day, after = _start(number, length, first), _start(number + 1, length, first)
    return shared_period(day.isoformat(), _instant(day, at, zone), _instant(after, at, zone))


def _start(number: int, length: int, first: date) -> date:
    if length:
        return first + timedelta(days=number * length)
    year, month = number // _MONTHS, number % _MONTHS + 1
    return date(year, month, min(first.day, monthrange(year, month)[1]))


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return the first instant when clocks in `zone` show `day` and `at`, or that at which they skip it."""
    wanted = datetime.combine(day, at)
    after = wanted.replace(tzinfo=zone).astimezone(UTC)
    if after.astimezone(zone).replace(tzinfo=None) == wanted:
        return after
    after = after.replace(microsecond=0)
    before = wanted.replace(tzinfo=zone, fold=1).astimezone(UTC).replace(microsecond=0)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
