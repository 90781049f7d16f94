"""What every sender keeps: one message in, one honest outcome out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from detectors.alerts import Severity

Verdict = Literal["accepted", "refused", "unavailable", "lost"]


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What one person is told.

    Attributes:
        alert_id: the same on every attempt; what a provider that knows idempotency keys is given.
        detected_at: when the alert was raised, for displays of how long it took.
    """

    alert_id: str
    account: str
    kind: str
    severity: Severity
    subject: str
    body: str
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a provider made of a message.

    Attributes:
        verdict: `accepted`: it has the message now. `refused`: it has not, and never will. `unavailable`: it has not,
            but may take it later. `lost`: it may have it or not; sending again could tell the person twice.
        detail: a few words for the ledger and the log; never an address, a secret or a part of the message.
    """

    verdict: Verdict
    detail: str | None = None

    @property
    def is_worth_retrying(self) -> bool:
        """Whether the same message may be handed over again, and might be accepted then."""
        return self.verdict == "unavailable"


class Sender(Protocol):
    """A way to reach people."""

    def send(self, message: OutgoingMessage) -> Outcome:
        """Hand `message` to the provider once, and return what became of it; never raise for the provider's faults."""
        ...
