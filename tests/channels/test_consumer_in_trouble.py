"""The channel consumer on a real Kafka when things go wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import TopicAlreadyExistsError
from structlog.testing import capture_logs

from channels import ConsumerError, Ledger
from channels.senders import RecordingSender
from detectors.codec import encode

Soon = Callable[[Callable[[], Any]], Any]


def test_poison_that_cannot_be_kept_waits_and_holds_up_its_partition_only(
    world: Any, make_alert: Any, soon: Soon
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


@pytest.mark.parametrize("same_length", [False, True])
def test_a_ledger_of_another_topic_is_refused(
    same_length: bool,
    world: Any,
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


def topics_can_be_made(world: Any, *topics: str) -> bool:
    try:
        world.create_topics(*topics)
    except TopicAlreadyExistsError:  # Kafka deletes in its own time
        return False
    return True


def test_a_topic_that_is_missing_is_named(world: Any, soon: Soon) -> None:
    object.__setattr__(world.settings, "receipts", "no.such.topic")

    running = world.run(RecordingSender())
    soon(lambda: running.error)

    assert (
        str(running.error) == "Kafka has no topic no.such.topic, or hides it from us; `foretell topics create` makes it"
    )


def test_an_unknown_option_is_named_without_its_value(world: Any, soon: Soon) -> None:
    object.__setattr__(world.settings, "kafka", {"bootstrap_servers": world.bootstrap, "sasl_pasword": "topsecret"})

    running = world.run(RecordingSender())
    soon(lambda: running.error)

    assert "sasl_pasword" in str(running.error)
    assert "topsecret" not in str(running.error)


def test_a_broker_that_is_not_there_is_said_at_once(world: Any, monkeypatch: pytest.MonkeyPatch, soon: Soon) -> None:
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
    isolated_broker: Any, make_world: Callable[[str], Any], make_alert: Any, soon: Soon
) -> None:
    world = make_world(isolated_broker.bootstrap)
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
    world: Any, make_alert: Any, soon: Soon, tmp_path: Path
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
