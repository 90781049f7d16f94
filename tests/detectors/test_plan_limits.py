"""Plan limits, asked through the engine."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detectors.alerts import Alert

PLANS = {
    "basic": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "GB", "overage": "8.00"}}},
    "large": {"currency": "EUR", "allowances": {"data": {"quantity": 50, "unit": "GB"}}},
}
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def customer(ask: Callable[..., Any]) -> Any:
    """An engine that knows one customer, on plan basic."""
    asked = ask(plans=PLANS, meters={"data": {"unit": "GB"}}, detectors={"usage_spike": {"enabled": False}})
    asked.tell("account.updated", FIRST - timedelta(hours=1), plan="basic", timezone="UTC")
    return asked


def use(customer: Any, quantity: str, at: datetime = FIRST, **more: Any) -> list[Alert]:
    found: list[Alert] = customer.tell("usage.recorded", at, meter="data", unit="GB", quantity=quantity, **more)
    return found


def thresholds(alerts: list[Alert]) -> list[tuple[str, Any]]:
    return [(alert.state, alert.facts["threshold"]) for alert in alerts]


def test_a_value_on_the_line_is_over_it_even_in_tenths(customer: Any) -> None:
    alerts = [alert for _ in range(80) for alert in use(customer, "0.1")]

    assert thresholds(alerts) == [("triggered", "80")]
    assert alerts[0].evidence[0].event_id == "e81"


def test_each_threshold_is_told_once_a_cycle(customer: Any) -> None:
    alerts = [alert for _ in range(30) for alert in use(customer, "0.5")]

    assert thresholds(alerts) == [("triggered", "80"), ("triggered", "100")]


def test_one_event_that_crosses_several_names_the_highest(customer: Any) -> None:
    (alert,) = use(customer, "12")

    assert alert.facts["threshold"] == "100"
    assert alert.facts["percent"] == 120
    assert str(alert.facts["overage"]) == "16.00"
    assert alert.harm is not None
    assert (str(alert.harm.amount), alert.harm.currency) == ("16.00", "EUR")
    assert use(customer, "1") == []


def test_thresholds_arm_again_at_renewal(customer: Any) -> None:
    first = use(customer, "9")
    second = use(customer, "9", datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC))

    assert thresholds(first + second) == [("triggered", "80"), ("resolved", "80"), ("triggered", "80")]
    assert first[0].alert_id == second[0].alert_id != second[1].alert_id


def test_a_cycle_begins_at_the_customers_midnight(customer: Any) -> None:
    customer.tell("account.updated", FIRST, timezone="America/New_York")
    use(customer, "9", datetime(2026, 4, 1, 3, 59, tzinfo=UTC))

    assert thresholds(use(customer, "1", datetime(2026, 4, 1, 4, 0, tzinfo=UTC))) == [("resolved", "80")]


def test_a_correction_below_the_line_resolves_and_crossing_again_tells_nothing_new(customer: Any) -> None:
    (told,) = use(customer, "9")
    resolved = use(customer, "-3", correction=True)
    again = use(customer, "3")

    assert thresholds(resolved) == [("resolved", "80")]
    assert resolved[0].alert_id == told.alert_id
    assert again == []


def test_a_correction_that_stays_on_the_line_resolves_nothing(customer: Any) -> None:
    use(customer, "9")

    assert use(customer, "-1", correction=True) == []


def test_a_reading_of_an_ended_cycle_rings_nothing(customer: Any) -> None:
    use(customer, "7", datetime(2026, 4, 2, tzinfo=UTC))

    assert use(customer, "9", datetime(2026, 3, 31, tzinfo=UTC)) == []
    assert thresholds(use(customer, "1", datetime(2026, 4, 2, 1, tzinfo=UTC))) == [("triggered", "80")]


def test_a_plan_that_arrives_after_usage_judges_what_was_used(ask: Callable[..., Any]) -> None:
    asked = ask(plans=PLANS)
    assert use(asked, "9") == []

    alerts = asked.tell("account.updated", FIRST + timedelta(hours=1), plan="basic")

    assert thresholds(alerts) == [("triggered", "80")]


def test_a_larger_plan_makes_room(customer: Any) -> None:
    use(customer, "12")

    resolved = customer.tell("account.updated", FIRST + timedelta(hours=1), plan="large")

    assert [alert.state for alert in resolved] == ["resolved"]
    assert resolved[0].reasons[0].what == (
        "The allowance of plan large is 50 GB of data now; used are 12 GB, 24 %, which is below 100 %."
    )
    assert use(customer, "20") == []


def test_a_counter_counts_its_differences_and_survives_a_reset(customer: Any) -> None:
    values = ["1000", "1005", "2", "4.9"]
    alerts = [use(customer, value, FIRST + timedelta(hours=n), cumulative=True) for n, value in enumerate(values)]

    assert alerts[:3] == [[], [], []]  # 5 then 2 more make 7
    assert thresholds(alerts[3]) == [("triggered", "80")]  # 9.9


def test_steady_use_that_will_not_last_is_told_days_before(customer: Any) -> None:
    alerts = [alert for day in range(27) for alert in use(customer, "0.5", FIRST + timedelta(days=day))]

    forecast, *later = alerts
    assert forecast.facts["threshold"] == "forecast"
    assert forecast.occurred_at < FIRST + timedelta(days=12)
    assert float(str(forecast.facts["chance"])) >= 0.9
    assert "2026-03-1" <= str(forecast.facts["breach_date"]) <= "2026-03-25"
    assert [alert.facts["threshold"] for alert in later] == ["80", "100"]


def test_steady_use_that_will_last_is_not_worth_a_word(customer: Any) -> None:
    assert [alert for day in range(30) for alert in use(customer, "0.2", FIRST + timedelta(days=day))] == []


def test_a_prepaid_balance_has_thresholds_and_no_renewal(customer: Any) -> None:
    customer.tell("account.updated", FIRST, cycle={"kind": "prepaid"})
    alerts = [alert for day in range(60) for alert in use(customer, "0.2", FIRST + timedelta(days=day))]

    assert thresholds(alerts) == [("triggered", "80"), ("triggered", "100")]
    assert alerts[0].facts["cycle_end"] is None


def test_meters_without_an_allowance_are_nobodys_limit(customer: Any) -> None:
    assert customer.tell("usage.recorded", FIRST, meter="steps", unit="1", quantity=10_000) == []


def test_a_top_up_begins_a_new_balance(customer: Any) -> None:
    customer.tell("account.updated", FIRST, cycle={"kind": "prepaid", "anchor": FIRST.isoformat()})
    use(customer, "9", FIRST + timedelta(days=1))
    again = FIRST + timedelta(days=20)

    customer.tell("account.updated", again, cycle={"kind": "prepaid", "anchor": again.isoformat()})

    assert use(customer, "7", again + timedelta(hours=1)) == []
    assert thresholds(use(customer, "1", again + timedelta(hours=2))) == [("triggered", "80")]


APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def tick(customer: Any, at: datetime) -> list[Alert]:
    found: list[Alert] = customer.engine.tick(at.timestamp() * 1000)
    return found


def test_alerts_are_resolved_when_the_cycle_ends_though_no_event_comes(customer: Any) -> None:
    told = [*use(customer, "9"), *use(customer, "2")]

    assert tick(customer, APRIL - timedelta(seconds=1)) == []
    resolved = tick(customer, APRIL)
    assert thresholds(resolved) == [("resolved", "80"), ("resolved", "100")]
    assert [alert.alert_id for alert in resolved] == [alert.alert_id for alert in told]
    assert resolved[0].occurred_at == APRIL
    assert resolved[0].reasons[0].what == "A new billing cycle of data began; in the last one 11 GB were used."
    assert tick(customer, APRIL + timedelta(days=90)) == []


def test_an_event_of_the_next_cycle_resolves_once_and_counts_anew(customer: Any) -> None:
    use(customer, "9")

    assert thresholds(use(customer, "7", APRIL + timedelta(hours=1))) == [("resolved", "80")]
    assert thresholds(use(customer, "1", APRIL + timedelta(hours=2))) == [("triggered", "80")]
    assert tick(customer, APRIL + timedelta(hours=3)) == []


def test_a_late_reading_after_the_wake_begins_nothing(customer: Any) -> None:
    use(customer, "9")
    tick(customer, APRIL)

    assert use(customer, "9", APRIL - timedelta(hours=1)) == []
    assert thresholds(use(customer, "8", APRIL + timedelta(hours=1))) == [("triggered", "80")]


def test_what_a_correction_resolved_is_not_resolved_again(customer: Any) -> None:
    use(customer, "9")
    corrected = use(customer, "-3", correction=True)
    again = [*use(customer, "3"), *use(customer, "-3", correction=True), *tick(customer, APRIL)]

    assert thresholds(corrected) == [("resolved", "80")]
    assert "A correction brought data back to 6 GB" in corrected[0].reasons[0].what
    assert again == []


def test_an_alert_is_resolved_by_its_own_id_after_the_cycle_moved(customer: Any) -> None:
    (told,) = use(customer, "9")
    customer.tell("account.updated", FIRST, cycle={"kind": "month", "anchor": "2026-03-20T00:00:00Z"})

    (resolved,) = tick(customer, datetime(2026, 3, 20, tzinfo=UTC))

    assert resolved.alert_id == told.alert_id


def test_a_new_balance_resolves_what_the_old_one_raised(customer: Any) -> None:
    customer.tell("account.updated", FIRST, cycle={"kind": "prepaid", "anchor": FIRST.isoformat()})
    (told,) = use(customer, "9", FIRST + timedelta(days=1))
    again = FIRST + timedelta(days=20)

    (resolved,) = customer.tell("account.updated", again, cycle={"kind": "prepaid", "anchor": again.isoformat()})

    assert (resolved.state, resolved.alert_id) == ("resolved", told.alert_id)
    assert resolved.reasons[0].what.startswith("A new balance of data began")
    assert tick(customer, again + timedelta(days=90)) == []


def test_a_meter_that_cannot_be_remembered_is_never_told_of(ask: Callable[..., Any]) -> None:
    allowances = {f"m{number}": {"quantity": 10, "unit": "GB"} for number in range(34)}
    asked = ask(plans={"many": {"currency": "EUR", "allowances": allowances}})
    asked.tell("account.updated", FIRST, plan="many")
    for number in range(32):
        asked.tell("usage.recorded", FIRST, meter=f"m{number}", unit="GB", quantity=1)

    def told(meter: str) -> list[Alert]:
        alerts = asked.tell("usage.recorded", FIRST + timedelta(minutes=1), meter=meter, unit="GB", quantity=9)
        return [alert for alert in alerts if alert.kind == "plan_limit"]

    assert len(told("m31")) == 1
    assert [told("m32"), told("m32")] == [[], []]
