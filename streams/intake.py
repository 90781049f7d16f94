"""The intake: what does not come keyed by account is made ready for the shards.

Incidents and notices concern many accounts: each is copied to every partition of the bulletins. Events of a topic whose
key is not the account are written anew with one that is, to the input where they belong. What cannot be read becomes a
dead letter. The intake keeps no state. Offsets are committed after all that follows from a record is acknowledged, so
that a record may be written twice, with the same id, and never not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
import tenacity
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    UnknownTopicOrPartitionError,
)

from detectors.codec import LARGEST_SENT_BYTES, Reader, Rejected, encode, encode_key, refuse_future

from .dead_letters import dead_letter
from .keys import partition_of
from .metrics import StreamMetrics
from .publisher import Outgoing
from .settings import StreamSettings
from .topics import reader

log = structlog.get_logger(__name__)

_RECORDS_AT_ONCE = 250
_RECORDS_IN_A_ROW = 50  # a few milliseconds of an event loop that has other things to do
_POLL_MS = 500
_LONGEST_WAIT_SECONDS = 10
_BATCH_BYTES = 256 * 1024
_MOST_REQUEST_BYTES = 8 << 20
_MOST_BYTES_IN_HAND = 8 << 20  # a large incident is copied as often as there are partitions
_STOPPED_WITHIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Route:
    """Where the events of one topic go.

    Attributes:
        to: the topic.
        is_for_all: each event goes to every partition.
    """

    reader: Reader
    to: str
    is_for_all: bool = False


@dataclass(slots=True)
class _Work:
    """What one portion of records leads to.

    Attributes:
        bytes: of what is to be sent.
    """

    received: Counter[str] = field(default_factory=Counter)
    rejects: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes: int = 0
    _outgoing: dict[tuple[str, int | None], list[Outgoing]] = field(default_factory=dict)

    def put(self, outgoing: Iterable[Outgoing]) -> None:
        """Take records to be sent, each to its partition."""
        for each in outgoing:
            self._outgoing.setdefault((each.topic, each.partition), []).append(each)
            self.bytes += len(each.value or b"")

    def take(self) -> dict[tuple[str, int | None], list[Outgoing]]:
        """Give what is to be sent, once, by topic and partition."""
        outgoing, self._outgoing, self.bytes = self._outgoing, {}, 0
        return outgoing


class Intake:
    """Fan bulletins out and write foreign topics anew, keyed by account.

    Runs in every stream worker; their consumer group, `<group>.intake`, shares the partitions out.

    Args:
        settings: the workers'.
        metrics: where to count what was received and rejected.
    """

    def __init__(self, settings: StreamSettings, metrics: StreamMetrics | None = None) -> None:
        self._kafka = settings.kafka
        self._worker = settings.worker
        self._metrics = metrics
        topics = settings.topics
        incidents = _Route(reader(topics, "incidents"), topics.named("bulletins"), is_for_all=True)
        self._routes: dict[str, _Route] = {topics.named("incidents"): incidents}
        for entry in settings.repartition:
            types = reader(topics, entry.to).types
            foreign = Reader(types, entry.map, source=f"/kafka/{entry.origin}")
            self._routes[entry.origin] = _Route(foreign, topics.named(entry.to))
        self._partitions: dict[str, int] = {}
        self._busy_since: float | None = None

    def is_healthy(self) -> bool:
        """Return whether the records in hand, if there are any, were taken lately."""
        since = self._busy_since
        return since is None or time.monotonic() - since < self._worker.stalled_after_seconds

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            aiokafka.errors.KafkaError: trying again cannot help, as when a record is too large for a topic.
        """
        async for attempt in _patiently("intake_waits_for_kafka"):
            with attempt:
                await self._run()

    async def _run(self) -> None:
        producer = AIOKafkaProducer(
            **self._kafka.client_options(),
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_MOST_REQUEST_BYTES,
            request_timeout_ms=30_000,
        )
        consumer = AIOKafkaConsumer(
            *self._routes,
            **self._kafka.client_options(),
            group_id=f"{self._kafka.group}.intake",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(self._worker.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(self._worker.session_timeout_seconds * 200),
            max_poll_records=_RECORDS_AT_ONCE,
        )
        try:
            await producer.start()
            self._partitions = {
                route.to: len(await producer.partitions_for(route.to)) for route in self._routes.values()
            }
            await consumer.start()
            while True:
                self._busy_since = None
                records = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_AT_ONCE)
                if records:
                    self._busy_since = time.monotonic()
                    await self._take(records, producer, consumer)
        finally:
            self._busy_since = None
            await asyncio.gather(_stop(consumer), _stop(producer))

    async def _take(
        self,
        records: Mapping[TopicPartition, Sequence[ConsumerRecord]],
        producer: AIOKafkaProducer,
        consumer: AIOKafkaConsumer,
    ) -> None:
        work = _Work()
        for source, portion in records.items():
            work.received[source.topic] += len(portion)
            for number, record in enumerate(portion, 1):
                self._take_one(record, work)
                if number % _RECORDS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
                if work.bytes > _MOST_BYTES_IN_HAND:
                    await self._send(work, producer)
        await self._send(work, producer)
        try:
            await consumer.commit({source: portion[-1].offset + 1 for source, portion in records.items()})
        except (CommitFailedError, IllegalStateError) as error:  # whoever has the partitions now writes them once more
            log.info("intake_lost_partitions", error=repr(error))
        self._count(work)

    def _take_one(self, record: ConsumerRecord, work: _Work) -> None:
        route = self._routes[record.topic]
        try:
            event = route.reader.read(
                record.value, record.headers, f"{record.topic}-{record.partition}-{record.offset}"
            )
            refuse_future(event.time, record.timestamp)
            value, headers = encode(event)
            if len(value) > LARGEST_SENT_BYTES:
                raise Rejected(  # noqa: TRY301 - it is one of several reasons
                    "too_large", f"the event has {len(value)} bytes; at most {LARGEST_SENT_BYTES} are passed on"
                )
        except Rejected as rejected:
            work.rejects[record.topic, rejected.reason] += 1
            work.put([dead_letter(record, rejected)])
            return
        count = self._partitions[route.to]
        if route.is_for_all:
            work.put(Outgoing(route.to, str(number).encode(), value, headers, number) for number in range(count))
        else:
            key = encode_key(event.about)
            work.put([Outgoing(route.to, key, value, headers, partition_of(key, count))])

    async def _send(self, work: _Work, producer: AIOKafkaProducer) -> None:
        """Return when all of it is acknowledged; what is not is sent again, each partition's in its order."""
        waiting = work.take()
        async for attempt in _patiently("intake_cannot_publish"):
            with attempt:
                places = list(waiting)
                sent = await asyncio.gather(
                    *(_send_in_order(producer, *place, waiting[place]) for place in places), return_exceptions=True
                )
                for place, error in zip(places, sent, strict=True):
                    if error is None:
                        del waiting[place]
                for error in sent:
                    if error is not None:
                        raise error

    def _count(self, work: _Work) -> None:
        for (topic, reason), count in work.rejects.items():
            log.warning("events_rejected", topic=topic, reason=reason, count=count)
        if self._metrics is not None:
            for topic, count in work.received.items():
                self._metrics.received.labels(topic).inc(count)
                passed_on = count - sum(lost for (source, _), lost in work.rejects.items() if source == topic)
                self._metrics.applied.labels(topic).inc(passed_on)
            for (topic, reason), count in work.rejects.items():
                self._metrics.dead_letters.labels(topic, reason).inc(count)


async def _send_in_order(
    producer: AIOKafkaProducer, topic: str, partition: int | None, outgoing: Sequence[Outgoing]
) -> None:
    sent, batch = [], producer.create_batch()
    for each in outgoing:
        record = {"timestamp": int(time.time() * 1000), "key": each.key, "value": each.value, "headers": each.headers}
        if batch.append(**record) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**record)  # alone in its batch a record may be any size
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)


async def _stop(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(client.stop(), _STOPPED_WITHIN_SECONDS)
    except (KafkaError, TimeoutError) as error:
        log.info("intake_not_stopped", client=type(client).__name__, error=repr(error))


def _patiently(event: str) -> tenacity.AsyncRetrying:
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_will_pass),
        wait=tenacity.wait_exponential(max=_LONGEST_WAIT_SECONDS),
        before_sleep=lambda state: log.warning(
            event, attempt=state.attempt_number, error=repr(state.outcome and state.outcome.exception())
        ),
        reraise=True,
    )


def _will_pass(error: BaseException) -> bool:
    if isinstance(error, UnknownTopicOrPartitionError):  # after the client has waited for it
        return False
    return isinstance(error, KafkaTimeoutError) or (isinstance(error, KafkaError) and error.retriable)
