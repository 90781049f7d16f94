"""How large what is kept of an account gets: usually, and at the very worst."""

import gc
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from river import base

from detectors.alerts import Alert, DetectorVersion, derive_alert_id
from detectors.bulletin_board import BulletinBoard
from detectors.catalogue import CatalogueSettings, build_detectors
from detectors.detector import Detector, Finding
from detectors.events import ChargePosted, Merchant, UsageRecorded
from detectors.message import Message
from detectors.online import AlertLine, ChargeOdds, UpperTail, UsageForecaster
from detectors.plans import Allowance, Plan
from detectors.profile import AccountFacts

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = 3
LARGEST = 256 * 1024
WIDE = "\N{GOTHIC LETTER AHSA}"  # four bytes


def usage(number: int, at: datetime, quantity: str, meter: str = "electricity", **more: Any) -> UsageRecorded:
    fields = {"id": f"u{number}", "source": "/t", "time": at, "account": "a1", "meter": meter, "unit": "kWh"}
    return UsageRecorded.model_validate(fields | {"quantity": Decimal(quantity)} | more)


def charge(number: int, at: datetime, amount: str, merchant: Merchant, currency: str = "EUR") -> ChargePosted:
    return ChargePosted(
        id=f"c{number}",
        source="/t",
        time=at,
        account="a1",
        amount=Decimal(amount),
        currency=currency,
        merchant=merchant,
        channel="card_present",
    )


def plan_of(meters: list[str], unit: str) -> Plan:
    allowance = Allowance(quantity=Decimal(400), unit=unit, overage=Decimal(8))
    return Plan(currency="EUR", allowances=dict.fromkeys(meters, allowance))


def alert_of(detector: Detector, finding: Finding, facts: AccountFacts) -> Alert:
    alert_id = derive_alert_id(facts.account, detector.kind, finding.subject, finding.period, finding.threshold)
    return Alert(
        id=f"{alert_id}:{finding.state}",
        source="/t",
        time=finding.occurred_at,
        account=facts.account,
        alert_id=alert_id,
        kind=detector.kind,
        subject=finding.subject,
        state=finding.state,
        score=finding.score,
        severity=finding.severity,
        alert_class=detector.alert_class,
        occurred_at=finding.occurred_at,
        detected_at=finding.occurred_at,
        useful_until=finding.useful_until,
        facts=finding.facts,
        detector=DetectorVersion(name=detector.kind, version=detector.version),
        config="",
    )


def remembered(detectors: tuple[Detector, ...], facts: AccountFacts, events: list[Message]) -> list[Any]:
    """Return what each detector remembers of an account after the events."""
    memories = [detector.begin() for detector in detectors]
    for event in sorted(events, key=lambda event: event.time):
        for detector, memory in zip(detectors, memories, strict=True):
            if type(event) in detector.reads:
                detector.settle(event.time, facts, memory)
                found = detector.score(event, facts, memory)
                detector.learn(event, facts, memory, [alert_of(detector, finding, facts) for finding in found])
    return memories


@pytest.fixture(scope="module")
def ordinary() -> tuple[tuple[Detector, ...], list[Any]]:
    """An account with a meter that is read hourly, on a plan, with charges at twenty merchants."""
    random = Random(1)
    detectors = build_detectors(CatalogueSettings(), {"basic": plan_of(["electricity"], "kWh")}, BulletinBoard())
    events: list[Message] = [
        usage(hour, START + timedelta(hours=hour), f"{random.lognormvariate(0, 0.5):.3f}")
        for hour in range(24 * 7 * WEEKS)
    ]
    for number in range(60):
        merchant = Merchant(id=f"shop-{number % 20}", category=("food", "fuel", "fun")[number % 3], country="SE")
        at = START + timedelta(hours=8 * number, minutes=7)
        events.append(charge(number, at, f"{random.lognormvariate(3.3, 0.5):.2f}", merchant))
    memories = remembered(detectors, AccountFacts("a1", plan="basic"), events)
    place = next(number for number, each in enumerate(detectors) if each.kind == "suspicious_charge")
    memories[place].waiting = memories[place].merchants = (
        b""  # charges that wait for their label come on top, see test_suspicious_charge_labels.py
    )
    return detectors, memories


def test_an_ordinary_account_is_saved_in_900_bytes(ordinary: tuple[tuple[Detector, ...], list[Any]]) -> None:
    detectors, memories = ordinary

    assert sum(len(detector.save(memory)) for detector, memory in zip(detectors, memories, strict=True)) <= 900


def test_an_ordinary_account_takes_3400_bytes_of_memory(ordinary: tuple[tuple[Detector, ...], list[Any]]) -> None:
    detectors, memories = ordinary
    saved = [detector.save(memory) for detector, memory in zip(detectors, memories, strict=True)]
    accounts: list[Any] = [None] * (len(detectors) * 1000)
    later = usage(9999, START + timedelta(weeks=WEEKS), "1")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1000):
            for place, (detector, memory) in enumerate(zip(detectors, saved, strict=True)):
                restored = detector.restore(memory, detector.version)
                detector.score(later, AccountFacts("a1"), restored)  # what is derived when first asked for is kept too
                accounts[len(detectors) * number + place] = restored
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken / 1000 <= 3400


def test_whatever_is_sent_an_account_is_saved_in_256_kibibytes() -> None:
    unit, thousands = WIDE * 256, "3." + "7" * 5000
    meters = [(f"{number:03}" + WIDE * 256)[:256] for number in range(60)]
    detectors = build_detectors(CatalogueSettings(), {"wide": plan_of(meters, unit)}, BulletinBoard())
    events: list[Message] = []
    for day in range(70):
        for number, meter in enumerate(meters):
            at = START + timedelta(days=day, minutes=number, microseconds=1)
            events.append(usage(day, at, thousands, meter, unit=unit))
            events.append(usage(day, at, thousands + str(day), meter, unit=unit, cumulative=True))
            if day % 10 == 9:
                events.append(usage(day, at + timedelta(seconds=1), "999", meter, unit=unit))
    for number in range(900):
        name = (f"{number:04}" + WIDE * 256)[:256]
        currency = "".join(chr(65 + number // 26**place % 26) for place in range(3))
        amount = "9999999999999999.9999" if number % 2 else "12.3456"
        merchant = Merchant(id=name, name=name, category=name[::-1], country=currency[:2])
        at = START + timedelta(days=60, minutes=number, microseconds=1)
        events.append(charge(number, at, amount, merchant, "EUR" if number % 3 else currency))
    facts = AccountFacts(WIDE * 256, plan="wide")

    memories = remembered(detectors, facts, events)

    saved = [detector.save(memory) for detector, memory in zip(detectors, memories, strict=True)]
    assert 128 * 1024 < sum(map(len, saved)) < LARGEST  # the first, to know that it was tried hard
    restored = [detector.restore(each, detector.version) for detector, each in zip(detectors, saved, strict=True)]
    assert [detector.save(memory) for detector, memory in zip(detectors, restored, strict=True)] == saved


@pytest.mark.parametrize(
    "estimator",
    [ChargeOdds(rate=0.2), UsageForecaster(fast=0.2), UpperTail(2.0, 50.0), AlertLine(alerts_a_month=0.5)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_learns_is_a_river_estimator_that_can_be_cloned(estimator: base.Estimator) -> None:
    clone = estimator.clone()

    assert type(clone) is type(estimator)
    assert clone._get_params() == estimator._get_params()
