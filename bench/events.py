"""The events that are measured with: usage readings of many accounts, 130 bytes each, in whole record batches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient

from streams.keys import partition_of

from .contestant import PARTITIONS

EVENT_BYTES = 130
METER = "data"
UNIT = "MB"
_BATCH_BYTES = 512 * 1024
_UNDER_WAY = 16  # batches that Kafka has not acknowledged yet
_SEED = 4
_FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1"}


class Record(NamedTuple):
    """A record and where it goes."""

    partition: int
    timestamp_ms: int
    key: bytes
    value: bytes


def account_name(number: int) -> str:
    """Return an account's name, the same length for all.

    >>> account_name(123)
    'account-00000123'
    """
    return f"account-{number:08d}"


def usage_value(number: int, account: str, quantity: float, moment: datetime) -> bytes:
    """Return a reading as JSON.

    >>> len(usage_value(7, account_name(123), 123.456, datetime(2026, 3, 1, tzinfo=UTC))) == EVENT_BYTES
    True
    """
    return (
        f'{{"id":"{number:017d}","account":"{account}","meter":"{METER}","quantity":{quantity:.3f},'
        f'"unit":"{UNIT}","time":"{moment:%Y-%m-%dT%H:%M:%S}Z"}}'
    ).encode()


@dataclass(frozen=True)
class Readings:
    """Every account's meter is read every few minutes, all accounts in one round, round after round.

    Each event is of another account than those just before it: what is worst for a cache and for a checkpoint.

    Attributes:
        accounts: how many.
        rounds: readings of each.
        minutes: between two readings of a meter.
        begin: when the first round is; by default so that the last one is about now.
    """

    accounts: int
    rounds: int
    minutes: int = 15
    begin: datetime | None = None

    def __len__(self) -> int:
        return self.accounts * self.rounds

    def _begin(self) -> datetime:
        this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        return self.begin or this_hour - timedelta(minutes=self.minutes * self.rounds)

    def __iter__(self) -> Iterator[Record]:
        random = Random(_SEED)  # noqa: S311 - the same quantities in every run
        order = list(range(self.accounts))
        random.shuffle(order)
        places = [
            (
                account_name(number),
                account_name(number).encode(),
                partition_of(account_name(number).encode(), PARTITIONS),
            )
            for number in order
        ]
        begin, number = self._begin(), 0
        for round_ in range(self.rounds):
            moment = begin + timedelta(minutes=self.minutes * round_)
            timestamp_ms = int(moment.timestamp() * 1000)
            for name, key, partition in places:
                value = usage_value(number, name, 100 + 899 * random.random(), moment)
                yield Record(partition, timestamp_ms, key, value)
                number += 1


def create_topic(bootstrap: str, name: str, *, is_compacted: bool = False) -> None:
    """Create a topic that keeps whatever its records' timestamps are."""
    configs = _FOR_EVER | ({"cleanup.policy": "compact"} if is_compacted else {})
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        wanted = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": configs}
        client.create_topics({name: wanted}, wait_for_metadata=True)


def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Delete topics, so that a long run does not fill the disk."""
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        client.delete_topics(list(names))


def pour(bootstrap: str, topic: str, records: Iterable[Record]) -> dict[int, int]:
    """Write all records, acknowledged, and return how many each partition got."""
    return asyncio.run(_pour(bootstrap, topic, records))


async def _pour(bootstrap: str, topic: str, records: Iterable[Record]) -> dict[int, int]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=_BATCH_BYTES)
    counts = dict.fromkeys(range(PARTITIONS), 0)
    await producer.start()
    try:
        under_way: list[Any] = []
        for partition, batch in in_batches(producer, records):
            counts[partition] += batch.record_count()
            under_way.append(await producer.send_batch(batch, topic, partition=partition))
            if len(under_way) >= _UNDER_WAY:
                await asyncio.gather(*under_way)
                under_way.clear()
        await asyncio.gather(*under_way)
    finally:
        await producer.stop()
    return counts


def in_batches(producer: Any, records: Iterable[Record]) -> Iterator[tuple[int, Any]]:
    """Yield full batches of a partition, and what is left over at the end."""
    open_batches: dict[int, Any] = {}
    for partition, timestamp_ms, key, value in records:
        batch = open_batches.get(partition)
        if batch is None:
            batch = open_batches[partition] = producer.create_batch()
        if batch.append(key=key, value=value, timestamp=timestamp_ms) is None:
            yield partition, batch
            batch = open_batches[partition] = producer.create_batch()
            batch.append(key=key, value=value, timestamp=timestamp_ms)
    yield from open_batches.items()
