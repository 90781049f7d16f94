"""The state topic, in Kafka transactions: fence, restore, checkpoint.

A partition of the state topic has one writer at a time. `StateWriter.start` starts a transactional producer under the
partition's own id: the broker raises the id's epoch, ends what a predecessor left open and refuses it from then on. Only
then is the partition read, committed records only. A checkpoint is one transaction with the changed accounts and the
positions below which they include every event; torn ones are invisible. So restored state is always the fold of exactly
the events below its positions. A producer without transactions would not be fenced, and compaction would keep what a
zombie writes late.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from .disk import Disk
from .settings import KafkaSettings

POSITIONS_KEY = b"\x00positions"
IDLE_OVERHEAD_BYTES = 220  # of key, value and dictionary entry, beside an account's saved bytes
_BATCH_BYTES = 1 << 19
_TRANSACTION_TIMEOUT_MS = 60_000
_APPENDS_IN_A_ROW = 500
_SAMPLE = 100


@dataclass(slots=True)
class Restored:
    """What a state partition holds, and what its inputs hold.

    Attributes:
        positions: per input, the offset below which every event is in the states; the input's beginning where none is saved.
        states: saved accounts.
        disk: those of them that there was no room for.
        shared: what is saved beside them, by key.
        starts: the first offset of each input, above its position if retention was quicker than the worker.
        ends: the end of each input.
    """

    positions: dict[str, int] = field(default_factory=dict)
    states: dict[bytes, bytes] = field(default_factory=dict)
    disk: Disk = field(default_factory=Disk)
    shared: dict[bytes, bytes] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)


class StateWriter:
    """The one writer of a state partition.

    Raises on `start` and `write`:
        aiokafka.errors.KafkaError: Kafka refuses, as it does when another worker has taken the partition over.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, number: int) -> None:
        self._topic = topic
        self._number = number
        self._producer = AIOKafkaProducer(
            **kafka.client_options(),
            transactional_id=f"{kafka.group}-{topic}-{number}",
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=8 << 20,
        )

    async def start(self) -> None:
        """Fence every earlier writer; when this returns, their last transaction has ended one way or the other."""
        await self._producer.start()

    async def write(self, states: Iterable[tuple[bytes, bytes | None]], positions: Mapping[str, int]) -> int:
        """Write changed states, None for one that is gone, and the positions they include: all of it or nothing.

        Returns:
            How many bytes of state were written.
        """
        producer = self._producer
        await producer.begin_transaction()
        written, futures, batch = 0, [], producer.create_batch()
        for number, (key, value) in enumerate((*states, (POSITIONS_KEY, orjson.dumps(dict(positions))))):
            written += len(key) + len(value or b"")
            if batch.append(key=key, value=value, timestamp=None) is None:
                futures.append(await producer.send_batch(batch, self._topic, partition=self._number))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)  # alone in its batch a record may be any size
            if number % _APPENDS_IN_A_ROW == _APPENDS_IN_A_ROW - 1:
                await asyncio.sleep(0)
        futures.append(await producer.send_batch(batch, self._topic, partition=self._number))
        for outcome in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome  # aiokafka would commit a transaction of which a batch failed
        await producer.commit_transaction()
        return written

    async def close(self) -> None:
        """Stop the producer; the next writer aborts what it leaves open."""
        await self._producer.stop()


async def restore(
    kafka: KafkaSettings,
    topic: str,
    inputs: Sequence[str],
    numbers: Sequence[int],
    is_wanted: Callable[[], bool] = lambda: True,
    most_bytes: float = inf,
) -> dict[int, Restored] | None:
    """Return what the state partitions and their inputs hold, read in bulk.

    Args:
        kafka: how to reach it.
        topic: the state topic.
        inputs: the input topics.
        numbers: the partitions.
        is_wanted: asked now and then; once it says no, as in another rebalance, the answer is None.
        most_bytes: of memory for the states of each partition, by estimate; the rest goes to disk.
    """
    found = {number: Restored() for number in numbers}
    parts = {TopicPartition(topic, number): restored for number, restored in found.items()}
    if not parts:
        return found
    consumer = AIOKafkaConsumer(
        **kafka.client_options(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_bytes=64 << 20,
        fetch_max_wait_ms=50,
        check_crcs=False,
    )
    await consumer.start()
    collects = gc.isenabled()
    gc.disable()  # a million records come and go and make no cycles: looking for some takes half of the time
    try:
        # all look-ups before the first fetch: they would wait behind its long poll
        sources = [TopicPartition(name, number) for name in inputs for number in numbers]
        starts, ends = await consumer.beginning_offsets(sources), await consumer.end_offsets(sources)
        last = await consumer.end_offsets(list(parts))
        consumer.assign(list(parts))
        await consumer.seek_to_beginning(*parts)
        left = set(parts)
        while left and is_wanted():
            for part, records in (await consumer.getmany(*left, timeout_ms=200, max_records=20_000)).items():
                _fold(parts[part], records)
                _make_room(parts[part], records, most_bytes)
            left = {part for part in left if await consumer.position(part) < last[part]}
    finally:
        if collects:
            gc.enable()
        await consumer.stop()
    for source in sources:
        restored = found[source.partition]
        restored.starts[source.topic], restored.ends[source.topic] = starts[source], ends[source]
        restored.positions.setdefault(source.topic, starts[source])
    if not left:
        return found
    for restored in found.values():
        restored.disk.close()
    return None


def _make_room(restored: Restored, latest: Sequence[Any], most_bytes: float) -> None:
    sample = latest[:_SAMPLE]
    each = sum(len(record.value or b"") for record in sample) / len(sample) + IDLE_OVERHEAD_BYTES
    too_many = len(restored.states) - int(min(most_bytes / each, len(restored.states)))
    if too_many > 0:
        keys = list(islice(restored.states, too_many))
        restored.disk.put({key: restored.states.pop(key) for key in keys})


def _fold(restored: Restored, records: Sequence[Any]) -> None:
    states = restored.states
    if len(restored.disk):
        for record in records:
            restored.disk.take(record.key)  # what is told again now was told before
    for record in records:  # aiokafka's, bytes to bytes
        key, value = record.key, record.value
        if key[0] == 0:  # `is_shared`, without a call for each of a million accounts
            if key == POSITIONS_KEY:
                restored.positions = orjson.loads(value)
            elif value is None:
                restored.shared.pop(key, None)
            else:
                restored.shared[key] = value
        elif value is None:
            states.pop(key, None)
        else:
            states[key] = value
