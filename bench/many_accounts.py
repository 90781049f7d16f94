"""Whether an event costs more when there are a thousand times as many accounts."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from tempfile import TemporaryDirectory

from .contest import run_program, say
from .contestant import Task
from .events import Readings, pour
from .ours import PREPARED


def measure(bootstrap: str, run: str, accounts: int, events: int, begin: datetime) -> float:
    """Return the processor seconds of an event with so many accounts in a run's state topic, checkpoints included.

    Each event is the first of a new hour for its account, whether there are many accounts or few.
    """
    rounds_of_readings = -(-events // accounts)
    readings = Readings(accounts, rounds_of_readings, minutes=60, begin=begin + timedelta(hours=1))
    pour(bootstrap, f"{run}.readings", islice(readings, events))
    with TemporaryDirectory(prefix="foretell-bench-") as folder:
        task = Task(bootstrap, f"{run}.readings", events, accounts, "product", run, folder)
        report = run_program("bench.ours", *task.arguments(), PREPARED, events=events)
    cost = report["cpu_seconds"] / events
    say(
        f"  {accounts:,} accounts: {cost * 1e6:.1f} us of processor time an event, {report['checkpoints']:.0f} checkpoints,"
        f" {report['peak_mb']:,} MB"
    )
    return float(cost)
