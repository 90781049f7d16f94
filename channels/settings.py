"""What this room needs to know: the ledger, the senders, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from detectors.dead_letter import dead_letter_topic

SenderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""A channel's name; it is a metric's label and stands in receipts."""


def _usable_ledger(ledger: str) -> str:
    try:
        url = make_url(ledger)
    except ArgumentError:
        raise ValueError(
            "this is no SQLAlchemy URL; expected one like 'sqlite:///foretell.sqlite', or with four slashes "
            "'sqlite:////var/lib/foretell/ledger.sqlite' for a path from the root"
        ) from None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise ValueError(
            f"this version keeps its ledger in an SQLite file, not in {url.get_backend_name()!r} or in memory; "
            "expected a URL like 'sqlite:///foretell.sqlite'"
        )
    return ledger


def _usable_apprise_url(url: SecretStr) -> SecretStr:
    from .senders.apprise_url import check_url  # noqa: PLC0415 - Apprise is read only where a sender uses it

    check_url(url.get_secret_value())
    return url


class SenderSettings(BaseModel):
    """What every sender has.

    Attributes:
        attempts: how often a provider is asked that is not available; a message that it may have is never sent again.
        timeout_seconds: how long to wait for a connection, and for each answer.
        first_wait_seconds: before the second attempt; each further wait is twice as long, with jitter.
        longest_wait_seconds: no wait is longer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    first_wait_seconds: Annotated[float, Field(ge=0, le=60)] = 0.5
    longest_wait_seconds: Annotated[float, Field(ge=0, le=60)] = 8.0

    @property
    def longest_call_seconds(self) -> float:
        """After this a call is given up, whatever the provider does: it may answer in drops."""
        return 3 * self.timeout_seconds


class ConsoleSettings(SenderSettings):
    """Print messages, for demos and for trying things out.

    Attributes:
        format: `text` to be read by a person, `json` for one object a line.
        path: append to this file instead of printing on standard output.
    """

    kind: Literal["console"] = "console"
    format: Literal["text", "json"] = "text"
    path: Path | None = None


class AppriseSettings(SenderSettings):
    """Send through one of Apprise's services.

    Attributes:
        url: an Apprise URL; `{account}` in it becomes the account. Best given from the environment:
            FORETELL_CHANNELS__SENDERS__SMS__URL.
    """

    kind: Literal["apprise"]
    url: Annotated[SecretStr, AfterValidator(_usable_apprise_url)]


AnySender = Annotated[ConsoleSettings | AppriseSettings, Field(discriminator="kind")]


def _only_a_console() -> dict[SenderName, AnySender]:
    return {"console": ConsoleSettings()}


class ChannelSettings(BaseModel):
    """The `channels` section.

    Attributes:
        ledger: SQLAlchemy URL of the file that remembers every alert and what became of it.
        senders: the ways to reach people, by name.
        deliver_to: names of senders, tried in this order until one delivers.
        deliver_staff_to: the same for alerts of the class `staff`, which are about our own house and never go to a customer;
            where none is named they end as `unreachable`.
        most_waiting: with so many alerts waiting no more are read, until some are told.
        stalled_after_seconds: with lag and without progress for so long `/healthz` fails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ledger: Annotated[str, AfterValidator(_usable_ledger)] = "sqlite:///foretell.sqlite"
    senders: dict[SenderName, AnySender] = Field(default_factory=_only_a_console)
    deliver_to: Annotated[tuple[SenderName, ...], Field(min_length=1)] = ("console",)
    deliver_staff_to: tuple[SenderName, ...] = ()
    most_waiting: Annotated[int, Field(ge=1)] = 10_000
    stalled_after_seconds: Annotated[float, Field(gt=0)] = 60.0

    @model_validator(mode="after")
    def _every_channel_has_a_sender(self) -> Self:
        for setting, names in (("deliver_to", self.deliver_to), ("deliver_staff_to", self.deliver_staff_to)):
            for name in names:
                if name not in self.senders:
                    raise ValueError(
                        f"{setting} names {name!r}, which is none of the senders ({', '.join(self.senders)}); "
                        f"add `{name}: {{kind: ...}}` to `channels.senders`"
                    )
            if len(set(names)) < len(names):
                raise ValueError(f"{setting} names a sender twice; each is tried once")
        return self


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """All that the channel consumer needs.

    Attributes:
        kafka: options for kafka-python's clients, as `bootstrap_servers` and `security_protocol`; may hold secrets.
        notifications: the topic that alerts are read from.
        receipts: the topic that what became of them is written to.
        group: the consumer group.
    """

    channels: ChannelSettings
    kafka: Mapping[str, Any] = field(repr=False)
    notifications: str
    receipts: str
    group: str

    @property
    def dead_letters(self) -> str:
        """The topic that keeps what cannot be read."""
        return dead_letter_topic(self.notifications)
