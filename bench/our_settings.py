"""The settings of a worker that is measured: the defaults, on topics of its own beside the usage topic it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from detectors.engine import EngineSettings
from streams.checkpoints import Restored, StateWriter
from streams.engine_shard import EngineShard, Surroundings
from streams.settings import KafkaSettings, StreamSettings, TopicSettings, TopicsSettings
from streams.topics import admin, create, readers

from .contestant import PARTITIONS

_STATES_IN_A_TRANSACTION = 50_000


def our_settings(bootstrap: str, usage: str, run: str, engine: EngineSettings) -> StreamSettings:
    """Return the settings of a run."""
    return StreamSettings(
        kafka=KafkaSettings(bootstrap=bootstrap, group=run),
        topics=TopicsSettings(prefix=run, partitions=PARTITIONS, usage=TopicSettings(name=usage)),
        engine=engine,
    )


def create_topics(settings: StreamSettings) -> None:
    """Create what `foretell topics create` creates; the usage topic is there already."""
    with admin(settings.kafka) as client:
        create(client, settings.topics)


def engine_shard(
    settings: StreamSettings, number: int, restored: Restored, kind: type[EngineShard] = EngineShard
) -> EngineShard:
    """Return a shard as the worker makes it."""
    topics, worker = settings.topics, settings.worker
    around = Surroundings(
        settings.engine,
        readers(topics),
        topics.named("notifications"),
        topics.named("bulletins"),
        topics.partitions,
        worker.memory_mb << 20,
        worker.clock,
    )
    return kind(number, restored, around)


def write_states(settings: StreamSettings, states: Mapping[int, Iterable[tuple[bytes, bytes]]]) -> None:
    """Write saved accounts to the state topic, by partition, as a worker's checkpoints would have left them."""
    asyncio.run(_write_states(settings, states))


async def _write_states(settings: StreamSettings, states: Mapping[int, Iterable[tuple[bytes, bytes]]]) -> None:
    for number, saved in states.items():
        writer = StateWriter(settings.kafka, settings.topics.named("state"), number)
        await writer.start()
        try:
            portion: list[tuple[bytes, bytes | None]] = []
            for state in saved:
                portion.append(state)
                if len(portion) == _STATES_IN_A_TRANSACTION:
                    await writer.write(portion, {})
                    portion = []
            await writer.write(portion, {})
        finally:
            await writer.close()
