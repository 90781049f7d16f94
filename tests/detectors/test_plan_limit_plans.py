"""Plan limits of every kind of plan and cycle, asked through the engine."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from detectors.alerts import Alert
from detectors.plan_limit import PlanLimit
from detectors.plans import Plan

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC)
PLANS: dict[str, Any] = {
    "basic": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "GB", "overage": "8.00"}}},
    "half": {"currency": "EUR", "on_change": "pro_rata", "allowances": {"data": {"quantity": 50, "unit": "GB"}}},
    "dollars": {"currency": "USD", "on_change": "pro_rata", "allowances": {"data": {"quantity": 50, "unit": "GB"}}},
    "keeping": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "GB", "rolls_over": 6}}},
    "parts": {
        "currency": "EUR",
        "allowances": {"data": {"quantity": 10, "unit": "GB", "packages": {"music": 5, "travel": 5}}},
    },
    "nothing": {"currency": "EUR", "allowances": {"data": {"quantity": 0, "unit": "GB", "overage": "2.00"}}},
    "talk": {
        "currency": "EUR",
        "allowances": {"voice": {"quantity": 80, "unit": "min"}},
        "bundles": {"calls": {"quantity": 100, "unit": "min", "meters": ["voice", "video"]}},
    },
    "megabytes": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "MB"}}},
}


@pytest.fixture
def on(ask: Callable[..., Any]) -> Callable[..., Any]:
    """An engine that knows one customer, on a plan."""

    def on_plan(plan: str, **facts: Any) -> Any:
        quiet = {"enabled": False}
        asked = ask(plans=PLANS, detectors={"usage_spike": quiet, "suspicious_charge": quiet})
        asked.tell("account.updated", FIRST - timedelta(hours=1), plan=plan, timezone="UTC", **facts)
        return asked

    return on_plan


def use(customer: Any, quantity: str, at: datetime = FIRST, meter: str = "data", **more: Any) -> list[Alert]:
    fields = {"meter": meter, "unit": "GB" if meter == "data" else "min", "quantity": quantity} | more
    found: list[Alert] = customer.tell("usage.recorded", at, **fields)
    return found


def top_up(customer: Any, quantity: str, at: datetime, **more: Any) -> list[Alert]:
    fields = {"meter": "data", "unit": "GB", "quantity": quantity} | more
    found: list[Alert] = customer.tell("allowance.added", at, **fields)
    return found


def told(alerts: list[Alert]) -> list[tuple[str, Any]]:
    return [(alert.state, alert.facts["threshold"]) for alert in alerts]


def oddities(customer: Any) -> dict[str, int]:
    (detector,) = (each for each in customer.engine._detectors if isinstance(each, PlanLimit))
    return dict(detector.irregularities)


def memory_of(customer: Any) -> Any:
    (place,) = (place for place, each in enumerate(customer.engine._detectors) if isinstance(each, PlanLimit))
    return customer.engine._accounts.get(b"acct-1234").memories[place]


# larger plans and top-ups -------------------------------------------------------------------------------------------


def test_80_percent_of_the_larger_plan_is_told_in_the_same_cycle(on: Callable[..., Any]) -> None:
    customer = on("basic")
    (first,) = use(customer, "9")
    (resolved,) = customer.tell("account.updated", FIRST + timedelta(hours=1), plan="parts")  # 20 GB
    (again,) = use(customer, "7", FIRST + timedelta(hours=2))

    assert told([first, resolved, again]) == [("triggered", "80"), ("resolved", "80"), ("triggered", "80")]
    assert resolved.alert_id == first.alert_id != again.alert_id
    assert resolved.facts["because"] == "larger_plan"
    assert again.facts["allowance"] == 20


def test_a_smaller_plan_tells_what_it_crosses(on: Callable[..., Any]) -> None:
    customer = on("parts")
    use(customer, "9")

    assert told(customer.tell("account.updated", FIRST + timedelta(hours=1), plan="basic")) == [("triggered", "80")]


def test_a_change_in_mid_cycle_may_count_by_the_days_on_each_plan(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "1")
    customer.tell("account.updated", datetime(2026, 3, 16, 12, tzinfo=UTC), plan="half")  # half of March
    (alert,) = use(customer, "24", datetime(2026, 3, 20, tzinfo=UTC))

    assert alert.facts["allowance"] == 30
    assert alert.facts["percent"] == 83
    (april,) = [each for each in use(customer, "41", APRIL) if each.state == "triggered"]
    assert april.facts["allowance"] == 50


def test_plans_of_two_currencies_share_no_cycle_in_part(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "1")
    customer.tell("account.updated", datetime(2026, 3, 16, 12, tzinfo=UTC), plan="dollars")

    (alert,) = use(customer, "39", datetime(2026, 3, 20, tzinfo=UTC))
    assert (alert.facts["allowance"], alert.facts["currency"]) == (50, "USD")
    assert oddities(customer)["mixed_currencies"] == 1


def test_a_top_up_makes_room_until_the_cycle_ends(on: Callable[..., Any]) -> None:
    customer = on("basic")
    (first,) = use(customer, "9")
    (resolved,) = top_up(customer, "10", FIRST + timedelta(hours=1))
    (again,) = use(customer, "7", FIRST + timedelta(hours=2))

    assert resolved.facts["because"] == "top_up"
    assert resolved.alert_id == first.alert_id
    assert again.facts["allowance"] == 20
    assert told(use(customer, "9", APRIL)) == [("resolved", "80"), ("triggered", "80")]  # 10 GB again


def test_what_is_left_of_a_top_up_outlives_the_cycle_until_it_expires(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "12")
    top_up(customer, "10", FIRST + timedelta(hours=1), expires_at="2026-05-15T00:00:00Z")  # 2 of them used
    april = use(customer, "9", APRIL)
    may = use(customer, "9", datetime(2026, 5, 1, 1, tzinfo=UTC))
    after = use(customer, "0.1", datetime(2026, 5, 15, 1, tzinfo=UTC))

    assert told(april) == []  # 9 of 18
    assert told(may) == []
    assert told(after) == [("triggered", "80")]  # 9.1 of 10


def test_what_was_used_of_a_top_up_stays_used_when_it_expires(on: Callable[..., Any]) -> None:
    customer = on("basic")
    top_up(customer, "10", FIRST, expires_at="2026-03-10T00:00:00Z")
    use(customer, "14", FIRST + timedelta(days=1))
    (alert,) = use(customer, "0.5", datetime(2026, 3, 11, tzinfo=UTC))

    assert alert.facts["allowance"] == 14  # the plan's 10 and the 4 that were used
    assert alert.facts["threshold"] == "100"


def test_a_top_up_that_has_expired_or_is_in_another_unit_adds_nothing(on: Callable[..., Any]) -> None:
    customer = on("basic")
    top_up(customer, "10", FIRST, expires_at=FIRST.isoformat())
    top_up(customer, "10", FIRST, unit="MB")

    assert told(use(customer, "9")) == [("triggered", "80")]
    assert oddities(customer) == {"expired_top_up": 1, "unit_mismatch": 1}


def test_many_top_ups_are_remembered_as_eight(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "1")
    for number in range(30):
        top_up(customer, "1", FIRST + timedelta(hours=number), expires_at=f"2026-06-{number + 1:02}T00:00:00Z")

    assert len(memory_of(customer).meters[0].terms.grants) == 8
    (alert,) = use(customer, "32", FIRST + timedelta(days=2))
    assert alert.facts["allowance"] == 40


# what rolls over, packages, bundles, members --------------------------------------------------------------------------


def test_what_is_left_rolls_over_up_to_the_cap(on: Callable[..., Any]) -> None:
    customer = on("keeping")
    use(customer, "3")
    assert told(use(customer, "12.7", APRIL)) == []  # of 10 and 6, not 7
    assert told(use(customer, "0.1", APRIL + timedelta(hours=1))) == [("triggered", "80")]
    (may,) = [alert for alert in use(customer, "12", APRIL + timedelta(days=31)) if alert.state == "triggered"]

    assert may.facts["allowance"] == Decimal("13.2")  # 3.2 were left


def test_months_without_use_roll_over_no_more_than_the_cap(on: Callable[..., Any]) -> None:
    customer = on("keeping")
    use(customer, "10")
    (alert,) = [each for each in use(customer, "15", FIRST + timedelta(days=150)) if each.state == "triggered"]

    assert alert.facts["allowance"] == 16


def test_packages_are_used_up_in_order_and_named(on: Callable[..., Any]) -> None:
    customer = on("parts")
    (alert,) = use(customer, "16.5")

    assert (alert.facts["allowance"], alert.facts["package"]) == (20, "travel")


def test_a_bundle_is_used_by_all_its_meters(on: Callable[..., Any]) -> None:
    customer = on("talk")
    assert use(customer, "50", meter="voice") == []
    (alert,) = use(customer, "35", meter="video")
    (other,) = use(customer, "14", meter="voice")

    assert (alert.subject, alert.facts["used"], alert.facts["threshold"]) == ("calls", 85, "80")
    assert (other.subject, other.facts["used"]) == ("voice", 64)


def test_a_bundle_that_comes_after_usage_counts_it(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "50", meter="voice")
    use(customer, "20", meter="video")
    customer.tell("account.updated", FIRST + timedelta(hours=1), plan="talk")
    (alert,) = use(customer, "15", FIRST + timedelta(hours=2), meter="video")

    assert (alert.subject, alert.facts["used"]) == ("calls", 85)


def test_a_counters_differences_count_in_a_bundle(on: Callable[..., Any]) -> None:
    customer = on("talk")
    values = ["1000", "1060", "1085"]
    alerts = [
        alert
        for hour, value in enumerate(values)
        for alert in use(customer, value, FIRST + timedelta(hours=hour), meter="video", cumulative=True)
    ]

    assert [(alert.subject, alert.facts["used"]) for alert in alerts] == [("calls", 85)]


def test_a_bundle_has_a_name_of_its_own() -> None:
    with pytest.raises(ValidationError, match="bundle 'voice' has the name of a meter; expected one of its own"):
        Plan.model_validate(
            {"currency": "EUR", "bundles": {"voice": {"quantity": 1, "unit": "min", "meters": ["voice"]}}}
        )


def test_a_family_shares_an_account_and_the_alert_names_who_used_it(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "5", member="ann")
    (alert,) = use(customer, "4", member="bo")

    assert alert.facts["member"] == "bo"


# prepaid balances and rolling windows ---------------------------------------------------------------------------------


def test_a_balance_is_told_in_percent_of_the_last_top_up(on: Callable[..., Any]) -> None:
    customer = on("basic", cycle={"kind": "prepaid"})
    (first,) = use(customer, "9")  # 1 is left
    (resolved,) = top_up(customer, "4", FIRST + timedelta(days=1))  # 5 are left, of 4
    assert use(customer, "4", FIRST + timedelta(days=2)) == []  # 1 of 4 is left
    (again,) = use(customer, "0.2", FIRST + timedelta(days=3))

    assert (resolved.alert_id, resolved.facts["because"]) == (first.alert_id, "top_up")
    assert again.facts["threshold"] == "80"
    assert again.facts["remaining"] == Decimal("0.8")
    assert "0.8 GB of data are left of 4 GB" in again.reasons[0].what


def test_a_balance_says_when_it_will_be_empty(on: Callable[..., Any]) -> None:
    customer = on("parts", cycle={"kind": "prepaid"})
    alerts = [alert for day in range(18) for alert in use(customer, "1", FIRST + timedelta(days=day))]

    (alert,) = alerts  # 16 of 20 are used on the 16th
    assert alert.facts["breach_date"] == "2026-03-20"
    assert str(alert.facts["breach_from"]) <= "2026-03-20" <= str(alert.facts["breach_to"])


def test_a_balance_may_be_overdrawn_and_a_top_up_pays_that_first(on: Callable[..., Any]) -> None:
    customer = on("basic", cycle={"kind": "prepaid"})
    use(customer, "12")
    (resolved,) = top_up(customer, "10", FIRST + timedelta(days=1))  # 8 are left
    (again,) = use(customer, "6.5", FIRST + timedelta(days=2))

    assert oddities(customer) == {"negative_balance": 1}
    assert resolved.facts["used"] == 2
    assert again.facts["remaining"] == Decimal("1.5")


def test_a_window_forgets_its_oldest_day_and_tells_again(on: Callable[..., Any]) -> None:
    customer = on("basic", cycle={"kind": "rolling", "length": 30})
    (first,) = use(customer, "8")
    assert use(customer, "0.5", FIRST + timedelta(days=29)) == []
    (resolved,) = use(customer, "0.5", FIRST + timedelta(days=30))  # the 8 are too old
    (again,) = use(customer, "7", FIRST + timedelta(days=31))

    assert (resolved.alert_id, resolved.facts["because"]) == (first.alert_id, "window_slid")
    assert again.facts["used"] == 8
    assert again.alert_id != first.alert_id
    assert "for any 30 days" in again.reasons[0].what


def test_a_late_reading_counts_in_a_window_while_its_day_does(on: Callable[..., Any]) -> None:
    customer = on("basic", cycle={"kind": "rolling", "length": 30})
    use(customer, "1", FIRST + timedelta(days=40))

    assert use(customer, "9", FIRST) == []
    assert told(use(customer, "7", FIRST + timedelta(days=20))) == [("triggered", "80")]


def test_usage_stays_when_a_month_becomes_a_window(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "5")
    customer.tell("account.updated", FIRST + timedelta(days=1), cycle={"kind": "rolling"})

    assert told(use(customer, "3", FIRST + timedelta(days=2))) == [("triggered", "80")]


# what is irregular ----------------------------------------------------------------------------------------------------


def test_where_nothing_is_included_the_first_use_is_told(on: Callable[..., Any]) -> None:
    customer = on("nothing")
    (alert,) = use(customer, "0.5")

    assert (alert.facts["threshold"], alert.facts["percent"], str(alert.facts["overage"])) == ("100", 100, "1.00")
    assert "of which plan nothing includes nothing" in alert.reasons[0].what
    assert use(customer, "5") == []
    assert oddities(customer) == {"zero_allowance": 2}


def test_usage_on_an_unknown_plan_is_counted_and_judged_when_the_plan_is_known(on: Callable[..., Any]) -> None:
    customer = on("unheard of")
    assert use(customer, "9") == []
    assert oddities(customer) == {"unknown_plan": 1}

    assert told(customer.tell("account.updated", FIRST + timedelta(hours=1), plan="basic")) == [("triggered", "80")]


def test_a_plan_in_another_unit_judges_nothing(on: Callable[..., Any]) -> None:
    customer = on("megabytes")

    assert use(customer, "9") == []
    assert oddities(customer) == {"unit_mismatch": 1}


def test_a_reading_in_another_unit_than_before_is_not_added(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "5")

    assert use(customer, "90", unit="MB") == []
    assert told(use(customer, "3")) == [("triggered", "80")]
    assert oddities(customer) == {"unit_mismatch": 1}


def test_corrections_below_nothing_are_counted_and_kept(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "-5", correction=True)

    assert use(customer, "9") == []
    assert told(use(customer, "4")) == [("triggered", "80")]
    assert oddities(customer) == {"negative_total": 1}


def test_a_pause_teaches_no_habit(on: Callable[..., Any]) -> None:
    customer = on("parts")
    for day in range(20):
        use(customer, "0.9", FIRST + timedelta(days=day))
    use(customer, "0.1", FIRST + timedelta(days=120))

    assert memory_of(customer).meters[0].forecast.days == 20
    assert oddities(customer) == {"pause": 1}


def test_a_reading_of_an_ended_cycle_and_a_meter_too_many_are_counted(on: Callable[..., Any]) -> None:
    customer = on("basic")
    use(customer, "1", APRIL)
    use(customer, "9", FIRST)
    for number in range(32):
        use(customer, "1", APRIL, meter=f"m{number}")

    assert oddities(customer) == {"ended_period": 1, "too_many_meters": 1}
