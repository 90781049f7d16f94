"""What the demo runs: a local Kafka, and the stream worker and the channel consumer as a platform team would start them."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaConsumer, TopicPartition

from streams import topics

from .broker import LocalBroker, free_ports
from .config import Config, load_config
from .processes import ChildProcess, Children
from .scenarios import METERS, PLANS

_HOST = "127.0.0.1"
_PARTITIONS = 4
_READY_WITHIN_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.1
_ASKED_WITHIN_SECONDS = 2.0


class DemoError(Exception):
    """The demo cannot go on; the sentence says what has happened."""


class DemoSystem:
    """Everything that runs beside the demo itself.

    Args:
        folder: where its configuration, logs, ledger, messages and Kafka's data are kept.
        children: ends what is started here.

    Attributes:
        config: what the two processes are started with.
        config_path: the same as a file.
    """

    def __init__(self, folder: Path, children: Children) -> None:
        self._children = children
        self._processes: list[ChildProcess] = []
        self.folder = folder
        self.config_path = folder / "foretell.yaml"
        self.messages_path = folder / "messages.jsonl"
        self.ledger_path = folder / "ledger.sqlite"
        self.config = Config()

    @property
    def stream_url(self) -> str:
        """Where the stream worker serves its metrics and probes."""
        return f"http://{_HOST}:{self.config.http.stream}"

    @property
    def deliver_url(self) -> str:
        """Where the channel consumer serves its metrics and probes."""
        return f"http://{_HOST}:{self.config.http.deliver}"

    @property
    def log_paths(self) -> dict[str, Path]:
        """The log of each process, by its name."""
        return {process.name: process.log_path for process in self._processes}

    def start_kafka(self) -> None:
        """Start a broker, write the configuration, create the topics."""
        broker = self._children.enter(LocalBroker())
        self.config_path.write_text(self._configuration(broker.bootstrap), encoding="utf-8")
        self.config = load_config(self.config_path, {})
        with topics.admin(self.config.kafka) as client:
            topics.create(client, self.config.topics)
            topics.require(client, self.config.topics)

    def start_processes(self) -> None:
        """Start `foretell stream` and `foretell deliver`, and return when both are ready.

        Raises:
            DemoError: one ended, or was not ready in time.
        """
        for command in ("stream", "deliver"):
            self._processes.append(
                self._children.start(
                    [sys.executable, "-m", "foretell", command, "--config", self.config_path],
                    name=f"foretell {command}",
                    log_path=self.folder / f"{command}.log",
                    environment=self._environment(),
                )
            )
        for url, process in zip((self.stream_url, self.deliver_url), self._processes, strict=True):
            self.wait_until(
                partial(_answers, f"{url}/readyz"),
                f"{process.name} to be ready, see {process.log_path}",
                _READY_WITHIN_SECONDS,
            )

    def read_topic(self, role: str) -> list[bytes | None]:
        """Return the value of every record that is now on one of our topics."""
        name = self.config.topics.named(role)
        consumer = KafkaConsumer(
            **self.config.kafka.client_options(), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        with closing(consumer):
            places = [TopicPartition(name, partition) for partition in range(_PARTITIONS)]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            values: list[bytes | None] = []
            given_up = time.monotonic() + _READY_WITHIN_SECONDS
            while any(consumer.position(place) < end for place, end in ends.items()):
                for records in consumer.poll(timeout_ms=200).values():
                    values += [record.value for record in records]
                if time.monotonic() > given_up:
                    raise DemoError(f"topic {name!r} could not be read to its end")
        return values

    def addresses(self) -> Iterator[str]:
        """Yield where to look."""
        yield f"Kafka          {self.config.kafka.bootstrap}"
        yield f"metrics        {self.stream_url}/metrics  {self.deliver_url}/metrics"
        yield f"configuration  {self.config_path}"
        yield f"messages       {self.messages_path}"
        yield f"ledger         {self.ledger_path}"
        for name, path in self.log_paths.items():
            yield f"log            {path}  ({name})"

    def last_words(self) -> str:
        """Return the end of each log."""
        return "\n".join(f"{process.name}: {process.log_tail(5)}" for process in self._processes)

    def require_alive(self) -> None:
        """Return if both processes run.

        Raises:
            DemoError: one has ended; with the end of its log.
        """
        for process in self._processes:
            if not process.is_running:
                raise DemoError(
                    f"{process.name} ended with exit code {process.exit_code}; its last words:\n{process.log_tail()}"
                )

    def wait_until(
        self, holds: Callable[[], bool], what: str, seconds: float, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Return when something holds, looking again and again.

        Raises:
            DemoError: a process ended, or it took too long.
        """
        given_up = time.monotonic() + seconds
        while not holds():
            self.require_alive()
            if time.monotonic() > given_up:
                raise DemoError(f"waited {seconds:.0f} s for {what}, in vain")
            meanwhile()
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _environment(self) -> dict[str, str]:
        """Return our environment without what would change the configuration, and with our folder for what is temporary."""
        ours = {
            name: value for name, value in os.environ.items() if not (name.startswith("FORETELL_") and "__" in name)
        }
        return {**ours, "TMPDIR": str(self.folder)}

    def _configuration(self, bootstrap: str) -> str:
        stream_port, deliver_port = free_ports(2)
        sections: dict[str, Any] = {
            "kafka": {"bootstrap": bootstrap, "group": "demo"},
            "topics": {"partitions": _PARTITIONS},
            "stream": {"clock": "events"},  # the replay is of another year
            "http": {"host": _HOST, "stream": stream_port, "deliver": deliver_port},
            "meters": {name: meter.model_dump(mode="json") for name, meter in METERS.items()},
            "plans": {name: plan.model_dump(mode="json", exclude_none=True) for name, plan in PLANS.items()},
            "channels": {
                "ledger": f"sqlite:///{self.ledger_path}",
                "senders": {"console": {"kind": "console", "format": "json", "path": str(self.messages_path)}},
                "deliver_to": ["console"],
            },
        }
        return yaml.safe_dump(sections, sort_keys=False)


def answer(url: str) -> str | None:
    """Return what is served at `url`, None where nothing is or it is no success."""
    try:
        with urllib.request.urlopen(url, timeout=_ASKED_WITHIN_SECONDS) as response:  # noqa: S310 - our own, on this machine
            body: bytes = response.read()
    except (urllib.error.URLError, OSError):
        return None
    return body.decode()


def _answers(url: str) -> bool:
    return answer(url) is not None
