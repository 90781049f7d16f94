"""Reading alerts from Kafka, from where the ledger says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import structlog
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata
from kafka import TopicPartition as Partition
from kafka.errors import (
    AuthorizationError,
    KafkaConfigurationError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)

from .ledger import Ledger, Position
from .seldom import Seldom
from .settings import DeliverySettings

log = structlog.get_logger(__name__)

Record: TypeAlias = Any  # kafka-python has no types

_REACH_SECONDS = 10.0
_COMMIT_SECONDS = 1.0
_PAUSE_SECONDS = 0.2
_FATAL = (
    SaslAuthenticationFailedError,
    AuthorizationError,
    KafkaConfigurationError,
    UnsupportedCodecError,
    UnsupportedVersionError,
)  # everything else may pass
_OPTIONS = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "isolation_level": "read_committed",
    "allow_auto_create_topics": False,
    "reconnect_backoff_max_ms": 2_000,
    "session_timeout_ms": 10_000,  # after a crash the group waits so long before others, or we again, get the partitions
    "heartbeat_interval_ms": 2_000,
    "bootstrap_timeout_ms": int(_REACH_SECONDS * 1000),
}
_NO_TOPIC_ID = "00000000-0000-0000-0000-000000000000"


class ConsumerError(Exception):
    """Kafka cannot be used as configured; the sentence tells what to do."""


class Reader:
    """Read the notifications topic as a member of the group.

    Offsets in the ledger are the truth. Where it has none for a partition, such as a new ledger, the group's committed
    offset is followed, and the beginning where there is none either.

    Args:
        settings: the topic, the group and how to reach Kafka.
        ledger: knows how far was read.
        most_seconds: how long the caller may be between two polls.

    Raises:
        ConsumerError: no broker answers, or a topic is missing.
    """

    def __init__(self, settings: DeliverySettings, ledger: Ledger, most_seconds: float) -> None:
        self._settings = settings
        self._ledger = ledger
        self._topic_id = _look_at_topics(settings)
        self._positions: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._next_commit = 0.0
        self._seldom = Seldom()
        try:
            self._consumer = KafkaConsumer(
                **{**_OPTIONS, **settings.kafka},
                group_id=settings.group,
                max_poll_interval_ms=int(max(300.0, 2 * most_seconds) * 1000),
            )
        except KafkaError as error:
            raise unreachable(settings, error) from error
        self._assignment = _Assignment()
        self._consumer.subscribe([settings.notifications], listener=self._assignment)

    @property
    def is_assigned(self) -> bool:
        """Whether the group has given this member its partitions, be it none."""
        return self._assignment.is_assigned

    def poll(self, timeout_seconds: float) -> dict[Partition, list[Record]]:
        """Return the next records of each partition; nothing if there are none in time or Kafka is away.

        Raises:
            ConsumerError: Kafka refuses for good, or the topic is not the one that the ledger knows.
        """
        try:
            found: dict[Partition, list[Record]] = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000))
            new = self._assignment.take_new() & self._consumer.assignment()
            if new:
                found = self._begin(new, found)
        except KafkaError as error:
            if isinstance(error, _FATAL):
                raise ConsumerError(
                    f"cannot read {self._settings.notifications} from Kafka: {type(error).__name__}: {error}"
                ) from error
            self._seldom.warn("kafka_poll_waits", error=type(error).__name__)
            time.sleep(_PAUSE_SECONDS)
            return {}
        for partition, records in found.items():
            if records[0].offset < self._positions.get(partition, 0):
                raise self._recreated(partition, self._positions[partition], f"goes on at {records[0].offset}")
        return found

    def rewind(self, partition: Partition, offset: int) -> None:
        """Read a partition again from `offset`."""
        if partition in self._consumer.assignment():
            self._consumer.seek(partition, offset)

    def hold(self, held: bool) -> None:
        """Stop reading while there is enough to do; the group is kept."""
        if held:
            self._consumer.pause(*self._consumer.assignment())
        else:
            self._consumer.resume(*self._consumer.paused())

    def position(self, partition: Partition, next_offset: int) -> Position:
        """Return the position for the ledger once all below `next_offset` is admitted."""
        return Position(partition.topic, partition.partition, next_offset, self._topic_id)

    def admitted(self, positions: Iterable[Position]) -> None:
        """Take note that the ledger has everything below these positions."""
        for each in positions:
            self._positions[Partition(each.topic, each.partition)] = each.next_offset

    def lag(self) -> dict[Partition, int]:
        """Return how many records of each assigned partition are not admitted, as far as that is known."""
        behind = {}
        for partition in self._consumer.assignment():
            end, position = self._consumer.highwater(partition), self._positions.get(partition)
            if end is not None and position is not None:
                behind[partition] = max(0, end - position)
        return behind

    def commit(self) -> None:
        """Tell Kafka how far was read, for displays, now and then; an error does not matter."""
        if time.monotonic() >= self._next_commit and self._to_commit():
            self._next_commit = time.monotonic() + _COMMIT_SECONDS
            offsets = self._to_commit()
            self._consumer.commit_async(_as_metadata(offsets), callback=self._on_committed)

    def close(self) -> None:
        """Tell Kafka how far was read, and leave the group."""
        offsets = self._to_commit()
        try:
            if offsets:
                self._consumer.commit(_as_metadata(offsets), timeout_ms=3_000)
        except KafkaError as error:
            log.info("offsets_not_committed", error=type(error).__name__)
        self._consumer.close(autocommit=False, timeout_ms=5_000)

    def _begin(self, new: set[Partition], found: dict[Partition, list[Record]]) -> dict[Partition, list[Record]]:
        """Take up new partitions where the ledger left them; what was polled from elsewhere is dropped."""
        try:
            ends = self._consumer.end_offsets(list(new), timeout_ms=int(_REACH_SECONDS * 1000))
            starts = self._consumer.beginning_offsets(list(new), timeout_ms=int(_REACH_SECONDS * 1000))
        except KafkaError:
            self._assignment.put_back(new)
            for partition, records in found.items():
                self.rewind(partition, records[0].offset)
            raise
        known = self._ledger.positions(self._settings.notifications)
        for partition in new:
            stored = known.get(partition.partition)
            if stored is None:
                polled = found.get(partition)
                position = polled[0].offset if polled else self._consumer.position(partition, timeout_ms=1_000)
                self._positions[partition] = starts[partition] if position is None else position
                continue
            if stored.topic_id and self._topic_id and stored.topic_id != self._topic_id:
                raise self._recreated(partition, stored.next_offset, "is another topic of the same name")
            if stored.next_offset > ends[partition]:
                raise self._recreated(partition, stored.next_offset, f"ends at {ends[partition]}")
            if stored.next_offset < starts[partition]:
                log.error(
                    "alerts_gone_before_they_were_read",
                    partition=partition.partition,
                    count=starts[partition] - stored.next_offset,
                )
            self._consumer.seek(partition, max(stored.next_offset, starts[partition]))
            self._positions[partition] = stored.next_offset
            found.pop(partition, None)
        log.info("partitions_assigned", partitions=sorted(each.partition for each in new))
        return found

    def _recreated(self, partition: Partition, offset: int, but: str) -> ConsumerError:
        return ConsumerError(
            f"the ledger {self._settings.channels.ledger} has read {partition.topic}-{partition.partition} up to {offset}, "
            f"but that {but}: it was recreated, or this is another Kafka; "
            "name another ledger in channels.ledger, or move this one away"
        )

    def _to_commit(self) -> dict[Partition, int]:
        mine = self._consumer.assignment()
        return {
            partition: offset
            for partition, offset in self._positions.items()
            if partition in mine and self._committed.get(partition) != offset
        }

    def _on_committed(self, offsets: Mapping[Partition, OffsetAndMetadata], answer: object) -> None:
        if not isinstance(answer, Exception):
            self._committed |= {partition: each.offset for partition, each in offsets.items()}


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """What the group has given us. Called from kafka-python's own thread, so it only takes notes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: set[Partition] = set()
        self.is_assigned = False

    def on_partitions_assigned(self, assigned: Iterable[Partition]) -> None:
        with self._lock:
            self._new |= set(assigned)
            self.is_assigned = True

    def on_partitions_revoked(self, revoked: Iterable[Partition]) -> None:
        with self._lock:
            self._new -= set(revoked)
            self.is_assigned = False

    def take_new(self) -> set[Partition]:
        with self._lock:
            new, self._new = self._new, set()
            return new

    def put_back(self, new: set[Partition]) -> None:
        with self._lock:
            self._new |= new


