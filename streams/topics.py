"""The topics: one table, and what it takes to create them and to check them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient

from detectors.codec import Reader
from detectors.dead_letter import dead_letter_topic

from .settings import KafkaSettings, TopicsSettings

_DAY_MS = 24 * 3600 * 1000
_FOR_EVER = -1


class TopicError(Exception):
    """Kafka or a topic is not as the configuration says; the sentence tells what to do."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the table.

    Attributes:
        role: its place in the picture, and in the `topics` section.
        types: the CloudEvents types that it carries.
        keyed_by: what its key is.
        is_input: the engine reads it; all inputs need the same number of partitions.
        has_rejects: what cannot be read from it is kept on a dead-letter topic.
        retention_ms: how long records stay on a topic that we create. The inputs outlast a billing cycle, because
            an engine that starts again reads them from the beginning.
    """

    role: str
    types: tuple[str, ...]
    keyed_by: str = "account"
    is_input: bool = False
    has_rejects: bool = False
    retention_ms: int = 45 * _DAY_MS


TOPICS = (
    Topic("accounts", ("account.updated", "account.closed"), is_input=True, has_rejects=True, retention_ms=_FOR_EVER),
    Topic("usage", ("usage.recorded",), is_input=True, has_rejects=True),
    Topic("charges", ("charge.posted",), is_input=True, has_rejects=True),
    Topic("answers", ("answer.given",), is_input=True, has_rejects=True),
    Topic("notifications", ("alert.triggered", "alert.updated", "alert.resolved"), has_rejects=True),
    Topic("receipts", ("notification.*",)),
)
INPUTS = tuple(topic for topic in TOPICS if topic.is_input)


def readers(settings: TopicsSettings) -> dict[str, Reader]:
    """Return how to read each input, by topic name."""
    return {
        settings.named(topic.role): Reader(
            topic.types, getattr(settings, topic.role).map, source=f"/kafka/{settings.named(topic.role)}"
        )
        for topic in INPUTS
    }


def wanted(settings: TopicsSettings) -> dict[str, dict[str, str]]:
    """Return every topic's name, dead letters included, with the configuration it is created with."""
    every: dict[str, dict[str, str]] = {}
    for topic in TOPICS:
        name = settings.named(topic.role)
        every[name] = {"retention.ms": str(topic.retention_ms)}
        if topic.has_rejects:
            every[dead_letter_topic(name)] = {"retention.ms": str(45 * _DAY_MS)}
    return every


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


def create(client: KafkaAdminClient, settings: TopicsSettings) -> dict[str, list[str]]:
    """Create the topics that are missing; leave those that are there as they are.

    Returns:
        The names `created` and those that were `present`.

    Raises:
        TopicError: the broker refuses.
    """
    present = partition_counts(client)
    every = wanted(settings)
    missing = {
        name: {
            "num_partitions": settings.partitions,
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


def problems(client: KafkaAdminClient, settings: TopicsSettings) -> list[str]:
    """Return what is wrong with the topics, a sentence each that says what to do; nothing when all is well."""
    counts = partition_counts(client)
    found = [
        f"topic {name!r} is missing; `foretell topics create` makes it"
        for name in wanted(settings)
        if name not in counts
    ]
    inputs = {
        settings.named(topic.role): counts[settings.named(topic.role)]
        for topic in INPUTS
        if settings.named(topic.role) in counts
    }
    most = max(inputs.values(), default=0)
    like = next((name for name, count in inputs.items() if count == most), "")
    found += [
        f"topic {name!r} has {count} partitions, needs {most} like {like!r}, so that all events of an account meet; recreate it"
        for name, count in inputs.items()
        if count != most
    ]
    for topic in TOPICS:
        name = settings.named(topic.role)
        rejects = dead_letter_topic(name)
        if topic.has_rejects and name in counts and rejects in counts and counts[rejects] < counts[name]:
            found.append(
                f"topic {rejects!r} has {counts[rejects]} partitions, needs {counts[name]} like {name!r}, "
                "so that a dead letter keeps its partition; recreate it"
            )
    return found


def require(client: KafkaAdminClient, settings: TopicsSettings) -> None:
    """Return if all topics are as needed.

    Raises:
        TopicError: they are not; the sentence names each problem.
    """
    found = problems(client, settings)
    if found:
        raise TopicError("; ".join(found))
