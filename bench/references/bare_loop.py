"""The ceiling: aiokafka's records through the same work in a bare loop. Nothing is kept, nothing is published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.contestant import PARTITIONS, Stopwatch, Task
from bench.light_work import LightState, digest, learn
from bench.product_work import READER, SETTINGS, seed
from detectors.engine import Engine, Origin
from detectors.profile import Profile

Apply = Callable[[Iterable[Any]], None]


def light(states: dict[bytes, LightState]) -> Apply:
    """Return what runs records through the light work."""

    def apply(records: Iterable[Any]) -> None:
        for record in records:
            states[record.key] = learn(states.get(record.key), record.value)

    return apply


class SeededAccounts:
    """Accounts in a dictionary, whose plan is known before their first event."""

    def __init__(self) -> None:
        self._profiles: dict[bytes, Profile] = {}
        self._codec = Engine(SETTINGS).codec

    def get(self, key: bytes) -> Profile | None:
        """Return an account's profile."""
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = self._codec.restore(key.decode(), seed(key))
        return profile

    def add(self, key: bytes, cell: Profile) -> None:
        """Keep a profile."""
        self._profiles[key] = cell

    def remove(self, key: bytes) -> None:
        """Forget an account."""
        self._profiles.pop(key, None)

    def __len__(self) -> int:
        return len(self._profiles)


def product(alerts: list[str]) -> Apply:
    """Return what runs records through the detectors, as the worker's shards do."""
    engines: dict[int, Engine] = {}

    def engine_of(partition: int) -> Engine:
        if partition not in engines:
            engines[partition] = Engine(SETTINGS, SeededAccounts())
        return engines[partition]

    def apply(records: Iterable[Any]) -> None:
        for record in records:
            event: Any = READER.read(record.value, record.headers)
            origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
            alerts.extend(alert.alert_id for alert in engine_of(record.partition).handle(event, origin))

    return apply


async def run(task: Task) -> None:
    """Read, work, count."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    watch = Stopwatch(task.events)
    states: dict[bytes, LightState] = {}
    alerts: list[str] = []
    apply = light(states) if task.work == "light" else product(alerts)
    await consumer.start()
    try:
        parts = [TopicPartition(task.topic, number) for number in range(PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        while not watch.is_done:
            for records in (await consumer.getmany(timeout_ms=200, max_records=4000)).values():
                watch.begin()
                apply(records)
                watch.count(len(records))
    finally:
        await consumer.stop()
    watch.stop()
    found = (
        digest((key, state.pack()) for key, state in states.items())
        if task.work == "light"
        else {"alerts": len(alerts)}
    )
    watch.report(**found)


if __name__ == "__main__":
    asyncio.run(run(Task.from_command_line()))
