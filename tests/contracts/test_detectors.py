"""What every detector keeps. A new one joins by an entry in `CASES`."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from detectors.alerts import Alert
from detectors.catalogue import CatalogueSettings, build_detectors
from detectors.detector import Detector
from detectors.engine import Engine, EngineSettings, Origin
from detectors.events import AccountUpdated, ChargePosted, Merchant, UsageRecorded
from detectors.message import Message
from detectors.plans import Allowance, Meter, Plan
from detectors.profile import AccountFacts

START = datetime(2026, 1, 5, tzinfo=UTC)
PLANS = {
    "basic": Plan(currency="EUR", allowances={"data": Allowance(quantity=Decimal(200), unit="GB", overage=Decimal(8))})
}
SETTINGS = EngineSettings(meters={"data": Meter(unit="GB")}, plans=PLANS)


def usage(
    number: int, quantity: str, *, account: str = "a1", hours: float | None = None, **more: object
) -> UsageRecorded:
    at = START + timedelta(hours=number if hours is None else hours)
    fields = {"id": f"u{number}", "source": "/t", "time": at, "account": account, "meter": "data", "unit": "GB"}
    return UsageRecorded.model_validate({**fields, "quantity": quantity, **more})


def charge(
    number: int, amount: str, *, account: str = "a1", merchant: str = "grocer", hours: float | None = None
) -> ChargePosted:
    return ChargePosted(
        id=f"c{number}",
        source="/t",
        time=START + timedelta(hours=6 * number if hours is None else hours),
        account=account,
        amount=Decimal(amount),
        currency="EUR",
        merchant=Merchant(id=merchant, category="food", country="SE"),
        channel="card_present",
    )


def usual_usage(seed: int, account: str, days: int) -> list[Message]:
    """Usage by day and little by night, 3 GB a day."""
    random = Random(seed)
    weights = [0.2 if hour < 6 else 1.0 for hour in range(24)]
    return [
        usage(hour, f"{3 / 19.2 * weights[hour % 24] * random.uniform(0.7, 1.3):.3f}", account=account)
        for hour in range(24 * days)
    ]


def usual_charges(seed: int, account: str, days: int) -> list[Message]:
    random = Random(seed)
    merchants = ["grocer", "bakery", "bus"]
    return [
        charge(n, f"{random.uniform(20, 60):.2f}", account=account, merchant=random.choice(merchants))
        for n in range(4 * days)
    ]


@dataclass(frozen=True)
class Case:
    """How to make a detector's ordinary and extraordinary input."""

    kind: str
    usual: Callable[[int, str, int], list[Message]]
    unusual: Callable[[str, int], Message]


CASES = [
    Case("usage_spike", usual_usage, lambda account, day: usage(24 * day, "9", account=account)),
    Case("plan_limit", usual_usage, lambda account, day: usage(24 * day, "190", account=account)),
    Case(
        "suspicious_charge",
        usual_charges,
        lambda account, day: charge(4 * day, "2500", account=account, merchant="massage-chairs"),
    ),
]
by_kind = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)


def detector_of(case: Case) -> Detector:
    (found,) = (each for each in build_detectors(CatalogueSettings(), PLANS) if each.kind == case.kind)
    return found


def on_plan(account: str) -> AccountUpdated:
    return AccountUpdated(
        id=f"plan-{account}", source="/t", time=START - timedelta(hours=1), account=account, plan="basic"
    )


def alerts_of(case: Case, events: list[Message], engine: Engine | None = None) -> list[Alert]:
    engine = Engine(SETTINGS) if engine is None else engine  # an empty one is falsy
    found = []
    for account in sorted({event.account for event in events}):
        found += engine.handle(on_plan(account), Origin("accounts", 0, 0))
    for number, event in enumerate(events):
        found += engine.handle(event, Origin("t", 0, number))
    return [alert for alert in found if alert.kind == case.kind]


def test_every_detector_keeps_the_contract() -> None:
    assert {each.kind for each in build_detectors(CatalogueSettings(), PLANS)} == {case.kind for case in CASES}


@by_kind
@pytest.mark.parametrize("seed", range(3))
def test_ordinary_input_rings_nothing(case: Case, seed: int) -> None:
    assert alerts_of(case, case.usual(seed, "a1", 25)) == []


