"""The topics: one table, and what it takes to create them and to check them."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from detectors.bulletins import REPORTED
from detectors.codec import BULLETIN_TYPES, Reader
from detectors.dead_letter import dead_letter_topic

from .settings import KafkaSettings, RepartitionSettings, TopicSettings, TopicsSettings

_DAY_MS = 24 * 3600 * 1000
_FOR_EVER = -1
_DEAD_LETTERS = {"retention.ms": str(45 * _DAY_MS)}
_LARGEST_RECORD_BYTES = 1_000_000  # what we write is bounded with Kafka's default limit in mind


class TopicError(Exception):
    """Kafka or a topic is not as the configuration says; the sentence tells what to do."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the table.

    Attributes:
        role: its place in the picture, and in the `topics` section.
        types: the CloudEvents types that it carries.
        keyed_by: what its key is.
        is_input: the shards read it; all inputs need the same number of partitions.
        is_ours: nobody but the workers writes to it.
        has_rejects: what cannot be read from it is kept on a dead-letter topic.
        is_compacted: Kafka keeps the last record of each key and no time is too long.
        retention_ms: how long records stay on a topic that we create. The inputs outlast a billing cycle, because
            an engine that starts again reads them from the beginning.
    """

    role: str
    types: tuple[str, ...]
    keyed_by: str = "account"
    is_input: bool = False
    is_ours: bool = False
    has_rejects: bool = False
    is_compacted: bool = False
    retention_ms: int = 45 * _DAY_MS

    @property
    def configs(self) -> dict[str, str]:
        """The configuration that it is created with."""
        return _COMPACTED if self.is_compacted else {"retention.ms": str(self.retention_ms)}


_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 << 20),  # the segment being written is never compacted, and a restore reads all of it
    "min.cleanable.dirty.ratio": "0.2",  # by default half of what a restore reads may be out of date
}
TOPICS = (
    Topic(
        "accounts",
        ("account.updated", "account.closed", "allowance.added"),
        is_input=True,
        has_rejects=True,
        retention_ms=_FOR_EVER,
    ),
    Topic("usage", ("usage.recorded",), is_input=True, has_rejects=True),
    Topic("charges", ("charge.posted",), is_input=True, has_rejects=True),
    Topic("answers", ("answer.given", "label.given"), is_input=True, has_rejects=True),
    Topic("incidents", tuple(each.type_name for each in REPORTED), keyed_by="incident", has_rejects=True),
    Topic(
        "bulletins", tuple(BULLETIN_TYPES), keyed_by="partition number", is_input=True, is_ours=True, has_rejects=True
    ),
    Topic("notifications", ("alert.triggered", "alert.updated", "alert.resolved"), is_ours=True, has_rejects=True),
    Topic("receipts", ("notification.*",), is_ours=True),
    Topic("state", (), is_ours=True, is_compacted=True),
)
INPUTS = tuple(topic for topic in TOPICS if topic.is_input)
FED = tuple(topic for topic in TOPICS if topic.types and not topic.is_ours)
"""What others write to."""


def reader(settings: TopicsSettings, role: str) -> Reader:
    """Return how to read the topic with this role."""
    types = next(topic.types for topic in TOPICS if topic.role == role)
    given: TopicSettings = getattr(settings, role)
    return Reader(types, given.map, source=f"/kafka/{settings.named(role)}")


def readers(settings: TopicsSettings) -> dict[str, Reader]:
    """Return how to read each input, by topic name."""
    return {settings.named(topic.role): reader(settings, topic.role) for topic in INPUTS}


def wanted(settings: TopicsSettings, repartition: Sequence[RepartitionSettings] = ()) -> dict[str, dict[str, str]]:
    """Return every topic of ours by name, dead letters included, with the configuration it is created with."""
    every: dict[str, dict[str, str]] = {}
    for topic in TOPICS:
        name = settings.named(topic.role)
        every[name] = topic.configs
        if topic.has_rejects:
            every[dead_letter_topic(name)] = _DEAD_LETTERS
    return every | {dead_letter_topic(entry.origin): _DEAD_LETTERS for entry in repartition}


@contextmanager
def admin(kafka_settings: KafkaSettings, timeout_seconds: float = 10.0) -> Iterator[KafkaAdminClient]:
    """Give an admin client.

    Raises:
        TopicError: no broker answers.
    """
    _require_a_listener(kafka_settings, timeout_seconds)
    try:
        client = KafkaAdminClient(
            **kafka_settings.client_options(),
            bootstrap_timeout_ms=int(timeout_seconds * 1000),
            request_timeout_ms=int(timeout_seconds * 1000),
        )
    except (kafka.errors.KafkaError, OSError) as error:
        raise unreachable(kafka_settings, error) from error
    with closing(client):
        try:
            yield client
        except (kafka.errors.KafkaConnectionError, kafka.errors.KafkaTimeoutError) as error:
            raise unreachable(kafka_settings, error) from error


def _require_a_listener(kafka_settings: KafkaSettings, timeout_seconds: float) -> None:
    """Knock first: a Kafka client that finds nobody is slow to say so, and leaves its sockets behind."""
    refusals: list[OSError] = []
    for server in kafka_settings.servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout_seconds).close()
        except OSError as error:
            refusals.append(error)
        else:
            return
    raise unreachable(kafka_settings, refusals[0]) from refusals[0]


def unreachable(kafka_settings: KafkaSettings, error: Exception) -> TopicError:
    """Return the error that says that no broker answers."""
    return TopicError(
        f"no Kafka broker answers at {kafka_settings.bootstrap} with {kafka_settings.security_protocol} "
        f"({type(error).__name__}: {error}); start one (`foretell broker` for a local one) or set kafka.bootstrap, "
        "FORETELL_KAFKA__BOOTSTRAP in the environment"
    )


def partition_counts(client: KafkaAdminClient) -> dict[str, int]:
    """Return the partitions of every topic that the broker has."""
    described: list[dict[str, Any]] = client.describe_topics()
    return {topic["name"]: len(topic["partitions"]) for topic in described}


def create(
    client: KafkaAdminClient, settings: TopicsSettings, repartition: Sequence[RepartitionSettings] = ()
) -> dict[str, list[str]]:
    """Create the topics that are missing; leave those that are there as they are.

    Returns:
        The names `created` and those that were `present`.

    Raises:
        TopicError: the broker refuses.
    """
    present = partition_counts(client)
    every = wanted(settings, repartition)
    fed = [settings.named(topic.role) for topic in INPUTS if not topic.is_ours]
    like_inputs = max(present.get(name, settings.partitions) for name in fed)
    counts = present | {settings.named(role): like_inputs for role in ("bulletins", "state")}
    counts |= {dead_letter_topic(name): count for name, count in counts.items()}
    missing = {
        name: {
            "num_partitions": counts.get(name, settings.partitions),
            "replication_factor": settings.replication,
            "configs": configs,
        }
        for name, configs in every.items()
        if name not in present
    }
    if missing:
        try:
            client.create_topics(missing, wait_for_metadata=True)
        except kafka.errors.TopicAlreadyExistsError:
            client.wait_for_topics(list(missing))  # somebody else was as quick; `problems` says whether theirs fit
        except kafka.errors.KafkaError as error:
            raise TopicError(f"Kafka refuses to create {', '.join(missing)}: {error}") from error
    return {"created": list(missing), "present": [name for name in every if name in present]}


def problems(
    client: KafkaAdminClient, settings: TopicsSettings, repartition: Sequence[RepartitionSettings] = ()
) -> list[str]:
    """Return what is wrong with the topics, a sentence each that says what to do; nothing when all is well."""
    found = _Found.ask(client, settings, repartition)
    return [*found.refused(settings, repartition), *found.risky(settings, repartition)]


def require(
    client: KafkaAdminClient, settings: TopicsSettings, repartition: Sequence[RepartitionSettings] = ()
) -> None:
    """Return if nothing can run with the topics as they are.

    Raises:
        TopicError: they are not as needed; the sentence names each problem.
    """
    refused = list(_Found.ask(client, settings, repartition).refused(settings, repartition))
    if refused:
        raise TopicError("; ".join(refused))


@dataclass(frozen=True, slots=True)
class _Found:
    """The topics as the broker has them.

    Attributes:
        counts: partitions by topic.
        configs: of the topics that are wanted and there, what holds now, defaults included.
        copies: the replicas of a topic.
    """

    counts: dict[str, int]
    copies: dict[str, int]
    configs: dict[str, dict[str, str]]

    @classmethod
    def ask(
        cls, client: KafkaAdminClient, settings: TopicsSettings, repartition: Sequence[RepartitionSettings]
    ) -> _Found:
        described: list[dict[str, Any]] = client.describe_topics()
        partitions = {topic["name"]: topic["partitions"] for topic in described}
        names = [*wanted(settings, repartition), *(entry.origin for entry in repartition)]
        there = [ConfigResource("topic", name) for name in names if name in partitions]
        told = client.describe_configs(there, config_filter="all").get("topic", {}) if there else {}
        return cls(
            {name: len(each) for name, each in partitions.items()},
            {
                name: min((len(each["replica_nodes"]) for each in every), default=0)
                for name, every in partitions.items()
            },
            {name: {key: each["value"] for key, each in configs.items()} for name, configs in told.items()},
        )

    def refused(self, settings: TopicsSettings, repartition: Sequence[RepartitionSettings]) -> Iterator[str]:
        """Yield what nothing can run with."""
        for name in wanted(settings, repartition):
            if name not in self.counts:
                yield f"topic {name!r} is missing; `foretell topics create` makes it"
        for entry in repartition:
            if entry.origin not in self.counts:
                yield (
                    f"topic {entry.origin!r}, to be repartitioned to {settings.named(entry.to)!r}, is missing; "
                    "create it, or mend its name under `repartition`"
                )
        yield from self._unequal(settings)
        for topic in TOPICS:
            if topic.has_rejects:
                yield from self._rejects_with_fewer(settings.named(topic.role))
        for entry in repartition:
            yield from self._rejects_with_fewer(entry.origin)
        state = settings.named("state")
        policy = self._config(state, "cleanup.policy")
        if policy is not None and policy != "compact":
            yield (
                f"topic {state!r} has cleanup.policy={policy}, needs compact, or Kafka deletes the accounts that have been "
                f"idle for long; {_set(state, 'cleanup.policy=compact')}"
            )

    def risky(self, settings: TopicsSettings, repartition: Sequence[RepartitionSettings]) -> Iterator[str]:
        """Yield what will cost records or a stop one day."""
        for name in [*wanted(settings, repartition), *(entry.origin for entry in repartition)]:
            policy = self._config(name, "cleanup.policy") or ""
            if "compact" in policy and name != settings.named("state"):
                yield (
                    f"topic {name!r} has cleanup.policy={policy}, needs delete, or Kafka drops all but the last record of "
                    f"each key; {_set(name, 'cleanup.policy=delete')}"
                )
        for name in wanted(settings, repartition):
            largest = int(self._config(name, "max.message.bytes") or _LARGEST_RECORD_BYTES)
            if largest < _LARGEST_RECORD_BYTES:
                yield (
                    f"topic {name!r} has max.message.bytes={largest}, needs {_LARGEST_RECORD_BYTES}, or a large record "
                    f"stops whoever writes it; {_set(name, f'max.message.bytes={_LARGEST_RECORD_BYTES}')}"
                )
            in_sync = int(self._config(name, "min.insync.replicas") or 1)
            if in_sync > self.copies.get(name, in_sync):
                yield (
                    f"topic {name!r} has min.insync.replicas={in_sync} and {self.copies[name]} replicas, so that nothing "
                    "can be written to it; add replicas, or lower min.insync.replicas"
                )

    def _unequal(self, settings: TopicsSettings) -> Iterator[str]:
        mine = {topic: self.counts.get(settings.named(topic.role), 0) for topic in (*INPUTS, _STATE)}
        fed = {topic: count for topic, count in mine.items() if count and not topic.is_ours}
        like = max(
            fed or {topic: count for topic, count in mine.items() if count}, key=mine.__getitem__, default=_STATE
        )
        most = mine[like]
        for topic, count in mine.items():
            if count and count != most:
                yield (
                    f"topic {settings.named(topic.role)!r} has {count} partitions, needs {most} like "
                    f"{settings.named(like.role)!r}, {_WHY_EQUAL.get(topic.role, 'so that all events of an account meet; recreate it')}"
                )

    def _rejects_with_fewer(self, name: str) -> Iterator[str]:
        rejects = dead_letter_topic(name)
        if name in self.counts and rejects in self.counts and self.counts[rejects] < self.counts[name]:
            yield (
                f"topic {rejects!r} has {self.counts[rejects]} partitions, needs {self.counts[name]} like {name!r}, "
                "so that a dead letter keeps its partition; recreate it"
            )

    def _config(self, name: str, key: str) -> str | None:
        return self.configs.get(name, {}).get(key)


_STATE = next(topic for topic in TOPICS if topic.role == "state")
_WHY_EQUAL = {
    "bulletins": "so that each partition hears of everything; stop the workers and recreate it",
    "state": "so that an account's state lies beside its events; stop the workers and recreate it: "
    "accounts are then learned again from the inputs",
}


def _set(name: str, config: str) -> str:
    return f"`kafka-configs.sh --bootstrap-server ... --alter --entity-type topics --entity-name {name} --add-config {config}`"
