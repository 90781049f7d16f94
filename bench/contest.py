"""The contest: each contestant a process of its own, in turns, several times; the middle one counts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from .contestant import Task, Work
from .events import Readings, create_topic, pour

ROOT = Path(__file__).resolve().parent.parent
REFERENCES_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_TIMEOUT_SECONDS = 900
_runs = count(1)


class BenchError(Exception):
    """A process that is measured did not do its work."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who takes part.

    Attributes:
        module: its program.
        python: what runs it.
        share: of the events, for those so slow that all of them would take too long.
    """

    name: str
    module: str
    python: Path = Path(sys.executable)
    share: float = 1.0


CONTESTANTS = (
    Contestant("ours", "bench.ours"),
    Contestant("bare_loop", "bench.references.bare_loop"),
    Contestant("bytewax", "bench.references.bytewax", REFERENCES_PYTHON),
    Contestant("quix", "bench.references.quix", REFERENCES_PYTHON, 0.2),
    Contestant("stock_faust", "bench.references.stock_faust", share=0.1),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one contestant took for one work, each figure the middle one of its runs."""

    events: int
    seconds: float
    cpu_seconds: float
    runs: Sequence[dict[str, Any]]

    @property
    def per_core(self) -> float:
        """Events for each second of processor time."""
        return self.events / self.cpu_seconds

    @property
    def per_second(self) -> float:
        """Events for each second on the clock."""
        return self.events / self.seconds


def contest(
    bootstrap: str, work: Work, readings: Readings, contestants: Sequence[Contestant], rounds: int
) -> dict[str, Result]:
    """Let all of them do the same work in turns, and return what they took."""
    topics: dict[int, str] = {}
    for contestant in contestants:
        shortened = _share(readings, contestant)
        if len(shortened) not in topics:
            topics[len(shortened)] = name = f"bench-{work}-{len(shortened)}-{next(_runs)}"
            create_topic(bootstrap, name)
            pour(bootstrap, name, shortened)
    runs: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            shortened = _share(readings, contestant)
            events = len(shortened)
            run = run_contestant(contestant, bootstrap, topics[events], shortened, work)
            runs[contestant.name].append(run)
            say(
                f"  {work} {contestant.name}: {events / run['cpu_seconds']:,.0f} events/s per core, {events / run['seconds']:,.0f} on the clock"
            )
    return {name: _middle(found) for name, found in runs.items()}


def run_contestant(
    contestant: Contestant, bootstrap: str, topic: str, readings: Readings, work: Work, *more: str
) -> dict[str, Any]:
    """Run one contestant once and return what it reports.

    Raises:
        BenchError: it failed, or read another number of events.
    """
    with TemporaryDirectory(prefix="foretell-bench-") as folder:
        task = Task(
            bootstrap, topic, len(readings), readings.accounts, work, f"bench-run-{next(_runs)}-{os.getpid()}", folder
        )
        if work == "product":
            create_topic(bootstrap, task.alerts)
        return run_program(contestant.module, *task.arguments(), *more, python=contestant.python, events=len(readings))


def run_program(
    module: str, *arguments: str, python: Path = Path(sys.executable), events: int | None = None
) -> dict[str, Any]:
    """Run a program of ours, and return the line of JSON that is its last.

    Raises:
        BenchError: it failed, or read another number of events.
    """
    call = [str(python), "-m", module, *arguments]
    done = subprocess.run(
        call, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise BenchError(f"{module} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    report: dict[str, Any] = orjson.loads(lines[-1])
    if events is not None and report["events"] != events:
        raise BenchError(f"{module} read {report['events']} events, expected {events}; its figures mean nothing")
    return report


def environment() -> dict[str, str]:
    """Return the environment of every process that is measured."""
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}


def say(line: str) -> None:
    """Print how it goes."""
    print(line, flush=True)


def _share(readings: Readings, contestant: Contestant) -> Readings:
    """Return fewer accounts for the slow: as many events of each as for the quick."""
    return replace(readings, accounts=max(1, int(readings.accounts * contestant.share)))


def _middle(runs: Sequence[dict[str, Any]]) -> Result:
    return Result(
        events=runs[0]["events"],
        seconds=median(run["seconds"] for run in runs),
        cpu_seconds=median(run["cpu_seconds"] for run in runs),
        runs=runs,
    )
