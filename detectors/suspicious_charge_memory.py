"""What the suspicious-charge detector remembers of an account, and how that is saved."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

import msgspec

from .events import ChargePosted
from .online.card_habit import CARD, Card, accused, check_card, new_card, young_copy
from .saved_memory import Format
from .suspicious_charge_waiting import check, currency_of, tidied

KIND = "suspicious_charge"
VERSION = 2
MOST_CARDS = 8
MOST_WAITING = 120

_MOST_KNOWN = 200
_MOST_CONFIRMED = 50
_DIGEST_BYTES = 5  # with 200 known, a new one is taken for one of them once in five thousand million times
_CONFIRMED = Struct(f"<{_DIGEST_BYTES}sf")
_COUNTS = Struct("<5H4B")  # charges; how often each of NEWS was new; how many digests of each there are
_MOST_COUNTED = 2**16 - 1
_SECOND_BYTES = 4
_CARD_BYTES = CARD.size
_card = CARD.unpack_from


class Memory(msgspec.Struct, gc=False):
    """What is kept of one account, packed: an object for each number would take four times the memory.

    Attributes:
        cards: habits end to end, the latest used last; see `CARD`.
        habits: see `Habits`.
        lately: times of the charges within the hour before the latest, refused ones too, in epoch seconds.
        confirmed: digests of the merchants, and amounts, that the customer called their own.
        waiting: the charges that wait for their label, in the order in which they came.
        merchants: their ids, each once.
        asked: the latest day (since 1970) on which questions were asked, times 128, and how many.
    """

    cards: bytes = b""
    habits: bytes = b""
    lately: bytes = b""
    confirmed: bytes = b""
    waiting: bytes = b""
    merchants: bytes = b""
    asked: int = 0


class _SavedMemory(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved; of the last three those are left out that are empty, and no fuller one follows."""

    cards: bytes
    habits: bytes
    lately: bytes
    asked: int
    waiting: bytes = b""
    merchants: bytes = b""
    confirmed: bytes = b""


class Habits(NamedTuple):
    """What an account's charges were like, beside their amounts.

    Attributes:
        charges: how many were learned; when there are 65,535, all counts are halved.
        news: how often each of `NEWS` was new.
        known: digests of what was met last, end to end: merchants, categories, countries, channels.
    """

    charges: int = 0
    news: tuple[int, int, int, int] = (0, 0, 0, 0)
    known: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")


def card_of(name: int, memory: Memory) -> Card:
    """Return the habit of a card, or what to begin one with; changes nothing.

    Args:
        name: see `card_name`.
        memory: of the account.
    """
    cards, best = memory.cards, None
    if cards:
        latest: Card = _card(cards, len(cards) - _CARD_BYTES)
        if latest[0] == name:
            return latest
    for start in range(len(cards) - _CARD_BYTES, -1, -_CARD_BYTES):
        card: Card = _card(cards, start)
        if card[0] == name:
            return card
        if currency_of(card[0]) == currency_of(name) and (best is None or card[1] >= best[1]):
            best = card
    return new_card(name) if best is None else young_copy(best, name)


def keep_card(name: int, card: bytes, memory: Memory) -> None:
    """Keep a card's habit, and forget the one that was not used for longest where there are too many."""
    cards = memory.cards
    if len(cards) <= _CARD_BYTES and cards[:4] == card[:4]:
        memory.cards = card
        return
    start = _start_of(name, cards)
    if start >= 0:
        cards = cards[:start] + cards[start + _CARD_BYTES :]
    memory.cards = cards[-(MOST_CARDS - 1) * _CARD_BYTES :] + card


def accuse_card(name: int, at: int, now: float, memory: Memory) -> None:
    """Learn, where the card is still kept, that a charge out of its habit, made at `at`, was called fraud at `now`."""
    cards = memory.cards
    start = _start_of(name, cards)
    if start >= 0:
        memory.cards = cards[:start] + accused(_card(cards, start), at, now) + cards[start + _CARD_BYTES :]


def has_currency(currency: str, memory: Memory) -> bool:
    """Return whether the account paid in a currency with one of the cards that are kept."""
    return any(currency_of(card[0]) == currency for card in CARD.iter_unpack(memory.cards))


def _start_of(name: int, cards: bytes) -> int:
    return next((at for at in range(0, len(cards), _CARD_BYTES) if _card(cards, at)[0] == name), -1)


def habits_of(memory: Memory) -> Habits:
    """Return what the account's charges were like."""
    packed = memory.habits
    if not packed:
        return Habits()
    charges, *news, first, second, third, _ = _COUNTS.unpack_from(packed)
    one = _COUNTS.size + first * _DIGEST_BYTES
    two = one + second * _DIGEST_BYTES
    three = two + third * _DIGEST_BYTES
    known = packed[_COUNTS.size : one], packed[one:two], packed[two:three], packed[three:]
    return Habits(charges, (news[0], news[1], news[2], news[3]), known)


