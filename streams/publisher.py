"""What the worker publishes: alerts and dead letters, acknowledged before their events count as done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
import tenacity
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from .settings import KafkaSettings

log = structlog.get_logger(__name__)

_LONGEST_WAIT_SECONDS = 10


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

    async def open(self) -> AIOKafkaProducer:
        """Connect, once."""
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                **self._kafka.client_options(), enable_idempotence=True, linger_ms=2, request_timeout_ms=30_000
            )
            await self._producer.start()
        return self._producer

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Return when all of it is acknowledged.

        A batch that failed is sent again as a whole: ids repeat, so a reader drops what it has seen.

        Raises:
            aiokafka.errors.KafkaError: trying again cannot help, as when a record is too large or a topic is gone.
        """
        producer = await self.open()
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, KafkaError) and error.retriable),
            wait=tenacity.wait_exponential(max=_LONGEST_WAIT_SECONDS),
            before_sleep=lambda state: log.warning("publishing_waits_for_kafka", attempt=state.attempt_number),
        )
        async for attempt in retrying:
            with attempt:
                sends = [
                    await producer.send(
                        each.topic, each.value, each.key, partition=each.partition, headers=each.headers
                    )
                    for each in outgoing
                ]
                await asyncio.gather(*sends)

    async def close(self) -> None:
        """Send what is under way and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
