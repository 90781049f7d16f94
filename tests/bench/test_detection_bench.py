"""The benchmark still runs. What it measures decides no test."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(ROOT / "bench" / "detection.py"), *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=240, check=False)


def test_the_water_meter_is_measured() -> None:
    done = bench("--only", "water")

    assert done.returncode == 0, done.stderr
    assert "river.datasets.WaterFlow" in done.stdout


def test_missing_data_is_said() -> None:
    done = bench("--data", "/nowhere", "--only", "cost")

    assert done.returncode == 2
    assert "no folder /nowhere" in done.stderr


@pytest.mark.skipif(
    not DATA.is_dir(), reason="the public data lies beside the checkout while developing, and is absent here"
)
def test_a_usage_event_is_measured() -> None:
    done = bench("--data", str(DATA), "--only", "cost")

    assert done.returncode == 0, done.stderr
    assert "cost of a usage event" in done.stdout
