"""Billing cycles keep to the account's own days."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.billing_cycle import Period, period_at
from detectors.events import Cycle

ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Stockholm",
        "America/New_York",
        "America/Sao_Paulo",
        "Africa/Cairo",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    )
]
STOCKHOLM = ZoneInfo("Europe/Stockholm")
moments = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
cycles = st.builds(
    Cycle,
    kind=st.sampled_from(["month", "week", "days", "prepaid"]),
    anchor=st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.sampled_from(ZONES)),  # noqa: DTZ001
    length=st.integers(1, 366),
)


def local(period: Period, zone: ZoneInfo) -> tuple[str, str | None]:
    end = period.end.astimezone(zone).isoformat() if period.end else None
    return period.start.astimezone(zone).isoformat(), end


@given(cycle=cycles, zone=st.sampled_from(ZONES), moment=moments)
def test_a_moment_is_in_its_period(cycle: Cycle, zone: ZoneInfo, moment: datetime) -> None:
    assert moment in period_at(cycle, zone, moment)


@given(cycle=cycles, zone=st.sampled_from(ZONES), moment=moments)
def test_periods_tile_time_without_gap_or_overlap(cycle: Cycle, zone: ZoneInfo, moment: datetime) -> None:
    period = period_at(cycle, zone, moment)

    if period.end is not None:
        following = period_at(cycle, zone, period.end)
        assert following.start == period.end
        assert following.key != period.key
        assert period_at(cycle, zone, period.end - timedelta(microseconds=1)) == period
    assert period_at(cycle, zone, period.start) == period


@given(cycle=cycles, zone=st.sampled_from(ZONES), first=moments, second=moments)
def test_two_moments_share_a_key_only_in_one_period(
    cycle: Cycle, zone: ZoneInfo, first: datetime, second: datetime
) -> None:
    one, other = period_at(cycle, zone, first), period_at(cycle, zone, second)

    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize(
    ("moment", "key", "end"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31", "2026-02-28T00:00:00+01:00"),
        (datetime(2026, 2, 27, 22, 59, tzinfo=UTC), "2026-01-31", "2026-02-28T00:00:00+01:00"),
        (datetime(2026, 2, 27, 23, 0, tzinfo=UTC), "2026-02-28", "2026-03-31T00:00:00+02:00"),
        (datetime(2028, 2, 29, tzinfo=UTC), "2028-02-29", "2028-03-31T00:00:00+02:00"),
        (datetime(2026, 4, 30, tzinfo=UTC), "2026-04-30", "2026-05-31T00:00:00+02:00"),
    ],
)
def test_an_anniversary_that_a_short_month_lacks_is_its_last_day(moment: datetime, key: str, end: str) -> None:
    cycle = Cycle(kind="month", anchor=datetime(2025, 12, 31, tzinfo=STOCKHOLM))

    period = period_at(cycle, STOCKHOLM, moment)

    assert period.key == key
    assert local(period, STOCKHOLM)[1] == end


def test_without_an_anchor_months_are_the_calendars_and_weeks_start_on_monday() -> None:
    moment = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # already April in Stockholm

    assert period_at(Cycle(), STOCKHOLM, moment).key == "2026-04-01"
    assert period_at(Cycle(kind="week"), STOCKHOLM, moment).key == "2026-03-30"


def test_a_day_of_daylight_saving_has_23_or_25_hours() -> None:
    daily = Cycle(kind="days", length=1)

    spring = period_at(daily, STOCKHOLM, datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = period_at(daily, STOCKHOLM, datetime(2026, 10, 25, 12, tzinfo=UTC))

    assert spring.end is not None
    assert autumn.end is not None
    assert (spring.end - spring.start, autumn.end - autumn.start) == (timedelta(hours=23), timedelta(hours=25))


def test_a_start_in_the_missing_hour_is_the_first_instant_after_it() -> None:
    cycle = Cycle(kind="week", anchor=datetime(2026, 3, 22, 2, 30, tzinfo=STOCKHOLM))

    period = period_at(cycle, STOCKHOLM, datetime(2026, 3, 29, 12, tzinfo=UTC))

    assert local(period, STOCKHOLM)[0] == "2026-03-29T03:00:00+02:00"


def test_a_start_in_the_doubled_hour_is_its_first_occurrence() -> None:
    cycle = Cycle(kind="week", anchor=datetime(2026, 10, 18, 2, 30, tzinfo=STOCKHOLM))

    period = period_at(cycle, STOCKHOLM, datetime(2026, 10, 25, 12, tzinfo=UTC))

    assert local(period, STOCKHOLM)[0] == "2026-10-25T02:30:00+02:00"


def test_in_the_doubled_hour_local_moments_are_told_apart() -> None:
    cycle = Cycle(kind="week", anchor=datetime(2026, 10, 18, 2, 30, tzinfo=STOCKHOLM))
    first, second = (datetime(2026, 10, 25, 2, 10, fold=fold, tzinfo=STOCKHOLM) for fold in (0, 1))

    keys = [period_at(cycle, STOCKHOLM, moment).key for moment in (first, second)]

    assert keys == ["2026-10-18", "2026-10-25"]


def test_a_day_that_a_zone_skipped_has_no_period() -> None:
    apia = ZoneInfo("Pacific/Apia")
    daily = Cycle(kind="days", length=1)
    before = period_at(daily, apia, datetime(2011, 12, 29, 12, tzinfo=apia))

    assert before.end is not None
    assert period_at(daily, apia, before.end).key == "2011-12-31"


def test_a_prepaid_balance_starts_when_it_was_filled_and_never_ends() -> None:
    filled = datetime(2026, 3, 10, 15, 0, tzinfo=STOCKHOLM)
    prepaid = Cycle(kind="prepaid", anchor=filled)

    before = period_at(prepaid, STOCKHOLM, filled - timedelta(seconds=1))
    after = period_at(prepaid, STOCKHOLM, filled)

    assert (before.end, after.start, after.end) == (filled, filled, None)
    assert before.key != after.key
    assert period_at(Cycle(kind="prepaid"), STOCKHOLM, filled).end is None


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        period_at(Cycle(), STOCKHOLM, datetime(2026, 3, 1))  # noqa: DTZ001 - what is refused
