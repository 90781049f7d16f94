"""One account: what is known of it, and what each detector remembers of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from .events import AccountUpdated, Cycle

UTC_ZONE = ZoneInfo("UTC")
_EVENTS_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What the accounts topic has said so far, with a usable default for what it has not."""

    account: str
    plan: str | None = None
    cycle: Cycle = field(default_factory=Cycle)
    zone: ZoneInfo = UTC_ZONE
    segment: str | None = None
    area: str | None = None

    def updated(self, event: AccountUpdated) -> AccountFacts:
        """Return the facts after `event`: what it names replaces what was known."""
        named = event.model_fields_set
        changes: dict[str, Any] = {name: getattr(event, name) for name in ("plan", "segment", "area") if name in named}
        if event.cycle is not None:
            changes["cycle"] = event.cycle
        if event.zone is not None:
            changes["zone"] = event.zone
        return replace(self, **changes)


class Profile:
    """All that one partition's engine keeps of one account."""

    __slots__ = ("_seen", "facts", "memories")

    def __init__(self, account: str) -> None:
        self.facts = AccountFacts(account)
        self.memories: dict[str, Any] = {}
        self._seen: dict[tuple[str, str], None] = {}

    def is_repeated(self, source: str, event_id: str) -> bool:
        """Return whether this event was seen lately, and remember it."""
        identity = (source, event_id)
        if identity in self._seen:
            return True
        self._seen[identity] = None
        if len(self._seen) > _EVENTS_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False
