"""What the suspicious-charge detector remembers of an account, and how that is saved."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from sys import intern

import msgspec

from .events import ChargePosted
from .online.card_habit import CardHabit
from .saved_memory import Format
from .suspicious_charge_waiting import unpacked

KIND = "suspicious_charge"
VERSION = 2
MOST_CARDS = 8
MOST_WAITING = 120

SavedCard = tuple[int, int, int, bytes]

_MOST_KNOWN = 200
_MOST_CONFIRMED = 50
_DIGEST_BYTES = 5  # with 200 known, a new one is taken for one of them once in five thousand million times
_CONFIRMED = Struct(f"<{_DIGEST_BYTES}sf")


class Memory(msgspec.Struct, gc=False):
    """What is kept of one account.

    Attributes:
        cards: habits by currency and last four digits, the latest used last.
        charges: how many were learned.
        known: digests of what was met last, end to end: merchants, categories, countries, channels.
        news: how often each of these was new.
        lately: times of the charges within the hour before the latest, refused ones too, in epoch seconds.
        confirmed: digests of the merchants, and amounts, that the customer called their own.
        waiting: the charges that wait for their label, packed, in the order in which they came.
        asked: the latest day (since 1970) on which questions were asked, and how many.
    """

    cards: dict[str, CardHabit] = {}
    charges: int = 0
    known: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
    news: tuple[int, int, int, int] = (0, 0, 0, 0)
    lately: tuple[int, ...] = ()
    confirmed: bytes = b""
    waiting: list[bytes] = []
    asked: tuple[int, int] = (0, 0)


class _SavedMemory(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved."""

    cards: dict[str, SavedCard]
    charges: int
    known: tuple[bytes, bytes, bytes, bytes]
    news: tuple[int, int, int, int]
    lately: tuple[int, ...]
    confirmed: bytes
    waiting: list[bytes]
    asked: tuple[int, int]


def card_of(name: str, memory: Memory) -> CardHabit:
    """Return the habit of a card, or what to begin one with; changes nothing.

    Args:
        name: currency and last four digits.
        memory: of the account.
    """
    card = memory.cards.get(name)
    if card is not None:
        return card
    best = None
    for other, habit in memory.cards.items():
        if other[:3] == name[:3] and (best is None or habit.charges > best.charges):
            best = habit
    return CardHabit() if best is None else best.young_copy()


def keep_card(name: str, card: CardHabit, memory: Memory) -> None:
    """Keep a card's habit, and forget the one that was not used for longest where there are too many."""
    if memory.cards and next(reversed(memory.cards)) == name:
        return
    memory.cards.pop(name, None)
    if len(memory.cards) >= MOST_CARDS:
        del memory.cards[next(iter(memory.cards))]
    memory.cards[intern(name)] = card


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
    """Return the digests met last, `digest` the last of them."""
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
    return _FORMAT.encode(
        (
            {name: card.save() for name, card in memory.cards.items()},
            memory.charges,
            memory.known,
            memory.news,
            memory.lately,
            memory.confirmed,
            memory.waiting,
            memory.asked,
        )
    )


def restore_memory(saved: bytes, version: int) -> Memory:
    """Return the memory that `save_memory` of that version wrote."""
    found = _FORMAT.decode(saved, version)
    if any(len(digests) % _DIGEST_BYTES for digests in found.known) or len(found.confirmed) % _CONFIRMED.size:
        raise _FORMAT.damaged(f"digests that are not of {_DIGEST_BYTES} bytes each")
    try:
        cards = {intern(name): CardHabit.restored(card) for name, card in found.cards.items()}
        for record in found.waiting:
            unpacked(record)
    except ValueError as error:
        raise _FORMAT.damaged(str(error)) from error
    return Memory(
        cards,
        found.charges,
        found.known,
        found.news,
        found.lately,
        found.confirmed,
        found.waiting,
        found.asked,
    )


_FORMAT = Format(KIND, VERSION, _SavedMemory)
