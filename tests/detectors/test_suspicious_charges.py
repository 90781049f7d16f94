"""Suspicious charges, asked through the engine."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from detectors.alerts import Alert
from detectors.bulletins import MerchantDenied

START = datetime(2026, 2, 2, 12, tzinfo=UTC)


def pay(asked: Any, at: datetime, amount: str, merchant: str = "grocer", **more: Any) -> list[Alert]:
    fields = {"amount": amount, "currency": "EUR", "merchant": {"id": merchant, "country": "SE"}, "card_last4": "4321"}
    found: list[Alert] = asked.tell("charge.posted", at, **{**fields, **more})
    return found


def answer(asked: Any, alert: Alert, means: str, at: datetime) -> None:
    """Give the engine an answer, and let it hear what it announces, as every partition does."""
    assert (
        asked.tell("answer.given", at, account=alert.account, alert_id=alert.alert_id, choice="1", means=means, at=at)
        == []
    )
    for bulletin in asked.engine.take_announcements():
        asked.engine.hear(bulletin)


@pytest.fixture
def known(ask: Callable[..., Any]) -> Any:
    """An engine that has seen three ordinary months of ten customers."""
    asked, random = ask(), Random(1)
    for number in range(900):
        at = START + timedelta(hours=2.4 * number)
        merchant = random.choice(["grocer", "bakery", "bus", "cinema"])
        assert pay(asked, at, f"{random.lognormvariate(3.3, 0.5):.2f}", merchant, account=f"c{number % 10}") == []
    return asked


LATER = START + timedelta(days=95)


def test_the_massage_chair_is_asked_about(known: Any) -> None:
    (alert,) = pay(known, LATER, "2500.00", "massage-chairs", account="c1")

    assert alert.alert_class == "fraud"
    assert alert.severity == "critical"
    assert alert.question is not None
    assert [option.means for option in alert.question.options] == ["confirmed", "denied"]
    assert alert.harm is not None
    assert (str(alert.harm.amount), alert.harm.currency) == ("2500.00", "EUR")
    assert alert.facts["merchant"] == "massage-chairs"
    assert alert.facts["card_last4"] == "4321"
    assert "2500 EUR is far more than the customer usually pays" in alert.reasons[0].what


def test_a_large_charge_on_day_one_is_asked_about(ask: Callable[..., Any]) -> None:
    (alert,) = pay(ask(), START, "2500.00", "massage-chairs")

    assert "habits are not known yet" in alert.reasons[0].what


def test_a_yes_makes_the_merchant_the_customers_own(known: Any) -> None:
    (alert,) = pay(known, LATER, "2500.00", "massage-chairs", account="c1")
    answer(known, alert, "confirmed", LATER + timedelta(hours=1))

    assert pay(known, LATER + timedelta(days=1), "2600.00", "massage-chairs", account="c1") == []
    assert len(pay(known, LATER + timedelta(days=1), "2600.00", "massage-chairs", account="c2")) == 1


def test_a_no_speaks_against_the_merchant_for_everybody(known: Any) -> None:
    def scored(account: str, hours: int) -> float:
        (alert,) = pay(known, LATER + timedelta(hours=hours), "900.00", "dealer", account=account)
        answer(known, alert, "denied", LATER + timedelta(hours=hours))
        return alert.score

    first, second = scored("c1", 1), scored("c2", 5)

    assert second > first


def test_what_was_asked_about_teaches_nothing_until_it_is_answered(known: Any) -> None:
    first = pay(known, LATER, "2500.00", "massage-chairs", account="c1")
    second = pay(known, LATER + timedelta(days=1), "2500.00", "massage-chairs", account="c1")

    assert [alert.alert_id for alert in first] != [alert.alert_id for alert in second]
    assert len(first) == len(second) == 1


def test_an_answer_to_nothing_is_no_harm(known: Any) -> None:
    assert (
        known.tell("answer.given", LATER, account="c1", alert_id="gone", choice="1", means="confirmed", at=LATER) == []
    )


@pytest.mark.parametrize(
    ("amount", "more"),
    [
        ("-2500", {}),
        ("2500", {"approved": False}),
        ("5", {"merchant": "new"}),
        ("30", {"merchant": "grocer"}),
    ],
    ids=["refund", "refused", "small", "usual"],
)
def test_what_is_not_asked_about(known: Any, amount: str, more: dict[str, Any]) -> None:
    assert pay(known, LATER, amount, account="c1", **more) == []


def test_currencies_are_not_compared(known: Any) -> None:
    """900 yen are a coffee, also for somebody who spends 30 euros at a time."""
    for day in range(20):
        pay(known, LATER + timedelta(days=day), "900", "kiosk", account="c9", currency="JPY")

    assert pay(known, LATER + timedelta(days=30), "900", "kiosk", account="c9", currency="JPY") == []


def test_what_is_large_depends_on_the_currency(ask: Callable[..., Any]) -> None:
    assert pay(ask(), START, "2500", "kiosk", currency="JPY") == []
    assert len(pay(ask(), START, "250000", "kiosk", currency="JPY")) == 1


def test_a_no_is_announced_once_to_every_partition(known: Any) -> None:
    (alert,) = pay(known, LATER, "2500.00", "massage-chairs", account="c1")
    at = LATER + timedelta(hours=1)
    for _ in range(2):
        known.tell("answer.given", at, account="c1", alert_id=alert.alert_id, choice="2", means="denied", at=at)

    (bulletin,) = known.engine.take_announcements()

    assert bulletin == MerchantDenied(
        id=f"{alert.alert_id}:denied",
        source="/foretell/streams",
        time=at,
        merchant="massage-chairs",
        charged_at=LATER,
        blames_card=True,
    )


def test_a_yes_is_nobody_elses_business(known: Any) -> None:
    (alert,) = pay(known, LATER, "2500.00", "massage-chairs", account="c1")
    known.tell("answer.given", LATER, account="c1", alert_id=alert.alert_id, choice="1", means="confirmed", at=LATER)

    assert known.engine.take_announcements() == []
