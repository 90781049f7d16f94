"""One account: what is known of it, and what each detector remembers of it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from .events import AccountUpdated, Cycle, CycleKind

UTC_ZONE = ZoneInfo("UTC")
NEVER = -1
_EVENTS_REMEMBERED = 64
_DIGEST_BYTES = 6
_SEEN_BYTES = _EVENTS_REMEMBERED * _DIGEST_BYTES


@lru_cache(maxsize=10_000)
def cycle_of(kind: CycleKind, anchor: datetime | None, length: int) -> Cycle:
    """Return a cycle; accounts that are billed alike share it."""
    return Cycle(kind=kind, anchor=anchor, length=length)


BY_THE_MONTH = cycle_of("month", None, 30)


class AccountFacts(msgspec.Struct, frozen=True, gc=False):
    """What the accounts topic has said so far, with a usable default for what it has not."""

    account: str
    plan: str | None = None
    cycle: Cycle = BY_THE_MONTH
    zone: ZoneInfo = UTC_ZONE
    segment: str | None = None
    area: str | None = None

    def updated(self, event: AccountUpdated) -> AccountFacts:
        """Return the facts after `event`: what it names replaces what was known."""
        named = event.model_fields_set
        changes: dict[str, Any] = {name: getattr(event, name) for name in ("plan", "segment", "area") if name in named}
        if event.cycle is not None:
            changes["cycle"] = cycle_of(event.cycle.kind, event.cycle.anchor, event.cycle.length)
        if event.zone is not None:
            changes["zone"] = event.zone
        return msgspec.structs.replace(self, **changes)


class RecentIds:
    """Digests of the events seen last, six bytes each: a new one is taken for one of 64 once in 4 * 10^12 events.

    >>> recent = RecentIds()
    >>> recent.is_repeated("/meters", "r-1"), recent.is_repeated("/meters", "r-1")
    (False, True)
    """

    __slots__ = ("_digests", "_oldest")

    def __init__(self, saved: bytes = b"") -> None:
        self._digests = bytearray(saved)
        self._oldest = 0

    def is_repeated(self, source: str, event_id: str) -> bool:
        """Return whether this event was seen lately, and remember it."""
        digest = blake2b(f"{len(source)}:{source}{event_id}".encode(), digest_size=_DIGEST_BYTES).digest()
        digests = self._digests
        at = digests.find(digest)
        while at >= 0:
            if at % _DIGEST_BYTES == 0:
                return True
            at = digests.find(digest, at + 1)
        if len(digests) < _SEEN_BYTES:
            digests += digest
        else:
            digests[self._oldest : self._oldest + _DIGEST_BYTES] = digest
            self._oldest = (self._oldest + _DIGEST_BYTES) % _SEEN_BYTES
        return False

    def save(self) -> bytes:
        """Return the digests, the oldest first."""
        return bytes(self._digests[self._oldest :] + self._digests[: self._oldest])


class Profile:
    """All that one partition's engine keeps of one account.

    Attributes:
        memories: each detector's, in the engine's order; None before it was begun, bytes until it is first needed.
        timer_ms: when the account is to be woken, in milliseconds since 1970; `NEVER` for not at all.
        late_ms: how far the account's own time is behind: its events are of the past, as in a replay of history.
    """

    __slots__ = ("facts", "late_ms", "memories", "recent", "timer_ms")

    def __init__(
        self, facts: AccountFacts, recent: RecentIds, memories: list[Any], timer_ms: int = NEVER, late_ms: int = 0
    ) -> None:
        self.facts = facts
        self.recent = recent
        self.memories = memories
        self.timer_ms = timer_ms
        self.late_ms = late_ms
