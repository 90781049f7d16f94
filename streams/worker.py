"""The stream worker: a Faust app whose one agent runs every batch through its shard's engine."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types import TP

from detectors.engine import Engine

from .metrics import StreamMetrics
from .publisher import Publisher
from .settings import StreamSettings
from .shard import ChainBrokenError, Shard
from .topics import readers
from .transport import Batch, BatchApp

log = structlog.get_logger(__name__)

EXIT_CHAIN_BROKEN = 70
EXIT_SURPRISED = 76
EXIT_NOT_COPARTITIONED = 78
_LOOK_SECONDS = 1.0


class StreamWorker:
    """Read the inputs, think, publish alerts; offsets are committed after the alerts they led to are acknowledged.

    The engine's state is rebuilt by reading the inputs from the beginning whenever partitions are assigned. Alerts that
    this raises again carry the ids they had, and the channel consumer tells nobody twice.
    """

    def __init__(self, settings: StreamSettings, metrics: StreamMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._readers = readers(settings.topics)
        self._notifications = settings.topics.named("notifications")
        self._shards: dict[int, Shard] = {}
        self._committable: dict[TP, int] = {}
        self._catching_up: dict[TP, int] = {}
        self._lag = 0
        self._progress = time.monotonic()
        self._is_assigned = False
        self._publisher = Publisher(settings.kafka)
        self.app = self._create_app()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then leave the group and return. Ends the process on any surprise."""
        with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
            self.app.conf.datadir = Path(folder)  # Faust makes a folder for its tables, which we have none of
            worker = faust.Worker(self.app, quiet=True, override_logging=False, redirect_stdouts=False)
            worker.spinner = None  # it draws on standard output, terminal or not
            worker.execute_from_commandline()

    # health -----------------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Return whether partitions are assigned and their engines have caught up with what was there then."""
        return self._is_assigned and not self._catching_up

    def is_healthy(self) -> bool:
        """Return whether there is nothing to read, or some of it was read lately."""
        return self._lag == 0 or time.monotonic() - self._progress < self._settings.worker.stalled_after_seconds

    # what the transport asks ------------------------------------------------------------------------------------

    def committable(self, partition: TP) -> int | None:
        """Return the offset below which every event was applied and its alerts acknowledged."""
        return self._committable.get(partition)

    async def start_of(self, partitions: set[TP]) -> Mapping[TP, int]:
        """Make an empty engine for each partition number and return the first offset of each input."""
        mine = {tp for tp in partitions if tp.topic in self._readers}
        numbers: dict[int, set[str]] = {}
        for tp in mine:
            numbers.setdefault(tp.partition, set()).add(tp.topic)
        for number, topics in numbers.items():
            if topics != set(self._readers):
                _die(EXIT_NOT_COPARTITIONED, "inputs_not_copartitioned", partition=number, topics=sorted(topics))
        consumer = self.app.consumer
        starts: dict[TP, int] = dict(await consumer.earliest_offsets(*mine)) if mine else {}
        ends: dict[TP, int] = dict(await consumer.highwaters(*mine)) if mine else {}
        self._shards = {
            number: Shard(
                Engine(self._settings.engine),
                self._readers,
                self._notifications,
                {tp.topic: offset for tp, offset in starts.items() if tp.partition == number},
            )
            for number in sorted(numbers)
        }
        self._committable = {}
        self._catching_up = {tp: end for tp, end in ends.items() if end > starts[tp]}
        self._is_assigned = True
        self._progress = time.monotonic()
        log.info(
            "partitions_assigned",
            partitions=sorted(numbers),
            records_to_read_again=sum(ends.values()) - sum(starts.values()),
        )
        return starts

    # the work ---------------------------------------------------------------------------------------------------

    def _create_app(self) -> BatchApp:
        kafka, worker = self._settings.kafka, self._settings.worker
        app = BatchApp(
            kafka.group,
            broker=[f"kafka://{server}" for server in kafka.servers],
            broker_credentials=_credentials(self._settings),
            broker_session_timeout=worker.session_timeout_seconds,
            broker_heartbeat_interval=worker.session_timeout_seconds / 5,
            broker_request_timeout=max(30.0, worker.session_timeout_seconds),
            broker_rebalance_timeout=20.0,
            broker_max_poll_interval=300.0,
            broker_max_poll_records=worker.most_records,
            broker_commit_interval=worker.commit_interval_seconds,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=8,  # counts batches
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            topic_disable_leader=True,
            topic_allow_declare=False,
            store="memory://",
            web_enabled=False,
        )
        app.positions = self
        app.agent(app.batches(*self._readers), name="engine")(self._read)
        app.task(self._publisher.open)
        app.task(self._look)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        app.on_before_shutdown.connect(self._on_shutdown, weak=False)
        return app

    async def _read(self, batches: Any) -> None:
        async for batch in batches:
            try:
                await self._process(batch)
            except ChainBrokenError as error:
                _die(EXIT_CHAIN_BROKEN, "chain_broken", error=str(error))
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - Faust would skip the batch and go on: end instead, and replay
                _die(EXIT_SURPRISED, "surprised", error=repr(error))

    async def _process(self, batch: Batch) -> None:
        shard = self._shards.get(batch.tp.partition)
        if shard is None or batch.generation != self.app.consumer_generation_id:
            return  # fetched before a rebalance; its events are read again
        began = time.perf_counter()
        outcome = shard.take(batch)
        if outcome.outgoing:
            await self._publisher.publish(outcome.outgoing)
        topic = batch.tp.topic
        self._committable[batch.tp] = shard.positions[topic]
        if shard.positions[topic] >= self._catching_up.get(batch.tp, 0):
            self._catching_up.pop(batch.tp, None)
        self._progress = time.monotonic()

        metrics = self._metrics
        metrics.received.labels(topic).inc(len(batch.records))
        metrics.applied.labels(topic).inc(outcome.applied)
        metrics.repeated.labels(topic).inc(outcome.repeated)
        for reason, count in outcome.rejects.items():
            metrics.dead_letters.labels(topic, reason).inc(count)
            log.warning("events_rejected", topic=topic, partition=batch.tp.partition, reason=reason, count=count)
        for alert in outcome.alerts:
            metrics.alerts.labels(alert.kind, alert.state, alert.severity).inc()
        metrics.batch_records.observe(len(batch.records))
        metrics.batch_seconds.observe(time.perf_counter() - began)
        metrics.event_lag.observe(max(0.0, time.time() - batch.records[0].timestamp / 1000))

    async def _look(self) -> None:
        """Keep the lag and the number of accounts where Prometheus and `/healthz` can see them."""
        while not self.app.should_stop:
            await self.app.sleep(_LOOK_SECONDS)
            if self._is_assigned and not self.app.rebalancing:
                await self._measure_lag()

    async def _measure_lag(self) -> None:
        lag = 0
        for number, shard in list(self._shards.items()):
            for topic, processed in list(shard.positions.items()):
                tp = TP(topic, number)
                position = processed
                if position == self.app.handed_out.get(tp):  # past what no reader is shown, such as a transaction's end
                    position = max(position, await self.app.consumer.position(tp) or 0)
                    if position >= self._catching_up.get(tp, 0):
                        self._catching_up.pop(tp, None)
                behind = max(0, (self.app.consumer.highwater(tp) or 0) - position)
                self._metrics.lag.labels(topic, number).set(behind)
                lag += behind
        self._lag = lag
        self._metrics.accounts.set(sum(len(shard.engine) for shard in self._shards.values()))

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self._is_assigned = False
        self._shards = {}
        self._committable = {}
        self._metrics.lag.clear()  # whoever has the partitions now shows their lag

    async def _on_shutdown(self, *_: Any, **__: Any) -> None:
        await self._publisher.close()


def _credentials(settings: StreamSettings) -> Any:
    kafka = settings.kafka
    if kafka.uses_sasl and kafka.sasl_password is not None:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=kafka.ssl_context(),
        )
    return faust.SSLCredentials(context=kafka.ssl_context()) if kafka.uses_tls else None


def _die(code: int, why: str, **fields: object) -> None:
    """End the process at once: a supervisor starts it again, and it reads itself back to an exact state."""
    log.critical(why, exit_code=code, **fields)
    os._exit(code)
