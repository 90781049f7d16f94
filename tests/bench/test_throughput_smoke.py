"""The speed benchmark still runs, on our side, and what it measures does what it should. No figure decides a test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^bench (\S+) ([\d.]+) (\S+) floor ([\d.]+|-) (ok|short)$")

pytestmark = pytest.mark.timeout(600)  # several processes and a Kafka of its own, on however busy a machine


def bench(*parts: str) -> tuple[str, dict[str, str]]:
    """Run parts on our side and the bare loop, and return what they print and the floor of each row."""
    call = [sys.executable, "-m", "bench.throughput", "--scale", "smoke", "--contestants", "ours", "bare_loop"]
    done = subprocess.run([*call, "--only", *parts], cwd=ROOT, capture_output=True, text=True, timeout=570, check=False)
    assert done.returncode == 0, done.stderr
    rows = [ROW.match(line) for line in done.stdout.partition("\n\n")[2].splitlines()]
    assert all(rows), done.stdout
    return done.stdout, {row[1]: row[4] for row in rows if row}


def test_the_saved_states_are_those_of_a_bare_loop_and_include_every_event() -> None:
    printed, floors = bench("light", "product")

    assert "what our state topic holds is what the bare loop computed" in printed
    assert re.search(r"^  ours +5,000 .*\n  bare_loop +5,000 ", printed, re.MULTILINE)
    assert re.search(r"^  ours +2,000 .*\n  bare_loop +2,000 ", printed, re.MULTILINE)
    assert floors["product_share_of_bare_loop"] == "0.75"


def test_two_workers_and_the_latency_of_alerts_are_measured() -> None:
    printed, floors = bench("workers", "latency")

    assert "2 worker(s)" in printed
    assert floors == {
        "two_workers_cpu_per_event": "1.15",
        "latency_median": "-",
        "latency_p99": "30",
        "latency_longest": "100",
    }


def test_restoring_memory_many_accounts_and_timers_are_measured() -> None:
    printed, floors = bench("restore", "memory", "many", "timers")

    assert printed.count("2,000 accounts of") == 2
    assert floors == {
        "restore_200_bytes": "250000",
        "restore_three_detectors": "60000",
        "memory_hot": "4000",
        "memory_idle": "1500",
        "cost_at_2000_accounts": "1.5",
        "cost_with_10000_timers": "-",
        "memory_of_a_timer": "-",
    }


def test_a_contestant_whose_environment_is_missing_is_said(tmp_path: Path) -> None:
    program = (
        "import sys; from dataclasses import replace; from pathlib import Path; from bench import throughput as bench;"
        "absent = [replace(each, python=Path(sys.argv[1])) for each in bench.CONTESTANTS];"
        "bench.CONTESTANTS = tuple(absent); sys.exit(bench.main(['--contestants', 'quix']))"
    )
    call = [sys.executable, "-c", program, str(tmp_path / "absent")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 2, done.stderr
    assert "`make bench` makes it" in done.stderr
