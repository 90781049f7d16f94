"""Suspicious charges: one that this customer would hardly have made, so ask: was it you?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from math import log10
from typing import Annotated, ClassVar, TypeGuard

from pydantic import Field, field_validator
from river import stats

from .alerts import Alert, AlertClass, AnswerGiven, FactValue, Harm, Option, Question, Reason
from .detector import DetectorSettings, Finding
from .events import ChargePosted
from .message import Message, Name
from .meter_reading import readable
from .online import AmountHabit, UpperTail
from .profile import AccountFacts

_HOUR = timedelta(hours=1)
_USEFUL = timedelta(hours=72)
_AGED = timedelta(days=14)  # a charge nobody disputed for so long was the customer's
_MOST_PENDING = 20
_MOST_KNOWN = 200
_MOST_DENIED = 10_000
_MOST_CURRENCIES = 8
_VELOCITY = 12
_RARE_AT_FIRST = 0.1  # how often a habit is broken, before anything was counted
_FADING = 0.001
_POOLED_CHARGES = 10.0  # of an account's own, that the other accounts' love of the new counts for
_TINY = 1e-6
_MOST_DECADES = 5.0
_DENIED_DECADES = 2.0  # for each customer of whom it is known that the merchant's charge was not theirs, up to two
_PROBABILITY_AT_LINE = 0.5
_WARM_UP = 5  # charges, until an account's habits can be broken

_OTHERS = "*"
_ByCurrency = dict[Name, Annotated[Decimal, Field(ge=0)]]

QUESTION = Question(
    text_key="did_you_make_this_charge",
    options=(Option(means="confirmed", label="Yes, this was me"), Option(means="denied", label="No, this was not me")),
)


class SuspiciousChargeSettings(DetectorSettings):
    """How the suspicious-charge detector is tuned.

    Attributes:
        questions_a_thousand: how many charges in a thousand may be asked about, right or wrong.
        least_amount: smaller charges are never asked about; by currency, in its major unit, `"*"` for those not named.
        large_amount: a charge as large as this, and unlike any before on the account, is asked about from the first day;
            by currency as above.
    """

    questions_a_thousand: Annotated[float, Field(gt=0, le=100)] = 2.0
    least_amount: _ByCurrency = Field(default_factory=lambda: {_OTHERS: Decimal(20), "JPY": Decimal(3000)})
    large_amount: _ByCurrency = Field(default_factory=lambda: {_OTHERS: Decimal(1000), "JPY": Decimal(150_000)})

    @field_validator("least_amount", "large_amount")
    @classmethod
    def _has_one_for_the_others(cls, amounts: dict[str, Decimal]) -> dict[str, Decimal]:
        if _OTHERS not in amounts:
            raise ValueError(f'names {", ".join(amounts) or "no currency"}; add `"{_OTHERS}": ...` for all others')
        return amounts


@dataclass(frozen=True, slots=True)
class _Habits:
    """What of a charge can be new to an account."""

    merchant: str
    category: str | None
    country: str | None
    channel: str | None

    def items(self) -> Iterator[tuple[str, str]]:
        for name in ("merchant", "category", "country", "channel"):
            value = getattr(self, name)
            if value is not None:
                yield name, value


@dataclass(frozen=True, slots=True)
class _Pending:
    """A charge that was asked about: it teaches nothing until it is answered or old."""

    at: datetime
    amount: float
    currency: str
    habits: _Habits


@dataclass(slots=True)
class _Memory:
    """What is kept of one account."""

    amounts: dict[str, AmountHabit] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    known: dict[str, dict[str, None]] = field(default_factory=dict)
    lately: deque[datetime] = field(default_factory=lambda: deque(maxlen=_VELOCITY))
    confirmed: dict[str, None] = field(default_factory=dict)
    pending: dict[str, _Pending] = field(default_factory=dict)
    news: dict[str, int] = field(default_factory=dict)
    charges: int = 0


@dataclass(frozen=True, slots=True)
class _Sign:
    """One thing that speaks against a charge, in decades of rarity."""

    decades: float
    reason: Reason


class SuspiciousCharge:
    """Add up how rare each side of a charge is for this account, in decades, and ask where the sum is rarer still.

    Its amount against the account's own habit, the most surprising of a merchant, category, country or channel it never
    paid, several charges within the hour, a merchant that other customers denied. Each is as rare as the pooled experience of the partition's accounts says; the
    line is where the pooled tail of the sum leaves `questions_a_thousand`. While an account is young the population's amounts
    stand in for its own.

    A charge that was asked about teaches nothing until it is answered or two weeks old. "Yes" makes the merchant this
    customer's own, whatever it charges next; "no" speaks against the merchant for everybody.

    Refunds and refused charges ring nothing: no money is gone. Amounts of different currencies are never compared.
    """

    kind: ClassVar[str] = "suspicious_charge"
    version: ClassVar[int] = 1
    alert_class: ClassVar[AlertClass] = "fraud"
    reads: ClassVar[tuple[type[Message], ...]] = (ChargePosted, AnswerGiven)

    def __init__(self, settings: SuspiciousChargeSettings) -> None:
        self._line_decades = log10(1000 / settings.questions_a_thousand)
        self._least_amount = settings.least_amount
        self._large_amount = settings.large_amount
        self._population: dict[str, AmountHabit] = {}
        self._surplus_tail = UpperTail(1.5, 500)
        self._velocity_tail = UpperTail(0.6, 500)
        self._sum_tail = UpperTail(1.4, 1000)  # of several surprises: less rare than one that large
        self._broken = {name: stats.EWMean(_FADING) for name in ("merchant", "category", "country", "channel")}
        for mean in self._broken.values():
            mean.update(_RARE_AT_FIRST)
        self._denied: dict[str, int] = {}

    def begin(self) -> _Memory:
        """Return the memory of an account never seen."""
        return _Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: _Memory) -> None:  # noqa: ARG002 - the protocol
        """Learn the charges that were asked about and never disputed."""
        aged = [alert_id for alert_id, pending in memory.pending.items() if now - pending.at > _AGED]
        for alert_id in aged:
            self._adopt(memory, memory.pending.pop(alert_id))

    def score(self, event: Message, facts: AccountFacts, memory: _Memory) -> Sequence[Finding]:
        """Return the question to ask about `event`, if there is one."""
        if (
            not _is_spending(event)
            or event.amount < _for(event.currency, self._least_amount)
            or event.merchant.id in memory.confirmed
        ):
            return ()
        signs = self._signs(event, memory)
        score = self._sum_tail.decades(_total(signs)) / self._line_decades
        if self._is_large_and_new(event, memory):
            score = max(score, 1.0)
        return (self._question(event, facts, signs, score),) if score >= 1.0 else ()

    def learn(self, event: Message, facts: AccountFacts, memory: _Memory, raised: Sequence[Alert]) -> None:  # noqa: ARG002
        """Take in a charge that rang nothing, keep one that did, and learn from an answer."""
        if isinstance(event, AnswerGiven):
            self._learn_answer(event, memory)
        elif _is_spending(event):
            self._learn_charge(event, memory, raised)

    def _learn_charge(self, event: ChargePosted, memory: _Memory, raised: Sequence[Alert]) -> None:
        signs = self._signs(event, memory)
        spent = _Pending(event.time, float(event.amount), event.currency, _habits(event))
        memory.lately.append(event.time)
        self._sum_tail.learn_one(_total(signs))  # those asked about too, or the line would follow its own answers down
        if raised:
            if len(memory.pending) >= _MOST_PENDING:
                del memory.pending[next(iter(memory.pending))]
            memory.pending[raised[0].alert_id] = spent
            return
        self._surplus_tail.learn_one(self._surplus(event, memory))
        self._velocity_tail.learn_one(_velocity(event, memory))
        if memory.charges >= _WARM_UP:
            for name, value in spent.habits.items():
                is_new = value not in memory.known.get(name, {})
                memory.news[name] = memory.news.get(name, 0) + is_new
                self._broken[name].update(float(is_new))
        self._adopt(memory, spent)

    def _learn_answer(self, event: AnswerGiven, memory: _Memory) -> None:
        pending = memory.pending.pop(event.alert_id, None)
        if pending is None:
            return
        merchant = pending.habits.merchant
        if event.means == "confirmed":
            _remember(memory.confirmed, merchant)
            self._adopt(memory, pending)
        elif event.means == "denied":
            self._denied[merchant] = self._denied.pop(merchant, 0) + 1
            if len(self._denied) > _MOST_DENIED:
                del self._denied[next(iter(self._denied))]

    def _adopt(self, memory: _Memory, spent: _Pending) -> None:
        memory.charges += 1
        for name, value in spent.habits.items():
            _remember(memory.known.setdefault(name, {}), value)
        population = self._population.setdefault(spent.currency, AmountHabit())
        if spent.currency in memory.amounts or len(memory.amounts) < _MOST_CURRENCIES:
            memory.amounts.setdefault(spent.currency, AmountHabit()).learn_one(spent.amount, population)
            memory.largest[spent.currency] = max(memory.largest.get(spent.currency, 0.0), spent.amount)
        population.learn_one(spent.amount)

    def _surplus(self, event: ChargePosted, memory: _Memory) -> float:
        habit = memory.amounts.get(event.currency) or AmountHabit()
        return max(0.0, habit.surplus(float(event.amount), self._population.get(event.currency)))

    def _is_large_and_new(self, event: ChargePosted, memory: _Memory) -> bool:
        return event.amount >= _for(event.currency, self._large_amount) and float(
            event.amount
        ) > 2 * memory.largest.get(event.currency, 0.0)

    def _signs(self, event: ChargePosted, memory: _Memory) -> list[_Sign]:
        signs = [self._amount_sign(event, memory)]
        if memory.charges >= _WARM_UP and (news := self._news(event, memory)):
            signs.append(
                max(news, key=lambda sign: sign.decades)
            )  # a new merchant's category is often new: one surprise
        count = _velocity(event, memory)
        if count > 1:
            what = f"It is charge number {int(count)} within an hour."
            signs.append(_Sign(self._velocity_tail.decades(count), Reason(what=what, seen=f"{int(count)} charges")))
        denied = self._denied.get(event.merchant.id, 0)
        if denied:
            what = f"{denied} other customers said that a charge by {event.merchant.label} was not theirs."
            signs.append(_Sign(_DENIED_DECADES * min(denied, 2), Reason(what=what)))
        return signs

    def _news(self, event: ChargePosted, memory: _Memory) -> list[_Sign]:
        news = []
        for name, value in _habits(event).items():
            if value in memory.known.get(name, {}):
                continue
            pooled = float(self._broken[name].get()) * _POOLED_CHARGES
            share = (memory.news.get(name, 0) + pooled) / (memory.charges - _WARM_UP + _POOLED_CHARGES)
            shown = event.merchant.label if name == "merchant" else value
            what = f"The customer never paid this {name} before: {shown}."
            news.append(_Sign(min(_MOST_DECADES, max(0.0, -log10(share + _TINY))), Reason(what=what, seen=shown)))
        return news

    def _amount_sign(self, event: ChargePosted, memory: _Memory) -> _Sign:
        decades = min(_MOST_DECADES, self._surplus_tail.decades(self._surplus(event, memory)))
        habit, seen = memory.amounts.get(event.currency), f"{readable(event.amount)} {event.currency}"
        if habit is None or habit.charges < _WARM_UP:
            what = f"{seen} is a large amount for a customer whose habits are not known yet."
            return _Sign(decades, Reason(what=what, seen=seen))
        usual = f"{habit.usual:.0f} {event.currency}"
        return _Sign(
            decades, Reason(what=f"{seen} is far more than the customer usually pays, {usual}.", usual=usual, seen=seen)
        )

    def _question(self, event: ChargePosted, facts: AccountFacts, signs: list[_Sign], score: float) -> Finding:
        total = _total(signs) or 1.0
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
                sign.reason.model_copy(update={"contribution": score * sign.decades / total})
                for sign in sorted(told, key=lambda sign: -sign.decades)
            ),
            facts=known,
            harm=Harm(
                amount=event.amount, currency=event.currency, probability=score / (score + 1 / _PROBABILITY_AT_LINE - 1)
            ),
            question=QUESTION,
        )


def _for(currency: str, amounts: dict[str, Decimal]) -> Decimal:
    return amounts.get(currency, amounts[_OTHERS])


def _is_spending(event: Message) -> TypeGuard[ChargePosted]:
    return isinstance(event, ChargePosted) and event.approved and event.amount > 0


def _habits(event: ChargePosted) -> _Habits:
    merchant = event.merchant
    return _Habits(merchant.id, merchant.category, merchant.country, event.channel)


def _velocity(event: ChargePosted, memory: _Memory) -> float:
    """Return how many charges there were within the hour up to this one, itself counted."""
    return 1.0 + sum(1 for at in memory.lately if timedelta() <= event.time - at < _HOUR)


def _total(signs: Sequence[_Sign]) -> float:
    return sum(sign.decades for sign in signs)


def _remember(known: dict[str, None], value: str) -> None:
    """Keep the values met last."""
    known.pop(value, None)
    known[value] = None
    if len(known) > _MOST_KNOWN:
        del known[next(iter(known))]
