"""The protocol that every detector keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from .alerts import Alert, AlertClass, AlertState, FactValue, Harm, Question, Reason, Severity
from .bulletins import Bulletin
from .message import Message
from .profile import AccountFacts


class DetectorSettings(BaseModel):
    """What every detector's section in `foretell.yaml` has; each detector adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a detector has found: an alert without its address.

    Attributes:
        subject: what it is about, within the account: a meter, a charge.
        period: with `threshold`, what makes it the same alert when found again: a cycle's start, a day, an event's id.
        score: how far over the line; 1.0 is the line.
    """

    subject: str
    period: str
    threshold: str = ""
    score: float
    severity: Severity
    occurred_at: datetime
    useful_until: datetime
    state: AlertState = "triggered"
    reasons: tuple[Reason, ...] = ()
    facts: dict[str, FactValue] = field(default_factory=dict)
    harm: Harm | None = None
    question: Question | None = None


class Detector(Protocol):
    """One question, asked of each account.

    A detector holds its settings and what it pools over accounts; what it knows of one account is a memory that
    `begin` makes and the engine keeps. For each event that it reads the engine calls, in this order, `settle`,
    `score`, `learn`. Time is the event's own: a detector has no clock.

    Attributes:
        kind: the alert's kind, a name on the wire.
        version: grows when the shape of what is saved changes; `restore` reads this one and those it can migrate.
        reads: the events it wants.
    """

    kind: ClassVar[str]
    version: ClassVar[int]
    alert_class: ClassVar[AlertClass]
    reads: ClassVar[tuple[type[Message], ...]]

    def begin(self) -> Any:
        """Return the memory of an account never seen."""

    def settle(self, now: datetime, facts: AccountFacts, memory: Any) -> None:
        """Close and learn whatever had ended before `now`: an hour, a day, a billing cycle."""

    def score(self, event: Message, facts: AccountFacts, memory: Any) -> Sequence[Finding]:
        """Return what `event` shows. Changes nothing."""

    def learn(self, event: Message, facts: AccountFacts, memory: Any, raised: Sequence[Alert]) -> None:
        """Take `event` into the memory; `raised` are the alerts made of what `score` just found."""

    def save(self, memory: Any) -> bytes:
        """Return the memory in the format of `version`. Exact: what is restored scores and learns as what was saved."""

    def restore(self, saved: bytes, version: int) -> Any:
        """Return the memory that `save` of that version wrote.

        Raises:
            StateError: this detector does not read that version, or these are not its bytes.
        """


@runtime_checkable
class Withholding(Protocol):
    """A detector that knows which events the others had better not see. It is asked first."""

    def withholds(self, event: Message, memory: Any) -> bool:
        """Return whether `event` is to be kept from the other detectors. Asked before `score`; changes nothing."""


@runtime_checkable
class Counting(Protocol):
    """A detector that meets what it can make no use of, and says so.

    Attributes:
        irregularities: how many there were since they were last asked for, by what: few names, never an account's.
    """

    irregularities: Counter[str]


class Settled(NamedTuple):
    """Probabilities of about one size whose outcome is known by now.

    Attributes:
        number: of them.
        promised: their sum: so often it should have happened.
        happened: how often it did.
        squares: the sum of squared differences between probability and outcome.
    """

    number: int = 0
    promised: float = 0.0
    happened: int = 0
    squares: float = 0.0

    def plus(self, other: Settled) -> Settled:
        """Return both together."""
        return Settled(
            self.number + other.number,
            self.promised + other.promised,
            self.happened + other.happened,
            self.squares + other.squares,
        )


@runtime_checkable
class Foretelling(Protocol):
    """A detector that gives probabilities, learns how things came, and says how well the two agree."""

    def take_settled(self) -> Mapping[int, Settled]:
        """Return what was settled since this was last asked, by tenth of probability, 0 to 9; what is restored never."""


@runtime_checkable
class Pooling(Protocol):
    """A detector that keeps something over all accounts of a partition."""

    def save_pools(self) -> Mapping[str, bytes]:
        """Return what is pooled, in parts, so that a part that has not changed need not be written again."""

    def restore_pools(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save_pools` of that version wrote.

        Raises:
            StateError: this detector does not read that version, or these are not its bytes.
        """


@runtime_checkable
class Timed(Protocol):
    """A detector that has something to say at a time when no event comes."""

    def due(self, facts: AccountFacts, memory: Any) -> datetime | None:
        """Return when to be woken next; None for not at all."""

    def wake(self, now: datetime, facts: AccountFacts, memory: Any) -> Sequence[Finding]:
        """Return what is to be said now that `due` has come, and remember that it was: the next due time is later.

        `now` is the time that was due, not the clock's, so that a late wake says the same.
        """


@runtime_checkable
class Announcing(Protocol):
    """A detector to which one account's event may show what concerns many."""

    def announce(self, event: Message, facts: AccountFacts, memory: Any) -> Sequence[Bulletin]:
        """Return the facts that every partition should hear. Asked before `learn`; changes nothing."""
