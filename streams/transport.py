"""Faust's private surface, all of it: whole record batches to an agent, and partitions that stay together.

Stock Faust hands an agent one event at a time through a queue and a chain of callbacks: 12,000 events/s on a core where
the same agent takes 540,000 when it is handed what one fetch brought. So the consumer below delivers the records of a
partition as ONE message, and leaves offsets to the worker, which alone knows what has been processed.

Names that this file relies on and that are not documented by Faust 0.15 (`tests/streams/test_transport.py` pins them):
`App._new_transport`; of the aiokafka driver's `Consumer`: `_drain_messages`, `_new_offset`, `perform_seek`,
`_wait_next_records`, `_acked`, `_acked_index`, `flow_active`, `can_resume_flow`, `suspend_flow`, `callback`,
`seek_wait`, `earliest_offsets`, `_new_consumer_thread`; of its `AIOKafkaConsumerThread`: `_create_worker_consumer`, `_ensure_consumer`; of
aiokafka's consumer: `_fetch_max_wait_ms`, `_isolation_level`, `_fetcher`; of that fetcher: `_get_actions_per_node`, `_records`,
`_fetch_max_wait_ms`; `app.consumer_generation_id`;
`PartitionAssignor(app, replicas)`; and that `Fetcher._fetcher` crashes when it is cancelled in a rebalance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faust.assignor.partition_assignor import PartitionAssignor
from faust.serializers import codecs
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

_FETCH_TIMEOUT_SECONDS = 1.0
_LONG_WAIT_MS = 250
_SHORT_WAIT_MS = 5


@dataclass(frozen=True, slots=True)
class Batch:
    """What one fetch brought of one partition.

    Attributes:
        start: end of the batch before this one, so that a batch lost on the way is seen; None for the first.
        generation: the group's generation it was fetched in; it is void in any other.
    """

    tp: TP
    start: int | None
    records: Sequence[ConsumerRecord]
    generation: int


class Positions(Protocol):
    """Who knows what was processed."""

    def starts_of(self, partitions: set[TP]) -> Mapping[TP, int]:
        """Return the offset to read each newly assigned partition from; nothing where its state is not restored."""

    def committable(self, partition: TP) -> int | None:
        """Return the offset below which everything is processed, or None where nothing was."""


def suit_waits(fetcher: Any) -> None:
    """Let each fetch of aiokafka's `fetcher` wait at the broker as long as does no harm."""
    decide = fetcher._get_actions_per_node  # noqa: SLF001

    def decide_with_wait(assignment: Any) -> Any:
        fetcher._fetch_max_wait_ms = _SHORT_WAIT_MS if fetcher._records else _LONG_WAIT_MS  # noqa: SLF001
        return decide(assignment)

    fetcher._get_actions_per_node = decide_with_wait  # noqa: SLF001


class BatchConsumerThread(AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer, with two of the consumer's settings that Faust has fixed.

    One fetch is under way per broker. It asks for the partitions of which nothing waits to be handed out, and the broker answers as
    soon as one of those has something: so a fetch for all of them may wait for long, and costs nothing while all is idle. But
    while it waits for some only, what comes for the others waits too. Faust lets it wait 1.5 s, which idle topics beside
    busy ones turn into pauses of that length.
    """

    async def on_start(self) -> None:
        """Start the consumer, and let each fetch wait as long as does no harm."""
        await super().on_start()
        suit_waits(self._ensure_consumer()._fetcher)  # noqa: SLF001

    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - what a transaction took back never happened
        return consumer


class BatchConsumer(Consumer):
    """Deliver one message per partition and fetch; its value is a `Batch`."""

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            await self._hand_out(fetcher)
        except asyncio.CancelledError:
            # A fetcher cancelled while the group rebalances counts as crashed, for Faust, even if the worker is ending:
            # it would end with a traceback after it has saved everything.
            if not fetcher.should_stop:
                raise

    async def _hand_out(self, fetcher: Any) -> None:
        app = cast("BatchApp", self.app)
        handed_out = app.handed_out
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)  # type: ignore[arg-type] # until after perform_seek; any awaitable wait() will do
            generation = app.consumer_generation_id  # read before the fetch: one that spans a rebalance is void
            fetched, _ = await self._wait_next_records(_FETCH_TIMEOUT_SECONDS)
            batches = []
            for topic_partition, records in (fetched or {}).items():
                # the chain moves on for all of them before any await, so that a batch dropped below shows as a break
                tp = TP(topic_partition.topic, topic_partition.partition)
                batches.append(Batch(tp, handed_out.get(tp), records, generation))
                handed_out[tp] = records[-1].offset + 1
            for batch in sorted(batches, key=lambda batch: app.ranks.get(batch.tp.topic, 0)):
                if not self.flow_active or self.should_stop or generation != app.consumer_generation_id:
                    break  # perform_seek rewinds to what was processed
                await self.wait_first(self.callback(_as_message(batch)), self.suspend_flow.wait())
            await asyncio.sleep(0)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return cast("BatchApp", self.app).positions.committable(tp)

    async def perform_seek(self) -> None:
        """Seek to where the engine's state stands, not to what the group committed."""
        await super().perform_seek()
        app = cast("BatchApp", self.app)
        starts = app.positions.starts_of(set(self.assignment()))
        app.handed_out.update(starts)
        if starts:
            await self.seek_wait(starts)


class BatchTransport(Transport):
    """The aiokafka transport with our consumer."""

    Consumer = BatchConsumer


class EvenAssignor(PartitionAssignor):
    """Give partition p of every input to one worker, and every worker its share.

    Without standby replicas Faust takes aiokafka's round robin, which splits the inputs of an account over workers;
    with them its own assignor leaves workers idle. This is its own assignor without replicas.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:  # noqa: ARG002 - Faust passes its setting
        super().__init__(app, 0)


class BatchApp(faust.App):
    """A Faust app whose agents receive batches.

    Attributes:
        positions: who knows what was processed; set before the app starts.
        handed_out: the end of what was handed to the agent, per partition.
        ranks: in which order the topics' records of one fetch are handed out.
    """

    positions: Positions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, PartitionAssignor=EvenAssignor, table_standby_replicas=1, **kwargs)
        self.handed_out: dict[TP, int] = {}
        self.ranks: dict[str, int] = {}

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def batches(self, *topics: str) -> Any:
        """Return the Faust channel on which the batches of these topics arrive.

        What one fetch brings of them comes in this order: of a backlog, what is known of accounts before what they did.
        """
        self.ranks = {topic: rank for rank, topic in enumerate(topics)}
        return self.topic(*topics, value_type=None, value_serializer=_AsIs())


class _AsIs(codecs.Codec):
    """Batches are handed over as they are: what is in them is parsed by our own codec."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, obj: Any) -> Any:
        return obj

    loads = _loads
    dumps = _dumps


def _as_message(batch: Batch) -> ConsumerMessage:
    last = batch.records[-1]
    return ConsumerMessage(
        batch.tp.topic,
        batch.tp.partition,
        last.offset,
        last.timestamp / 1000,
        last.timestamp_type,
        [],
        None,
        cast("Any", batch),  # Faust hands a message's value on without looking at it
        None,
        0,
        0,
        batch.tp,
        generation_id=batch.generation,
    )
