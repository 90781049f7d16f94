"""How fast, beside others and beside a bare loop; how soon, how small, how quickly back. A real Kafka on this machine.

    python -m bench.throughput --scale quick

Ends with one line for each row: `bench NAME VALUE UNIT floor FLOOR ok|short`. Whatever it finds, it exits with 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from foretell.broker import LocalBroker

from . import latency, many_accounts, memory, pending_timers, restoring, saved_profiles, two_workers
from .contest import CONTESTANTS, REFERENCES_PYTHON, Contestant, Result, contest, say
from .contestant import Work
from .events import Readings
from .rows import Row

_FEW_ACCOUNTS = 1000
_BETWEEN_HISTORY_AND_NOW_HOURS = 24 * 15
_OF_OURS = ("faust-streaming", "aiokafka", "river", "pydantic", "msgspec", "orjson")
_OF_THEIRS = ("quixstreams", "bytewax", "confluent-kafka", "river", "pydantic", "msgspec", "orjson")
_LIGHT_FLOORS = {"stock_faust": 25.0, "quix": 2.5, "bytewax": 1.3}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything.

    Attributes:
        light: accounts and readings of each, for the light work.
        product: the same for the product's.
        rounds: how often each contestant has its turn.
        workers: accounts and readings for one worker and two.
        latency_seconds: how long alerts are timed.
        restored: accounts on the state topic, for restoring and for the cost of many accounts.
        many_events: events to measure that cost with.
        profiles: how many accounts with a history there are, over and over among the restored ones.
        in_memory: accounts whose memory is measured.
        timers: pending ones.
        timer_events: events to measure their cost with.
    """

    light: tuple[int, int]
    product: tuple[int, int]
    rounds: int
    workers: tuple[int, int]
    latency_seconds: float
    restored: int
    many_events: int
    profiles: int
    in_memory: int
    timers: int
    timer_events: int


SCALES = {
    "full": Scale(
        (100_000, 20), (2_000, 200), 3, (2_000, 100), 30.0, 1_000_000, 200_000, 500, 50_000, 10_000_000, 50_000
    ),
    "quick": Scale((30_000, 20), (1_000, 100), 2, (1_000, 80), 12.0, 200_000, 50_000, 100, 10_000, 1_000_000, 20_000),
    "smoke": Scale((500, 10), (100, 20), 1, (100, 20), 2.0, 2_000, 2_000, 5, 500, 10_000, 2_000),
}


class Bench:
    """The parts, in the order in which they are measured.

    Args:
        bootstrap: where Kafka is.
        scale: how much of everything.
        contestants: who takes part in the contests.
        folder: for files.
    """

    def __init__(self, bootstrap: str, scale: Scale, contestants: Sequence[Contestant], folder: Path) -> None:
        self._bootstrap = bootstrap
        self._scale = scale
        self._contestants = contestants
        self._folder = folder
        self._saved: list[bytes] = []
        self.parts: dict[str, Callable[[], Iterator[Row]]] = {
            "light": self.light,
            "product": self.product,
            "workers": self.workers,
            "latency": self.latency,
            "restore": self.restore,
            "memory": self.memory,
            "many": self.many,
            "timers": self.timers,
        }

    def light(self) -> Iterator[Row]:
        """Three River statistics for each account, beside the references."""
        found = self._contest("light", self._scale.light)
        if "ours" not in found:
            return
        yield Row("light_ours", found["ours"].per_core, "events/s/core")
        for name in filter(found.__contains__, _LIGHT_FLOORS):
            yield Row(f"light_vs_{name}", _ratio(found, name), "x", _LIGHT_FLOORS[name])
        if "bare_loop" in found:
            yield Row("light_share_of_bare_loop", _ratio(found, "bare_loop"), "share")

    def product(self) -> Iterator[Row]:
        """The usage-spike and plan-limit detectors, beside a bare loop and the references."""
        found = self._contest("product", self._scale.product)
        if "ours" not in found:
            return
        yield Row("product_ours", found["ours"].per_core, "events/s/core")
        if "bare_loop" in found:
            yield Row("product_share_of_bare_loop", _ratio(found, "bare_loop"), "share", 0.75)
        for name in filter(found.__contains__, _LIGHT_FLOORS):
            yield Row(f"product_vs_{name}", _ratio(found, name), "x")

    def workers(self) -> Iterator[Row]:
        """Two workers and one."""
        costs = two_workers.measure(self._bootstrap, "product", Readings(*self._scale.workers), self._scale.rounds)
        yield Row("two_workers_cpu_per_event", costs[2] / costs[1], "x", 1.15, is_ceiling=True)

    def latency(self) -> Iterator[Row]:
        """From event to alert."""
        found = latency.measure(self._bootstrap, self._scale.latency_seconds)
        yield Row("latency_median", found.median, "ms")
        yield Row("latency_p99", found.p99, "ms", 30, is_ceiling=True)
        yield Row("latency_longest", found.longest, "ms", 100, is_ceiling=True)

    def restore(self) -> Iterator[Row]:
        """The state topic read and the shards built."""
        accounts, rounds = self._scale.restored, self._scale.rounds
        restoring.fill(self._bootstrap, "bench-restore-light", accounts, ())
        light = restoring.measure(self._bootstrap, "bench-restore-light", "light", accounts, rounds)
        yield Row("restore_200_bytes", light, "accounts/s", 250_000)
        restoring.fill(self._bootstrap, "bench-restore-product", accounts, self._profiles())
        product = restoring.measure(self._bootstrap, "bench-restore-product", "product", accounts, rounds)
        yield Row("restore_three_detectors", product, "accounts/s", 60_000)

    def memory(self) -> Iterator[Row]:
        """Bytes of an account."""
        path = self._folder / "profiles"
        saved_profiles.write(path, self._profiles())
        for where, floor in (("hot", 4000), ("idle", 1500)):
            taken = memory.measure(path, self._scale.in_memory, where)
            yield Row(f"memory_{where}", taken, "bytes/account", floor, is_ceiling=True)

    def many(self) -> Iterator[Row]:
        """The cost of an event among many accounts and among few."""
        events, begin = self._scale.many_events, saved_profiles.hours_ago(_BETWEEN_HISTORY_AND_NOW_HOURS)
        costs = {}
        for accounts in (_FEW_ACCOUNTS, self._scale.restored):
            run = f"bench-many-{accounts}"
            restoring.fill(self._bootstrap, run, accounts, self._profiles())
            costs[accounts] = many_accounts.measure(self._bootstrap, run, accounts, events, begin)
        ratio = costs[self._scale.restored] / costs[_FEW_ACCOUNTS]
        yield Row(f"cost_at_{self._scale.restored}_accounts", ratio, "x", 1.5, is_ceiling=True)

    def timers(self) -> Iterator[Row]:
        """The cost of an event with many pending timers and with none."""
        none, many, size = pending_timers.measure(self._scale.timers, self._scale.timer_events)
        yield Row(f"cost_with_{self._scale.timers}_timers", many / none, "x")
        yield Row("memory_of_a_timer", size, "bytes")

    def _contest(self, work: Work, size: tuple[int, int]) -> dict[str, Result]:
        readings = Readings(*size)
        say(f"{work} work: {readings.accounts:,} accounts, {readings.rounds} readings each")
        found = contest(self._bootstrap, work, readings, self._contestants, self._scale.rounds)
        say(f"  {'':12}{'events':>10}{'CPU s':>8}{'clock s':>9}{'events/s/core':>15}{'events/s':>10}{'MB':>6}")
        for name, result in found.items():
            peak = max(run["peak_mb"] for run in result.runs)
            say(
                f"  {name:12}{result.events:>10,}{result.cpu_seconds:>8.1f}{result.seconds:>9.1f}"
                f"{result.per_core:>15,.0f}{result.per_second:>10,.0f}{peak:>6}"
            )
        _check_states(work, found)
        return found

    def _profiles(self) -> list[bytes]:
        if not self._saved:
            until = saved_profiles.hours_ago(_BETWEEN_HISTORY_AND_NOW_HOURS)
            self._saved = saved_profiles.make(self._scale.profiles, until)
        return self._saved


