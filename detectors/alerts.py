"""What goes out: alerts. What comes back: receipts, answers and labels."""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from .message import Currency, Message, Money, Name, Payload

AlertState = Literal["triggered", "updated", "resolved"]
Severity = Literal["info", "notice", "warning", "critical"]
AlertClass = Literal["fraud", "outage", "legal", "limit", "service", "reminder", "offer", "staff"]
Disposition = Literal[
    "delivered",
    "digested",
    "capped",
    "opted_out",
    "unwanted",
    "inhibited",
    "held_out",
    "silenced",
    "repeated",
    "superseded",
    "resolved_first",
    "expired",
    "unreachable",
    "failed",
    "unknown",
]
FactValue = str | int | float | Decimal | bool | None


def derive_alert_id(account: str, kind: str, subject: str, period: str, threshold: str) -> str:
    """Return the id of the alert about exactly this, today and on every replay.

    Lengths are part of what is hashed, so that no two different alerts share their text.

    >>> derive_alert_id("a1", "plan_limit", "data", "2026-03", "80")
    'f876e383b75c90e634156c1fd73e4d77'
    """
    parts = "".join(f"{len(part)}:{part}" for part in (account, kind, subject, period, threshold))
    return blake2b(parts.encode(), digest_size=16).hexdigest()


class Harm(Payload):
    """What staying silent is expected to cost the customer."""

    amount: Money
    currency: Currency
    probability: Annotated[float, Field(ge=0, le=1)]


class Reason(Payload):
    """One part of why, in words that a customer-care agent can read out.

    Attributes:
        what: a sentence, complete in itself.
        usual: what is usual for this account, in words, if that is known.
        seen: what was seen instead.
        contribution: this reason's part of the score; the parts add up to it.
    """

    what: str
    usual: str | None = None
    seen: str | None = None
    contribution: float | None = None


class Option(Payload):
    """One answer that a question offers."""

    means: Name
    label: str


class Question(Payload):
    """What only the customer knows. The codes to reply with are given when it is sent."""

    text_key: Name
    options: Annotated[tuple[Option, ...], Field(min_length=1)]


class DetectorVersion(Payload):
    """Which detector raised an alert."""

    name: Name
    version: int


class Evidence(Payload):
    """Where the event stands that an alert derives from; `topic` is a file's name when events come from a file."""

    topic: str
    partition: int
    offset: int
    event_id: str


class Alert(Message):
    """Something that one customer should hear of.

    Attributes:
        alert_id: derived from what the alert is about (`derive_alert_id`), so that a replay repeats it.
        score: how far over the line; 1.0 is the line.
        occurred_at: when it happened, in the event's own time.
        detected_at: when the event that shows it reached Kafka, or `occurred_at` when events come from a file.
        useful_until: after this the customer has no use for it.
        facts: what templates may say.
        config: hash of the detector's settings, to tell which tuning raised it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    type_name: ClassVar[str] = "alert"

    alert_id: Name
    kind: Name
    subject: Name
    state: AlertState
    score: Annotated[float, Field(ge=0)]
    severity: Severity
    alert_class: AlertClass = Field(alias="class")
    occurred_at: AwareDatetime
    detected_at: AwareDatetime
    useful_until: AwareDatetime
    harm: Harm | None = None
    reasons: tuple[Reason, ...] = ()
    question: Question | None = None
    facts: dict[str, FactValue] = Field(default_factory=dict)
    group: Name | None = None
    rule: Name | None = None
    detector: DetectorVersion
    config: str
    evidence: tuple[Evidence, ...] = ()

    def envelope(self) -> dict[str, Any]:
        """Return the CloudEvents attributes; the state is part of the type and of the identity."""
        return {**super().envelope(), "type": f"alert.{self.state}"}


class Receipt(Message):
    """What became of an alert. One is published for every disposition.

    Attributes:
        reason: why it ended so, from the closed set in the contract, where delivery alone does not say it.
        channel: the channel that was used or tried last.
        attempts: how many times a provider was asked.
    """

    type_name: ClassVar[str] = "notification"

    alert_id: Name
    kind: Name
    disposition: Disposition
    reason: Name | None = None
    rule: Name | None = None
    channel: Name | None = None
    attempts: Annotated[int, Field(ge=0)] = 0

    def envelope(self) -> dict[str, Any]:
        """Return the CloudEvents attributes; the disposition is the type's second half."""
        return {**super().envelope(), "type": f"notification.{self.disposition}"}


class AnswerGiven(Message):
    """The customer answered an alert's question."""

    type_name = "answer.given"

    alert_id: Name
    choice: Name
    means: Literal["confirmed", "denied", "accepted", "declined"]
    channel: Name | None = None
    at: AwareDatetime


class LabelGiven(Message):
    """It became known whether a charge was the customer's: a dispute, a chargeback, a check by staff.

    Attributes:
        event_id: the charge's; or
        alert_id: of the alert about it.
        bad: whether it was fraud.
        by: who says so.
    """

    type_name = "label.given"

    event_id: Name | None = None
    alert_id: Name | None = None
    bad: bool
    by: Name | None = None

    @model_validator(mode="after")
    def _names_what_it_is_about(self) -> Self:
        if self.event_id is None and self.alert_id is None:
            raise ValueError("names neither event_id nor alert_id; expected one of them, to say what the label is of")
        return self
