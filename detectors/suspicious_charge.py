"""Suspicious charges: one that this customer would hardly have made, so ask: was it you?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, ClassVar, TypeGuard

from pydantic import Field, field_validator

from .alerts import Alert, AlertClass, AnswerGiven, LabelGiven, derive_alert_id
from .bulletin_board import BulletinBoard
from .bulletins import Bulletin, MerchantDenied
from .detector import DetectorSettings, Finding
from .events import ChargePosted
from .message import Message, Name
from .profile import AccountFacts
from .suspicious_charge_core import BASE, Sight
from .suspicious_charge_extra import WARM_UP, Signs, keep_lately, lately, seconds_of, signs_of
from .suspicious_charge_labels import age, keep_waiting, learn_label, waiting_of
from .suspicious_charge_memory import (
    KIND,
    VERSION,
    Habits,
    Memory,
    card_of,
    confirm,
    confirmed_up_to,
    keep_card,
    keep_habits,
    restore_memory,
    save_memory,
    with_latest,
)
from .suspicious_charge_pools import Pools
from .suspicious_charge_waiting import card_name, currency_of, key_of, merchant_key
from .suspicious_charge_words import ask_about

_SOURCE = "/foretell/streams"
_DAY_SECONDS = 86_400
_MOST_ASKED = 128  # a day's questions, of which there are no more than 100
_ABSURD = 1e12  # in any currency's major unit: teaches as if it were that much
_SIMILAR = 1.5  # times the amount that the customer called their own
_LARGE_AND_NEW = 2.0  # times what the card usually pays

_OTHERS = "*"
_ByCurrency = dict[Name, Annotated[Decimal, Field(ge=0)]]

IRREGULARITIES = (
    "absurd_amount",
    "late_charge",
    "not_above_zero",
    "older_memory",
    "older_pools",
    "refused_charge",
    "unknown_label",
    "waited_too_long",
)
"""All that may be counted: an amount above 10^12; a charge before the card's latest; a refund or nothing; what an older
version saved; a charge not approved; a label of no charge that waits; one that had to go before its label came."""


class SuspiciousChargeSettings(DetectorSettings):
    """How the suspicious-charge detector is tuned.

    Attributes:
        questions_a_day_per_thousand_accounts: how many charges may be asked about, right or wrong.
        questions_an_account_a_day: the most that one customer is asked on one day (UTC).
        least_amount: smaller charges are never asked about; by currency, in its major unit, `"*"` for those not named.
        large_amount: a charge as large as this, and unlike any before on the card, is asked about from the first day;
            by currency as above.
        labels_within_days: a charge that nobody disputed for so long teaches as a good one.
    """

    questions_a_day_per_thousand_accounts: Annotated[float, Field(gt=0, le=1000)] = 4.0
    questions_an_account_a_day: Annotated[int, Field(ge=1, le=100)] = 2
    least_amount: _ByCurrency = Field(default_factory=lambda: {_OTHERS: Decimal(20), "JPY": Decimal(3000)})
    large_amount: _ByCurrency = Field(default_factory=lambda: {_OTHERS: Decimal(1000), "JPY": Decimal(150_000)})
    labels_within_days: Annotated[float, Field(gt=0, le=90)] = 14.0

    @field_validator("least_amount", "large_amount")
    @classmethod
    def _has_one_for_the_others(cls, amounts: dict[str, Decimal]) -> dict[str, Decimal]:
        if _OTHERS not in amounts:
            raise ValueError(f'names {", ".join(amounts) or "no currency"}; add `"{_OTHERS}": ...` for all others')
        return amounts


class SuspiciousCharge:
    """Weigh what speaks for theft, by what labels and answers taught, and ask where that is above the line.

    Per card a habit and a filter "is it stolen?", per merchant the run of its bad charges, beside them what the event says
    of category, country, channel, pace and hour. Until 30 frauds and 2,000 good charges are known, rarity alone ranks.
    The line holds the questions a day; `large_amount` is asked about in any case.

    A "yes" quietens similar amounts at that merchant for this customer alone. A "no", or a label, tells every partition of
    the merchant, unless the card was stolen. Refunds and refused charges ring nothing and teach no amount; refused ones
    count as pace. Amounts of different currencies are never compared.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "fraud"
    reads: ClassVar[tuple[type[Message], ...]] = (ChargePosted, AnswerGiven, LabelGiven)

    def __init__(self, settings: SuspiciousChargeSettings, board: BulletinBoard | None = None) -> None:
        self.irregularities: Counter[str] = Counter()
        self._settings = settings
        self._board = BulletinBoard() if board is None else board
        self._pools = Pools()
        self._glance = _Glance()

    def begin(self) -> Memory:
        """Return the memory of an account never seen."""
        return Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:  # noqa: ARG002 - the protocol
        """Learn as good the charges that nobody disputed for `labels_within_days`."""
        if memory.waiting:
            self._glance.seen = None  # what a label teaches may change what was seen
            within = self._settings.labels_within_days * _DAY_SECONDS
            pools = self._pools
            age(pools.core, memory, seconds_of(now), within, self._board.run_of, pools.population)

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return the question to ask about `event`, if there is one."""
        if not _is_spending(event) or event.amount < _for(event.currency, self._settings.least_amount):
            return ()
        if memory.asked and _asked_on(seconds_of(event.time), memory) >= self._settings.questions_an_account_a_day:
            return ()
        amount, merchant = float(event.amount), event.merchant.id
        if amount <= _SIMILAR * confirmed_up_to(memory, merchant):
            return ()
        sight, _ = self._see(event, facts, memory)
        core, line = self._pools.core, self._pools.line.value
        over = core.decades(sight) - line
        card = sight.look.card
        is_large = event.amount >= _for(event.currency, self._settings.large_amount) and (
            card[1] < WARM_UP or amount > _LARGE_AND_NEW * card[4]
        )
        if over < 0 and not is_large:
            return ()
        parts = core.contributions(sight)
        parts[BASE] = parts.get(BASE, 0.0) + 1.0 - line
        if is_large:
            total = sum(parts.values())
            parts["amount"] = parts.get("amount", 0.0) + max(0.0, 1.0 - total)
        return (ask_about(event, facts, memory, card, parts, self._board.denials(merchant)),)

    def announce(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Bulletin]:  # noqa: ARG002
        """Return that a merchant's charge was bad, for the customers of every partition."""
        said = _said(event)
        if said is None or not said[1]:
            return ()
        waiting = waiting_of(memory, said[0])
        if waiting is None:
            return ()
        name = event.alert_id if isinstance(event, (AnswerGiven, LabelGiven)) and event.alert_id else event.id
        return (
            MerchantDenied(
                id=f"{name}:denied",
                source=_SOURCE,
                time=event.time,
                merchant=waiting.merchant,
                charged_at=datetime.fromtimestamp(waiting.at, UTC),
                blames_card=self._pools.core.blames_card(waiting, self._pools.population(currency_of(waiting.card))),
            ),
        )

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Take in a charge, or what became known of one."""
        if isinstance(event, ChargePosted):
            self._learn_charge(event, facts, memory, raised)
            return
        self._glance.seen = None
        said = _said(event)
        if said is not None:
            self._learn_said(event, memory, *said)

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote; version 1 kept other numbers, so its accounts begin anew."""
        if version == 1:
            self.irregularities["older_memory"] += 1
            return Memory()
        return restore_memory(saved, version)

    def save_pools(self) -> dict[str, bytes]:
        """Return the counts, which every charge changes, the model, which labels change, and the merchants' runs."""
        return self._pools.save()

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote; those of version 1 begin anew."""
        if version == 1:
            self.irregularities["older_pools"] += 1
            self._pools = Pools()
        else:
            self._pools = Pools.restored(saved, version)
        self._glance = _Glance()

    def _see(self, event: ChargePosted, facts: AccountFacts, memory: Memory) -> tuple[Sight, Signs]:
        """Return how a charge looks and what else it says; worked out once to score and to learn it."""
        seen = self._glance.seen
        if seen is not None and seen[0] is event and seen[1] is memory:
            return seen[2], seen[3]
        merchant, at, board, pools = event.merchant.id, seconds_of(event.time), self._board, self._pools
        signs = signs_of(event, at, facts, memory, pools, board.denials(merchant))
        card = card_of(card_name(event.currency, event.card_last4), memory)
        population, amount = pools.population(event.currency), min(float(event.amount), _ABSURD)
        sight = pools.core.see(
            card, population, merchant_key(merchant), board.run_of(merchant), at, amount, signs.extra
        )
        self._glance.seen = event, memory, sight, signs
        return sight, signs

    def _learn_charge(self, event: ChargePosted, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        if not _is_spending(event):
            self._glance.seen = None
            self.irregularities["not_above_zero" if event.amount <= 0 else "refused_charge"] += 1
            if event.amount > 0:
                keep_lately(seconds_of(event.time), memory)  # a thief who tries and fails is a sign of the next try
            return
        sight, signs = self._see(event, facts, memory)
        self._glance.seen = None
        pools, look = self._pools, sight.look
        at, name = int(look.at), look.card[0]
        self._count_irregular(event, look.card[2], at)
        pools.line.learn_one(bool(raised), self._share())
        pools.velocity.learn_one(signs.velocity)
        if memory.lately:
            pools.learn_gap(at - lately(memory)[-1])
        keep_lately(at, memory)
        if raised:
            memory.asked = at // _DAY_SECONDS * _MOST_ASKED + _asked_on(at, memory) + 1
        self._learn_news(signs, memory)
        key = key_of(derive_alert_id(event.account, KIND, event.id, event.id, ""))
        merchant = merchant_key(event.merchant.id)
        keep_card(name, pools.core.take(sight, pools.population_to_teach(event.currency), merchant), memory)
        if keep_waiting(memory, key, merchant, sight):
            self.irregularities["waited_too_long"] += 1

    def _learn_news(self, signs: Signs, memory: Memory) -> None:
        (charges, news, known), digests, is_new, _, _ = signs
        if charges >= WARM_UP:
            for digest, new, mean in zip(digests, is_new, self._pools.broken, strict=True):
                if digest:
                    mean.update(float(new))
            if any(is_new):
                first, second, third, fourth = map(sum, zip(news, is_new, strict=True))
                news = first, second, third, fourth
        merchant, category, country, channel = map(with_latest, known, digests)
        keep_habits(Habits(charges + 1, news, (merchant, category, country, channel)), memory)

    def _learn_said(self, event: Message, memory: Memory, key: bytes, bad: bool) -> None:
        pools, is_answer = self._pools, isinstance(event, AnswerGiven)
        find = partial(learn_label, pools.core, memory, key, bad, seconds_of(event.time), self._board.run_of)
        waiting = find(pools.population_to_teach, keep=is_answer and not bad)
        if waiting is None:
            self.irregularities["unknown_label"] += 1
        elif is_answer and not bad:
            confirm(memory, waiting.merchant, waiting.amount)

    def _share(self) -> float:
        """Return the share of charges that may be asked about: questions over charges, both per account and day."""
        return min(self._settings.questions_a_day_per_thousand_accounts / 1000 * self._pools.gap_days, 1.0)

    def _count_irregular(self, event: ChargePosted, latest: int, at: int) -> None:
        if event.amount > _ABSURD:
            self.irregularities["absurd_amount"] += 1
        if at < latest:
            self.irregularities["late_charge"] += 1


class _Glance:
    """How the charge that was scored last looked, so that it is worked out once; no part of what is kept."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: tuple[ChargePosted, Memory, Sight, Signs] | None = None

    def __reduce__(self) -> tuple[type[_Glance], tuple[()]]:
        return _Glance, ()


def _said(event: Message) -> tuple[bytes, bool] | None:
    """Return which charge a label or an answer is about, and whether it was bad."""
    if isinstance(event, AnswerGiven):
        return (key_of(event.alert_id), event.means == "denied") if event.means in {"confirmed", "denied"} else None
    if isinstance(event, LabelGiven):
        alert_id = event.alert_id or derive_alert_id(
            event.account, KIND, event.event_id or "", event.event_id or "", ""
        )
        return key_of(alert_id), event.bad
    return None


def _for(currency: str, amounts: dict[str, Decimal]) -> Decimal:
    return amounts.get(currency, amounts[_OTHERS])


def _is_spending(event: Message) -> TypeGuard[ChargePosted]:
    return isinstance(event, ChargePosted) and event.approved and event.amount > 0


def _asked_on(at: int, memory: Memory) -> int:
    """Return how many questions were asked on the day of `at`."""
    day, count = divmod(memory.asked, _MOST_ASKED)
    return count if day == at // _DAY_SECONDS else 0
