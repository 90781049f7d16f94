"""A checkpoint is written whole, or it was the last one."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import orjson
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.checkpoints import Restored, StateWriter
from streams.possession import NotSavedError, Possession, count_start
from streams.publisher import Outbox, Publisher
from streams.residence import Residents
from streams.settings import KafkaSettings
from streams.shard import STARTS_KEY, Outcome, Record, Shard
from streams.transport import Batch

TOPIC = "usage"


class Counting(Shard):
    """Counts each account's records."""

    def __init__(self) -> None:
        self.counts: Residents[list[int]] = Residents(
            lambda cell: str(cell[0]).encode(), lambda _, saved: [int(saved)], most_bytes=1 << 20
        )
        super().__init__(0, self.counts, {TOPIC: 0}, {})

    def _apply(self, records: Sequence[Record], clock_ms: float) -> Outcome:  # noqa: ARG002 - it has no timers
        for record in records:
            cell = self.counts.get(record.key)
            if cell is None:
                cell = [0]
                self.counts.add(record.key, cell)
            cell[0] += 1
        return Outcome(applied=len(records))


class SlowWriter:
    """Keeps what is written once it is let through, or refuses it."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes | None] = {}
        self.positions: Mapping[str, int] = {}
        self.is_asked, self.may_write = asyncio.Event(), asyncio.Event()
        self.refusal: Exception | None = None

    async def write(self, states: Iterable[tuple[bytes, bytes | None]], positions: Mapping[str, int]) -> int:
        self.is_asked.set()
        await self.may_write.wait()
        if self.refusal is not None:
            raise self.refusal
        self.states |= dict(states)
        self.positions = dict(positions)
        return 1


def batch(start: int, count: int) -> Batch:
    records = [
        ConsumerRecord(TOPIC, 0, offset, 0, 0, b"a%d" % (offset % 300), b"", None, 0, 0, ())
        for offset in range(start, start + count)
    ]
    return Batch(TP(TOPIC, 0), start, records, 1)


def possession() -> tuple[Possession, SlowWriter]:
    writer = SlowWriter()
    return Possession(Counting(), cast("StateWriter", writer), Outbox(Publisher(KafkaSettings())), set()), writer


def test_what_is_written_is_of_one_moment_though_the_work_goes_on() -> None:
    async def work() -> None:
        owned, writer = possession()
        writer.may_write.set()
        owned.shard.take(batch(0, 600))
        under_way = asyncio.create_task(owned.checkpoint())
        for start in range(600, 900, 10):
            await asyncio.sleep(0)
            owned.shard.take(batch(start, 10))
        await under_way

        assert writer.positions == {TOPIC: 600}
        assert writer.states == {b"a%d" % number: b"2" for number in range(300)}
        await owned.checkpoint()
        assert writer.positions == {TOPIC: 900}
        assert writer.states == {b"a%d" % number: b"3" for number in range(300)}

    asyncio.run(work())


def test_with_nothing_new_nothing_is_written() -> None:
    async def work() -> None:
        owned, writer = possession()

        assert await owned.checkpoint() is None
        assert not writer.is_asked.is_set()

    asyncio.run(work())


def test_after_a_checkpoint_that_was_broken_off_there_is_no_other() -> None:
    """Its changes are forgotten; positions that pass them would lose events."""

    async def work() -> None:
        owned, writer = possession()
        owned.shard.take(batch(0, 10))
        under_way = asyncio.create_task(owned.checkpoint())
        await writer.is_asked.wait()
        under_way.cancel()
        with pytest.raises(asyncio.CancelledError):
            await under_way
        writer.may_write.set()

        with pytest.raises(NotSavedError, match="not written to its end"):
            await owned.checkpoint()
        assert writer.positions == {}

    asyncio.run(work())


@pytest.mark.parametrize("refusal", [KafkaError("fenced"), AssertionError("no transaction")], ids=["kafka", "assert"])
def test_after_a_checkpoint_that_was_refused_there_is_no_other(refusal: Exception) -> None:
    async def work() -> None:
        owned, writer = possession()
        writer.refusal = refusal
        writer.may_write.set()
        owned.shard.take(batch(0, 10))
        with pytest.raises(NotSavedError):
            await owned.checkpoint()
        writer.refusal = None

        with pytest.raises(NotSavedError):
            await owned.checkpoint()

    asyncio.run(work())


def test_the_last_checkpoint_waits_for_the_one_under_way() -> None:
    """As when the worker is asked to end while it saves."""

    async def work() -> None:
        owned, writer = possession()
        owned.shard.take(batch(0, 300))
        saver = asyncio.create_task(_shielded(owned))
        await writer.is_asked.wait()
        owned.shard.take(batch(300, 300))
        saver.cancel()
        last = asyncio.create_task(owned.checkpoint())
        writer.may_write.set()
        await last

        assert writer.positions == {TOPIC: 600}
        assert writer.states == {b"a%d" % number: b"2" for number in range(300)}

    asyncio.run(work())


async def _shielded(owned: Possession) -> None:
    await asyncio.shield(owned.checkpoint())


def test_a_place_that_no_life_gets_past_is_noticed_though_other_inputs_get_on() -> None:
    ends = {"usage": 100, "charges": 1000, "idle": 5}
    shared: dict[bytes, bytes] = {}
    seen = []
    for charges in (10, 200, 300, 999):
        life = Restored(positions={"usage": 48, "charges": charges, "idle": 5}, shared=shared, ends=ends)
        seen.append(count_start(life))
        shared = life.shared

    assert seen == [1, 2, 3, 4]
    assert count_start(Restored(positions={"usage": 49, "charges": 999, "idle": 5}, shared=shared, ends=ends)) == 2
    assert count_start(Restored(positions=ends, shared=shared, ends=ends)) == 0


def test_a_mark_of_the_version_before_counts_as_none() -> None:
    mark = orjson.dumps({"positions": {"usage": 48}, "starts": 3})
    life = Restored(positions={"usage": 48}, shared={STARTS_KEY: mark}, ends={"usage": 100})

    assert count_start(life) == 1
