"""The commands a platform team runs, as processes, on the suite's Kafka."""

import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import tenacity
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from foretell.config import load_config
from foretell.processes import ChildProcess, Children
from streams.topics import admin, create

T = TypeVar("T")
Record = dict[str, Any]


class Pipeline:
    """A stream worker and a channel consumer with topics, ledger and ports of their own."""

    def __init__(self, bootstrap: str, folder: Path, children: Children) -> None:
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.config_path = folder / "foretell.yaml"
        self.messages_path = folder / "messages.jsonl"
        self.config_path.write_text(
            yaml.safe_dump(
                {
                    "kafka": {"bootstrap": bootstrap, "group": self.prefix},
                    "topics": {"prefix": self.prefix, "partitions": 3},
                    "http": {"stream": 0, "deliver": 0},
                    "meters": {"data": {"unit": "GB"}},
                    "plans": {
                        "basic": {
                            "currency": "EUR",
                            "allowances": {"data": {"quantity": 10, "unit": "GB", "overage": "8.00"}},
                        }
                    },
                    "channels": {
                        "ledger": f"sqlite:///{folder / 'ledger.sqlite'}",
                        "senders": {"console": {"kind": "console", "format": "json", "path": str(self.messages_path)}},
                        "deliver_to": ["console"],
                    },
                }
            )
        )
        self.config = load_config(self.config_path, {})
        self._children = children
        self._bootstrap = bootstrap
        with admin(self.config.kafka) as client:
            create(client, self.config.topics)
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)

    def start(self, command: str) -> ChildProcess:
        """Start `foretell stream` or `foretell deliver`."""
        return self._children.start(
            [sys.executable, "-m", "foretell", command, "--config", self.config_path, "--log-format", "json"],
            name=command,
            log_path=self.folder / f"{command}.log",
            environment={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def send(
        self, role: str, value: bytes, account: str | None = None, headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        self.producer.send(
            self.config.topics.named(role), value, account.encode() if account else None, headers=headers or []
        ).get(30)

    def send_event(self, role: str, account: str, event: Record) -> None:
        self.send(role, json.dumps({"account": account, "source": "/tests", **event}).encode(), account)

    def read(self, topic: str) -> list[Any]:
        """Return every record of a topic, now."""
        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        try:
            parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            consumer.assign(parts)
            ends = consumer.end_offsets(parts)
            consumer.seek_to_beginning(*parts)
            records: list[Any] = []
            while any(consumer.position(part) < ends[part] for part in parts):
                for found in consumer.poll(timeout_ms=500).values():
                    records += found
            return records
        finally:
            consumer.close()

    def values(self, role: str) -> list[Record]:
        """Return the CloudEvents on one of our topics."""
        return [json.loads(record.value) for record in self.read(self.config.topics.named(role))]

    def messages(self) -> list[Record]:
        """Return what people were told."""
        return (
            [json.loads(line) for line in self.messages_path.read_text().splitlines()]
            if self.messages_path.exists()
            else []
        )

    def address(self, command: str) -> str:
        """Return where the process serves its metrics, read from its log."""

        def served() -> str | None:
            lines = (self.folder / f"{command}.log").read_text().splitlines()
            found = [json.loads(line) for line in lines if '"serving"' in line and line.startswith("{")]
            return str(found[-1]["metrics"]).removesuffix("/metrics") if found else None

        return eventually(served)

    def probe(self, command: str, path: str) -> int:
        try:
            with urllib.request.urlopen(self.address(command) + path, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except urllib.error.URLError:
            return 0

    def scrape(self, command: str) -> dict[str, float]:
        """Return each metric's sum over its labels."""
        with urllib.request.urlopen(self.address(command) + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return sums


def eventually(look: Callable[[], T | None], seconds: float = 60) -> T:
    """Return the first true answer; fail with the last one after `seconds`."""
    found: T | None = None

    def ask() -> T | None:
        nonlocal found
        found = look()
        return found

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda answer: not answer),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(seconds),
        retry_error_callback=lambda _: None,
    )
    answer = retrying(ask)
    assert answer, f"still {found!r} after {seconds} s"
    return answer


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def pipeline(bootstrap: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Topics and a configuration; nothing is started."""
    with Children() as children:
        made = Pipeline(bootstrap, tmp_path, children)
        yield made
        made.producer.close()


@pytest.fixture
def make_pipeline(tmp_path: Path) -> Iterator[Callable[[str], Pipeline]]:
    """Return a function that makes a pipeline on any Kafka."""
    with Children() as children:
        yield lambda bootstrap: Pipeline(bootstrap, tmp_path, children)
