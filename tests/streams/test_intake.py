"""The intake on a real Kafka: bulletins to every partition, foreign topics keyed anew, nothing skipped."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import orjson
import pytest
import tenacity
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry

import channels.publisher
from detectors.alerts import Alert, DetectorVersion
from detectors.bulletins import IncidentReported, NoticePublished
from detectors.codec import encode, encode_key
from foretell.broker import LocalBroker
from streams.intake import Intake
from streams.keys import partition_of
from streams.metrics import StreamMetrics
from streams.publisher import Outbox, Outgoing, Publisher
from streams.settings import KafkaSettings, RepartitionSettings, StreamSettings, TopicsSettings, WorkerSettings
from streams.topics import admin, create, readers

PARTITIONS = 4
NOW = datetime.now(UTC).replace(microsecond=0)
MAP = {"account": "who", "time": "at", "quantity": "kwh", "meter": {"value": "power"}, "unit": {"value": "kWh"}}


@dataclass
class World:
    """Topics of their own on a broker, a producer, and what it takes to look at them."""

    bootstrap: str
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    prefix: str = field(default_factory=lambda: f"in{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.foreign = f"{self.prefix}.acme"
        self.topics = TopicsSettings(prefix=self.prefix, partitions=PARTITIONS)
        self.settings = StreamSettings(
            kafka=KafkaSettings(bootstrap=self.bootstrap, group=self.prefix),
            topics=self.topics,
            repartition=(RepartitionSettings.model_validate({"from": self.foreign, "to": "usage", "map": MAP}),),
            worker=self.worker,
        )
        with admin(self.settings.kafka) as client:
            spec = {"num_partitions": 3, "replication_factor": 1}
            client.create_topics({self.foreign: spec}, wait_for_metadata=True)
            create(client, self.topics, self.settings.repartition)
        self.producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", delivery_timeout_ms=120_000)

    def send(self, topic: str, *values: bytes | None, key: bytes | None = None) -> None:
        for number, value in enumerate(values):
            self.producer.send(topic, value, key, headers=[("mine", b"kept")], partition=number % 3)
        self.producer.flush(60)

    def read(self, topic: str) -> list[Any]:
        """Return all records that are committed there now."""
        with closing(KafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed")) as consumer:
            places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
            consumer.assign(places)
            consumer.seek_to_beginning(*places)
            ends, found = consumer.end_offsets(places), []
            while any(consumer.position(place) < end for place, end in ends.items()):
                found += [record for records in consumer.poll(timeout_ms=200).values() for record in records]
            return found

    def lag(self, *topics: str) -> int:
        """Return how many records the intake's group has not committed."""
        with admin(self.settings.kafka) as client, closing(KafkaConsumer(bootstrap_servers=self.bootstrap)) as consumer:
            group = f"{self.prefix}.intake"
            committed = client.list_group_offsets({group: None})[group]
            places = [
                TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic)
            ]
            ends = consumer.end_offsets(places)
            return sum(
                end - max(0, committed[place].offset if place in committed else 0) for place, end in ends.items()
            )


class Running:
    """An intake at work in a thread of its own."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Cancel it and wait until it has ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel if self._task else self._loop.stop)
            self._thread.join(30)
            assert not self._thread.is_alive()

    def join(self) -> None:
        """Wait until it ends by itself."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._task = self._loop.create_task(self.intake.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self._loop.close()


@tenacity.retry(
    retry=tenacity.retry_if_result(lambda found: not found) | tenacity.retry_if_exception_type(KafkaError),
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(90),
)
def soon(found: Callable[[], Any]) -> Any:
    return found()


@pytest.fixture
def world(bootstrap: str) -> Iterator[World]:
    world = World(bootstrap)
    yield world
    world.producer.close()


