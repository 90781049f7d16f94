"""What version 1 of the plan-limit detector saved is read: a cycle goes on where it stood."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from detectors.plan_limit import PlanLimit, PlanLimitSettings
from detectors.plans import Plan

FIRST_VERSION = bytes.fromhex(  # written by that version: 9 days of .1 GB, 12 of about .7, and a counter
    "92dc0010a464617461a2474293cd5021d6ff69a38180d6ff69cc6000c09314cb3fe375253c6871f2cb3fdb681b12a3a5"
    "3fa4382e3730a23830a2383092a8666f726563617374a2383090c3cd502ccb3fe8000000000000cd502cc090dc0010a5"
    "766f696365a36d696e93cd5021d6ff69a38180d6ff69cc6000c09300cb0000000000000000cb0000000000000000a433"
    "302e35c0c09090c2cd502ccb403e800000000000cd502c92a6313033302e35d6ff69b2c6e090"
)
TOLD = {"forecast": "ff03a09074fc41ac274eddd66ba59827", "80": "cdfb1ef0231f070252db9e25fc6e8023"}
PLAN = Plan.model_validate(
    {
        "currency": "EUR",
        "allowances": {
            "data": {"quantity": 10, "unit": "GB", "overage": "8.00"},
            "voice": {"quantity": 100, "unit": "min"},
        },
    }
)


def detector() -> PlanLimit:
    return PlanLimit(PlanLimitSettings(), {"basic": PLAN})


def test_totals_counters_and_what_was_told_survive() -> None:
    memory = detector().restore(FIRST_VERSION, 1)
    data, voice = memory.meters

    assert (data.meter, data.total, data.told, data.raised) == (
        "data",
        Decimal("8.70"),
        Decimal(80),
        ("forecast", "80"),
    )
    assert (data.period.key, data.is_forecast_told) == ("2026-03-01", True)
    assert (voice.total, voice.counter.last) == (Decimal("30.5"), Decimal("1030.5"))


def test_the_habit_of_a_day_survives() -> None:
    memory = detector().restore(FIRST_VERSION, 1)
    forecast = memory.meters[0].forecast

    assert forecast.days == 20
    outlook = forecast.outlook(0.0, 10.0, 0)
    assert abs(outlook.end - 6.08) < 0.01
    assert 0.1 < outlook.deviation / outlook.end < 0.6


def test_an_alert_of_version_1_is_resolved_by_its_id(ask: Callable[..., Any]) -> None:
    asked = ask(plans={"basic": PLAN.model_dump(mode="json")}, detectors={"usage_spike": {"enabled": False}})
    asked.tell("account.updated", datetime(2026, 3, 12, 15, tzinfo=UTC), plan="basic", timezone="UTC")
    profile = asked.engine._accounts.get(b"acct-1234")
    at = next(n for n, each in enumerate(asked.engine._detectors) if isinstance(each, PlanLimit))
    profile.memories[at] = asked.engine._detectors[at].restore(FIRST_VERSION, 1)

    told = asked.tell("usage.recorded", datetime(2026, 3, 12, 16, tzinfo=UTC), meter="data", unit="GB", quantity="1.3")
    over = asked.tell("usage.recorded", datetime(2026, 4, 1, 1, tzinfo=UTC), meter="data", unit="GB", quantity="0")
    over = [each for each in over if each.facts.get("because") == "cycle_end"]

    assert [(each.state, each.facts["threshold"]) for each in told] == [("triggered", "100")]
    assert [each.state for each in over] == ["resolved"] * 3
    assert {TOLD["80"], TOLD["forecast"]} < {each.alert_id for each in over}


def test_what_was_migrated_is_saved_and_restored_as_it_is() -> None:
    first, second = detector(), detector()
    saved = first.save(first.restore(FIRST_VERSION, 1))

    assert second.save(second.restore(saved, PlanLimit.version)) == saved
