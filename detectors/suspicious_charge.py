"""Suspicious charges: one that this customer would hardly have made, so ask: was it you?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from math import log10
from sys import intern
from typing import Annotated, ClassVar, NamedTuple, TypeGuard

import msgspec
from pydantic import Field, field_validator
from river import stats

from .alerts import Alert, AlertClass, AnswerGiven, FactValue, Harm, Option, Question, Reason
from .bulletins import Bulletin, BulletinBoard, MerchantDenied
from .detector import DetectorSettings, Finding
from .events import ChargePosted
from .message import Message, Name
from .meter_reading import readable
from .online import AmountHabit, UpperTail
from .profile import AccountFacts
from .saved_memory import Format

_SOURCE = "/foretell/streams"
_HOUR = timedelta(hours=1)
_USEFUL = timedelta(hours=72)
_AGED = timedelta(days=14)  # a charge nobody disputed for so long was the customer's
_MOST_PENDING = 20
_MOST_KNOWN = 200
_MOST_CURRENCIES = 8
_MOST_POPULATIONS = 300  # there are some 180 currencies
_VELOCITY = 12
_RARE_AT_FIRST = 0.1  # how often a habit is broken, before anything was counted
_FADING = 0.001
_POOLED_CHARGES = 10.0  # of an account's own, that the other accounts' love of the new counts for
_TINY = 1e-6
_MOST_DECADES = 5.0
_DENIED_DECADES = 2.0  # for each customer of whom it is known that the merchant's charge was not theirs, up to two
_PROBABILITY_AT_LINE = 0.5
_WARM_UP = 5  # charges, until an account's habits can be broken
_DIGEST_BYTES = 5  # with 200 known, a new one is taken for one of them once in five thousand million times
_HABITS = ("merchant", "category", "country", "channel")  # what of a charge can be new to an account, in this order

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


class _Pending(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A charge that was asked about: it teaches nothing until it is answered or old.

    Attributes:
        at: in UTC.
        merchant: its id, to be told to every partition when it is denied.
        habits: digests, in the order of `_HABITS`; empty for what the charge does not say.
    """

    alert_id: str
    at: datetime
    amount: float
    currency: str
    merchant: str
    habits: tuple[bytes, bytes, bytes, bytes]


class _Purse(msgspec.Struct, frozen=True, gc=False):
    """What the account pays in one currency."""

    currency: str
    habit: AmountHabit


class _Memory(msgspec.Struct, gc=False):
    """What is kept of one account.

    Attributes:
        known: digests of what was met last, end to end, in the order of `_HABITS`.
        confirmed: digests of the merchants that the customer called their own.
        lately: the charges within the hour before the latest, in UTC.
        news: how often each habit was broken.
    """

    charges: int = 0
    purses: tuple[_Purse, ...] = ()
    known: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
    news: tuple[int, int, int, int] = (0, 0, 0, 0)
    lately: tuple[datetime, ...] = ()
    confirmed: bytes = b""
    pending: tuple[_Pending, ...] = ()


_SavedHabit = tuple[int, float, float, float]


