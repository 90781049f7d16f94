"""A reading that cannot be is kept from every model, and staff are told once a day."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLANS = {
    "small": {"currency": "EUR", "allowances": {"data": {"quantity": "10", "unit": "GB"}}},
    "large": {"currency": "EUR", "allowances": {"data": {"quantity": "60", "unit": "GB"}}},
}


@pytest.fixture
def asked(ask: Callable[..., Any]) -> Any:
    asked = ask(plans=PLANS)
    asked.tell("account.updated", START, plan="small")
    return asked


def use(asked: Any, hours: float, quantity: str, **more: Any) -> list[tuple[str, str]]:
    fields = {"meter": "data", "unit": "GB", "quantity": quantity} | more
    alerts = asked.tell("usage.recorded", START + hours * HOUR, **fields)
    return [(alert.kind, alert.state) for alert in alerts]


@pytest.mark.parametrize(("quantity", "is_believed"), [("600", True), ("600.001", False), ("1e14", False)])
def test_ten_times_the_largest_allowance_is_the_most_that_is_believed(
    asked: Any, quantity: str, is_believed: bool
) -> None:
    kinds = {kind for kind, _ in use(asked, 1, quantity)}

    assert ("data_quality" in kinds) is not is_believed
    assert ("plan_limit" in kinds) is is_believed


def test_what_is_withheld_joins_no_total_and_is_told_once_a_day(asked: Any) -> None:
    first = use(asked, 1, "7000")
    again = use(asked, 2, "7000")
    next_day = use(asked, 25, "7000")
    usual = use(asked, 26, "0.5")

    assert (first, again, next_day) == ([("data_quality", "triggered")], [], [("data_quality", "triggered")])
    assert usual == [], "the 21,000 GB before are in no total"
    assert asked.engine.take_irregularities()["data_quality", "implausible_reading"] == 3


def test_it_is_for_staff_and_names_the_event(asked: Any) -> None:
    (alert,) = asked.tell("usage.recorded", START, meter="data", unit="GB", quantity="7000")

    assert alert.alert_class == "staff"
    assert (alert.facts["seen"], alert.facts["most"]) == (7000, 600)
    assert alert.facts["event_id"] == alert.evidence[0].event_id
    assert alert.score == pytest.approx(7000 / 600)


def test_sent_again_as_a_correction_it_counts(asked: Any) -> None:
    use(asked, 1, "7000")

    assert use(asked, 2, "7000", correction=True) == [("plan_limit", "triggered")]


def test_a_counter_that_jumps_is_withheld_until_it_is_back(asked: Any) -> None:
    assert use(asked, 1, "100000", cumulative=True) == [], "a counter's first value says nothing of usage"
    assert use(asked, 2, "100001", cumulative=True) == []
    assert use(asked, 3, "999999", cumulative=True) == [("data_quality", "triggered")]
    assert use(asked, 4, "100002", cumulative=True) == [], "2 GB since the last good value, not 100002 after a reset"
    assert use(asked, 5, "100010", cumulative=True) == [("plan_limit", "triggered")], "9 of 10 GB were not 10"


def test_meters_without_an_allowance_are_not_judged(asked: Any) -> None:
    assert use(asked, 1, "1e14", meter="water", unit="l") == []
    in_another_unit = {kind for kind, _ in use(asked, 2, "1e14", unit="MB")}
    assert "data_quality" not in in_another_unit, "it cannot be compared with the plan's"


def test_it_can_be_turned_off(ask: Callable[..., Any]) -> None:
    asked = ask(plans=PLANS, detectors={"data_quality": {"enabled": False}})
    asked.tell("account.updated", START, plan="small")

    assert use(asked, 1, "7000") == [("plan_limit", "triggered")]
