"""The channel consumer on a real Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from prometheus_client import CollectorRegistry

from channels import Consumer, DeliveryMetrics, Ledger
from channels.senders import Outcome, OutgoingMessage, RecordingSender
from detectors.codec import encode

Soon = Callable[[Callable[[], Any]], Any]
PARTITIONS = 3


def test_an_alert_is_told_and_a_receipt_says_so(world: Any, make_alert: Any, soon: Soon) -> None:
    sender = RecordingSender()
    running = world.run(sender)

    world.send(make_alert())
    soon(lambda: running.count("foretell_receipts_published_total") == 1)

    assert [message.account for message in sender.accepted] == ["acct-000000001234"]
    assert world.receipts() == [("x1", "delivered", None)]
    record = world.read(world.settings.receipts)[0]
    assert record.key == b"acct-000000001234"
    assert record.headers == [("content-type", b"application/cloudevents+json")]


def test_a_redelivered_notification_reaches_the_customer_once(world: Any, make_alert: Any, soon: Soon) -> None:
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


def test_poison_is_kept_with_why_and_stops_nothing(world: Any, make_alert: Any, soon: Soon) -> None:
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


def test_poison_as_large_as_a_record_may_be_is_cut_and_kept(world: Any, make_alert: Any, soon: Soon) -> None:
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


def test_it_goes_on_where_the_ledger_says(world: Any, make_alert: Any, soon: Soon) -> None:
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


def test_the_group_shows_how_far_it_has_read(world: Any, make_alert: Any, soon: Soon) -> None:
    world.send(make_alert())
    running = world.run(RecordingSender())
    soon(lambda: running.count("foretell_receipts_published_total") == 1)
    running.end()

    with KafkaAdminClient(bootstrap_servers=world.bootstrap) as admin:
        offsets = admin.list_group_offsets([world.settings.group])[world.settings.group]

    assert sum(each.offset for each in offsets.values()) == 1


def test_a_new_ledger_goes_on_where_the_group_was(world: Any, make_alert: Any, soon: Soon, tmp_path: Path) -> None:
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


def test_two_consumers_share_the_work_and_the_ledger(world: Any, make_alert: Any, soon: Soon) -> None:
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


def test_receipts_left_unpublished_are_published_at_the_next_start(world: Any, make_alert: Any, soon: Soon) -> None:
    ledger = Ledger(world.settings.channels.ledger)
    now = datetime.now(UTC)
    ledger.admit([make_alert(), make_alert(state="resolved")], [], now)
    ledger.close()

    running = world.run(RecordingSender())
    soon(lambda: running.count("foretell_receipts_published_total") == 1)

    assert world.receipts() == [("x1", "resolved_first", "not_true_any_more")]


def test_ready_and_healthy_say_how_it_is(world: Any, make_alert: Any, soon: Soon) -> None:
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


def test_with_enough_to_do_no_more_is_read(world: Any, make_alert: Any, soon: Soon) -> None:
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
