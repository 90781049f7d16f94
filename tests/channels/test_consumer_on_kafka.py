"""The channel consumer on a real Kafka."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import TopicAlreadyExistsError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from channels import ChannelSettings, Consumer, ConsumerError, DeliveryMetrics, DeliverySettings, Ledger, LedgerError
from channels.senders import Outcome, OutgoingMessage, RecordingSender, Sender
from detectors.alerts import Alert
from detectors.codec import decode_receipt, encode, encode_key

Soon = Callable[[Callable[[], Any]], Any]
PARTITIONS = 3


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
def world(bootstrap: str, unique: str, tmp_path: Path) -> Iterator[World]:
    made = World(bootstrap, unique, tmp_path)
    yield made
    made.close()


def test_an_alert_is_told_and_a_receipt_says_so(world: World, make_alert: Any, soon: Soon) -> None:
    sender = RecordingSender()
    running = world.run(sender)

    world.send(make_alert())
    soon(lambda: running.count("foretell_receipts_published_total") == 1)

    assert [message.account for message in sender.accepted] == ["acct-000000001234"]
    assert world.receipts() == [("x1", "delivered", None)]
    record = world.read(world.settings.receipts)[0]
    assert record.key == b"acct-000000001234"
    assert record.headers == [("content-type", b"application/cloudevents+json")]


def test_a_redelivered_notification_reaches_the_customer_once(world: World, make_alert: Any, soon: Soon) -> None:
    sender = RecordingSender()
    world.send(make_alert(), make_alert(), make_alert("x2"))
    running = world.run(sender)

    world.send(make_alert())
    soon(lambda: running.count("foretell_alerts_repeated_total") == 2)
    soon(lambda: running.count("foretell_receipts_published_total") == 2)

    assert sorted(message.alert_id for message in sender.accepted) == ["x1", "x2"]
    assert running.count("foretell_alerts_received_total", kind="plan_limit") == 4
    assert running.count("foretell_dispositions_total", disposition="delivered", kind="plan_limit") == 2
    assert world.receipts() == [("x1", "delivered", None), ("x2", "delivered", None)]


def test_poison_is_kept_with_why_and_stops_nothing(world: World, make_alert: Any, soon: Soon) -> None:
    sender, topic = RecordingSender(), world.settings.notifications
    good, _ = encode(make_alert())
    poison = {
        b"not json": "not_json",
        b"[]": "not_an_object",
        good.replace(b'"alert.triggered"', b'"usage.recorded"'): "unknown_type",
        good.replace(b'"kind":"plan_limit",', b""): "invalid",
    }
    for number, value in enumerate(poison):
        world.producer.send(topic, value, b"k", headers=[("mine", b"kept")], partition=number % PARTITIONS)
    world.producer.send(topic, b"", None, partition=0)
    world.producer.send(topic, None, b"tombstone", partition=1)
    world.send(make_alert())
    running = world.run(sender)

    soon(lambda: running.count("foretell_receipts_published_total") == 1)
    soon(
        lambda: (
            sum(
                running.count("foretell_dead_letters_total", topic=topic, reason=each)
                for each in {*poison.values(), "empty"}
            )
            == 6
        )
    )

    kept = world.read(world.settings.dead_letters)
    assert {record.value: dict(record.headers)["foretell_reason"].decode() for record in kept if record.value} == poison
    for record in kept:
        headers = dict(record.headers)
        assert headers["foretell_original_topic"] == topic.encode()
        assert int(headers["foretell_original_partition"]) == record.partition
        assert headers["foretell_original_offset"].isdigit()
        assert headers["foretell_original_timestamp"].isdigit()
        assert len(headers["foretell_detail"]) > 10
        assert record.key in (b"k", b"tombstone", None)
        assert record.key != b"k" or headers["mine"] == b"kept"
    assert [message.alert_id for message in sender.accepted] == ["x1"]


def test_poison_as_large_as_a_record_may_be_is_cut_and_kept(world: World, make_alert: Any, soon: Soon) -> None:
    sender, topic = RecordingSender(), world.settings.notifications
    largest = b"x" * (1_048_588 - 80)  # Kafka's default limit for a batch, less its own words
    producer = KafkaProducer(bootstrap_servers=world.bootstrap, max_request_size=2 << 20)
    producer.send(topic, largest, b"k", partition=0).get(10)
    producer.close()
    world.send(make_alert())
    running = world.run(sender)

    soon(lambda: running.count("foretell_dead_letters_total", topic=topic, reason="not_json") == 1)

    kept = world.read(world.settings.dead_letters)[0]
    assert kept.value == largest[:65536]
    assert dict(kept.headers)["foretell_cut_at_bytes"] == b"65536"


def test_poison_that_cannot_be_kept_waits_and_holds_up_its_partition_only(
    world: World, make_alert: Any, soon: Soon
) -> None:
    sender, topic = RecordingSender(), world.settings.notifications
    running = world.run(sender)
    soon(running.consumer.is_ready)
    world.delete_topics(world.settings.dead_letters)
    behind = encode(make_alert("behind"))[0]
    world.producer.send(topic, b"poison", b"k", partition=0).get(10)
    world.producer.send(topic, behind, b"k", partition=0).get(10)
    world.producer.send(topic, encode(make_alert("beside"))[0], b"k", partition=1).get(10)

    soon(lambda: sender.accepted)
    beside = [message.alert_id for message in sender.accepted]
    soon(lambda: topics_can_be_made(world, world.settings.dead_letters))
    soon(lambda: len(sender.accepted) == 2)

    assert beside == ["beside"]
    assert sender.accepted[1].alert_id == "behind"
    assert [record.value for record in world.read(world.settings.dead_letters)] == [b"poison"]


def test_it_goes_on_where_the_ledger_says(world: World, make_alert: Any, soon: Soon) -> None:
    first, second = RecordingSender(), RecordingSender()
    world.send(*(make_alert(f"x{number}", account=f"a{number}") for number in range(20)))
    running = world.run(first)
    soon(lambda: len(first.accepted) == 20)
    running.end()
    world.send(*(make_alert(f"y{number}", account=f"a{number}") for number in range(20)))

    running = world.run(second)
    soon(lambda: len(second.accepted) == 20)

    assert {message.alert_id[0] for message in second.accepted} == {"y"}
    assert running.count("foretell_alerts_repeated_total") == 0
    soon(lambda: len(world.receipts()) == 40)


def test_the_group_shows_how_far_it_has_read(world: World, make_alert: Any, soon: Soon) -> None:
    world.send(make_alert())
    running = world.run(RecordingSender())
    soon(lambda: running.count("foretell_receipts_published_total") == 1)
    running.end()

    with KafkaAdminClient(bootstrap_servers=world.bootstrap) as admin:
        offsets = admin.list_group_offsets([world.settings.group])[world.settings.group]

    assert sum(each.offset for each in offsets.values()) == 1


def test_a_new_ledger_goes_on_where_the_group_was(world: World, make_alert: Any, soon: Soon, tmp_path: Path) -> None:
    first, second = RecordingSender(), RecordingSender()
    world.send(make_alert())
    running = world.run(first)
    soon(lambda: running.count("foretell_receipts_published_total") == 1)
    running.end()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    world.send(make_alert("x2"))

    world.run(second)
    soon(lambda: second.accepted)

    assert [message.alert_id for message in second.accepted] == ["x2"]


def test_two_consumers_share_the_work_and_the_ledger(world: World, make_alert: Any, soon: Soon) -> None:
    first, second = RecordingSender(), RecordingSender()
    one = world.run(first)
    soon(one.consumer.is_ready)
    alerts = [make_alert(f"x{number}", account=f"a{number}") for number in range(60)]
    world.send(*alerts[:20])
    two = world.run(second)
    world.send(*alerts[20:40])
    soon(two.consumer.is_ready)
    two.end()
    world.send(*alerts[40:])

    soon(lambda: len(first.accepted) + len(second.accepted) >= 60)
    soon(lambda: len(world.receipts()) >= 60)

    told = [message.alert_id for message in first.accepted + second.accepted]
    assert sorted(told) == sorted(alert.alert_id for alert in alerts)
    assert one.error is None
    assert two.error is None


def test_receipts_left_unpublished_are_published_at_the_next_start(world: World, make_alert: Any, soon: Soon) -> None:
    ledger = Ledger(world.settings.channels.ledger)
    now = datetime.now(UTC)
    ledger.admit([make_alert(), make_alert(state="resolved")], [], now)
    ledger.close()

    running = world.run(RecordingSender())
    soon(lambda: running.count("foretell_receipts_published_total") == 1)

    assert world.receipts() == [("x1", "resolved_first", "not_true_any_more")]


def test_ready_and_healthy_say_how_it_is(world: World, make_alert: Any, soon: Soon) -> None:
    sender = RecordingSender()
    idle = Consumer(world.settings, DeliveryMetrics(CollectorRegistry()), senders={"console": sender})
    assert not idle.is_ready()
    assert not idle.is_healthy(datetime.now(UTC))

    running = world.run(sender)
    world.send(make_alert())
    soon(running.consumer.is_ready)
    soon(lambda: sender.accepted)
    now = datetime.now(UTC)
    soon(lambda: running.count("foretell_consumer_lag_records", topic=world.settings.notifications, partition="0") == 0)

    assert running.consumer.is_healthy(now)
    assert not running.consumer.is_healthy(now + timedelta(seconds=70))
    running.end()

    assert not running.consumer.is_ready()
    assert not running.consumer.is_healthy(now)


def test_with_enough_to_do_no_more_is_read(world: World, make_alert: Any, soon: Soon) -> None:
    release = threading.Event()

    class Slow(RecordingSender):
        def send(self, message: OutgoingMessage) -> Outcome:
            release.wait(30)
            return super().send(message)

    sender = Slow()
    channels = world.settings.channels.model_copy(update={"most_waiting": 5})
    object.__setattr__(world.settings, "channels", channels)
    world.send(*(make_alert(f"x{number}", account="a") for number in range(20)))
    running = world.run(sender)
    soon(lambda: running.count("foretell_alerts_received_total", kind="plan_limit") == 20)
    world.send(*(make_alert(f"y{number}", account="a") for number in range(20)))

    release.set()
    soon(lambda: len(sender.accepted) == 40)

    assert running.error is None


@pytest.mark.parametrize("same_length", [False, True])
def test_a_ledger_of_another_topic_is_refused(
    same_length: bool,
    world: World,
    make_alert: Any,
    soon: Soon,
) -> None:
    sender = RecordingSender()
    world.send(make_alert())
    running = world.run(sender)
    soon(lambda: running.count("foretell_receipts_published_total") == 1)
    running.end()
    world.delete_topics(*world.topics)
    soon(lambda: topics_can_be_made(world, *world.topics))
    if same_length:
        world.send(make_alert("x2"), make_alert("x3"))

    again = world.run(RecordingSender())
    soon(lambda: again.error)

    assert isinstance(again.error, ConsumerError)
    assert "ledger.sqlite" in str(again.error)
    assert "it was recreated, or this is another Kafka; name another ledger in channels.ledger" in str(again.error)


def topics_can_be_made(world: World, *topics: str) -> bool:
    try:
        world.create_topics(*topics)
    except TopicAlreadyExistsError:  # Kafka deletes in its own time
        return False
    return True


def test_a_topic_that_is_missing_is_named(world: World, soon: Soon) -> None:
    object.__setattr__(world.settings, "receipts", "no.such.topic")

    running = world.run(RecordingSender())
    soon(lambda: running.error)

    assert (
        str(running.error) == "Kafka has no topic no.such.topic, or hides it from us; `foretell topics create` makes it"
    )


def test_an_unknown_option_is_named_without_its_value(world: World, soon: Soon) -> None:
    object.__setattr__(world.settings, "kafka", {"bootstrap_servers": world.bootstrap, "sasl_pasword": "topsecret"})

    running = world.run(RecordingSender())
    soon(lambda: running.error)

    assert "sasl_pasword" in str(running.error)
    assert "topsecret" not in str(running.error)


def test_a_broker_that_is_not_there_is_said_at_once(world: World, monkeypatch: pytest.MonkeyPatch, soon: Soon) -> None:
    monkeypatch.setattr("channels.reader._REACH_SECONDS", 1.0)
    object.__setattr__(
        world.settings, "kafka", {"bootstrap_servers": "127.0.0.1:9", "sasl_plain_password": "topsecret"}
    )

    running = world.run(RecordingSender())
    soon(lambda: running.error)

    assert "no Kafka broker lets us in at 127.0.0.1:9" in str(running.error)
    assert "foretell broker" in str(running.error)
    assert "topsecret" not in str(running.error)


def test_a_broker_that_goes_away_is_waited_for(
    isolated_broker: Any, unique: str, tmp_path: Path, make_alert: Any, soon: Soon
) -> None:
    world = World(isolated_broker.bootstrap, unique, tmp_path)
    sender = RecordingSender()
    with capture_logs() as logged:
        running = world.run(sender)
        world.send(make_alert())
        soon(lambda: running.count("foretell_receipts_published_total") == 1)

        isolated_broker.kill()
        soon(lambda: any(line["event"] == "kafka_client" for line in logged))
        isolated_broker.start()
        world.producer.close()
        world.producer = KafkaProducer(bootstrap_servers=world.bootstrap)
        world.send(make_alert("x2"))
        soon(lambda: running.count("foretell_receipts_published_total") == 2)

    assert running.error is None
    assert [message.alert_id for message in sender.accepted] == ["x1", "x2"]
    assert world.receipts() == [("x1", "delivered", None), ("x2", "delivered", None)]
    assert sum(line["event"] == "kafka_client" for line in logged) == 1
    world.close()


DIES_WHILE_SENDING = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from channels import ChannelSettings, Consumer, DeliveryMetrics, DeliverySettings
from kafka.errors import TopicAlreadyExistsError
from prometheus_client import CollectorRegistry
bootstrap, name, ledger, told = sys.argv[1:]

class Dies:
    def send(self, message):
        with open(told, "a") as file:
            file.write(message.alert_id + "\\n")
        os.kill(os.getpid(), signal.SIGKILL)

settings = DeliverySettings(
    ChannelSettings(ledger=ledger), {"bootstrap_servers": bootstrap}, f"{name}.notifications", f"{name}.receipts", name
)
Consumer(settings, DeliveryMetrics(CollectorRegistry()), senders={"console": Dies()}).run()
"""


def test_a_consumer_killed_between_sending_and_noting_it_tells_nobody_twice(
    world: World, make_alert: Any, soon: Soon, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    world.send(make_alert())
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            DIES_WHILE_SENDING,
            world.bootstrap,
            world.settings.group,
            world.settings.channels.ledger,
            told,
        ],
        timeout=60,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    sender = RecordingSender()
    world.run(sender, ahead=timedelta(minutes=10))  # the dead one's lease is over
    world.send(make_alert(), make_alert("x2"))

    soon(lambda: len(world.receipts()) == 2)

    assert told.read_text() == "x1\n"
    assert [message.alert_id for message in sender.accepted] == ["x2"]
    assert world.receipts() == [("x1", "unknown", "provider_lost"), ("x2", "delivered", None)]
    ledger = Ledger(world.settings.channels.ledger)
    assert ledger.conservation().holds
    ledger.close()
