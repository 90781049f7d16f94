"""Suspicious charges: one that this customer would hardly have made, so ask: was it you?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import log10
from sys import intern
from typing import Annotated, ClassVar, TypeGuard

from pydantic import Field, field_validator

from .alerts import Alert, AlertClass, AnswerGiven
from .bulletin_board import BulletinBoard
from .bulletins import Bulletin, MerchantDenied
from .detector import DetectorSettings, Finding
from .events import ChargePosted
from .message import Message, Name
from .online import AmountHabit
from .profile import AccountFacts
from .suspicious_charge_memory import (
    KIND,
    VERSION,
    Memory,
    Pending,
    Purse,
    digest_of,
    habit_in,
    habits_of,
    has,
    restore_memory,
    save_memory,
    with_latest,
)
from .suspicious_charge_pools import Pools
from .suspicious_charge_signs import WARM_UP, signs_of, surplus_of, total_of, velocity_of
from .suspicious_charge_words import ask_about

_SOURCE = "/foretell/streams"
_HOUR = timedelta(hours=1)
_AGED = timedelta(days=14)  # a charge nobody disputed for so long was the customer's
_MOST_PENDING = 20
_MOST_CURRENCIES = 8
_VELOCITY = 12

_OTHERS = "*"
_ByCurrency = dict[Name, Annotated[Decimal, Field(ge=0)]]


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


class SuspiciousCharge:
    """Add up how rare each side of a charge is for this account, in decades, and ask where the sum is rarer still.

    Its amount against the account's own habit, the most surprising of a merchant, category, country or channel it never
    paid, several charges within the hour, a merchant that other customers denied. Each is as rare as the pooled experience of
    the partition's accounts says; the line is where the pooled tail of the sum leaves `questions_a_thousand`. While an account
    is young the population's amounts stand in for its own.

    A charge that was asked about teaches nothing until it is answered or two weeks old. "Yes" makes the merchant this
    customer's own, whatever it charges next; "no" speaks against the merchant for everybody.

    Refunds and refused charges ring nothing: no money is gone. Amounts of different currencies are never compared.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "fraud"
    reads: ClassVar[tuple[type[Message], ...]] = (ChargePosted, AnswerGiven)

    def __init__(self, settings: SuspiciousChargeSettings, board: BulletinBoard | None = None) -> None:
        self._board = BulletinBoard() if board is None else board
        self._line_decades = log10(1000 / settings.questions_a_thousand)
        self._least_amount = settings.least_amount
        self._large_amount = settings.large_amount
        self._pools = Pools()

    def begin(self) -> Memory:
        """Return the memory of an account never seen."""
        return Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:  # noqa: ARG002 - the protocol
        """Learn the charges that were asked about and never disputed."""
        if memory.pending and any(now - pending.at > _AGED for pending in memory.pending):
            aged = [pending for pending in memory.pending if now - pending.at > _AGED]
            memory.pending = tuple(pending for pending in memory.pending if now - pending.at <= _AGED)
            for pending in aged:
                self._adopt(memory, pending.currency, pending.amount, pending.habits)

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return the question to ask about `event`, if there is one."""
        if (
            not _is_spending(event)
            or event.amount < _for(event.currency, self._least_amount)
            or has(memory.confirmed, digest_of(event.merchant.id))
        ):
            return ()
        denied = self._board.denials(event.merchant.id)
        signs = signs_of(event, memory, self._pools, denied)
        score = self._pools.total.decades(total_of(signs)) / self._line_decades
        if self._is_large_and_new(event, memory):
            score = max(score, 1.0)
        return (ask_about(event, facts, memory, signs, denied, score),) if score >= 1.0 else ()

    def announce(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Bulletin]:  # noqa: ARG002
        """Return that a merchant's charge was denied, for the customers of every partition."""
        pending = _asked_about(event, memory)
        if pending is None or not isinstance(event, AnswerGiven) or event.means != "denied":
            return ()
        return (
            MerchantDenied(id=f"{event.alert_id}:denied", source=_SOURCE, time=event.time, merchant=pending.merchant),
        )

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:  # noqa: ARG002
        """Take in a charge that rang nothing, keep one that did, and learn from an answer."""
        if isinstance(event, AnswerGiven):
            self._learn_answer(event, memory)
        elif _is_spending(event):
            self._learn_charge(event, memory, raised)

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote."""
        return restore_memory(saved, version)

    def save_pools(self) -> dict[str, bytes]:
        """Return the counts and means, which every charge changes, and the tables, which change ever more seldom."""
        return self._pools.save()

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote."""
        self._pools = Pools.restored(saved, version)

    def _learn_charge(self, event: ChargePosted, memory: Memory, raised: Sequence[Alert]) -> None:
        surplus, habits = surplus_of(event, memory, self._pools), habits_of(event)
        signs = signs_of(event, memory, self._pools, self._board.denials(event.merchant.id))
        self._pools.total.learn_one(
            total_of(signs)
        )  # asked about or not, or the line would follow its own answers down
        memory.lately = _lately(memory.lately, event.time.astimezone(UTC))
        if raised:
            pending = Pending(
                raised[0].alert_id,
                event.time.astimezone(UTC),
                float(event.amount),
                intern(event.currency),
                event.merchant.id,
                habits,
            )
            memory.pending = (*memory.pending[1 - _MOST_PENDING :], pending)
            return
        self._pools.surplus.learn_one(surplus)
        self._pools.velocity.learn_one(velocity_of(event, memory))  # counted twice by now: what is rare is rarer by one
        if memory.charges >= WARM_UP:
            self._learn_news(habits, memory)
        self._adopt(memory, event.currency, float(event.amount), habits)

    def _learn_news(self, habits: Sequence[bytes], memory: Memory) -> None:
        news = [digest != b"" and not has(known, digest) for digest, known in zip(habits, memory.known, strict=True)]
        for digest, is_new, mean in zip(habits, news, self._pools.broken, strict=True):
            if digest:
                mean.update(float(is_new))
        if any(news):
            first, second, third, fourth = map(sum, zip(memory.news, news, strict=True))
            memory.news = first, second, third, fourth

    def _learn_answer(self, event: AnswerGiven, memory: Memory) -> None:
        pending = _asked_about(event, memory)
        if pending is None:
            return
        memory.pending = tuple(other for other in memory.pending if other is not pending)
        if event.means == "confirmed":
            memory.confirmed = with_latest(memory.confirmed, digest_of(pending.merchant))
            self._adopt(memory, pending.currency, pending.amount, pending.habits)

    def _adopt(self, memory: Memory, currency: str, amount: float, habits: Sequence[bytes]) -> None:
        memory.charges += 1
        merchant, category, country, channel = (
            with_latest(known, digest) if digest else known for known, digest in zip(memory.known, habits, strict=True)
        )
        memory.known = merchant, category, country, channel
        population = self._pools.population_to_teach(currency)
        habit = habit_in(currency, memory)
        if habit is None and len(memory.purses) < _MOST_CURRENCIES:
            habit = AmountHabit()
            memory.purses = (*memory.purses, Purse(intern(currency), habit))
        if habit is not None:
            habit.learn_one(amount, population)
        if population is not None:
            population.learn_one(amount)

    def _is_large_and_new(self, event: ChargePosted, memory: Memory) -> bool:
        if event.amount < _for(event.currency, self._large_amount):
            return False
        habit = habit_in(event.currency, memory)
        return habit is None or float(event.amount) > 2 * habit.largest


def _for(currency: str, amounts: dict[str, Decimal]) -> Decimal:
    return amounts.get(currency, amounts[_OTHERS])


def _is_spending(event: Message) -> TypeGuard[ChargePosted]:
    return isinstance(event, ChargePosted) and event.approved and event.amount > 0


def _asked_about(event: Message, memory: Memory) -> Pending | None:
    """Return the charge that `event` answers."""
    if isinstance(event, AnswerGiven):
        for pending in memory.pending:
            if pending.alert_id == event.alert_id:
                return pending
    return None


def _lately(lately: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    """Return the charges within the hour before the latest."""
    latest = max(at, *lately, at)
    return tuple([each for each in (*lately, at) if latest - each < _HOUR][-_VELOCITY:])