class _SavedMemory(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved."""

    charges: int
    purses: dict[str, _SavedHabit]
    known: tuple[bytes, bytes, bytes, bytes]
    news: tuple[int, int, int, int]
    lately: tuple[datetime, ...]
    confirmed: bytes
    pending: tuple[_Pending, ...]


class _SavedPools(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What of the pools changes with every charge."""

    broken: tuple[float, float, float, float]
    population: dict[str, _SavedHabit]
    counts: list[list[Annotated[int, msgspec.Meta(ge=0)]]]


class _Sign(NamedTuple):
    """One thing that speaks against a charge, in decades of rarity.

    Attributes:
        what: a name of `_HABITS`, or amount, velocity, denied.
    """

    decades: float
    what: str


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

    def __init__(self, settings: SuspiciousChargeSettings, board: BulletinBoard | None = None) -> None:
        self._board = BulletinBoard() if board is None else board
        self._line_decades = log10(1000 / settings.questions_a_thousand)
        self._least_amount = settings.least_amount
        self._large_amount = settings.large_amount
        self._population: dict[str, AmountHabit] = {}
        self._surplus_tail = UpperTail(1.5, 500)
        self._velocity_tail = UpperTail(0.6, 500)
        self._sum_tail = UpperTail(1.4, 1000)  # of several surprises: less rare than one that large
        self._broken = tuple(stats.EWMean(_FADING) for _ in _HABITS)
        for mean in self._broken:
            mean.update(_RARE_AT_FIRST)

    def begin(self) -> _Memory:
        """Return the memory of an account never seen."""
        return _Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: _Memory) -> None:  # noqa: ARG002 - the protocol
        """Learn the charges that were asked about and never disputed."""
        if memory.pending and any(now - pending.at > _AGED for pending in memory.pending):
            aged = [pending for pending in memory.pending if now - pending.at > _AGED]
            memory.pending = tuple(pending for pending in memory.pending if now - pending.at <= _AGED)
            for pending in aged:
                self._adopt(memory, pending.currency, pending.amount, pending.habits)

    def score(self, event: Message, facts: AccountFacts, memory: _Memory) -> Sequence[Finding]:
        """Return the question to ask about `event`, if there is one."""
        if (
            not _is_spending(event)
            or event.amount < _for(event.currency, self._least_amount)
            or _has(memory.confirmed, _digest(event.merchant.id))
        ):
            return ()
        signs = self._signs(event, memory)
        score = self._sum_tail.decades(_total(signs)) / self._line_decades
        if self._is_large_and_new(event, memory):
            score = max(score, 1.0)
        return (self._question(event, facts, memory, signs, score),) if score >= 1.0 else ()

    def announce(self, event: Message, facts: AccountFacts, memory: _Memory) -> Sequence[Bulletin]:  # noqa: ARG002
        """Return that a merchant's charge was denied, for the customers of every partition."""
        pending = _asked_about(event, memory)
        if pending is None or not isinstance(event, AnswerGiven) or event.means != "denied":
            return ()
        return (
            MerchantDenied(id=f"{event.alert_id}:denied", source=_SOURCE, time=event.time, merchant=pending.merchant),
        )

    def learn(self, event: Message, facts: AccountFacts, memory: _Memory, raised: Sequence[Alert]) -> None:  # noqa: ARG002
        """Take in a charge that rang nothing, keep one that did, and learn from an answer."""
        if isinstance(event, AnswerGiven):
            self._learn_answer(event, memory)
        elif _is_spending(event):
            self._learn_charge(event, memory, raised)

    def save(self, memory: _Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return _FORMAT.encode(
            (
                memory.charges,
                {purse.currency: purse.habit.save() for purse in memory.purses},
                memory.known,
                memory.news,
                memory.lately,
                memory.confirmed,
                memory.pending,
            )
        )

    def restore(self, saved: bytes, version: int) -> _Memory:
        """Return the memory that `save` of that version wrote."""
        found = _FORMAT.decode(saved, version)
        if any(len(digests) % _DIGEST_BYTES for digests in (*found.known, found.confirmed)):
            raise _FORMAT.damaged(f"digests that are not of {_DIGEST_BYTES} bytes each")
        return _Memory(
            found.charges,
            tuple([_Purse(intern(currency), AmountHabit.restored(habit)) for currency, habit in found.purses.items()]),
            found.known,
            found.news,
            found.lately,
            found.confirmed,
            found.pending,
        )

    def save_pools(self) -> dict[str, bytes]:
        """Return the counts and means, which every charge changes, and the tables, which change ever more seldom."""
        broken = [float(mean.get()) for mean in self._broken]
        population = {currency: habit.save() for currency, habit in self._population.items()}
        counts = [tail.save_counts() for tail in self._tails]
        return {
            "counts": _COUNTS.encode((broken, population, counts)),
            "tables": _TABLES.encode([tail.save_table() for tail in self._tails]),
        }

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote."""
        if saved.keys() != {"counts", "tables"}:
            raise _COUNTS.damaged(f"the pools have the parts {', '.join(sorted(saved)) or 'none'}")
        pools, tables = _COUNTS.decode(saved["counts"], version), _TABLES.decode(saved["tables"], version)
        tails = (UpperTail(1.5, 500), UpperTail(0.6, 500), UpperTail(1.4, 1000))
        try:
            for tail, counts, table in zip(tails, pools.counts, tables, strict=True):
                tail.restore(counts, table)
        except ValueError as error:
            raise _COUNTS.damaged(str(error)) from error
        self._surplus_tail, self._velocity_tail, self._sum_tail = tails
        self._population = {
            intern(currency): AmountHabit.restored(habit) for currency, habit in pools.population.items()
        }
        self._broken = tuple(stats.EWMean(_FADING) for _ in _HABITS)
        for mean, value in zip(self._broken, pools.broken, strict=True):
            mean.update(value)  # the first value is the mean

    @property
    def _tails(self) -> tuple[UpperTail, ...]:
        return self._surplus_tail, self._velocity_tail, self._sum_tail

    def _learn_charge(self, event: ChargePosted, memory: _Memory, raised: Sequence[Alert]) -> None:
        surplus, habits = self._surplus(event, memory), _habits(event)
        # those asked about too, or the line would follow its own answers down
        self._sum_tail.learn_one(_total(self._signs(event, memory)))
        memory.lately = _lately(memory.lately, event.time.astimezone(UTC))
        if raised:
            pending = _Pending(
                raised[0].alert_id,
                event.time.astimezone(UTC),
                float(event.amount),
                intern(event.currency),
                event.merchant.id,
                habits,
            )
            memory.pending = (*memory.pending[1 - _MOST_PENDING :], pending)
            return
        self._surplus_tail.learn_one(surplus)
        self._velocity_tail.learn_one(_velocity(event, memory))  # counted twice by now: what is rare is rarer by one
        if memory.charges >= _WARM_UP:
            self._learn_news(habits, memory)
        self._adopt(memory, event.currency, float(event.amount), habits)

    def _learn_news(self, habits: Sequence[bytes], memory: _Memory) -> None:
        news = [digest != b"" and not _has(known, digest) for digest, known in zip(habits, memory.known, strict=True)]
        for digest, is_new, mean in zip(habits, news, self._broken, strict=True):
            if digest:
                mean.update(float(is_new))
        if any(news):
            first, second, third, fourth = map(sum, zip(memory.news, news, strict=True))
            memory.news = first, second, third, fourth

    def _learn_answer(self, event: AnswerGiven, memory: _Memory) -> None:
        pending = _asked_about(event, memory)
        if pending is None:
            return
        memory.pending = tuple(other for other in memory.pending if other is not pending)
        if event.means == "confirmed":
            memory.confirmed = _with(memory.confirmed, _digest(pending.merchant))
            self._adopt(memory, pending.currency, pending.amount, pending.habits)

    def _adopt(self, memory: _Memory, currency: str, amount: float, habits: Sequence[bytes]) -> None:
        memory.charges += 1
        merchant, category, country, channel = (
            _with(known, digest) if digest else known for known, digest in zip(memory.known, habits, strict=True)
        )
        memory.known = merchant, category, country, channel
        population = self._population.get(currency)
        if population is None and len(self._population) < _MOST_POPULATIONS:
            population = self._population[intern(currency)] = AmountHabit()
        habit = _habit_in(currency, memory)
        if habit is None and len(memory.purses) < _MOST_CURRENCIES:
            habit = AmountHabit()
            memory.purses = (*memory.purses, _Purse(intern(currency), habit))
        if habit is not None:
            habit.learn_one(amount, population)
        if population is not None:
            population.learn_one(amount)

    def _surplus(self, event: ChargePosted, memory: _Memory) -> float:
        habit = _habit_in(event.currency, memory) or _NO_HABIT
        return max(0.0, habit.surplus(float(event.amount), self._population.get(event.currency)))

    def _is_large_and_new(self, event: ChargePosted, memory: _Memory) -> bool:
        if event.amount < _for(event.currency, self._large_amount):
            return False
        habit = _habit_in(event.currency, memory)
        return habit is None or float(event.amount) > 2 * habit.largest

    def _signs(self, event: ChargePosted, memory: _Memory) -> list[_Sign]:
        surplus = self._surplus_tail.decades(self._surplus(event, memory))
        signs = [_Sign(min(_MOST_DECADES, surplus), "amount")]
        if memory.charges >= _WARM_UP and (news := self._news(event, memory)):
            signs.append(max(news, key=_decades))  # a new merchant's category is often new: one surprise
        count = _velocity(event, memory)
        if count > 1:
            signs.append(_Sign(self._velocity_tail.decades(count), "velocity"))
        denied = self._board.denials(event.merchant.id)
        if denied:
            signs.append(_Sign(_DENIED_DECADES * min(denied, 2), "denied"))
        return signs

    def _news(self, event: ChargePosted, memory: _Memory) -> list[_Sign]:
        news = []
        for name, digest, known, count, mean in zip(
            _HABITS, _habits(event), memory.known, memory.news, self._broken, strict=True
        ):
            if digest and not _has(known, digest):
                pooled = float(mean.get()) * _POOLED_CHARGES
                share = (count + pooled) / (memory.charges - _WARM_UP + _POOLED_CHARGES)
                news.append(_Sign(min(_MOST_DECADES, max(0.0, -log10(share + _TINY))), name))
        return news

    def _reason(self, sign: _Sign, event: ChargePosted, memory: _Memory, contribution: float) -> Reason:
        merchant, usual = event.merchant, None
        if sign.what == "amount":
            habit, seen = _habit_in(event.currency, memory), f"{readable(event.amount)} {event.currency}"
            if habit is None or habit.charges < _WARM_UP:
                what = f"{seen} is a large amount for a customer whose habits are not known yet."
            else:
                usual = f"{habit.usual:.0f} {event.currency}"
                what = f"{seen} is far more than the customer usually pays, {usual}."
        elif sign.what == "velocity":
            count = int(_velocity(event, memory))
            what, seen = f"It is charge number {count} within an hour.", f"{count} charges"
        elif sign.what == "denied":
            denied = self._board.denials(merchant.id)
            what = f"{denied} other customers said that a charge by {merchant.label} was not theirs."
            return Reason(what=what, contribution=contribution)
        else:
            others = {"category": merchant.category, "country": merchant.country, "channel": event.channel}
            seen = others.get(sign.what) or merchant.label
            what = f"The customer never paid this {sign.what} before: {seen}."
        return Reason(what=what, usual=usual, seen=seen, contribution=contribution)

    def _question(
        self, event: ChargePosted, facts: AccountFacts, memory: _Memory, signs: list[_Sign], score: float
    ) -> Finding:
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
                self._reason(sign, event, memory, score * sign.decades / total)
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


def _habits(event: ChargePosted) -> tuple[bytes, bytes, bytes, bytes]:
    merchant = event.merchant
    return _digest(merchant.id), _digest(merchant.category), _digest(merchant.country), _digest(event.channel)


@lru_cache(maxsize=4_096)
def _digest(value: str | None) -> bytes:
    """Return a few bytes that stand for `value`, the same in every process: only whether it was met before is asked."""
    return b"" if value is None else blake2b(value.encode(), digest_size=_DIGEST_BYTES).digest()


def _place(digests: bytes, digest: bytes) -> int:
    """Return where `digest` is among them; -1 for nowhere."""
    place = digests.find(digest)
    while place % _DIGEST_BYTES and place >= 0:
        place = digests.find(digest, place + 1)
    return place


def _has(digests: bytes, digest: bytes) -> bool:
    return _place(digests, digest) >= 0


def _with(digests: bytes, digest: bytes) -> bytes:
    """Return the digests met last, `digest` the last of them."""
    place = _place(digests, digest)
    if place >= 0:
        digests = digests[:place] + digests[place + _DIGEST_BYTES :]
    return digests[-(_MOST_KNOWN - 1) * _DIGEST_BYTES :] + digest


def _habit_in(currency: str, memory: _Memory) -> AmountHabit | None:
    for purse in memory.purses:
        if purse.currency == currency:
            return purse.habit
    return None


def _asked_about(event: Message, memory: _Memory) -> _Pending | None:
    """Return the charge that `event` answers."""
    if isinstance(event, AnswerGiven):
        for pending in memory.pending:
            if pending.alert_id == event.alert_id:
                return pending
    return None


def _velocity(event: ChargePosted, memory: _Memory) -> float:
    """Return how many charges there were within the hour up to this one, itself counted."""
    return 1.0 + sum(1 for at in memory.lately if timedelta() <= event.time - at < _HOUR)


def _lately(lately: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    """Return the charges within the hour before the latest."""
    latest = max(at, *lately, at)
    return tuple([each for each in (*lately, at) if latest - each < _HOUR][-_VELOCITY:])


def _total(signs: Sequence[_Sign]) -> float:
    return sum(sign.decades for sign in signs)


def _decades(sign: _Sign) -> float:
    return sign.decades


_NO_HABIT = AmountHabit()  # of an account of which nothing was learned; it stays so
_FORMAT = Format(SuspiciousCharge.kind, SuspiciousCharge.version, _SavedMemory)
_COUNTS = Format(SuspiciousCharge.kind, SuspiciousCharge.version, _SavedPools)
_TABLES = Format(SuspiciousCharge.kind, SuspiciousCharge.version, list[tuple[int, list[float]]])
