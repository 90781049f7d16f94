"""The state topic on a real Kafka: one writer, all or nothing."""

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from aiokafka.errors import KafkaError
from kafka import KafkaAdminClient

from streams.checkpoints import Restored, StateWriter, restore
from streams.settings import KafkaSettings

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 120))


@pytest.fixture
def kafka(bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=bootstrap, group=f"g{uuid.uuid4().hex[:8]}")


@pytest.fixture
def topic(bootstrap: str) -> str:
    name = f"state-{uuid.uuid4().hex[:8]}"
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    client.create_topics(
        {
            topic: {"num_partitions": 2, "replication_factor": 1, "configs": {"cleanup.policy": policy}}
            for topic, policy in ((name, "compact"), (f"{name}-input", "delete"))
        },
        wait_for_metadata=True,
    )
    client.close()
    return name


async def started(kafka: KafkaSettings, topic: str, number: int = 0) -> StateWriter:
    writer = StateWriter(kafka, topic, number)
    await writer.start()
    return writer


async def restored(kafka: KafkaSettings, topic: str, number: int = 0) -> Restored:
    found = await restore(kafka, topic, [f"{topic}-input"], [number])
    assert found is not None
    return found[number]


def test_what_is_written_is_restored(kafka: KafkaSettings, topic: str) -> None:
    async def work() -> Restored:
        writer = await started(kafka, topic)
        await writer.write([(b"a1", b"one"), (b"a2", b"two"), (b"\x00pool", b"tail")], {f"{topic}-input": 7})
        await writer.write([(b"a1", None), (b"a2", b"three")], {f"{topic}-input": 9})
        await writer.close()
        return await restored(kafka, topic)

    found = run(work())

    assert found.states == {b"a2": b"three"}
    assert found.shared == {b"\x00pool": b"tail"}
    assert found.positions == {f"{topic}-input": 9}


def test_a_partition_never_written_begins_where_its_inputs_begin(kafka: KafkaSettings, topic: str) -> None:
    found = run(restored(kafka, topic, 1))

    assert found.states == {}
    assert found.positions == found.starts == found.ends == {f"{topic}-input": 0}


def test_a_second_writer_fences_the_first(kafka: KafkaSettings, topic: str) -> None:
    async def work() -> Restored:
        zombie = await started(kafka, topic)
        await zombie.write([(b"a1", b"old")], {f"{topic}-input": 1})
        heir = await started(kafka, topic)
        with pytest.raises(KafkaError):
            await zombie.write([(b"a1", b"stale")], {f"{topic}-input": 2})
        await heir.write([(b"a1", b"new")], {f"{topic}-input": 3})
        await zombie.close()
        await heir.close()
        return await restored(kafka, topic)

    found = run(work())

    assert found.states == {b"a1": b"new"}
    assert found.positions == {f"{topic}-input": 3}


def test_a_torn_checkpoint_is_not_seen(kafka: KafkaSettings, topic: str) -> None:
    async def work() -> Restored:
        torn = await started(kafka, topic)
        await torn.write([(b"a1", b"whole")], {f"{topic}-input": 1})
        producer = torn._producer
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"torn", b"a1", partition=0)  # and then the worker dies
        heir = await started(kafka, topic)
        found = await restored(kafka, topic)
        await heir.close()
        await torn.close()
        return found

    assert run(work()).states == {b"a1": b"whole"}


def test_a_checkpoint_larger_than_a_batch_is_whole(kafka: KafkaSettings, topic: str) -> None:
    states = {b"a%d" % number: bytes([number % 251]) * 3000 for number in range(2000)} | {b"big": b"x" * 900_000}

    async def work() -> tuple[int, Restored]:
        writer = await started(kafka, topic)
        written = await writer.write(states.items(), {f"{topic}-input": 4})
        await writer.close()
        return written, await restored(kafka, topic)

    written, found = run(work())

    assert found.states == states
    assert written > sum(map(len, states.values()))


def test_what_memory_has_no_room_for_is_restored_to_disk(kafka: KafkaSettings, topic: str) -> None:
    """Accounts that were written again, or closed, are there once or not at all."""
    old = {b"a%d" % number: b"old" * 300 for number in range(3000)}
    new = dict.fromkeys(list(old)[::3], b"new" * 300)
    closed = list(old)[1::30]

    async def work() -> Restored:
        writer = await started(kafka, topic)
        for states in (old.items(), new.items(), ((key, None) for key in closed)):
            await writer.write(states, {f"{topic}-input": 4})
        await writer.close()
        found = await restore(kafka, topic, [f"{topic}-input"], [0], most_bytes=200_000)
        assert found is not None
        return found[0]

    found = run(work())

    on_disk = dict(found.disk.items())
    assert len(on_disk) == len(found.disk) > 2000
    assert not found.states.keys() & on_disk.keys()
    assert found.states | on_disk == {key: saved for key, saved in (old | new).items() if key not in closed}
    found.disk.close()


def test_a_restore_that_is_not_wanted_any_more_ends(kafka: KafkaSettings, topic: str) -> None:
    async def work() -> dict[int, Restored] | None:
        writer = await started(kafka, topic)
        await writer.write([(b"a1", b"one")], {})
        await writer.close()
        return await restore(kafka, topic, [f"{topic}-input"], [0], lambda: False)

    assert run(work()) is None
