"""Our worker, as it is: checkpoints every two seconds, alerts acknowledged, positions and state in one transaction."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from streams.checkpoints import Restored, restore
from streams.engine_shard import EngineShard
from streams.keys import partition_of
from streams.metrics import StreamMetrics
from streams.settings import StreamSettings
from streams.shard import Outcome, Shard
from streams.transport import Batch
from streams.worker import StreamWorker

from . import restoring
from .contestant import PARTITIONS, Stopwatch, Task
from .events import account_name
from .light_shard import LightShard
from .light_work import digest
from .our_settings import create_topics, engine_shard, our_settings, write_states
from .product_work import SETTINGS, seed

UNTIL_TOLD = "--until-told"
"""Work until SIGTERM, on topics that are there."""
PREPARED = "--prepared"
"""Work until all is done, on topics that are there, with a million accounts in memory if need be."""


class _Counted(Shard):
    """A shard that counts what it takes, and ends the worker once all of it is in checkpoints."""

    watch: Stopwatch
    settled: set[int]

    def take(self, batch: Batch, clock_ms: float = inf) -> Outcome:
        """Run a batch and count it."""
        self.watch.begin()
        outcome = super().take(batch, clock_ms)
        self.watch.count(len(batch.records))
        return outcome

    @property
    def is_changed(self) -> bool:
        """Whether there is something to write. The worker asks before each checkpoint, the shards in turn."""
        is_changed = super().is_changed
        if self.watch.is_done and not is_changed and self.number not in self.settled:
            self.settled.add(self.number)
            if len(self.settled) == PARTITIONS:
                os.kill(os.getpid(), signal.SIGTERM)
        return is_changed


class CountedLightShard(_Counted, LightShard):
    """The light work, counted."""


class CountedEngineShard(_Counted, EngineShard):
    """The engine, counted."""


def prepare(task: Task) -> StreamSettings:
    """Create the run's topics, let the product know each account's plan, and return the settings."""
    settings = settings_of(task)
    create_topics(settings)
    if task.work == "product":
        write_states(settings, {number: _seeds(task.accounts, number) for number in range(PARTITIONS)})
    return settings


def settings_of(task: Task) -> StreamSettings:
    """Return the settings of the worker for this task."""
    return our_settings(task.bootstrap, task.topic, task.run, SETTINGS)


def _seeds(accounts: int, partition: int) -> Iterator[tuple[bytes, bytes]]:
    for number in range(accounts):
        key = account_name(number).encode()
        if partition_of(key, PARTITIONS) == partition:
            yield key, seed(key)


def run(task: Task, settings: StreamSettings, *, until_told: bool) -> None:
    """Run the worker until all events are done and durable, or until SIGTERM; then report, and prove what is saved."""
    _Counted.watch = watch = Stopwatch(inf if until_told else task.events)
    _Counted.settled = set()

    def make_shard(number: int, restored: Restored) -> Shard:
        if task.work == "light":
            return CountedLightShard(number, restored, settings.worker.memory_mb << 20)
        return engine_shard(settings, number, restored, CountedEngineShard)

    metrics = StreamMetrics(CollectorRegistry())
    worker = StreamWorker(settings, metrics, make_shard)
    with suppress(SystemExit):  # Faust's worker ends so
        worker.run()
    watch.stop()
    checkpoints = [sample for family in metrics.checkpoint_seconds.collect() for sample in family.samples]
    saved = {} if until_told else _saved(task, settings)
    watch.report(**saved, **_checkpoints(checkpoints))


def _checkpoints(samples: Any) -> dict[str, float]:
    """Return how many checkpoints were written, one a partition, and what one took on average."""
    found = {sample.name.rpartition("_")[2]: sample.value for sample in samples if not sample.labels}
    return {"checkpoints": found["count"], "checkpoint_seconds": found["sum"] / max(1, found["count"])}


def _saved(task: Task, settings: StreamSettings) -> dict[str, int | str]:
    """Return what the state topic says: not what was in memory, what is there after the end."""
    topic = settings.topics.named("state")
    found = asyncio.run(restore(settings.kafka, topic, [task.topic], range(PARTITIONS)))
    assert found is not None
    position = sum(restored.positions[task.topic] for restored in found.values())
    states = [state for restored in found.values() for state in restored.states.items()]
    return {"position": position, **(digest(states) if task.work == "light" else {"accounts": len(states)})}


def main() -> None:
    """Do what the command line asks for."""
    logging.basicConfig(level=logging.WARNING)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    flags = {UNTIL_TOLD, PREPARED} & set(sys.argv)
    task = Task.from_command_line([argument for argument in sys.argv[1:] if argument not in flags])
    if PREPARED in flags:
        settings = restoring.settings_of(task.bootstrap, task.run)
    else:
        settings = settings_of(task) if flags else prepare(task)
    run(task, settings, until_told=UNTIL_TOLD in flags)


if __name__ == "__main__":
    main()