@by_kind
def test_the_extraordinary_rings_once_and_says_why(case: Case) -> None:
    (alert,) = alerts_of(case, [*case.usual(1, "a1", 25), case.unusual("a1", 25)])

    assert alert.score >= 1.0
    assert alert.state == "triggered"
    assert alert.reasons
    assert all(reason.what.endswith(".") for reason in alert.reasons)
    assert sum(reason.contribution or 0 for reason in alert.reasons) == pytest.approx(alert.score)
    assert alert.useful_until > alert.occurred_at
    assert alert.facts["account_ending"] == "a1"


@by_kind
def test_scoring_changes_nothing(case: Case) -> None:
    detector, facts = detector_of(case), AccountFacts("a1", plan="basic")
    memory = detector.begin()
    for event in case.usual(1, "a1", 10):
        detector.settle(event.time, facts, memory)
        detector.learn(event, facts, memory, [])
    unusual = case.unusual("a1", 10)
    detector.settle(unusual.time, facts, memory)
    before = pickle.dumps((vars(detector), memory))

    first, second = detector.score(unusual, facts, memory), detector.score(unusual, facts, memory)

    assert first
    assert list(first) == list(second)
    assert pickle.dumps((vars(detector), memory)) == before


@by_kind
def test_the_same_events_give_the_same_alerts(case: Case) -> None:
    events = [*case.usual(1, "a1", 25), case.unusual("a1", 25), *case.usual(2, "a2", 25)]

    assert alerts_of(case, events) == alerts_of(case, events)


@by_kind
def test_accounts_do_not_share_what_is_theirs(case: Case) -> None:
    """A newcomer beside a heavy user is judged as a newcomer."""
    engine = Engine(SETTINGS)
    alerts_of(case, [*case.usual(1, "a1", 25), case.unusual("a1", 25)], engine)

    assert alerts_of(case, case.usual(2, "a2", 25), engine) == []


@by_kind
def test_memory_stays_bounded(case: Case) -> None:
    detector, facts = detector_of(case), AccountFacts("a1", plan="basic")
    memory = detector.begin()
    sizes = []
    for days in (10, 60):
        for event in case.usual(days, "a1", days):
            detector.settle(event.time, facts, memory)
            detector.learn(event, facts, memory, [])
        sizes.append(len(pickle.dumps(memory)))

    assert sizes[1] < 1.5 * sizes[0] + 2000


@by_kind
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(lambda: [usage(0, "0")], id="zero"),
        pytest.param(lambda: [usage(n, "0") for n in range(24 * 20)], id="always-zero"),
        pytest.param(lambda: [usage(n, "0.1") for n in range(24 * 20)], id="flat"),
        pytest.param(lambda: [usage(50, "1"), usage(1, "1"), usage(30, "1")], id="out-of-order"),
        pytest.param(lambda: [usage(1, "5"), usage(2, "-9", correction=True), usage(3, "1")], id="negative-correction"),
        pytest.param(
            lambda: [usage(n, str(v), cumulative=True) for n, v in enumerate([5, 9, 2, 3])], id="counter-reset"
        ),
        pytest.param(lambda: [usage(1, "1"), usage(90_000, "1")], id="ten-years-later"),
        pytest.param(lambda: [charge(1, "-30"), charge(2, "0"), charge(3, "-2500")], id="refunds"),
        pytest.param(lambda: [charge(n, "19.99") for n in range(60)], id="always-the-same-charge"),
        pytest.param(lambda: [charge(9, "30"), charge(1, "30")], id="charges-out-of-order"),
    ],
)
def test_odd_input_rings_nothing_and_breaks_nothing(case: Case, odd: Callable[[], list[Message]]) -> None:
    assert alerts_of(case, odd()) == []


@by_kind
def test_an_event_that_comes_twice_counts_once(case: Case) -> None:
    events = [*case.usual(1, "a1", 25), case.unusual("a1", 25)]
    doubled = [event for event in events for _ in range(2)]

    assert [alert.alert_id for alert in alerts_of(case, doubled)] == [
        alert.alert_id for alert in alerts_of(case, events)
    ]
