"""The benchmark of detection still runs. What it measures decides no test."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "bench.detection", *arguments]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_costs_and_sizes_are_measured_on_made_up_accounts() -> None:
    done = bench("--only", "costs", "sizes")

    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^bench (\w+) (\S+ \w+ floor \S+ (?:ok|short))$", done.stdout, re.MULTILINE))
    assert {"spike_cost", "charge_cost", "limit_cost", "series_cost"} <= rows.keys()
    assert {"usage_spike_state", "plan_limit_state", "monitored_series_state"} <= rows.keys()


def test_missing_data_is_said() -> None:
    done = bench("--data", "/nowhere", "--only", "spikes", "charges", "limits")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("there is no folder /nowhere; give one with --data") == 3
