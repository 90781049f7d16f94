"""What the channels' tests share: alerts, ledgers, a clock that is set by hand."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import tenacity
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client import CollectorRegistry

from channels import ChannelSettings, Consumer, ConsumerError, DeliveryMetrics, DeliverySettings, Ledger, LedgerError
from channels.senders import Sender
from detectors.alerts import Alert, AlertState, DetectorVersion
from detectors.codec import decode_receipt, encode, encode_key

T = TypeVar("T")
PARTITIONS = 3
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
ACCOUNT = "acct-000000001234"
FACTS: dict[str, Any] = {
    "account_ending": "1234",
    "meter": "data",
    "unit": "GB",
    "used": "8.5",
    "allowance": "10",
    "remaining": "1.5",
    "percent": "85",
    "threshold": 80,
    "cycle_end": "2026-04-01T00:00:00+02:00",
    "days_left": 4,
}


class MakeAlert(Protocol):
    def __call__(
        self, alert_id: str = "x1", state: AlertState = "triggered", *, at: datetime = NOON, **changes: Any
    ) -> Alert: ...


@pytest.fixture(scope="session")
def make_alert() -> MakeAlert:
    """Make a plan_limit alert, with what is named changed."""

    def make(alert_id: str = "x1", state: AlertState = "triggered", *, at: datetime = NOON, **changes: Any) -> Alert:
        fields: dict[str, Any] = {
            "id": f"{alert_id}:{state}",
            "source": "/tests",
            "time": at,
            "account": ACCOUNT,
            "alert_id": alert_id,
            "kind": "plan_limit",
            "class": "limit",
            "subject": "data",
            "state": state,
            "score": 1.2,
            "severity": "notice",
            "occurred_at": at,
            "detected_at": at,
            "useful_until": at + timedelta(days=4),
            "facts": FACTS,
            "detector": DetectorVersion(name="plan_limit", version=1),
            "config": "0",
        }
        return Alert.model_validate(fields | changes)

    return make


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def unique() -> str:
    """A name that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def soon() -> Callable[[Callable[[], T]], T]:
    """Ask until the answer is true, for at most half a minute, and return it."""

    def ask(look: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda answer: not answer),
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(30),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer: T = retrying(look)
        assert answer
        return answer

    return ask


class Running:
    """A consumer at work in a thread."""

    def __init__(self, settings: DeliverySettings, sender: Sender, ahead: timedelta) -> None:
        self.registry = CollectorRegistry()
        self.consumer = Consumer(
            settings,
            DeliveryMetrics(self.registry),
            senders={"console": sender},
            clock=lambda: datetime.now(UTC) + ahead,
        )
        self.error: ConsumerError | LedgerError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.consumer.run()
        except (ConsumerError, LedgerError) as error:
            self.error = error

    def end(self) -> None:
        self.consumer.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0


class World:
    """Topics, a group and a ledger of a test's own."""

    def __init__(self, bootstrap: str, name: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.settings = DeliverySettings(
            channels=ChannelSettings(ledger=f"sqlite:///{folder / 'ledger.sqlite'}"),
            kafka={"bootstrap_servers": bootstrap},
            notifications=f"{name}.notifications",
            receipts=f"{name}.receipts",
            group=name,
        )
        self._running: list[Running] = []
        self.create_topics(*self.topics)
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)

    @property
    def topics(self) -> tuple[str, str, str]:
        return self.settings.notifications, self.settings.receipts, self.settings.dead_letters

    def create_topics(self, *topics: str) -> None:
        with KafkaAdminClient(bootstrap_servers=self.bootstrap) as admin:
            layout = {"num_partitions": PARTITIONS, "replication_factor": 1}
            admin.create_topics(dict.fromkeys(topics, layout), wait_for_metadata=True)

    def delete_topics(self, *topics: str) -> None:
        with KafkaAdminClient(bootstrap_servers=self.bootstrap) as admin:
            admin.delete_topics(list(topics))

    def run(self, sender: Sender, ahead: timedelta = timedelta(0)) -> Running:
        running = Running(self.settings, sender, ahead)
        self._running.append(running)
        return running

    def send(self, *alerts: Alert) -> None:
        for alert in alerts:
            value, headers = encode(alert)
            self.producer.send(self.settings.notifications, value, encode_key(alert.account), headers=headers)
        self.producer.flush()

    def read(self, topic: str) -> list[Any]:
        """Return all records of a topic."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        records: list[Any] = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for found in consumer.poll(timeout_ms=200).values():
                records += found
        consumer.close()
        return records

    def receipts(self) -> list[tuple[str, str, str | None]]:
        decoded = [decode_receipt(record.value) for record in self.read(self.settings.receipts)]
        return sorted((each.alert_id, each.disposition, each.reason) for each in decoded)

    def close(self) -> None:
        for running in self._running:
            running.end()
        self.producer.close()


@pytest.fixture
def make_world(unique: str, tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """Make a world on the Kafka at an address."""
    made: list[World] = []

    def make(bootstrap: str) -> World:
        made.append(World(bootstrap, unique, tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def world(bootstrap: str, make_world: Callable[[str], World]) -> World:
    """A world on the suite's Kafka."""
    return make_world(bootstrap)