def _ratio(found: dict[str, Result], name: str) -> float:
    return found["ours"].per_core / found[name].per_core


def _check_states(work: Work, found: dict[str, Result]) -> None:
    """Say whether what is saved on our state topic is what the bare loop has in memory, and includes every event."""
    if "ours" not in found:
        return
    for run in found["ours"].runs:
        assert run["position"] == run["events"], f"positions include {run['position']} of {run['events']} events"
    if work == "light" and "bare_loop" in found:
        digests = {run["digest"] for name in ("ours", "bare_loop") for run in found[name].runs}
        assert len(digests) == 1, f"states differ: {digests}"
        say(f"  states: what our state topic holds is what the bare loop computed ({digests.pop()})")


def _say_versions(contestants: Sequence[Contestant]) -> None:
    cores, load = os.cpu_count(), ", ".join(f"{load:.2f}" for load in os.getloadavg())
    say(f"Python {sys.version.split()[0]}, {cores} cores, load {load}")
    say("ours, bare loop, stock Faust: " + ", ".join(f"{name} {version(name)}" for name in _OF_OURS))
    if any(contestant.python == REFERENCES_PYTHON for contestant in contestants):
        program = (
            f"from importlib.metadata import version; print(*(n + ' ' + version(n) for n in {_OF_THEIRS}), sep=', ')"
        )
        done = subprocess.run([REFERENCES_PYTHON, "-c", program], capture_output=True, text=True, check=True)
        say("Quix, Bytewax: " + done.stdout.strip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="full", help="full: 25 minutes; quick: 6; smoke: under one")
    names = [contestant.name for contestant in CONTESTANTS]
    parser.add_argument("--contestants", choices=names, nargs="+", default=names, help="who takes part in the contests")
    parts = list(Bench("", SCALES["smoke"], (), Path()).parts)
    parser.add_argument("--only", choices=parts, nargs="+", default=parts, help="which parts")
    options = parser.parse_args(arguments)
    contestants = [contestant for contestant in CONTESTANTS if contestant.name in options.contestants]
    for contestant in contestants:
        if not contestant.python.exists():
            print(f"no {contestant.python}; `make bench` makes it, or leave {contestant.name} out", file=sys.stderr)
            return 2
    logging.basicConfig(level=logging.ERROR)  # topics that are just being made are worth a warning to Kafka's clients
    _say_versions(contestants)
    rows: list[Row] = []
    with LocalBroker() as broker, TemporaryDirectory(prefix="foretell-bench-") as folder:
        bench = Bench(broker.bootstrap, SCALES[options.scale], contestants, Path(folder))
        for part in options.only:
            rows += bench.parts[part]()
    print()
    for row in rows:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
