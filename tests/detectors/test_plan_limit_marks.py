"""The short way that most readings take comes to the same as the long one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from detectors.events import Cycle, UsageRecorded
from detectors.plan_limit import PlanLimit, PlanLimitSettings
from detectors.plan_limit_memory import Memory
from detectors.plans import Allowance, Bundle, Plan
from detectors.profile import AccountFacts

START = datetime(2026, 1, 5, tzinfo=UTC)
PLANS = {
    "basic": Plan(
        currency="EUR",
        allowances={
            "data": Allowance(quantity=Decimal("40.5"), unit="GB"),
            "voice": Allowance(quantity=Decimal(30), unit="min", packages={"more": Decimal(10)}),
            "text": Allowance(quantity=Decimal(0), unit="SMS"),
        },
    ),
    "large": Plan(currency="EUR", allowances={"data": Allowance(quantity=Decimal("40.5"), unit="MB")}),
}
UNUSED = {"unused": Bundle(quantity=Decimal(1), unit="GB", meters=("nothing",))}
AT_LENGTH = {name: plan.model_copy(update={"bundles": UNUSED}) for name, plan in PLANS.items()}  # never the short way
SETTINGS = PlanLimitSettings(thresholds=(Decimal(50), Decimal(80), Decimal(100)))


def reading(random: Random, number: int) -> UsageRecorded:
    meter, unit = random.choice([("data", "GB"), ("voice", "min"), ("text", "SMS"), ("data", "MB"), ("other", "GB")])
    late = timedelta(days=random.choice([0] * 9 + [1, 40]))
    correction = random.random() < 0.1
    quantity = Decimal(random.choice(["0", "0.1", "0.333", "2.5", "8.1"]))
    fields: dict[str, Any] = {
        "id": f"u{number}",
        "source": "/t",
        "time": START + timedelta(hours=number) - late,
        "account": "a1",
        "meter": meter,
        "unit": unit,
        "quantity": -quantity if correction else quantity,
        "correction": correction,
        "cumulative": not correction and random.random() < 0.1,
    }
    return UsageRecorded.model_validate(fields)


@pytest.mark.parametrize("seed", range(6))
def test_the_short_way_and_the_long_way_find_and_remember_the_same(seed: int) -> None:
    random = Random(seed)
    cycles = [Cycle(), Cycle(kind="days", length=3), Cycle(kind="prepaid"), Cycle(kind="rolling", length=5)]
    facts = AccountFacts("a1", plan="basic", cycle=cycles[seed % 4])
    short, long = PlanLimit(SETTINGS, PLANS), PlanLimit(SETTINGS, AT_LENGTH)
    ours, theirs = short.begin(), long.begin()
    quiet = found = 0
    for number in range(700):
        if random.random() < 0.01:
            facts = AccountFacts("a1", plan=random.choice(["basic", "large", "none"]), cycle=facts.cycle)
        event = reading(random, number)
        short.settle(event.time, facts, ours)
        long.settle(event.time, facts, theirs)
        findings = short.score(event, facts, ours)
        quiet += ours.supposed is not None
        found += len(findings)
        assert [finding.threshold for finding in long.score(event, facts, theirs)] == [
            finding.threshold for finding in findings
        ]
        assert theirs.supposed is None
        short.learn(event, facts, ours, ())
        long.learn(event, facts, theirs, ())

        assert short.save(ours) == long.save(theirs)
    assert short.irregularities == long.irregularities
    assert found
    assert quiet > 20 or facts.cycle.kind in {"prepaid", "rolling"}


def test_a_threshold_is_crossed_exactly_on_its_mark_the_short_way_too() -> None:
    detector, facts, memory = PlanLimit(SETTINGS, PLANS), AccountFacts("a1", plan="basic"), Memory()

    def use(number: int, quantity: str) -> list[str]:
        at = START + timedelta(minutes=number)
        fields = {"id": f"u{number}", "source": "/t", "time": at, "account": "a1", "meter": "data", "unit": "GB"}
        event = UsageRecorded.model_validate(fields | {"quantity": quantity})
        detector.settle(event.time, facts, memory)
        found = [finding.threshold for finding in detector.score(event, facts, memory)]
        detector.learn(event, facts, memory, ())
        return found

    assert use(0, "0") == []
    assert use(1, "20.2499999999") == []
    assert use(2, "0.0000000001") == ["50"]
    assert use(3, "12.1499999999") == []
    assert use(4, "0.0000000001") == ["80"]
