"""What the suspicious-charge detector says: why it asks, and what."""

from __future__ import annotations

from datetime import timedelta

from .alerts import FactValue, Harm, Option, Question, Reason
from .detector import Finding
from .events import ChargePosted
from .meter_reading import readable
from .profile import AccountFacts
from .suspicious_charge_memory import Memory, habit_in
from .suspicious_charge_signs import WARM_UP, Sign, total_of, velocity_of

QUESTION = Question(
    text_key="did_you_make_this_charge",
    options=(Option(means="confirmed", label="Yes, this was me"), Option(means="denied", label="No, this was not me")),
)

_USEFUL = timedelta(hours=72)
_PROBABILITY_AT_LINE = 0.5


def ask_about(
    event: ChargePosted, facts: AccountFacts, memory: Memory, signs: list[Sign], denied: int, score: float
) -> Finding:
    """Return the question whether the customer made this charge.

    Args:
        event: the charge.
        facts: of the account.
        memory: of the account.
        signs: what speaks against the charge.
        denied: how many customers denied a charge of its merchant.
        score: how far over the line it is.
    """
    total = total_of(signs) or 1.0
    told = [sign for sign in signs if sign.decades > 0] or signs
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
            _reason(sign, event, memory, denied, score * sign.decades / total)
            for sign in sorted(told, key=lambda sign: -sign.decades)
        ),
        facts=known,
        harm=Harm(
            amount=event.amount, currency=event.currency, probability=score / (score + 1 / _PROBABILITY_AT_LINE - 1)
        ),
        question=QUESTION,
    )


def _reason(sign: Sign, event: ChargePosted, memory: Memory, denied: int, contribution: float) -> Reason:
    merchant, usual = event.merchant, None
    if sign.what == "amount":
        habit, seen = habit_in(event.currency, memory), f"{readable(event.amount)} {event.currency}"
        if habit is None or habit.charges < WARM_UP:
            what = f"{seen} is a large amount for a customer whose habits are not known yet."
        else:
            usual = f"{habit.usual:.0f} {event.currency}"
            what = f"{seen} is far more than the customer usually pays, {usual}."
    elif sign.what == "velocity":
        count = int(velocity_of(event, memory))
        what, seen = f"It is charge number {count} within an hour.", f"{count} charges"
    elif sign.what == "denied":
        what = f"{denied} other customers said that a charge by {merchant.label} was not theirs."
        return Reason(what=what, contribution=contribution)
    else:
        others = {"category": merchant.category, "country": merchant.country, "channel": event.channel}
        seen = others.get(sign.what) or merchant.label
        what = f"The customer never paid this {sign.what} before: {seen}."
    return Reason(what=what, usual=usual, seen=seen, contribution=contribution)
