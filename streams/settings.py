"""What the stream worker needs to know: where Kafka is, which topics, what the engine detects."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from detectors.codec import Source
from detectors.dead_letter import SUFFIX
from detectors.engine import EngineSettings
from detectors.message import Name

TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,200}$")]


def _with_texts_as_paths(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return {name: {"path": source} if isinstance(source, str) else source for name, source in given.items()}


FieldMap = Annotated[dict[Name, Source], BeforeValidator(_with_texts_as_paths)]


class KafkaSettings(BaseModel):
    """The `kafka` section: how clients reach the brokers.

    Attributes:
        bootstrap: `host:port`, several separated by commas.
        group: the consumer group of the stream workers; the channel consumers use `<group>.deliver`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: Annotated[str, Field(min_length=1)] = "127.0.0.1:9092"
    group: Name = "foretell"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password: SecretStr | None = None
    ssl_check_hostname: bool = True

    @field_validator("bootstrap")
    @classmethod
    def _each_is_host_and_port(cls, bootstrap: str) -> str:
        for server in bootstrap.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"{server.strip()!r} is no address; expected host:port, several separated by commas")
        return bootstrap

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.uses_sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs sasl_username and sasl_password; "
                "give the password as FORETELL_KAFKA__SASL_PASSWORD"
            )
        for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name} {str(path)!r} is no file; expected a PEM file")
        return self

    @property
    def servers(self) -> list[str]:
        """The bootstrap servers, each `host:port`."""
        return [server.strip() for server in self.bootstrap.split(",")]

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and password are sent."""
        return self.security_protocol.startswith("SASL")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, or None where the connection is plain.

        Raises:
            ssl.SSLError: a certificate or key cannot be read.
        """
        if not self.uses_tls:
            return None
        context = ssl.create_default_context(cafile=str(self.ssl_cafile) if self.ssl_cafile else None)
        context.check_hostname = self.ssl_check_hostname
        if self.ssl_certfile is not None:
            password = self.ssl_password.get_secret_value() if self.ssl_password else None
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password)
        return context

    def client_options(self) -> dict[str, Any]:
        """Return the options that kafka-python and aiokafka share: servers and how to be let in."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
        }
        if self.uses_sasl and self.sasl_password is not None:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return options


class TopicSettings(BaseModel):
    """One topic: its name, and how plain JSON on it maps to our fields.

    Attributes:
        name: the topic's name; `<prefix>.<role>` without it.
        map: for input topics, field of ours -> a dotted path in the event, or `{path, times}`, or `{value}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: TopicName | None = None
    map: FieldMap = Field(default_factory=dict)


class TopicsSettings(BaseModel):
    """The `topics` section.

    Attributes:
        partitions: of topics that `foretell topics create` makes; all inputs of an account need the same number.
        replication: copies of each partition; 3 in production.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: TopicName = "foretell"
    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    usage: TopicSettings = TopicSettings()
    charges: TopicSettings = TopicSettings()
    accounts: TopicSettings = TopicSettings()
    answers: TopicSettings = TopicSettings()
    incidents: TopicSettings = TopicSettings()
    bulletins: TopicSettings = TopicSettings()
    notifications: TopicSettings = TopicSettings()
    receipts: TopicSettings = TopicSettings()
    state: TopicSettings = TopicSettings()

    def named(self, role: str) -> str:
        """Return the name of the topic with this role."""
        settings: TopicSettings = getattr(self, role)
        return settings.name or f"{self.prefix}.{role}"

    def names(self) -> list[str]:
        """Return the name of every topic."""
        return [self.named(role) for role, value in self if isinstance(value, TopicSettings)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _refuse_repeats(self.names())
        return self


class RepartitionSettings(BaseModel):
    """One entry of the `repartition` section: a topic whose key is not the account, written anew with one that is.

    Attributes:
        origin: the topic to read; it stays as it is.
        to: the role of the input that its events are written to.
        map: as in `topics`: field of ours -> a dotted path in the event, or `{path, times}`, or `{value}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: TopicName = Field(alias="from")
    to: Literal["accounts", "usage", "charges", "answers"]
    map: FieldMap = Field(default_factory=dict)


class WorkerSettings(BaseModel):
    """The `stream` section: how the worker reads and what it keeps.

    Attributes:
        most_records: records of a partition that are handed over at once.
        session_timeout_seconds: without a heartbeat for so long the worker's partitions go to another.
        checkpoint_seconds: how often each partition's state is written; what a worker that takes over replays at most.
        stalled_after_seconds: with lag and without progress for so long `/healthz` fails; after twice that the process ends.
        memory_mb: of accounts in memory, for each partition; the least recently used are kept on disk beyond it.
        clock: what timers go by. `records`: the records' timestamps, and the wall clock where none is left to read.
            `events`: the events' own times, for a replay of history.
        instance_id: a lasting name of this worker, for a restart without a rebalance (static membership); each worker
            needs its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_records: Annotated[int, Field(ge=1)] = 4000
    session_timeout_seconds: Annotated[float, Field(ge=6)] = 10.0
    checkpoint_seconds: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    stalled_after_seconds: Annotated[float, Field(gt=0)] = 60.0
    memory_mb: Annotated[int, Field(ge=1)] = 512
    clock: Literal["records", "events"] = "records"
    instance_id: Name | None = None


class StreamSettings(BaseModel):
    """All that the stream worker needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicsSettings = Field(default_factory=TopicsSettings)
    repartition: tuple[RepartitionSettings, ...] = ()
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)

    @model_validator(mode="after")
    def _repartition_leads_out_of_no_topic_of_ours(self) -> Self:
        refuse_circles(self.repartition, self.topics)
        return self


def refuse_circles(repartition: Iterable[RepartitionSettings], topics: TopicsSettings) -> None:
    """Return if each topic to repartition is somebody else's, and named once.

    Raises:
        ValueError: one is not.
    """
    ours, seen = topics.names(), set[str]()
    for number, entry in enumerate(repartition):
        if entry.origin.removesuffix(SUFFIX) in ours:
            raise ValueError(
                f"repartition.{number}.from: {entry.origin!r} is a topic of ours already; "
                "name the foreign topic here and none in `topics`"
            )
        if entry.origin in seen:
            raise ValueError(f"repartition.{number}.from: {entry.origin!r} is named twice; keep one")
        seen.add(entry.origin)


def _refuse_repeats(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"topic {name!r} is named twice; each role needs a topic of its own")
        seen.add(name)
