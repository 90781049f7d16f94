"""How quickly a worker is back: the state topic read and the shards built, in a process that has just begun."""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from collections.abc import Iterator, Sequence
from random import Random
from statistics import median

import orjson

from streams.checkpoints import Restored, restore
from streams.settings import StreamSettings, WorkerSettings

from .contest import run_program, say
from .contestant import PARTITIONS, Work
from .events import create_topic
from .light_shard import LightShard
from .light_work import STATE_BYTES
from .our_settings import create_topics, engine_shard, our_settings, write_states
from .product_work import THREE_DETECTORS
from .saved_profiles import spread

MEMORY_MB = 4096
"""For each partition: this measures restoring, not the disk."""
_SEED = 12


def settings_of(bootstrap: str, run: str) -> StreamSettings:
    """Return the settings of a worker that keeps a million accounts in memory."""
    settings = our_settings(bootstrap, f"{run}.readings", run, THREE_DETECTORS)
    return settings.model_copy(update={"worker": WorkerSettings(memory_mb=MEMORY_MB)})


def fill(bootstrap: str, run: str, accounts: int, saved: Sequence[bytes]) -> StreamSettings:
    """Fill a run's state topic: with these profiles, or with random bytes where there are none."""
    settings = settings_of(bootstrap, run)
    create_topic(bootstrap, f"{run}.readings")
    create_topics(settings)
    states = {
        number: spread(saved, accounts, number) if saved else _random_states(accounts, number)
        for number in range(PARTITIONS)
    }
    write_states(settings, states)
    return settings


def _random_states(accounts: int, partition: int) -> Iterator[tuple[bytes, bytes]]:
    random = Random(_SEED)  # noqa: S311 - any bytes will do
    return spread([random.randbytes(STATE_BYTES) for _ in range(1000)], accounts, partition)


def measure(bootstrap: str, run: str, work: Work, accounts: int, rounds: int) -> float:
    """Return how many accounts are restored in a second; the middle one of several processes.

    Raises:
        ValueError: not all accounts were restored.
    """
    speeds: list[float] = []
    for _ in range(rounds):
        report = run_program("bench.restoring", f"--bootstrap={bootstrap}", f"--run={run}", f"--work={work}")
        if report["accounts"] != accounts:
            raise ValueError(f"{report['accounts']} accounts were restored, expected {accounts}")
        speeds.append(accounts / report["seconds"])
        say(
            f"  restore, {work}: {accounts:,} accounts of {report['mean_bytes']:.0f} bytes in {report['seconds']:.2f} s,"
            f" {speeds[-1]:,.0f} a second;"
            f" {report['cpu_seconds']:.2f} s of processor time, {report['shard_cpu_seconds']:.2f} of them for the shards,"
            f" {report['peak_mb']:,} MB"
        )
    return median(speeds)


async def _restore(settings: StreamSettings) -> list[dict[int, Restored]]:
    """Return what is restored, in a list that does not print it."""
    topics = settings.topics
    found = await restore(settings.kafka, topics.named("state"), [topics.named("usage")], range(PARTITIONS))
    assert found is not None
    return _Untold([found])


class _Untold(list[dict[int, Restored]]):
    """A list that does not print what is in it; asyncio's runner has its result printed, into an error nobody sees."""

    def __repr__(self) -> str:
        """Return that there is something."""
        return "..."


def main() -> None:
    """Restore once and report."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "run", "work"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    settings = settings_of(options.bootstrap, options.run)
    began, cpu_began = time.perf_counter(), time.process_time()
    found = asyncio.run(_restore(settings)).pop()
    total = sum(len(state) for restored in found.values() for state in restored.states.values())
    cpu_read = time.process_time()
    shards = [
        LightShard(number, restored, MEMORY_MB << 20)
        if options.work == "light"
        else engine_shard(settings, number, restored)
        for number, restored in found.items()
    ]
    seconds, cpu_ended = time.perf_counter() - began, time.process_time()
    accounts = sum(len(shard.accounts) for shard in shards)
    report = {
        "accounts": accounts,
        "seconds": seconds,
        "cpu_seconds": cpu_ended - cpu_began,
        "shard_cpu_seconds": cpu_ended - cpu_read,
        "mean_bytes": total / max(1, accounts),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(orjson.dumps(report).decode())


if __name__ == "__main__":
    main()
