"""Events of ours to their topics: acknowledged, in order, with a bound on what is under way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLongError
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from detectors.codec import LARGEST_SENT_BYTES, Rejected, encode, encode_key
from detectors.message import Envelope
from streams.keys import partition_of
from streams.settings import KafkaSettings, TopicsSettings
from streams.topics import FED, TopicError, admin, partition_counts, unreachable

_MOST_UNDER_WAY = 20_000
_BATCH_BYTES = 256 * 1024
_LINGER_SECONDS = 0.02
_CLOSED_WITHIN_SECONDS = 5.0


class UnacknowledgedError(Exception):
    """Kafka has gone silent.

    Args:
        why: the client's reason.
        last: what the last event of those was called that are there for sure, all before it included; None for none.
    """

    def __init__(self, why: str, last: int | None) -> None:
        super().__init__(f"Kafka does not acknowledge events any more ({why})")
        self.last = last


class _UnderWay(NamedTuple):
    done: Future[None]
    events: int
    last: int


class EventProducer:
    """Send events, each to the topic of its type and to the partition of its account, or incident.

    The partition is the one that Kafka's own clients choose (murmur2 of the key), so that what we send meets what
    others send. Batches are built here and handed over whole: 3 us an event, where kafka-python's producer takes 80 and
    aiokafka's own queue 22 (on the same machine), which would leave the stream worker beside it little of two cores.

    Args:
        kafka: where.
        topics: their names.
        roles: the topics that events will be sent to.
        acknowledged_within_seconds: after this without an answer Kafka is taken for silent.

    Attributes:
        sent: events given to it; all of them are acknowledged once `flush` has returned.

    Raises:
        TopicError: no broker answers, or a needed topic is missing.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicsSettings,
        roles: Sequence[str],
        acknowledged_within_seconds: float = 40.0,
    ) -> None:
        self._topics = {name: topics.named(role) for role in roles for name in _types_of(role)}
        with admin(kafka) as client:
            self._partitions = partition_counts(client)
        missing = sorted(set(self._topics.values()) - self._partitions.keys())
        if missing:
            raise TopicError(f"topic {missing[0]!r} is missing at {kafka.bootstrap}; `foretell topics create` makes it")
        self.sent = 0
        self._patience = acknowledged_within_seconds
        self._open: dict[tuple[str, int], Any] = {}
        self._opened = 0.0
        self._in_hand = 0
        self._latest = 0
        self._under_way: deque[_UnderWay] = deque()
        self._count_under_way = 0
        self._last: int | None = None
        self._loop = asyncio.new_event_loop()
        self._in_order = asyncio.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event-producer", daemon=True)
        self._thread.start()
        try:
            self._producer = self._run(self._start(kafka))
        except (KafkaError, OSError) as error:
            self._end_loop()
            raise unreachable(kafka, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(KafkaError, OSError, WaitedTooLongError):
            self._run(asyncio.wait_for(self._producer.stop(), _CLOSED_WITHIN_SECONDS))
        self._end_loop()

    def send(self, message: Envelope, called: int = 0) -> None:
        """Send one event, soon; wait while too many are under way.

        Args:
            message: the event.
            called: what to call it should Kafka go silent: a row's number, for instance.

        Raises:
            Rejected: it is larger than a broker takes.
            UnacknowledgedError: an event was not acknowledged.
        """
        value, headers = encode(message)
        if len(value) > LARGEST_SENT_BYTES:
            raise Rejected("too_large", f"the event has {len(value)} bytes; at most {LARGEST_SENT_BYTES} are sent")
        key, topic = encode_key(message.about), self._topics[message.type_name]
        place = topic, partition_of(key, self._partitions[topic])
        moment = time.time()
        if not self._open:
            self._opened = moment
        record = {"timestamp": int(moment * 1000), "key": key, "value": value, "headers": headers}
        if self._batch(place).append(**record) is None:
            self.ship()
            self._batch(place).append(**record)
        self.sent += 1
        self._in_hand += 1
        self._latest = called
        if moment - self._opened > _LINGER_SECONDS:
            self.ship()

    def ship(self) -> None:
        """Hand over what is in hand: before every pause, so that no event waits for the next one."""
        if not self._open:
            return
        batches, self._open = self._open, {}
        handed = asyncio.run_coroutine_threadsafe(self._send(batches), self._loop)
        self._under_way.append(_UnderWay(handed, self._in_hand, self._latest))
        self._count_under_way += self._in_hand
        self._in_hand = 0
        self._await(_MOST_UNDER_WAY)

    def flush(self) -> None:
        """Return when all events are acknowledged.

        Raises:
            UnacknowledgedError: one was not.
        """
        self.ship()
        self._await(0)

    def _batch(self, place: tuple[str, int]) -> Any:
        batch = self._open.get(place)
        if batch is None:
            batch = self._open[place] = self._producer.create_batch()
        return batch

    def _await(self, most: int) -> None:
        while self._count_under_way > most or (self._under_way and self._under_way[0].done.done()):
            oldest = self._under_way[0]
            try:
                oldest.done.result(self._patience)
            except (KafkaError, WaitedTooLongError) as error:
                raise UnacknowledgedError(type(error).__name__, self._last) from error
            self._under_way.popleft()
            self._count_under_way -= oldest.events
            self._last = oldest.last

    async def _start(self, kafka: KafkaSettings) -> Any:
        producer = AIOKafkaProducer(
            **kafka.client_options(),
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=int(self._patience * 1000),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _send(self, batches: dict[tuple[str, int], Any]) -> None:
        async with self._in_order:  # a partition's batches keep the order in which they were shipped
            sent = [
                await self._producer.send_batch(batch, topic, partition=partition)
                for (topic, partition), batch in batches.items()
            ]
        await asyncio.gather(*sent)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def role_of(type_name: str) -> str:
    """Return the role of the topic that carries events of this type.

    Raises:
        ValueError: none does.
    """
    for topic in FED:
        if type_name in topic.types:
            return topic.role
    known = ", ".join(name for topic in FED for name in topic.types)
    raise ValueError(f"no input carries type {type_name!r}; expected one of {known}")


def _types_of(role: str) -> tuple[str, ...]:
    return next(topic.types for topic in FED if topic.role == role)
