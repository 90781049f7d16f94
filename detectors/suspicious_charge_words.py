"""What the suspicious-charge detector says: why it asks, and what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from .alerts import FactValue, Harm, Option, Question, Reason
from .detector import Finding
from .events import ChargePosted
from .meter_reading import readable
from .online.card_habit import Card
from .profile import AccountFacts
from .suspicious_charge_core import BASE
from .suspicious_charge_extra import WARM_UP, seconds_of, velocity_of
from .suspicious_charge_memory import Memory

QUESTION = Question(
    text_key="did_you_make_this_charge",
    options=(Option(means="confirmed", label="Yes, this was me"), Option(means="denied", label="No, this was not me")),
)

_USEFUL = timedelta(hours=72)
_NEGLIGIBLE = 1e-3


def ask_about(
    event: ChargePosted,
    facts: AccountFacts,
    memory: Memory,
    card: Card,
    contributions: Mapping[str, float],
    denials: int,
) -> Finding:
    """Return the question whether the customer made this charge.

    Args:
        event: the charge.
        facts: of the account.
        memory: of the account.
        card: the card's habit.
        contributions: what adds up to the score, by what it is about.
        denials: how often customers denied a charge of its merchant.
    """
    score = max(sum(contributions.values()), 1.0)
    told = sorted(contributions.items(), key=lambda each: (-each[1], each[0]))
    small = sum(part for _, part in told if abs(part) < _NEGLIGIBLE)  # goes with the base, so that nothing is lost
    known: dict[str, FactValue] = {
        "account_ending": facts.account[-4:],
        "amount": event.amount,
        "currency": event.currency,
        "merchant": event.merchant.label,
        "charged_at": event.time.astimezone(facts.zone).isoformat(),
        "card_last4": event.card_last4,
    }
    return Finding(
        subject=event.id,
        period=event.id,
        score=score,
        severity="critical",
        occurred_at=event.time,
        useful_until=event.time + _USEFUL,
        reasons=tuple(
            _reason(name, event, memory, card, denials, part + (small if name == BASE else 0.0))
            for name, part in told
            if abs(part) >= _NEGLIGIBLE or name == BASE
        ),
        facts=known,
        harm=Harm(amount=event.amount, currency=event.currency, probability=score / (score + 1)),
        question=QUESTION,
    )


def _reason(name: str, event: ChargePosted, memory: Memory, card: Card, denials: int, contribution: float) -> Reason:
    merchant, usual, seen = event.merchant, None, None
    others = {"merchant": merchant.label, "category": merchant.category, "country": merchant.country}
    if name == "amount":
        seen = f"{readable(event.amount)} {event.currency}"
        if card[1] < WARM_UP:
            what = f"{seen} is a large amount for a customer whose habits are not known yet."
        else:
            usual = f"{card[4]:.0f} {event.currency}"
            what = f"{seen} is far more than the customer usually pays, {usual}."
            if float(event.amount) <= card[4]:
                what = f"{seen} is no more than the customer usually pays, {usual}."
    elif name == "velocity":
        count = velocity_of(seconds_of(event.time), memory)
        what, seen = f"It is charge number {count} within an hour.", f"{count} charges"
    elif name == "denied":
        others_said = "Another customer" if denials == 1 else f"{denials} other customers"
        what = f"{others_said} said that a charge by {merchant.label} was not theirs."
    elif name == "run":
        what = f"Charges by {merchant.label} were called fraud lately."
    elif name in others or name == "channel":
        seen = others.get(name) or event.channel or merchant.label
        new = "new for" if contribution > 0 else "known to"
        what = f"This {name} is {new} the customer: {seen}."
    else:
        what = _SENTENCES[name]
    return Reason(what=what, usual=usual, seen=seen, contribution=contribution)


_SENTENCES = {
    BASE: "Frauds are rare, and only so many questions are asked.",
    "card": "The card's charges of late say how likely it is in other hands.",
    "time": "The time of day makes it more or less likely.",
    "currency": "The customer never paid in this currency before.",
    "large": "The charge is as large as those that are always asked about.",
}
