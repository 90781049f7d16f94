"""What a second worker costs: the processor time of an event with one worker, and with two that share the partitions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from .contest import ROOT, BenchError, environment, say
from .contestant import Task, Work
from .events import Readings, create_topic, in_batches
from .ours import UNTIL_TOLD, prepare

_PATIENCE_SECONDS = 300
_POLL_SECONDS = 0.2
_runs = count(1)


@contextmanager
def workers(task: Task, number: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start so many workers; they are members of one group when the block begins, and end with it."""
    call = [sys.executable, "-m", "bench.ours", *task.arguments(), UNTIL_TOLD]
    with ExitStack() as stack:
        started: list[subprocess.Popen[str]] = []
        for each in range(number):
            log = stack.enter_context((Path(task.folder) / f"worker-{each}.log").open("w"))
            process = subprocess.Popen(call, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True)
            stack.callback(_end, process)
            started.append(process)
        _wait(lambda: _members(task) == number or any(process.poll() is not None for process in started))
        yield started


def reports(started: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """Tell workers to end and return what they report.

    Raises:
        BenchError: one failed.
    """
    for process in started:
        process.terminate()
    found = []
    for process in started:
        output, _ = process.communicate(timeout=_PATIENCE_SECONDS)
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if process.returncode != 0 or not lines:
            raise BenchError(f"a worker ended with {process.returncode}: {output[-2000:]}")
        found.append(orjson.loads(lines[-1]))
    return found


def await_committed(task: Task, events: int) -> None:
    """Return when so many events are in checkpoints.

    Raises:
        BenchError: they are not after a long time.
    """
    _wait(lambda: _committed(task) >= events)


def measure(bootstrap: str, work: Work, readings: Readings, rounds: int) -> dict[int, float]:
    """Return the processor seconds of an event by number of workers."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for number, costs in found.items():
            costs.append(_cost(bootstrap, work, readings, number))
            say(f"  {work}, {number} worker(s): {costs[-1] * 1e6:.1f} us of processor time an event")
    return {number: median(costs) for number, costs in found.items()}


def _cost(bootstrap: str, work: Work, readings: Readings, number: int) -> float:
    with TemporaryDirectory(prefix="foretell-bench-") as folder:
        run = f"bench-workers-{next(_runs)}-{os.getpid()}"
        task = Task(bootstrap, f"{run}.readings", len(readings), readings.accounts, work, run, folder)
        create_topic(bootstrap, task.topic)
        prepare(task)
        with workers(task, number) as started:
            asyncio.run(_pour_at_once(task, readings))
            await_committed(task, task.events)
            found = reports(started)
    events = sum(report["events"] for report in found)
    if events < task.events:
        raise BenchError(f"{number} workers took {events} events, expected {task.events}")
    return float(sum(report["cpu_seconds"] for report in found) / task.events)


async def _pour_at_once(task: Task, readings: Readings) -> None:
    """Make all batches first, then hand them over: making them takes longer than some workers take to read them."""
    producer = AIOKafkaProducer(bootstrap_servers=task.bootstrap, max_batch_size=512 * 1024)
    await producer.start()
    try:
        batches = list(in_batches(producer, readings))
        await asyncio.gather(
            *[await producer.send_batch(batch, task.topic, partition=partition) for partition, batch in batches]
        )
    finally:
        await producer.stop()


def _members(task: Task) -> int:
    with KafkaAdminClient(bootstrap_servers=task.bootstrap) as client:
        try:
            group = client.describe_groups([task.run])[task.run]
        except CoordinatorNotAvailableError:  # Kafka's first group: it makes its own topic for them first
            return 0
    return len(group["members"]) if group["group_state"] == "Stable" else 0


def _committed(task: Task) -> int:
    with KafkaAdminClient(bootstrap_servers=task.bootstrap) as client:
        offsets = client.list_group_offsets([task.run])[task.run]
    return sum(max(0, found.offset) for partition, found in offsets.items() if partition.topic == task.topic)


def _wait(condition: Any) -> None:
    Retrying(
        retry=retry_if_result(lambda held: not held),
        wait=wait_fixed(_POLL_SECONDS),
        stop=stop_after_delay(_PATIENCE_SECONDS),
    )(condition)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
