import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from foretell.processes import _DIE_WITH_PARENT, ChildProcess, Children

ROOT = Path(__file__).parents[2]
Ends = Callable[[int], bool]

# Starts itself once more, which starts a sleeper, each by way of Children: three generations in three groups.
FAMILY = """
import sys, time
from pathlib import Path
from foretell.processes import Children

folder, generation = Path(sys.argv[1]), int(sys.argv[2])
child = [sys.executable, __file__, str(folder), str(generation + 1)] if generation < 2 else ["sleep", "1000"]
with Children(grace_seconds=3) as children:
    print(children.start(child, name="child", log_path=folder / f"{generation}.log").pid, flush=True)
    time.sleep(1000)
"""

DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@retry(retry=retry_if_exception_type(TypeError), wait=wait_fixed(0.02), stop=stop_after_delay(20), reraise=True)
def read(log_path: Path, pattern: str) -> str:
    """Return what `pattern` matches in a log, as soon as it does."""
    return re.search(pattern, log_path.read_text() if log_path.exists() else "")[0]  # type: ignore[index]


def shell(script: str, log_path: Path) -> ChildProcess:
    return ChildProcess(["sh", "-c", script], name="shell", log_path=log_path)


def start_family(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Return a parent in the making of this test and the ids of its child and its child's child."""
    script = folder / "family.py"
    script.write_text(FAMILY)
    with (folder / "0.log").open("wb") as log:
        parent = subprocess.Popen(
            [sys.executable, script, folder, "1"], stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    return parent, [int(read(folder / name, r"\d+\n")) for name in ("0.log", "1.log")]


def test_a_child_leaves_its_output_and_its_exit_code(tmp_path: Path) -> None:
    child = ChildProcess(
        ["sh", "-c", "echo $GREETING from $(basename $PWD); echo trouble >&2; exit 3"],
        name="shell",
        log_path=tmp_path / "log",
        environment={**os.environ, "GREETING": "hello"},
        folder=tmp_path,
    )

    assert child.wait(10) == 3
    assert not child.is_running
    assert child.log_tail().splitlines() == [f"hello from {tmp_path.name}", "trouble"]
    assert child.log_tail(lines=1) == "trouble"


def test_without_a_log_file_the_output_comes_through_a_pipe() -> None:
    child = ChildProcess(["sh", "-c", "echo hello; echo trouble >&2"], name="shell")
    with child.output as lines:
        said = lines.read()

    assert child.wait(10) == 0
    assert said == b"hello\ntrouble\n"
    with pytest.raises(ValueError, match="shell has no log file; its parent reads `output`"):
        _ = child.log_path


def test_a_child_with_a_log_file_has_no_pipe(tmp_path: Path) -> None:
    child = shell("exit 0", tmp_path / "log")
    child.wait(10)

    with pytest.raises(ValueError, match=f"shell writes to {tmp_path / 'log'}; read that"):
        _ = child.output


def test_waiting_ends_when_the_time_is_up(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start(["sleep", "1000"], name="sleeper", log_path=tmp_path / "log")

        assert child.wait(0.1) is None
        assert child.is_running


def test_a_missing_program_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the oracle cannot start: no program 'delphi' on PATH; install it"):
        ChildProcess(["delphi"], name="the oracle", log_path=tmp_path / "log")


def test_a_child_that_ends_when_asked_is_not_killed(tmp_path: Path) -> None:
    child = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done", tmp_path / "log")
    read(child.log_path, "ready")

    child.terminate()

    assert child.exit_code == 7


def test_children_that_are_asked_to_end_do_so_beside_each_other(tmp_path: Path) -> None:
    # each waits for the other to have been asked; a paused one too
    script = "trap 'touch {0}/{1}; while [ ! -e {0}/{2} ]; do sleep 0.02; done; exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    pair = [shell(script.format(tmp_path, mine, other), tmp_path / f"{mine}.log") for mine, other in ("ab", "ba")]
    for child in pair:
        read(child.log_path, "ready")
    pair[0].pause()

    for child in pair:
        child.ask_to_end()

    assert [child.wait(20) for child in pair] == [7, 7]


def test_a_child_deaf_to_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = shell(DEAF, tmp_path / "log")
    read(child.log_path, "ready")

    child.terminate(grace_seconds=0.2)

    assert child.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("end", [ChildProcess.kill, ChildProcess.terminate])
def test_what_a_child_started_ends_with_it(end: Callable[[ChildProcess], None], tmp_path: Path, ends: Ends) -> None:
    child = shell("trap 'exit 0' TERM; (trap '' TERM; exec sleep 1000) & echo $!; wait", tmp_path / "log")
    grandchild = int(read(child.log_path, r"\d+\n"))

    end(child)

    assert ends(grandchild)


def test_what_a_child_left_behind_ends_when_that_is_noticed(tmp_path: Path, ends: Ends) -> None:
    child = shell("sleep 1000 & echo $!", tmp_path / "log")

    assert child.wait(10) == 0
    assert ends(int(child.log_tail()))


def test_a_paused_child_stands_still_until_resumed_and_can_be_ended(tmp_path: Path) -> None:
    child = shell("while :; do echo tick; sleep 0.01; done", tmp_path / "log")
    read(child.log_path, "tick")

    child.pause()
    paused_at = child.log_path.stat().st_size
    time.sleep(0.2)
    grown_by = child.log_path.stat().st_size - paused_at
    child.resume()
    read(child.log_path, rf"(?s).{{{paused_at + 10}}}")
    child.pause()
    child.terminate()

    assert grown_by == 0
    assert child.exit_code == -signal.SIGTERM


def test_an_ended_child_can_be_ended_paused_and_resumed_without_harm(tmp_path: Path) -> None:
    child = shell("exit 0", tmp_path / "log")
    child.wait(10)

    for act in (child.terminate, child.kill, child.pause, child.resume):
        act()

    assert child.exit_code == 0


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: started.append(shell("sleep 1000", tmp_path / "log")))
    thread.start()
    thread.join()

    assert started[0].wait(0.5) is None
    started[0].kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_whose_parent_died_before_it_could_ask_does_not_start() -> None:
    stranger = "1" if os.getpid() != 1 else "2"
    wrapper = [sys.executable, "-c", _DIE_WITH_PARENT, stranger, "/bin/echo", "started"]

    assert subprocess.run(wrapper, capture_output=True, check=True).stdout == b""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_kill_9_of_the_parent_ends_child_and_grandchild(tmp_path: Path, ends: Ends) -> None:
    parent, descendants = start_family(tmp_path)

    parent.kill()
    parent.wait()

    assert all(map(ends, descendants))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_the_parent_ends_child_and_grandchild(number: signal.Signals, tmp_path: Path, ends: Ends) -> None:
    parent, descendants = start_family(tmp_path)

    parent.send_signal(number)

    assert parent.wait(20) == (-number if number == signal.SIGINT else 128 + number)
    assert all(map(ends, descendants))


def test_an_impatient_second_signal_leaves_nothing_behind(tmp_path: Path) -> None:
    interrupts_its_own_ending = "trap 'kill -INT $PPID; echo impatient' TERM; echo ready; while :; do sleep 0.05; done"
    with pytest.raises(KeyboardInterrupt), Children(grace_seconds=1) as children:  # noqa: PT012
        child = children.start(["sh", "-c", interrupts_its_own_ending], name="child", log_path=tmp_path / "log")
        read(child.log_path, "ready")
        os.kill(os.getpid(), signal.SIGINT)

    assert child.exit_code == -signal.SIGKILL
    assert child.log_tail(lines=1) == "impatient"


def test_children_end_in_reverse_order_of_their_start(tmp_path: Path) -> None:
    last_words = "trap 'echo {} >> {}/ended; exit' TERM; echo ready; while :; do sleep 0.02; done"
    with Children() as children:
        for name in ("broker", "worker", "feed"):
            script = last_words.format(name, tmp_path)
            children.start(["sh", "-c", script], name=name, log_path=tmp_path / name)
            read(tmp_path / name, "ready")

    assert (tmp_path / "ended").read_text().split() == ["feed", "worker", "broker"]


def test_an_error_ends_the_children_and_passes(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Children() as children:  # noqa: PT012
        child = children.start(["sleep", "1000"], name="sleeper", log_path=tmp_path / "log")
        raise ZeroDivisionError

    assert not child.is_running


def test_signals_mean_what_they_meant_once_the_children_have_ended() -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in signals]

    with Children():
        pass

    assert [signal.getsignal(number) for number in signals] == before


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Children():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
