"""The supervisor with small stand-ins for workers: what it does when they end, hang, or it is to end itself."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError, SaslAuthenticationFailedError
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from foretell.restarts import Restarts
from foretell.supervised import Supervised, is_absent
from foretell.supervisor import MEANINGS, Patience, Supervisor, meaning
from streams.topics import TopicError

ROOT = Path(__file__).parents[2]
Ends = Callable[[int], bool]

# A process of its own around the supervisor, as `foretell stream --workers` is: signals go to it.
SUPERVISE = """
import json, sys
from foretell.logs import configure_logs
from foretell.restarts import Restarts
from foretell.supervisor import Patience, Supervisor

command, workers, grace = json.loads(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
configure_logs("json")
soon = Patience(grace_seconds=grace, make_restarts=lambda: Restarts(0.02, 0.1, 60))
sys.exit(Supervisor(command, workers, patience=soon).run())
"""

# Answers as a worker does. `ready` and `healthy` in the folder say what; without `serve` it does not answer at all.
ANSWERS = """
import os, signal, sys
from pathlib import Path
from prometheus_client import CollectorRegistry, Gauge
from foretell.serve import serve
from foretell.supervised import Supervised, is_absent

mine, folder = Supervised.of(os.environ), Path(sys.argv[1])
registry = CollectorRegistry()
Gauge("foretell_accounts", "Accounts.", registry=registry).set(10 * (mine.number + 1))
is_there = lambda name: lambda: (folder / f"{name}-{mine.number}").exists()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with serve("127.0.0.1", 0, is_there("healthy"), is_there("ready"), registry) as port:
    mine.tell_port(port)
    signal.sigwait({signal.SIGTERM})
"""

DRAINS = "trap 'echo drained; exit 0' TERM; echo started $$; while :; do sleep 0.02; done"
DEAF = "trap '' TERM; echo started $$; while :; do sleep 0.02; done"


@retry(
    retry=retry_if_result(lambda found: not found),
    wait=wait_fixed(0.02),
    stop=stop_after_delay(30),
)
def eventually(look: Callable[[], Any]) -> Any:
    """Return the first true answer."""
    return look()


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, command: list[str], workers: int = 1, grace_seconds: float = 10) -> None:
        self.log_path = folder / "supervisor.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISE, json.dumps(command), str(workers), str(grace_seconds)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def lines(self) -> list[str]:
        return self.log_path.read_text().splitlines()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the supervisor's own log lines of this name."""
        found = [json.loads(line) for line in self.lines() if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event["event"] == name]

    def pids(self) -> list[int]:
        """Return the process ids that workers said, in order."""
        return [int(found[1]) for line in self.lines() if (found := re.fullmatch(r"started (\d+)", line))]

    def ends(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return what starts a supervisor; killed at the end with all its workers."""
    started: list[Running] = []

    def start(command: list[str], workers: int = 1, grace_seconds: float = 10) -> Running:
        started.append(Running(tmp_path, command, workers, grace_seconds))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.ends()


@contextmanager
def answering(folder: Path, workers: int, patience: Patience) -> Iterator[Supervisor]:
    """Give a supervisor of workers that answer, in a thread of this process."""
    with (folder / "out").open("wb") as output:
        supervisor = Supervisor(
            [sys.executable, "-c", ANSWERS, str(folder)],
            workers,
            environment={**os.environ, "PYTHONPATH": str(ROOT)},
            output=output,
            patience=patience,
        )
        exit_codes: list[int] = []
        thread = threading.Thread(target=lambda: exit_codes.append(supervisor.run()))
        thread.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
            thread.join()
    assert exit_codes == [0]


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def sample(supervisor: Supervisor, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(generate_latest(supervisor.registry).decode())
    for family in families:
        for each in family.samples:
            if (each.name, each.labels) == (name, labels):
                return float(each.value)
    return None


# keeping them running


@pytest.mark.parametrize(
    ("end", "exit_code", "why"),
    [
        ("exit 1", 1, "last lines say which"),
        ("exit 0", 0, "without being asked"),
        ("exit 72", 72, "a checkpoint failed"),
        ("kill -9 $$", -9, "killed by SIGKILL"),
        ("exit 3", 3, "no code of ours"),
    ],
)
def test_a_worker_that_ends_is_started_again_and_the_log_says_why(
    supervise: Callable[..., Running], end: str, exit_code: int, why: str
) -> None:
    running = supervise(shell(f"echo started $$; {end}"))

    eventually(lambda: len(running.pids()) >= 3)

    assert len(set(running.pids())) == len(running.pids())
    ended = running.events("worker_ended")[0]
    assert (ended["worker"], ended["exit_code"]) == (0, exit_code)
    assert why in ended["meaning"]
    assert ended["starts_again_in_seconds"] == 0.02
    waits = [event["starts_again_in_seconds"] for event in running.events("worker_ended")]
    assert waits == sorted(waits)


def test_each_worker_knows_its_number_and_only_the_one_that_ends_is_started_again(
    supervise: Callable[..., Running], tmp_path: Path
) -> None:
    once = f"echo number $FORETELL_WORKER; [ $FORETELL_WORKER = 1 ] && [ ! -e {tmp_path}/ended ] && touch {tmp_path}/ended && exit 70; {DRAINS}"
    running = supervise(shell(once), workers=3)

    eventually(lambda: len(running.pids()) == 3)

    numbers = [line for line in running.lines() if line.startswith("number")]
    assert sorted(numbers) == ["number 0", "number 1", "number 1", "number 2"]
    assert [event["worker"] for event in running.events("worker_ended")] == [1]
    assert running.ends() == 0


def test_a_worker_that_is_misused_at_its_first_start_ends_all_with_exit_code_2(
    supervise: Callable[..., Running],
) -> None:
    running = supervise(shell(f"[ $FORETELL_WORKER = 1 ] && echo foretell: mend line 3 && exit 2; {DRAINS}"), workers=2)

    exit_code = running.process.wait(30)

    assert exit_code == 2
    assert running.lines().count("foretell: mend line 3") == 1
    assert running.events("worker_misused")[0]["worker"] == 1
    assert running.events("worker_ended") == []


def test_a_worker_that_is_misused_later_is_started_again(supervise: Callable[..., Running], tmp_path: Path) -> None:
    later = f"echo started $$; [ -e {tmp_path}/was ] && exit 2; touch {tmp_path}/was; exit 1"
    running = supervise(shell(later))

    eventually(lambda: len(running.pids()) >= 4)

    assert [event["exit_code"] for event in running.events("worker_ended")][:3] == [1, 2, 2]


def test_a_program_that_is_not_there_is_said_and_tried_again(supervise: Callable[..., Running]) -> None:
    running = supervise(["no-such-worker"])

    eventually(lambda: len(running.events("worker_not_started")) >= 3)

    assert "no program 'no-such-worker' on PATH" in running.events("worker_not_started")[0]["why"]
    assert running.ends() == 0


# what they say


def test_lines_of_workers_come_out_whole_and_unchanged_even_the_last_half_one(
    supervise: Callable[..., Running], tmp_path: Path
) -> None:
    write = f"""
import os, sys
number, once = os.environ["FORETELL_WORKER"], {str(tmp_path)!r}
for line in range(200):
    sys.stderr.write('{{"event": "said", "worker": %s, "line": %d, "text": "%s"}}\\n' % (number, line, "x" * 20_000))
    sys.stderr.flush()
sys.stdout.write("half " + number)
sys.stdout.flush()
import signal
signal.pause()
"""
    running = supervise([sys.executable, "-c", write], workers=2)

    eventually(lambda: len(running.events("said")) == 400)
    exit_code = running.ends()

    said = running.events("said")
    for number in range(2):
        assert [event["line"] for event in said if event["worker"] == number] == list(range(200))
    assert {line for line in running.lines() if not line.startswith("{")} == {"half 0", "half 1"}
    assert exit_code == 0


# ending them


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_lets_all_workers_drain_and_ends_with_0(
    supervise: Callable[..., Running], number: signal.Signals, ends: Ends
) -> None:
    running = supervise(shell(DRAINS), workers=3)
    pids = eventually(lambda: len(running.pids()) == 3 and running.pids())

    exit_code = running.ends(number)

    assert exit_code == 0
    assert running.lines().count("drained") == 3
    assert running.events("draining")[0]["why"] == number.name
    assert all(map(ends, pids))


def test_workers_deaf_to_the_end_are_killed_when_the_grace_is_over(
    supervise: Callable[..., Running], ends: Ends
) -> None:
    mixed = f"if [ $FORETELL_WORKER = 0 ]; then {DRAINS}; else {DEAF}; fi"
    running = supervise(shell(mixed), workers=3, grace_seconds=0.5)
    pids = eventually(lambda: len(running.pids()) == 3 and running.pids())

    exit_code = running.ends()

    assert exit_code == 1
    assert [event["worker"] for event in running.events("worker_killed")] == [1, 2]
    assert running.lines().count("drained") == 1
    assert all(map(ends, pids))


def test_a_worker_whose_last_checkpoint_fails_makes_the_exit_code_1(supervise: Callable[..., Running]) -> None:
    running = supervise(shell("trap 'exit 72' TERM; echo started $$; while :; do sleep 0.02; done"))
    eventually(running.pids)

    assert running.ends() == 1
    assert running.events("worker_not_drained")[0]["meaning"] == MEANINGS[72]


def test_a_paused_worker_drains_too(supervise: Callable[..., Running]) -> None:
    running = supervise(shell(DRAINS))
    pid = eventually(running.pids)[0]
    os.killpg(pid, signal.SIGSTOP)

    assert running.ends() == 0
    assert "drained" in running.lines()


def test_nothing_is_started_again_while_ending(supervise: Callable[..., Running]) -> None:
    running = supervise(shell(DRAINS), workers=2)
    eventually(lambda: len(running.pids()) == 2)

    running.process.send_signal(signal.SIGTERM)
    running.process.send_signal(signal.SIGTERM)

    assert running.process.wait(30) == 0
    assert len(running.pids()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_kill_9_of_the_supervisor_leaves_no_worker_behind(supervise: Callable[..., Running], ends: Ends) -> None:
    running = supervise(shell(DEAF), workers=2)
    pids = eventually(lambda: len(running.pids()) == 2 and running.pids())

    running.process.kill()
    running.process.wait()

    assert all(map(ends, pids))


# what it says of them


def test_all_workers_are_in_one_scrape_beside_the_supervisors_own(tmp_path: Path) -> None:
    with answering(tmp_path, 2, Patience()) as supervisor:
        eventually(lambda: sample(supervisor, "foretell_accounts", worker="1") == 20)
        eventually(lambda: sample(supervisor, "foretell_accounts", worker="0") == 10)

        assert sample(supervisor, "foretell_workers_wanted") == 2
        assert sample(supervisor, "foretell_workers_running") == 2
        assert sample(supervisor, "foretell_worker_restarts_total", worker="0") == 0


def test_it_is_ready_when_every_worker_is(tmp_path: Path) -> None:
    with answering(tmp_path, 2, Patience()) as supervisor:
        eventually(lambda: sample(supervisor, "foretell_ready", worker="1") == 0)
        (tmp_path / "ready-0").touch()
        eventually(lambda: sample(supervisor, "foretell_ready", worker="0") == 1)
        assert not supervisor.is_ready()

        (tmp_path / "ready-1").touch()

        assert supervisor.is_ready()


def test_it_is_healthy_while_workers_start_and_as_long_as_each_says_so(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"healthy-{number}").touch()
    with answering(tmp_path, 2, Patience()) as supervisor:
        assert supervisor.is_healthy()
        eventually(lambda: sample(supervisor, "foretell_accounts", worker="1"))
        assert supervisor.is_healthy()

        (tmp_path / "healthy-1").unlink()

        assert not supervisor.is_healthy()


def test_a_killed_worker_comes_back_is_counted_and_is_no_reason_to_restart_everything(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"healthy-{number}").touch()
        (tmp_path / f"ready-{number}").touch()
    slow = Patience(make_restarts=lambda: Restarts(first_seconds=1, most_seconds=1))
    with answering(tmp_path, 2, slow) as supervisor:
        eventually(supervisor.is_ready)
        child = supervisor._seats[1].child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)

        eventually(lambda: sample(supervisor, "foretell_workers_running") == 1)
        assert (supervisor.is_healthy(), supervisor.is_ready()) == (True, False)
        assert sample(supervisor, "foretell_accounts", worker="1") is None
        eventually(supervisor.is_ready)
        assert sample(supervisor, "foretell_worker_restarts_total", worker="1") == 1
        assert sample(supervisor, "foretell_worker_restarts_total", worker="0") == 0


def test_a_worker_that_ends_again_and_again_for_long_is_unhealthy(tmp_path: Path) -> None:
    hopeless = Patience(crash_loop_seconds=0.3, make_restarts=lambda: Restarts(0.01, 0.02))
    with (tmp_path / "out").open("wb") as output:
        supervisor = Supervisor(shell("exit 70"), 1, output=output, patience=hopeless)
        assert supervisor.is_healthy()
        thread = threading.Thread(target=supervisor.run)
        thread.start()

        eventually(lambda: not supervisor.is_healthy())

        supervisor.stop()
        thread.join()


def test_a_worker_that_runs_and_never_says_where_it_answers_is_unhealthy(tmp_path: Path) -> None:
    hopeless = Patience(crash_loop_seconds=0.3, make_restarts=lambda: Restarts(settled_after_seconds=0.1))
    with (tmp_path / "out").open("wb") as output:
        supervisor = Supervisor(shell(DRAINS), 1, output=output, patience=hopeless)
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        eventually(lambda: sample(supervisor, "foretell_workers_running") == 1)

        eventually(lambda: not supervisor.is_healthy())

        supervisor.stop()
        thread.join()


def test_a_worker_that_stands_still_is_neither_healthy_nor_ready_and_scrapes_go_on(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"healthy-{number}").touch()
        (tmp_path / f"ready-{number}").touch()
    with answering(tmp_path, 2, Patience()) as supervisor:
        eventually(supervisor.is_ready)
        child = supervisor._seats[0].child
        assert child is not None

        child.pause()

        assert (supervisor.is_healthy(), supervisor.is_ready()) == (False, False)
        assert sample(supervisor, "foretell_accounts", worker="1") == 20
        assert sample(supervisor, "foretell_accounts", worker="0") is None


# what both sides agree on


def test_a_worker_is_told_all_that_it_must_not_share(tmp_path: Path) -> None:
    told = Supervised(3, tmp_path / "3").prepare("blue")

    assert Supervised.of(told) == Supervised(3, tmp_path / "3")
    assert told["FORETELL_STREAM__INSTANCE_ID"] == "blue-3"
    assert told["FORETELL_HTTP__STREAM"] == "0"
    assert told["TMPDIR"] == str(tmp_path / "3")
    assert "FORETELL_STREAM__INSTANCE_ID" not in Supervised(3, tmp_path / "3").prepare(None)


def test_a_process_that_nobody_supervises_knows_it() -> None:
    assert Supervised.of({}) is None


def test_what_a_killed_worker_left_behind_is_gone_before_the_next_one_starts(tmp_path: Path) -> None:
    mine = Supervised(0, tmp_path / "0")
    mine.prepare(None)
    assert mine.told_port() is None
    mine.tell_port(40_000)
    (mine.folder / "accounts").mkdir()
    assert mine.told_port() == 40_000

    mine.prepare(None)

    assert mine.told_port() is None
    assert list(mine.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("cause", "is_waited_for"),
    [
        (ConnectionRefusedError(111, "refused"), True),
        (KafkaTimeoutError("too slow"), True),
        (SaslAuthenticationFailedError("wrong password"), False),
        (ssl.SSLCertVerificationError("another's certificate"), False),
        (None, False),
    ],
    ids=repr,
)
def test_a_broker_that_is_not_there_is_waited_for_and_nothing_else(
    cause: Exception | None, *, is_waited_for: bool
) -> None:
    error = TopicError("no good")
    error.__cause__ = cause

    assert is_absent(error) is is_waited_for
    assert not is_absent(ValueError("no good"))


def test_every_exit_code_of_the_stream_worker_has_a_meaning() -> None:
    from streams import worker  # noqa: PLC0415 - Faust takes a second, and this test alone needs it

    codes = {value for name, value in vars(worker).items() if name.startswith("EXIT_")}

    assert codes
    assert codes - set(MEANINGS) == set()
    assert meaning(-signal.SIGSEGV) == "killed by SIGSEGV"