def _look_at_topics(settings: DeliverySettings) -> str | None:
    """Return Kafka's id of the notifications topic, None where it gives none.

    Raises:
        ConsumerError: no broker answers, an option is unknown, or a topic is missing.
    """
    unknown = sorted(
        name
        for name in settings.kafka
        if not all(name in client.DEFAULT_CONFIG for client in (KafkaAdminClient, KafkaConsumer, KafkaProducer))
    )
    if unknown:
        raise ConsumerError(f"kafka-python knows no option {', '.join(unknown)}; remove it from the `kafka` section")
    wanted = [settings.notifications, settings.receipts, settings.dead_letters]
    milliseconds = int(_REACH_SECONDS * 1000)
    try:
        with KafkaAdminClient(
            **{"bootstrap_timeout_ms": milliseconds, "request_timeout_ms": milliseconds, **settings.kafka}
        ) as admin:
            described = {topic["name"]: topic for topic in admin.describe_topics(wanted)}
    except (KafkaError, OSError) as error:
        raise unreachable(settings, error) from error
    missing = [name for name in wanted if described.get(name, {}).get("error_code", -1) != 0]
    if missing:
        raise ConsumerError(
            f"Kafka has no topic {', '.join(missing)}, or hides it from us; `foretell topics create` makes it"
        )
    topic_id = described[settings.notifications].get("topic_id")
    return str(topic_id) if topic_id and str(topic_id) != _NO_TOPIC_ID else None


def unreachable(settings: DeliverySettings, error: Exception) -> ConsumerError:
    """Return the error that says that no broker answers, or none that lets us in."""
    servers = settings.kafka.get("bootstrap_servers", "localhost:9092")
    return ConsumerError(
        f"no Kafka broker lets us in at {servers if isinstance(servers, str) else ','.join(servers)} "
        f"({type(error).__name__}); start one (`foretell broker` for a local one) or set kafka.bootstrap, "
        "FORETELL_KAFKA__BOOTSTRAP in the environment"
    )


def _as_metadata(offsets: Mapping[Partition, int]) -> dict[Partition, OffsetAndMetadata]:
    return {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
