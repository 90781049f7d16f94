"""The demo as a user runs it: a process of its own that starts others, and leaves none behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

SMALL = ("--seconds", "8", "--customers", "40")


class Demo:
    """A running `foretell demo` whose temporary files are in a folder of their own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self.out_path, self.err_path = folder / "out", folder / "err"
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "foretell", "demo", *SMALL, *arguments],
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(self.folder)},
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self.out_path.read_text()

    @property
    def everything(self) -> str:
        return self.out + self.err_path.read_text()

    def children(self) -> list[int]:
        """The ids of all it has started, and of what these have started."""
        return sorted(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))

    def waits_for(self, text: str, seconds: float = 120) -> None:
        patience = Retrying(
            retry=retry_if_result(lambda seen: not seen), wait=wait_fixed(0.1), stop=stop_after_delay(seconds)
        )
        patience(lambda: text in self.everything or self.process.poll() is not None)
        assert text in self.everything


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(60)


def test_the_demo_ends_by_itself_and_its_figures_add_up(demo: Callable[..., Demo]) -> None:
    running = demo("--output", "json")

    assert running.process.wait(240) == 0, running.everything
    found = json.loads(running.out)

    events, alerts = found["events"], found["alerts"]
    assert events["sent"] == sum(events["sent_by_topic"].values())
    assert set(events["sent_by_topic"]) == {"accounts", "usage", "charges"}
    assert events["sent"] == events["read"] == events["applied"] + events["repeated"] + events["rejected"]
    assert events["repeated"] == events["rejected"] == 0
    assert alerts["published"] >= alerts["admitted"] == sum(alerts["admitted_by_kind"].values()) > 0
    assert alerts["admitted"] == sum(found["dispositions"].values())
    assert found["dispositions"]["delivered"] == found["latency"]["messages"]
    assert 0 < found["latency"]["p50_seconds"] <= found["latency"]["p99_seconds"] <= found["latency"]["max_seconds"]
    judged: dict[str, Any] = found["verdict"]["kinds"]
    assert sum(kind["alerts"] for kind in judged.values()) == alerts["admitted"]
    assert len(found["verdict"]["missed"]) == sum(kind["missed"] for kind in judged.values())
    assert list(running.folder.iterdir()) == []


def test_a_signal_in_the_middle_leaves_no_process_and_no_file(
    demo: Callable[..., Demo], ends: Callable[[int], bool]
) -> None:
    running = demo()
    running.waits_for("Replaying")
    children = running.children()

    running.process.terminate()

    assert running.process.wait(60) == 128 + signal.SIGTERM, running.everything
    assert len(children) >= 3  # Kafka, the stream worker, the channel consumer
    assert all(map(ends, children))
    assert list(running.folder.iterdir()) == []
    assert "Traceback" not in running.everything


def test_a_killed_demo_takes_its_processes_with_it(demo: Callable[..., Demo], ends: Callable[[int], bool]) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent was killed")
    running = demo()
    running.waits_for("Replaying")
    children = running.children()

    running.process.kill()

    running.process.wait(10)
    assert all(map(ends, children))


def test_a_process_that_dies_ends_the_demo_with_its_last_words(
    demo: Callable[..., Demo], ends: Callable[[int], bool]
) -> None:
    running = demo()
    running.waits_for("Replaying")
    children = running.children()
    (victim,) = [child for child in children if "-m foretell stream " in " ".join(psutil.Process(child).cmdline())]

    os.kill(victim, signal.SIGKILL)

    assert running.process.wait(60) == 1
    assert "foretell stream ended with exit code -9; its last words:" in running.everything
    assert "metrics=" in running.everything  # a line of its log
    assert all(map(ends, children))


def test_kept_it_says_how_it_went_and_stays_until_it_is_interrupted(
    demo: Callable[..., Demo], ends: Callable[[int], bool]
) -> None:
    running = demo("--keep")
    running.waits_for("until Ctrl-C")
    running.waits_for("(foretell deliver)")
    children = running.children()

    assert running.process.poll() is None
    for line in ("Kafka ", "metrics ", "ledger ", "messages ", "configuration "):
        assert f"  {line}" in running.out
    for said in ("event to message p50", "Against the labels", "simulated days"):
        assert said in running.out
    assert "\x1b" not in running.everything  # it is no terminal
    running.process.send_signal(signal.SIGINT)

    assert running.process.wait(60) == 0, running.everything
    assert all(map(ends, children))
