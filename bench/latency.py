"""How soon an alert is on its topic: two thousand events a second, and the slowest of the alerts among them."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from tempfile import TemporaryDirectory

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.keys import partition_of

from .contest import BenchError, say
from .contestant import PARTITIONS, Task
from .events import account_name, create_topic, usage_value
from .our_settings import create_topics, write_states
from .ours import settings_of
from .product_work import seed
from .two_workers import reports, workers

EVENTS_A_SECOND = 2000
_TICK_SECONDS = 0.005
_LINGER_MS = 5  # of the feeder, which is part of what is measured
_ALERT_EVERY = 10  # events
_QUIET_ACCOUNTS = 5000
_TIGHT = 100  # every hundredth account is on the plan that one large reading uses up
_WARM_UP_SECONDS = 3.0
_ALERTS_WITHIN_SECONDS = 30.0
_LARGE, _USUAL = 20_001.0, 500.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from handing an event to Kafka's client to having read its alert; those of the first seconds left out."""

    alerts: int
    median: float
    p99: float
    longest: float


def measure(bootstrap: str, seconds: float) -> Latency:
    """Return the latency over so many seconds.

    Raises:
        BenchError: an alert did not come.
    """
    with TemporaryDirectory(prefix="foretell-bench-") as folder:
        run = f"bench-latency-{os.getpid()}"
        task = Task(bootstrap, f"{run}.readings", 0, 0, "product", run, folder)
        create_topic(bootstrap, task.topic)
        settings = settings_of(task)
        create_topics(settings)
        alerts = int((seconds + _WARM_UP_SECONDS) * EVENTS_A_SECOND / _ALERT_EVERY)
        keys = [account_name(number).encode() for number in _quiet(_QUIET_ACCOUNTS)]
        keys += [account_name(_TIGHT * (number + 1)).encode() for number in range(alerts + 1)]
        states: dict[int, list[tuple[bytes, bytes]]] = {number: [] for number in range(PARTITIONS)}
        for key in keys:
            states[partition_of(key, PARTITIONS)].append((key, seed(key)))
        write_states(settings, states)
        with workers(task, 1) as started:
            found = asyncio.run(_Talk(task, settings.topics.named("notifications"), alerts).run())
            report = reports(started)[0]
        latency = _sum_up(found)
        say(
            f"  latency at {EVENTS_A_SECOND:,} events/s: {latency.alerts:,} alerts, median {latency.median:.1f} ms,"
            f" p99 {latency.p99:.1f} ms, longest {latency.longest:.1f} ms; {report['checkpoints']:.0f} checkpoints"
            f" of {report['checkpoint_seconds'] * 1000:.0f} ms"
        )
        return latency


def _quiet(accounts: int) -> list[int]:
    """Return the numbers of accounts that no reading here brings over a limit."""
    return list(islice((number for number in count(1) if number % _TIGHT), accounts))


def _sum_up(found: list[float]) -> Latency:
    ordered = sorted(found)
    return Latency(len(ordered), ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])


class _Talk:
    """Events in, alerts out, on one clock.

    Args:
        task: where the events go.
        notifications: where the alerts come.
        alerts: how many events raise one, each of another account.
    """

    def __init__(self, task: Task, notifications: str, alerts: int) -> None:
        self._task = task
        self._notifications = notifications
        self._alerts = alerts
        self._sent: dict[bytes, float] = {}
        self._latencies: list[float] = []
        self._heard = 0
        self._began = 0.0

    async def run(self) -> list[float]:
        """Return the latencies in milliseconds.

        Raises:
            BenchError: an alert did not come.
        """
        consumer = AIOKafkaConsumer(
            self._notifications, bootstrap_servers=self._task.bootstrap, auto_offset_reset="earliest"
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._task.bootstrap, linger_ms=_LINGER_MS)
        await asyncio.gather(consumer.start(), producer.start())
        try:
            await asyncio.wait_for(self._first_word(producer, consumer), _ALERTS_WITHIN_SECONDS)
            listening = asyncio.create_task(self._listen(consumer))
            await self._talk(producer)
            await asyncio.wait_for(listening, _ALERTS_WITHIN_SECONDS)
        except TimeoutError:
            raise BenchError(f"{self._heard} of {self._alerts} alerts came") from None
        finally:
            await asyncio.gather(consumer.stop(), producer.stop())
        return self._latencies

    async def _first_word(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        """Return when the worker has answered a first event, so that its start is not what is measured."""
        name = account_name(_TIGHT * (self._alerts + 1))
        value = usage_value(self._alerts * _ALERT_EVERY, name, _LARGE, datetime.now(UTC))
        partition = partition_of(name.encode(), PARTITIONS)
        await producer.send_and_wait(self._task.topic, value, name.encode(), partition=partition)
        await consumer.getone()

    async def _talk(self, producer: AIOKafkaProducer) -> None:
        quiet = _quiet(_QUIET_ACCOUNTS)
        self._began = time.perf_counter()
        for number in range(self._alerts):
            ahead = self._began + number * _TICK_SECONDS - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            moment = datetime.now(UTC)
            for place in range(_ALERT_EVERY):
                is_large = place == 0
                account = _TIGHT * (number + 1) if is_large else quiet[(number * _ALERT_EVERY + place) % len(quiet)]
                name, quantity = account_name(account), _LARGE if is_large else _USUAL
                key = name.encode()
                partition = partition_of(key, PARTITIONS)
                value = usage_value(number * _ALERT_EVERY + place, name, quantity, moment)
                if is_large:
                    self._sent[key] = time.perf_counter()
                await producer.send(self._task.topic, value, key, partition=partition)

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        while self._heard < self._alerts:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                now = time.perf_counter()
                for record in records:
                    sent = self._sent.pop(record.key, None)
                    if sent is None:
                        continue  # a second alert for the account
                    self._heard += 1
                    if sent - self._began > _WARM_UP_SECONDS:
                        self._latencies.append((now - sent) * 1000)
