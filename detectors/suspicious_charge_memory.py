"""What the suspicious-charge detector remembers of an account, and how that is saved."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from sys import intern

import msgspec

from .events import ChargePosted
from .online import AmountHabit
from .saved_memory import Format

KIND = "suspicious_charge"
VERSION = 1
HABITS = ("merchant", "category", "country", "channel")
"""What of a charge can be new to an account, in this order."""

SavedHabit = tuple[int, float, float, float]

_MOST_KNOWN = 200
_DIGEST_BYTES = 5  # with 200 known, a new one is taken for one of them once in five thousand million times


class Pending(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A charge that was asked about: it teaches nothing until it is answered or old.

    Attributes:
        at: in UTC.
        merchant: its id, to be told to every partition when it is denied.
        habits: digests, in the order of `HABITS`; empty for what the charge does not say.
    """

    alert_id: str
    at: datetime
    amount: float
    currency: str
    merchant: str
    habits: tuple[bytes, bytes, bytes, bytes]


class Purse(msgspec.Struct, frozen=True, gc=False):
    """What the account pays in one currency."""

    currency: str
    habit: AmountHabit


class Memory(msgspec.Struct, gc=False):
    """What is kept of one account.

    Attributes:
        known: digests of what was met last, end to end, in the order of `HABITS`.
        confirmed: digests of the merchants that the customer called their own.
        lately: the charges within the hour before the latest, in UTC.
        news: how often each habit was broken.
    """

    charges: int = 0
    purses: tuple[Purse, ...] = ()
    known: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
    news: tuple[int, int, int, int] = (0, 0, 0, 0)
    lately: tuple[datetime, ...] = ()
    confirmed: bytes = b""
    pending: tuple[Pending, ...] = ()


class _SavedMemory(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The same as it is saved."""

    charges: int
    purses: dict[str, SavedHabit]
    known: tuple[bytes, bytes, bytes, bytes]
    news: tuple[int, int, int, int]
    lately: tuple[datetime, ...]
    confirmed: bytes
    pending: tuple[Pending, ...]


def habit_in(currency: str, memory: Memory) -> AmountHabit | None:
    """Return what the account pays in a currency."""
    for purse in memory.purses:
        if purse.currency == currency:
            return purse.habit
    return None


def habits_of(event: ChargePosted) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the digests of what can be new in a charge, in the order of `HABITS`; empty for what it does not say."""
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


def save_memory(memory: Memory) -> bytes:
    """Return the memory in the format of `VERSION`."""
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


def restore_memory(saved: bytes, version: int) -> Memory:
    """Return the memory that `save_memory` of that version wrote."""
    found = _FORMAT.decode(saved, version)
    if any(len(digests) % _DIGEST_BYTES for digests in (*found.known, found.confirmed)):
        raise _FORMAT.damaged(f"digests that are not of {_DIGEST_BYTES} bytes each")
    return Memory(
        found.charges,
        tuple([Purse(intern(currency), AmountHabit.restored(habit)) for currency, habit in found.purses.items()]),
        found.known,
        found.news,
        found.lately,
        found.confirmed,
        found.pending,
    )


_FORMAT = Format(KIND, VERSION, _SavedMemory)
