"""The stream worker: a Faust app whose one agent runs every batch through its shard, and the shards' life cycle."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from detectors.codec import Rejected
from detectors.state import StateError

from .app import create_app
from .checkpoints import Restored
from .engine_shard import EngineShard, Surroundings
from .health import EXIT_STALLED, Health
from .intake import Intake
from .metrics import StreamMetrics
from .possession import MakeShard, NotSavedError, Possession, take_over
from .publisher import Publisher
from .settings import StreamSettings
from .shard import ChainBrokenError, Record, Shard, TruncatedError
from .topics import admin, partition_counts, readers
from .transport import Batch
from .trial import find_killer

log = structlog.get_logger(__name__)

EXIT_CHAIN_BROKEN = 70
EXIT_NOT_SAVED = 72
EXIT_SURPRISED = 76
EXIT_TRUNCATED = 77
EXIT_NOT_COPARTITIONED = 78
EXIT_STATE_UNREADABLE = 79
_LOOK_SECONDS = 1.0
_SECONDS_IN_A_ROW = 0.005  # then whoever else waits for the event loop has a turn
# objects: a batch makes thousands, of which none are cycles; Python's 700 collect all the time
_COLLECT_AFTER = (20_000, 20, 50)
_LEAST_RECORDS, _MOST_RECORDS = 16, 1024
_REVOKED_WITHIN_SECONDS = 5.0
_IDLE_MS = 1000  # behind the wall clock, so that a record on its way is read before a timer of its time
_KILLED = Rejected(
    "killed_the_worker", "the process that applied this record died of it, again and again; see the worker's log"
)


class StreamWorker:
    """Read the inputs, think, publish alerts, and keep what was learned in transactions on the state topic.

    Whenever partitions are assigned their shards are taken over: earlier owners are fenced, the state is restored, and
    reading goes on at the positions that the state includes. Any surprise ends the process with a code of its own; the
    next start is exact.

    Args:
        settings: what to read and how.
        metrics: where to count.
        make_shard: what to run, instead of the engine.
    """

    def __init__(self, settings: StreamSettings, metrics: StreamMetrics, make_shard: MakeShard | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._inputs = tuple(readers(settings.topics))
        self._make_shard = make_shard or self._make_engine_shard
        self._owned: dict[int, Possession] = {}
        self._partitions = settings.topics.partitions
        self._is_assigned = False
        self._records_at_once = _LEAST_RECORDS
        self._health = Health(settings.worker.stalled_after_seconds)
        self._publisher = Publisher(settings.kafka)
        self._intake = Intake(settings, metrics)
        self._tasks: list[asyncio.Task[None]] = []
        self.app = create_app(settings)
        self.app.positions = self
        self.app.agent(self.app.batches(*self._inputs), name="engine")(self._read)
        self.app.task(self._start)
        self.app.on_rebalance_complete.connect(self._on_assigned, weak=False)
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        self.app.on_before_shutdown.connect(self._on_shutdown, weak=False)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then save everything, leave the group and return. Ends the process on any surprise."""
        with admin(self._settings.kafka) as client:
            self._partitions = partition_counts(client)[self._inputs[0]]
        gc.set_threshold(*_COLLECT_AFTER)
        self._health.watch()
        with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
            self.app.conf.datadir = Path(folder)  # Faust makes a folder for its tables, which we have none of
            worker = faust.Worker(self.app, quiet=True, override_logging=False, redirect_stdouts=False)
            worker.spinner = None  # it draws on standard output, terminal or not
            worker.execute_from_commandline()

    # health -----------------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Return whether partitions are assigned, if only none of them, and their state is restored."""
        return self._is_assigned

    def is_healthy(self) -> bool:
        """Return whether there is nothing to read, or some of it was read lately, and the intake moves."""
        return self._health.is_healthy() and self._intake.is_healthy()

    # what the transport asks ------------------------------------------------------------------------------------

    def committable(self, partition: TP) -> int | None:
        """Return the offset below which every event is in a checkpoint, for those who look at the group's lag."""
        owned = self._owned.get(partition.partition)
        return owned.committable.get(partition.topic) if owned is not None else None

    def starts_of(self, partitions: set[TP]) -> Mapping[TP, int]:
        """Return where to read from: what the restored states include."""
        return {
            tp: owned.shard.positions[tp.topic]
            for tp in partitions
            if (owned := self._owned.get(tp.partition)) is not None and tp.topic in owned.shard.positions
        }

    # ownership --------------------------------------------------------------------------------------------------

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        """Take the assigned shards over. Reading has not begun yet, and heartbeats go on."""
        generation = self.app.consumer_generation_id
        numbers = self._require_copartitioned(self.app.consumer.assignment())
        began = time.monotonic()
        await self._give_up(self._owned)  # what is in memory is never trusted over what is saved
        try:
            taken = await take_over(
                self._settings,
                self._inputs,
                numbers,
                self._make_shard,
                self._publisher,
                lambda: generation == self.app.consumer_generation_id,
            )
        except StateError as error:
            _die(EXIT_STATE_UNREADABLE, "state_unreadable", error=str(error))
        except TruncatedError as error:
            _die(EXIT_TRUNCATED, "input_truncated", error=str(error))
        except (KafkaError, AssertionError) as error:  # aiokafka asserts what a fenced producer may not do
            if generation == self.app.consumer_generation_id:
                _die(EXIT_NOT_SAVED, "shards_not_taken_over", error=repr(error))
            taken = None  # somebody else has them already
        except Exception as error:  # noqa: BLE001 - Faust would say so and go on without us
            _die(EXIT_SURPRISED, "surprised", error=repr(error), where="taking shards over")
        if taken is None:
            log.info("restore_abandoned", partitions=numbers)
            return
        self._owned = taken
        gc.freeze()  # what was restored is there to stay, and makes no cycles
        self._is_assigned = True
        self._health.moved()
        seconds = time.monotonic() - began
        self._metrics.restore_seconds.set(seconds)
        self._metrics.restored_accounts.set(sum(len(each.shard.accounts) for each in taken.values()))
        log.info(
            "partitions_assigned",
            partitions=numbers,
            accounts=sum(len(each.shard.accounts) for each in taken.values()),
            seconds=round(seconds, 3),
        )

    def _require_copartitioned(self, assigned: set[TP]) -> list[int]:
        numbers: dict[int, set[str]] = {}
        for tp in assigned:
            if tp.topic in self._inputs:
                numbers.setdefault(tp.partition, set()).add(tp.topic)
        for number, topics in numbers.items():
            if topics != set(self._inputs):
                missing = sorted(set(self._inputs) - topics)
                _die(
                    EXIT_NOT_COPARTITIONED,
                    "inputs_not_copartitioned",
                    partition=number,
                    missing=missing,
                    hint="all inputs must be there with as many partitions, and all workers of a group need the same inputs",
                )
        return sorted(numbers)

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        """Save what is in memory, if that goes quickly; what is not saved is read again by whoever is next."""
        self._is_assigned = False

        async def save(owned: Possession) -> None:
            try:
                self._metrics.count_checkpoint(await asyncio.wait_for(owned.checkpoint(), _REVOKED_WITHIN_SECONDS))
            except (NotSavedError, KafkaError, TimeoutError) as error:
                log.warning("revoked_without_checkpoint", partition=owned.shard.number, error=repr(error))

        await asyncio.gather(*(save(owned) for owned in self._owned.values()))
        await self._give_up(self._owned)
        self._metrics.lag.clear()  # whoever has the partitions now shows their lag

    async def _give_up(self, owned: Mapping[int, Possession]) -> None:
        self._owned = {}
        await asyncio.gather(*(each.close() for each in owned.values()))

    async def _on_shutdown(self, *_: Any, **__: Any) -> None:
        try:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._on_revoked()
            await self._publisher.close()
        except Exception as error:  # noqa: BLE001 - Faust would say so and go on
            _die(EXIT_SURPRISED, "surprised", error=repr(error), where="shutdown")
        self._health.end()

    def _make_engine_shard(self, number: int, restored: Restored) -> Shard:
        settings = self._settings
        around = Surroundings(
            settings.engine,
            readers(settings.topics),
            settings.topics.named("notifications"),
            settings.topics.named("bulletins"),
            self._partitions,
            settings.worker.memory_mb << 20,
            settings.worker.clock,
        )
        return EngineShard(number, restored, around)

    # the work ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._publisher.open()
        for work in (self._save_now_and_then, self._look_now_and_then, self._intake.run):
            self._tasks.append(asyncio.create_task(_fatal(work()), name=work.__name__))

    async def _read(self, batches: Any) -> None:
        async for batch in batches:
            try:
                await self._process(batch)
            except ChainBrokenError as error:
                _die(EXIT_CHAIN_BROKEN, "chain_broken", error=str(error))
            except TruncatedError as error:
                _die(EXIT_TRUNCATED, "input_truncated", error=str(error))
            except StateError as error:
                _die(EXIT_STATE_UNREADABLE, "state_unreadable", error=str(error))
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - Faust would skip the batch and go on: end instead, and replay
                _die(EXIT_SURPRISED, "surprised", error=repr(error))

    async def _process(self, batch: Batch) -> None:
        owned = self._owned.get(batch.tp.partition)
        if owned is None:
            return
        for part, is_deadly in self._parts(owned, batch):
            if self._owned.get(batch.tp.partition) is not owned or batch.generation != self.app.consumer_generation_id:
                return  # fetched before a rebalance; its events are read again
            began = time.perf_counter()
            outcome = (
                owned.shard.skip(part, _KILLED) if is_deadly else owned.shard.take(part, owned.clock_ms(batch.tp.topic))
            )
            seconds = time.perf_counter() - began
            owned.outbox.put(outcome.outgoing)
            owned.last_ms[batch.tp.topic] = part.records[-1].timestamp
            self._health.moved()
            self._metrics.count(part, outcome, seconds)
            self._pace(len(part.records), seconds)
            await owned.outbox.send()
            await asyncio.sleep(0)

    def _parts(self, owned: Possession, batch: Batch) -> Iterator[tuple[Batch, bool]]:
        """Give the batch in parts that are quickly applied, and apart from them each record that the worker dies of.

        Each part must be applied before the next is asked for: a trial is of the state that is there then.
        """
        start, records = batch.start, batch.records
        while records:
            killer = self._killer(owned, Batch(batch.tp, start, records, batch.generation))
            harmless = records if killer is None else records[:killer]
            while harmless:
                now, harmless = harmless[: self._records_at_once], harmless[self._records_at_once :]
                yield Batch(batch.tp, start, now, batch.generation), False
                start = now[-1].offset + 1
            if killer is None:
                return
            yield Batch(batch.tp, start, [records[killer]], batch.generation), True
            start, records = records[killer].offset + 1, records[killer + 1 :]

    def _killer(self, owned: Possession, batch: Batch) -> int | None:
        """Return the index of the first record that a worker dies of, as far as there is reason to look for one."""
        if time.monotonic() > owned.on_trial_until:
            return None
        clock_ms = owned.clock_ms(batch.tp.topic)

        def attempt(records: Sequence[Record]) -> None:
            owned.shard.detach()
            owned.shard.take(Batch(batch.tp, batch.start, records, batch.generation), clock_ms)

        killer = find_killer(batch.records, attempt)
        if killer is not None:
            record = batch.records[killer]
            log.error("record_kills_the_worker", topic=record.topic, partition=record.partition, offset=record.offset)
        return killer

    def _pace(self, records: int, seconds: float) -> None:
        """Choose how many records to apply in a row, so that checkpoints and heartbeats need not wait for long."""
        fitting = int(records * _SECONDS_IN_A_ROW / max(seconds, 1e-6))
        self._records_at_once = min(max(fitting, _LEAST_RECORDS), 2 * self._records_at_once, _MOST_RECORDS)

    async def _save_now_and_then(self) -> None:
        """Write checkpoints, the shards in turn, so that each is written as often as the settings say."""
        while True:
            for owned in list(self._owned.values()) or (None,):
                await asyncio.sleep(self._settings.worker.checkpoint_seconds / max(1, len(self._owned)))
                if owned is None or self._owned.get(owned.shard.number) is not owned:
                    continue
                try:
                    self._metrics.count_checkpoint(
                        await asyncio.shield(owned.checkpoint())
                    )  # whoever ends waits for it
                except (NotSavedError, KafkaError) as error:
                    if self._owned.get(owned.shard.number) is owned:
                        _die(EXIT_NOT_SAVED, "checkpoint_failed", partition=owned.shard.number, error=repr(error))

    # looking after ----------------------------------------------------------------------------------------------

    async def _look_now_and_then(self) -> None:
        """Keep lag and accounts where Prometheus and `/healthz` see them, wake who is due, and end what is stuck."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            lag = await self._measure_lag() if self._is_assigned and not self.app.rebalancing else 0
            was_stopped = self._health.beat(lag)
            if self._health.is_stalled():
                _die(EXIT_STALLED, "stalled", lag=lag, seconds=2 * self._settings.worker.stalled_after_seconds)
            for owned in list(self._owned.values()):
                if was_stopped:
                    await self._prove(owned)
                if self._settings.worker.clock == "records" and self._owned.get(owned.shard.number) is owned:
                    outcome = owned.shard.tick(min(owned.clock_ms(), time.time() * 1000 - _IDLE_MS))
                    owned.outbox.put(outcome.outgoing)
                    self._metrics.count_outcome(outcome)
                    await owned.outbox.send()
            self._metrics.show(self._owned.values())

    async def _prove(self, owned: Possession) -> None:
        """A worker that slept may have been replaced: let Kafka say so before the clock moves anything."""
        try:
            await owned.prove()
        except NotSavedError as error:
            if self._owned.get(owned.shard.number) is owned:
                _die(EXIT_NOT_SAVED, "replaced_while_stopped", partition=owned.shard.number, error=repr(error))

    async def _measure_lag(self) -> int:
        lag = 0
        for number, owned in list(self._owned.items()):
            for topic in self._inputs:
                tp = TP(topic, number)
                position = owned.shard.positions[topic]
                if position == self.app.handed_out.get(tp):  # past what no reader is shown, such as a transaction's end
                    position = max(position, await self.app.consumer.position(tp) or 0)
                behind = max(0, (self.app.consumer.highwater(tp) or 0) - position)
                if behind:
                    owned.behind.add(topic)
                else:
                    owned.behind.discard(topic)
                self._metrics.lag.labels(topic, number).set(behind)
                lag += behind
        return lag


async def _fatal(work: Any) -> None:
    """Run what must never end by itself."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except StateError as error:
        _die(EXIT_STATE_UNREADABLE, "state_unreadable", error=str(error))
    except Exception as error:  # noqa: BLE001 - without it the worker would be half alive
        _die(EXIT_SURPRISED, "surprised", error=repr(error), where=getattr(work, "__qualname__", ""))


def _die(code: int, why: str, **fields: object) -> None:
    """End the process at once: a supervisor starts it again, and it reads itself back to an exact state."""
    log.critical(why, exit_code=code, **fields)
    os._exit(code)
