"""A shard in this worker's hands: its state's one writer, what it has yet to publish, and its checkpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import structlog
from aiokafka.errors import KafkaError

from .checkpoints import Restored, StateWriter, restore
from .publisher import Outbox, Publisher
from .residence import Saved
from .settings import StreamSettings
from .shard import STARTS_KEY, WHAT_IF_MEANT, Shard, TruncatedError

log = structlog.get_logger(__name__)

MakeShard = Callable[[int, Restored], Shard]

_SAVED_AT_ONCE = 100  # a millisecond or two of an event loop that has other things to do
_STOP_SECONDS = 3.0
STARTS_UNTIL_TRIAL = 3
TRIAL_SECONDS = 60.0


class NotSavedError(Exception):
    """A checkpoint could not be written, so memory is ahead of the state topic and must be given up."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint took."""

    seconds: float
    records: int
    written_bytes: int


@dataclass(slots=True)
class Possession:
    """One shard and what belongs to it.

    Attributes:
        behind: the inputs that have records to read, as last seen.
        last_ms: per input, the timestamp of the last record applied.
        committable: per input, the offset up to which events are in a checkpoint.
        on_trial_until: until this moment of the monotonic clock each batch is first tried in a fork.
    """

    shard: Shard
    writer: StateWriter
    outbox: Outbox
    behind: set[str]
    last_ms: dict[str, float] = field(default_factory=dict)
    committable: Mapping[str, int] = field(default_factory=dict)
    saved_at: float = field(default_factory=time.monotonic)
    on_trial_until: float = 0.0
    _is_torn: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def checkpoint(self) -> Checkpoint | None:
        """Write what changed since the last one, or nothing if nothing did.

        A cancelled one may or may not have been written, so it is the last.

        Raises:
            NotSavedError: Kafka refuses, as it does when another worker has taken the shard over.
        """
        async with self._lock:
            if self._is_torn:
                raise NotSavedError("an earlier checkpoint was not written to its end")
            if not self.shard.is_changed:
                self.saved_at = time.monotonic()
                return None
            began = time.perf_counter()
            self._is_torn = True
            self.shard.begin_cut()
            while self.shard.cut_some(_SAVED_AT_ONCE):  # noqa: ASYNC110 - it is work, not waiting
                await asyncio.sleep(0)  # events have their turn
            await self.outbox.flush()
            states, positions = self.shard.end_cut()
            written = await self._write(states, positions)
            self._is_torn = False
            self.committable = positions
            self.saved_at = time.monotonic()
            return Checkpoint(time.perf_counter() - began, len(states), written)

    async def prove(self) -> None:
        """Return if the shard is still this worker's.

        Raises:
            NotSavedError: another worker has taken it over.
        """
        async with self._lock:
            await self._write((), self.committable)

    async def _write(self, states: Sequence[Saved], positions: Mapping[str, int]) -> int:
        try:
            return await self.writer.write(states, positions)
        except (KafkaError, AssertionError) as error:  # aiokafka asserts what a fenced producer may not do
            raise NotSavedError(repr(error)) from error

    def clock_ms(self, topic: str = "") -> float:
        """Return the time that has come on all inputs but `topic`: timers due later wait for those that are behind."""
        return min((self.last_ms.get(other, 0.0) for other in self.behind if other != topic), default=float("inf"))

    async def close(self) -> None:
        """Give the shard up as it is."""
        try:
            await asyncio.wait_for(self.writer.close(), _STOP_SECONDS)
        except (KafkaError, TimeoutError) as error:
            log.warning("state_writer_not_closed", partition=self.shard.number, error=repr(error))
        self.shard.close()


async def take_over(
    settings: StreamSettings,
    inputs: Sequence[str],
    numbers: Sequence[int],
    make_shard: MakeShard,
    publisher: Publisher,
    is_wanted: Callable[[], bool],
) -> dict[int, Possession] | None:
    """Take the shards with these numbers over from whoever had them; return None once they are not wanted any more.

    Raises:
        TruncatedError: an input ends before its position.
        StateError: the state is in a format that this version does not read.
    """
    topic = settings.topics.named("state")
    writers = {number: StateWriter(settings.kafka, topic, number) for number in numbers}
    taken: dict[int, Possession] = {}
    is_done = False
    try:
        await asyncio.gather(*(writer.start() for writer in writers.values()))  # nobody else can write from here on
        found = await restore(settings.kafka, topic, inputs, numbers, is_wanted, settings.worker.memory_mb << 19)
        if found is None or not is_wanted():
            return None
        for number, restored in found.items():
            _check_positions(number, restored)
            starts = count_start(restored)
            behind = {name for name in inputs if restored.positions[name] < restored.ends[name]}
            shard = make_shard(number, restored)
            taken[number] = Possession(
                shard, writers[number], Outbox(publisher), behind, committable=restored.positions
            )
            if starts > STARTS_UNTIL_TRIAL:
                log.warning("shard_on_trial", partition=number, starts=starts, positions=restored.positions)
                taken[number].on_trial_until = time.monotonic() + TRIAL_SECONDS
        marks = {number: [(STARTS_KEY, found[number].shared[STARTS_KEY])] for number in found}
        await asyncio.gather(*(writers[number].write(marks[number], found[number].positions) for number in found))
        is_done = True
        return taken
    finally:
        if not is_done:
            for each in taken.values():
                each.shard.close()
            await asyncio.gather(*(writer.close() for writer in writers.values()), return_exceptions=True)


def _check_positions(number: int, restored: Restored) -> None:
    for name, position in restored.positions.items():
        if name not in restored.ends:
            continue  # not an input any more
        if position > restored.ends[name]:
            raise TruncatedError(
                f"{name}-{number} ends at {restored.ends[name]}, but was read up to {position}: it was made anew or lost records; "
                + WHAT_IF_MEANT
            )
        if position < restored.starts[name]:
            log.error(
                "events_lost_to_retention", topic=name, partition=number, position=position, first=restored.starts[name]
            )
            restored.positions[name] = restored.starts[name]


def count_start(restored: Restored) -> int:
    """Return how often in a row the shard began without getting past a place on some input, and note this time.

    Per input, since on others a life may get on, and save that, before it comes to the record that ends it.
    """
    saved = restored.shared.get(STARTS_KEY)
    before = orjson.loads(saved) if saved is not None else {}
    positions, counts = before.get("positions", {}), before.get("starts_at", {})
    starts_at = {
        name: counts.get(name, 0) + 1 if positions.get(name) == position else 1
        for name, position in restored.positions.items()
        if position < restored.ends.get(name, 0)
    }
    restored.shared[STARTS_KEY] = orjson.dumps({"positions": restored.positions, "starts_at": starts_at})
    return max(starts_at.values(), default=0)
