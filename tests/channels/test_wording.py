from __future__ import annotations

from typing import Any

import pytest

from channels.wording import Wording, WordingError
from detectors.alerts import Option, Question

WORDING = Wording()
CHARGE = {
    "account_ending": "1234",
    "amount": "2500",
    "currency": "EUR",
    "merchant": "ACME_SHOP",
    "charged_at": "2026-03-28T21:00:00+01:00",
    "card_last4": "9876",
}
SPIKE = {
    "account_ending": "1234",
    "meter": "water_flow",
    "unit": "l",
    "seen": 420.33,
    "usual": 50,
    "usual_low": 10,
    "usual_high": 90,
    "since": "2026-03-28T03:00:00Z",
}
WAS_IT_YOU = Question(
    text_key="did_you_make_this_charge",
    options=(Option(means="confirmed", label="Yes, this was me"), Option(means="denied", label="No, this was not me")),
)


@pytest.fixture
def limit(make_alert: Any) -> Any:
    facts = make_alert().facts
    return lambda **changes: make_alert(facts=facts | changes)


@pytest.fixture
def charge(make_alert: Any) -> Any:
    return lambda question=WAS_IT_YOU, **changes: make_alert(
        kind="suspicious_charge", facts=CHARGE | changes, question=question, **{"class": "fraud"}
    )


def test_near_a_limit_one_reads_how_much_is_left(limit: Any) -> None:
    words = WORDING.word(limit())

    assert words.subject == "You have used 80 % of your data"
    assert "8.5 of 10 GB. You have 1.5 GB left. Your plan renews on 1 April 2026." in words.body


def test_past_a_limit_one_reads_what_it_costs(limit: Any) -> None:
    words = WORDING.word(
        limit(threshold="100", used="11.25", percent=112, remaining=0, overage="10.00", currency="EUR")
    )

    assert words.subject == "You have used all of your data"
    assert "11.25 GB" in words.body
    assert "112 %" in words.body
    assert "10.00 EUR so far" in words.body


def test_a_forecast_names_the_day(limit: Any) -> None:
    words = WORDING.word(limit(threshold="forecast", breach_date="2026-03-30", overage="4.00", currency="EUR"))

    assert words.subject == "Your data may not last until 1 April 2026"
    assert "around 30 March 2026" in words.body
    assert "about 4.00 EUR" in words.body


def test_a_prepaid_plan_has_no_renewal(limit: Any) -> None:
    words = WORDING.word(limit(cycle_end=None, days_left=None))

    assert "renews" not in words.body


def test_a_question_says_what_to_do_for_each_answer_and_promises_no_reply_path(charge: Any) -> None:
    words = WORDING.word(charge())

    assert words.subject == "Did you make this payment of 2,500.00 EUR?"
    assert "ACME SHOP on 28 March 2026 at 21:00 (UTC+01:00), from your card ending 9876" in words.body
    assert "- Yes, this was me: there is nothing you need to do.\n" in words.body
    assert "- No, this was not me: call us at the number on the back of your card.\n" in words.body
    assert "reply" not in words.body.lower()


@pytest.mark.parametrize("card", [None, "missing"])
def test_a_charge_without_a_card_names_none(charge: Any, card: str | None) -> None:
    alert = charge(card_last4=None)
    if card == "missing":
        alert = alert.model_copy(
            update={"facts": {name: fact for name, fact in alert.facts.items() if name != "card_last4"}}
        )

    assert "card ending" not in WORDING.word(alert).body


def test_a_spike_says_what_is_usual(make_alert: Any) -> None:
    words = WORDING.word(make_alert(kind="usage_spike", facts=SPIKE))

    assert words.subject == "You are using much more water flow than usual"
    assert "Since 28 March 2026 at 03:00 UTC you have used 420 l of water flow." in words.body
    assert "Usually it is about 50 l, between 10 and 90. You are 330 l above that." in words.body


@pytest.mark.parametrize("kind", ["plan_limit", "suspicious_charge", "usage_spike"])
def test_every_message_proves_that_it_is_genuine_and_gives_nothing_away(kind: str, make_alert: Any) -> None:
    facts = {"plan_limit": make_alert().facts, "suspicious_charge": CHARGE, "usage_spike": SPIKE}[kind]

    words = WORDING.word(make_alert(kind=kind, facts=facts | {"account_ending": "acct-000000001234"}))

    assert "account ending 1234." in words.body
    assert "000000001234" not in words.body
    assert "\n" not in words.subject
    assert "None" not in words.body
    assert "  " not in words.body


@pytest.mark.parametrize(
    ("merchant", "read"),
    [
        ("https://www.evil.example/verify", "went to evil.example/verify on"),
        ("HTTP://WWW.evil.example", "went to evil.example on"),
        ("A\nnew line\x1b[2J", "went to A new line [2J on"),
        ("SHOP 4111 1111 1111 1111", "went to SHOP ...1111 on"),
        ("{{ 7 * 7 }}", "went to {{ 7 * 7 }} on"),
        ("x" * 500, "went to " + "x" * 57 + "... on"),
    ],
)
def test_a_merchants_name_cannot_make_a_link_break_a_line_or_show_a_card(merchant: str, read: str, charge: Any) -> None:
    body = WORDING.word(charge(merchant=merchant)).body

    assert read in body
    assert "http" not in body.lower()


@pytest.mark.parametrize("kind", ["unheard_of", "../en/plan_limit", "_parts", "", "plan_limit\0"])
def test_a_kind_without_a_template_has_no_words(kind: str, make_alert: Any) -> None:
    with pytest.raises(WordingError):
        WORDING.word(make_alert(kind=kind or "/"))


@pytest.mark.parametrize("missing", ["account_ending", "meter", "used", "threshold"])
def test_a_missing_fact_is_named(missing: str, limit: Any) -> None:
    alert = limit()
    without = alert.model_copy(update={"facts": {name: fact for name, fact in alert.facts.items() if name != missing}})

    with pytest.raises(WordingError, match=f"'{missing}' is undefined"):
        WORDING.word(without)


@pytest.mark.parametrize("fact", ["used", "cycle_end"])
def test_a_fact_of_a_wrong_form_is_refused_and_not_repeated(fact: str, limit: Any) -> None:
    with pytest.raises(WordingError, match=r"expected a (number|time)") as caught:
        WORDING.word(limit(**{fact: "Jo Doe, 12 High Street"}))

    assert "Jo Doe" not in str(caught.value)


def test_a_text_that_would_show_the_whole_account_number_is_refused(limit: Any) -> None:
    with pytest.raises(WordingError, match="would show the whole account number"):
        WORDING.word(limit(meter="acct-000000001234"))


def test_staff_read_what_a_series_does(make_alert: Any) -> None:
    facts = SPIKE | {"account_ending": "-sth", "meter": "errors", "seen": "480", "usual": "12", "unit": "lines"}

    words = WORDING.word(make_alert(kind="monitored_series", facts=facts, **{"class": "staff"}))

    assert words.subject == "errors is not as usual"
    assert "480 lines of errors. Usual is 12 lines, between 10 and 90." in words.body
