"""What every contestant is told on its command line, and what it answers in one line of JSON."""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

PARTITIONS = 4
Work = Literal["light", "product"]


@dataclass(frozen=True)
class Task:
    """What to do.

    Attributes:
        topic: of usage events; there is nothing else on it.
        events: how many of them to read, from the beginning.
        accounts: whose they are; they are numbered from 0.
        run: a word that no other run has, for the names of groups, topics and folders.
        folder: for files.
    """

    bootstrap: str
    topic: str
    events: int
    accounts: int
    work: Work
    run: str
    folder: str

    @property
    def alerts(self) -> str:
        """The topic for alerts of those that cannot name it themselves."""
        return f"{self.run}-alerts"

    def arguments(self) -> list[str]:
        """Return it as a command line."""
        return [f"--{name}={value}" for name, value in asdict(self).items()]

    @classmethod
    def from_command_line(cls, arguments: list[str] | None = None) -> Task:
        """Return the task that a command line asks for."""
        parser = argparse.ArgumentParser()
        for name in ("bootstrap", "topic", "run", "folder"):
            parser.add_argument(f"--{name}", required=True)
        for name in ("events", "accounts"):
            parser.add_argument(f"--{name}", type=int, required=True)
        parser.add_argument("--work", choices=("light", "product"), required=True)
        return cls(**vars(parser.parse_args(arguments)))


class Stopwatch:
    """The clock from the first event to the last, and the processor time from the first event to `stop`.

    Processor time is that of the whole process, all its threads, user and system. What it takes to make the work durable
    at the end is in it, starting up and joining the group are not. Kafka's own is in nobody's figure.

    Args:
        events: after how many the work is done.
    """

    def __init__(self, events: float) -> None:
        self.events = 0
        self._expected = events
        self._began = self._ended = 0.0
        self._cpu_began = self._cpu_ended = 0.0

    def begin(self) -> None:
        """Start, unless it runs already. Called when the first event is at hand."""
        if not self._began:
            self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def count(self, events: int = 1) -> bool:
        """Count events, and return whether that was all."""
        if not self._began:
            self.begin()
        self.events += events
        if self.events < self._expected:
            return False
        self._ended = time.perf_counter()
        return True

    @property
    def is_done(self) -> bool:
        """Whether all events were counted."""
        return self.events >= self._expected

    def stop(self) -> None:
        """Stop: all is done and durable."""
        self._cpu_ended = time.process_time()

    def report(self, **more: Any) -> None:
        """Print the figures as one line of JSON."""
        figures = {
            "events": self.events,
            "seconds": self._ended - self._began,
            "cpu_seconds": self._cpu_ended - self._cpu_began,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(orjson.dumps(figures | more).decode(), flush=True)
