"""What the worker publishes: alerts, dead letters and bulletins, acknowledged before the checkpoint that covers them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
import tenacity
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from .settings import KafkaSettings

log = structlog.get_logger(__name__)

_LONGEST_WAIT_SECONDS = 10
_MOST_REQUEST_BYTES = 8 << 20  # of a batch; each record is bounded where it is made


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish; without a partition its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    partition: int | None = None


class Publisher:
    """An idempotent producer that waits for a broker that is away."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> AIOKafkaProducer:
        """Connect, once."""
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._kafka.client_options(),
                    enable_idempotence=True,
                    linger_ms=2,
                    request_timeout_ms=30_000,
                    max_request_size=_MOST_REQUEST_BYTES,
                )
                await producer.start()
                self._producer = producer
        return self._producer

    async def send(self, outgoing: Outgoing) -> asyncio.Future[object]:
        """Hand a record over; return what is done when Kafka has acknowledged it.

        Raises:
            aiokafka.errors.KafkaError: trying again cannot help, as when a record is too large or a topic is gone.
        """
        async for attempt in _patiently():
            with attempt:
                producer = self._producer or await self.open()
                future: asyncio.Future[object] = await producer.send(
                    outgoing.topic,
                    outgoing.value,
                    outgoing.key,
                    partition=outgoing.partition,
                    headers=outgoing.headers,
                )
        return future

    async def close(self) -> None:
        """Send what is under way and disconnect."""
        if self._producer is not None:
            await self._producer.stop()


class Outbox:
    """What one shard publishes. Putting is done at once, so that state and what follows from it move together."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: deque[Outgoing] = deque()
        self._under_way: list[tuple[Outgoing, asyncio.Future[object]]] = []
        self._sending = asyncio.Lock()

    def put(self, outgoing: Iterable[Outgoing]) -> None:
        """Take records to be published, in this order."""
        self._waiting.extend(outgoing)

    async def send(self) -> None:
        """Hand over what was put, without waiting for Kafka to acknowledge it."""
        async with self._sending:
            while self._waiting:
                future = await self._publisher.send(self._waiting[0])
                self._under_way.append((self._waiting.popleft(), future))

    async def flush(self) -> None:
        """Return when everything that was put before is acknowledged; what failed for a time is sent again.

        Raises:
            aiokafka.errors.KafkaError: trying again cannot help.
        """
        await self.send()
        under_way, self._under_way = self._under_way, []
        for outgoing, future in under_way:
            async for attempt in _patiently():
                with attempt:
                    if attempt.retry_state.attempt_number > 1:
                        await (await self._publisher.send(outgoing))
                    else:
                        await future


def _patiently() -> tenacity.AsyncRetrying:
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_passes),
        wait=tenacity.wait_exponential(max=_LONGEST_WAIT_SECONDS),
        before_sleep=lambda state: log.warning("publishing_waits_for_kafka", attempt=state.attempt_number),
        reraise=True,
    )


def _passes(error: BaseException) -> bool:
    """Return whether trying again can help; a full queue behind a broker that is away is not retriable to aiokafka."""
    return isinstance(error, KafkaTimeoutError) or (isinstance(error, KafkaError) and error.retriable)