async def send_with_null_headers(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    await producer.send_and_wait(topic, value, headers=[("ce_type", None), ("content-type", None)])
    await producer.stop()


def reading(number: int, **other: Any) -> bytes:
    return orjson.dumps({"who": f"a{number % 50}", "at": NOW.isoformat(), "kwh": number} | other)


def structured(number: int) -> bytes:
    event = {"account": f"a{number % 50}", "meter": "power", "quantity": number, "unit": "kWh"}
    envelope = {"specversion": "1.0", "type": "usage.recorded", "id": f"e{number}", "source": "/acme"}
    return orjson.dumps(envelope | {"subject": event["account"], "time": NOW.isoformat(), "data": event})


def report(number: int, **facts: Any) -> IncidentReported:
    given = {"incident": f"i{number}", "service": "water", "areas": ("north",)} | facts
    return IncidentReported(id=f"r{number}", source="/ops", time=NOW, **given)


def test_every_partition_hears_of_every_bulletin(world: World) -> None:
    notice = NoticePublished(id="n1", source="/ops", time=NOW, notice="n", template="works", spread_over="2h")
    world.send(world.topics.named("incidents"), *(encode(each)[0] for each in (report(1), report(2), notice)))

    with Running(Intake(world.settings)):
        soon(lambda: world.lag(world.topics.named("incidents")) == 0)

    bulletins = world.topics.named("bulletins")
    found = world.read(bulletins)
    read = readers(world.topics)[bulletins].read
    for number in range(PARTITIONS):
        here = [record for record in found if record.partition == number]
        assert {record.key for record in here} == {str(number).encode()}
        events = {event.id: event for event in (read(record.value, record.headers) for record in here)}
        assert events == {"r1": report(1), "r2": report(2), "n1": notice}


def test_a_foreign_topic_is_written_anew_with_the_account_as_key(world: World) -> None:
    world.send(world.foreign, *(reading(number) for number in range(600)), key=b"meter-7")
    world.send(world.foreign, *(structured(number) for number in range(30)), key=b"meter-7")
    registry = CollectorRegistry()

    with Running(Intake(world.settings, StreamMetrics(registry))):
        soon(lambda: world.lag(world.foreign) == 0)

    usage = world.topics.named("usage")
    found = world.read(usage)
    events = [readers(world.topics)[usage].read(record.value, record.headers) for record in found]
    for record, event in zip(found, events, strict=True):
        assert record.key == encode_key(event.about)
        assert record.partition == partition_of(record.key, PARTITIONS)
    positions = {f"{world.foreign}-{number}-{offset}" for number in range(3) for offset in range(200)}
    assert {event.id for event in events} == positions | {f"e{number}" for number in range(30)}
    assert {event.source for event in events} == {f"/kafka/{world.foreign}", "/acme"}
    assert len(found) == 630
    assert registry.get_sample_value("foretell_events_applied_total", {"topic": world.foreign}) == 630


def test_what_cannot_be_read_becomes_a_dead_letter_and_stops_nothing(world: World) -> None:
    poison = {
        b"no json": "not_json",
        b"": "empty",
        reading(1, who=""): "invalid",
        reading(2, at=(NOW + timedelta(days=40)).isoformat()): "from_the_future",
    }
    world.send(world.foreign, *poison, reading(3), key=b"meter-7")
    asyncio.run(send_with_null_headers(world.bootstrap, world.foreign, b"null headers"))
    poison[b"null headers"] = "not_json"
    late = encode(report(1).model_copy(update={"time": NOW + timedelta(days=2)}))[0]
    world.send(world.topics.named("incidents"), late, structured(1))

    with Running(Intake(world.settings)):
        soon(lambda: world.lag(world.foreign, world.topics.named("incidents")) == 0)

    kept = world.read(f"{world.foreign}-dlt")
    assert {record.value: dict(record.headers)["foretell_reason"].decode() for record in kept} == poison
    assert {record.key for record in kept} == {b"meter-7", None}
    assert {dict(record.headers).get("mine") for record in kept} == {b"kept", None}
    assert {dict(record.headers)["foretell_original_topic"].decode() for record in kept} == {world.foreign}
    incidents = world.read(world.topics.named("incidents") + "-dlt")
    assert {dict(record.headers)["foretell_reason"] for record in incidents} == {b"from_the_future", b"unknown_type"}
    assert len(world.read(world.topics.named("usage"))) == 1
    assert world.read(world.topics.named("bulletins")) == []


def test_a_restarted_intake_goes_on_where_it_was(world: World) -> None:
    world.send(world.foreign, *(reading(number) for number in range(30)))
    with Running(Intake(world.settings)):
        soon(lambda: world.lag(world.foreign) == 0)
    world.send(world.foreign, *(reading(number) for number in range(30, 60)))
    with Running(Intake(world.settings)):
        soon(lambda: world.lag(world.foreign) == 0)

    assert len(world.read(world.topics.named("usage"))) == 60


def test_large_incidents_reach_every_partition(world: World) -> None:
    accounts = tuple(f"account-{number:060}" for number in range(10_000))
    world.send(world.topics.named("incidents"), *(encode(report(number, accounts=accounts))[0] for number in range(6)))

    with Running(Intake(world.settings)):
        soon(lambda: world.lag(world.topics.named("incidents")) == 0)

    found = world.read(world.topics.named("bulletins"))
    heard = {(record.partition, orjson.loads(record.value)["id"]) for record in found}
    assert heard == {(partition, f"r{number}") for partition in range(PARTITIONS) for number in range(6)}
    assert world.read(world.topics.named("incidents") + "-dlt") == []


def test_several_intakes_that_come_and_go_skip_nothing(world: World) -> None:
    total, sent = 3000, 0
    with Running(Intake(world.settings)) as first, Running(Intake(world.settings)) as second:
        for leaving in (first, second):
            world.send(world.foreign, *(reading(number) for number in range(sent, sent + 1000)))
            sent += 1000
            soon(lambda: world.lag(world.foreign) < 1000)
            leaving.stop()
        world.send(world.foreign, *(reading(number) for number in range(sent, total)))
        with Running(Intake(world.settings)):
            soon(lambda: world.lag(world.foreign) == 0)

    ids = {orjson.loads(record.value)["id"] for record in world.read(world.topics.named("usage"))}
    assert len(ids) == total


def test_what_cannot_be_written_comes_out_of_run(world: World) -> None:
    with admin(world.settings.kafka) as client:
        client.delete_topics([world.topics.named("usage")])
        soon(lambda: world.topics.named("usage") not in {each["name"] for each in client.describe_topics()})
        small = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": {"max.message.bytes": "200"}}
        client.create_topics({world.topics.named("usage"): small}, wait_for_metadata=True)
    world.send(world.foreign, reading(1))

    with Running(Intake(world.settings)) as running:
        running.join()

    assert isinstance(running.error, MessageSizeTooLargeError)
    assert world.lag(world.foreign) > 0


def test_a_broker_that_goes_away_costs_time_and_no_record(isolated_broker: LocalBroker) -> None:
    world = World(isolated_broker.bootstrap, WorkerSettings(stalled_after_seconds=0.5))
    total = 4000
    with Running(Intake(world.settings)) as running, closing(world.producer):
        world.send(world.foreign, *(reading(number) for number in range(1000)))
        soon(lambda: world.lag(world.foreign) < 1000)
        for number in range(1000, total):
            world.producer.send(world.foreign, reading(number), partition=number % 3)
        isolated_broker.kill()
        isolated_broker.start()
        world.producer.flush(90)
        soon(lambda: world.lag(world.foreign) == 0)

    assert running.error is None
    ids = {orjson.loads(record.value)["id"] for record in world.read(world.topics.named("usage"))}
    assert len(ids) == total


def test_an_intake_waits_for_a_broker_that_is_not_there_yet(isolated_broker: LocalBroker) -> None:
    world = World(isolated_broker.bootstrap)
    with closing(world.producer):
        world.send(world.foreign, reading(1))
    isolated_broker.kill()
    with Running(Intake(world.settings)) as running:
        isolated_broker.start()
        soon(lambda: world.lag(world.foreign) == 0)

    assert running.error is None


def test_an_intake_that_is_stuck_is_not_healthy(isolated_broker: LocalBroker) -> None:
    world = World(isolated_broker.bootstrap, WorkerSettings(stalled_after_seconds=0.5))
    with closing(world.producer):
        world.send(world.foreign, *(reading(number) for number in range(30_000)))
    with Running(Intake(world.settings)) as running:
        assert running.intake.is_healthy()
        soon(lambda: world.lag(world.foreign) < 30_000)
        isolated_broker.pause()
        soon(lambda: not running.intake.is_healthy())
        isolated_broker.resume()
        soon(lambda: world.lag(world.foreign) == 0)
        soon(running.intake.is_healthy)

    assert running.error is None


def test_what_we_publish_lies_where_kafkas_own_clients_look_for_it(world: World) -> None:
    accounts = [f"konto-{number}-ö" for number in range(100)]
    alerts = [encode(alert_for(account)) for account in accounts]
    outgoing = [
        Outgoing(world.topics.named("notifications"), encode_key(account), value, headers)
        for account, (value, headers) in zip(accounts, alerts, strict=True)
    ]

    async def publish() -> None:
        publisher = Publisher(world.settings.kafka)
        outbox = Outbox(publisher)
        outbox.put(outgoing)
        await outbox.flush()
        await publisher.close()

    asyncio.run(publish())
    options = channels.publisher._OPTIONS | world.settings.kafka.client_options()
    with closing(KafkaProducer(**options)) as producer:
        for account in accounts:
            producer.send(world.topics.named("receipts"), b"{}", encode_key(account))

    for role in ("notifications", "receipts"):
        found = world.read(world.topics.named(role))
        assert len(found) == 100
        assert all(record.partition == partition_of(record.key, PARTITIONS) for record in found)


def alert_for(account: str) -> Alert:
    return Alert(
        id="x1:triggered",
        source="/tests",
        time=NOW,
        account=account,
        alert_id="x1",
        kind="usage_spike",
        subject="data",
        state="triggered",
        score=1.0,
        severity="info",
        alert_class="limit",
        occurred_at=NOW,
        detected_at=NOW,
        useful_until=NOW,
        detector=DetectorVersion(name="usage_spike", version=1),
        config="c",
    )