def keep_habits(habits: Habits, memory: Memory) -> None:
    """Keep what the account's charges were like."""
    charges, news, (first, second, third, fourth) = habits
    if charges >= _MOST_COUNTED:
        charges, news = charges // 2, (news[0] // 2, news[1] // 2, news[2] // 2, news[3] // 2)
    counts = (len(first), len(second), len(third), len(fourth))
    head = _COUNTS.pack(charges, *news, *(count // _DIGEST_BYTES for count in counts))
    memory.habits = head + first + second + third + fourth


def news_of(event: ChargePosted) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the digests of what can be new in a charge; empty for what it does not say."""
    merchant = event.merchant
    return digest_of(merchant.id), digest_of(merchant.category), digest_of(merchant.country), digest_of(event.channel)


@lru_cache(maxsize=4_096)
def digest_of(value: str | None) -> bytes:
    """Return a few bytes that stand for `value`, the same in every process: only whether it was met before is asked."""
    return b"" if value is None else blake2b(value.encode(), digest_size=_DIGEST_BYTES).digest()


def _place(digests: bytes, digest: bytes) -> int:
    """Return where `digest` is among them; -1 for nowhere."""
    place = digests.find(digest)
    while place % _DIGEST_BYTES and place >= 0:
        place = digests.find(digest, place + 1)
    return place


def has(digests: bytes, digest: bytes) -> bool:
    """Return whether `digest` is among those met last."""
    return _place(digests, digest) >= 0


def with_latest(digests: bytes, digest: bytes) -> bytes:
    """Return the digests met last, `digest` the last of them; an empty one is none."""
    if not digest or digests[-_DIGEST_BYTES:] == digest:
        return digests
    place = _place(digests, digest)
    if place >= 0:
        digests = digests[:place] + digests[place + _DIGEST_BYTES :]
    return digests[-(_MOST_KNOWN - 1) * _DIGEST_BYTES :] + digest


def confirm(memory: Memory, merchant: str, amount: float) -> None:
    """Remember that the customer called a charge of this merchant their own."""
    kept = memory.confirmed[-(_MOST_CONFIRMED - 1) * _CONFIRMED.size :]
    memory.confirmed = kept + _CONFIRMED.pack(digest_of(merchant), amount)


def confirmed_up_to(memory: Memory, merchant: str) -> float:
    """Return the largest amount that the customer called their own at this merchant; 0 for none."""
    if not memory.confirmed:
        return 0.0
    digest = digest_of(merchant)
    return max((amount for each, amount in _CONFIRMED.iter_unpack(memory.confirmed) if each == digest), default=0.0)


def save_memory(memory: Memory) -> bytes:
    """Return the memory in the format of `VERSION`."""
    waiting, merchants = tidied(memory.waiting, memory.merchants)
    seldom = (waiting, merchants, memory.confirmed)
    needed = 3 if memory.confirmed else 2 if waiting else 0
    return _FORMAT.encode((memory.cards, memory.habits, memory.lately, memory.asked, *seldom[:needed]))


def restore_memory(saved: bytes, version: int) -> Memory:
    """Return the memory that `save_memory` of that version wrote."""
    found = _FORMAT.decode(saved, version)
    try:
        _check_sizes(found)
        for card in CARD.iter_unpack(found.cards):
            check_card(card)
        check(found.waiting, found.merchants, MOST_WAITING)
    except ValueError as error:
        raise _FORMAT.damaged(str(error)) from error
    return Memory(found.cards, found.habits, found.lately, found.confirmed, found.waiting, found.merchants, found.asked)


def _check_sizes(found: _SavedMemory) -> None:
    sizes = (
        ("cards", found.cards, _CARD_BYTES, MOST_CARDS),
        ("latest times", found.lately, _SECOND_BYTES, _MOST_KNOWN),
        ("confirmed merchants", found.confirmed, _CONFIRMED.size, _MOST_CONFIRMED),
    )
    for what, packed, size, most in sizes:
        if len(packed) % size or len(packed) > most * size:
            raise ValueError(f"{what} of {len(packed)} bytes; expected up to {most} of {size} bytes each")
    if found.habits:
        counts = _COUNTS.unpack_from(found.habits)[5:] if len(found.habits) >= _COUNTS.size else (0,)
        if len(found.habits) != _COUNTS.size + _DIGEST_BYTES * sum(counts):
            raise ValueError(f"habits of {len(found.habits)} bytes that speak of {sum(counts)} digests")


_FORMAT = Format(KIND, VERSION, _SavedMemory)
