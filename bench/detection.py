"""How well the detectors do on public data, what an event costs them, and how small an account is.

    python -m bench.detection --data ../shared/data

Everything is strictly online, through the adapters that outside scorers use. The data was used for developing: expect
other data to give a little less. Ends with one line for each row, `bench NAME VALUE UNIT floor FLOOR ok|short`; exits with 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import cast

from detectors.evaluation import LabelledScorer, adapter

from . import adapter_costs, state_sizes
from .charge_protocol import CIRCUMSTANCES, average_precision, read_charges
from .limit_protocol import measure as measure_limits
from .rows import Row
from .spike_protocol import KINDS, read_homes, recalls

SEEDS = (1, 2, 3)
_BUDGETS = {1.0: 0.82, 0.25: 0.41}
_YOUNG_BUDGET, _YOUNG_FLOOR = 1.3, 0.84
_CHARGE_FLOORS = (0.73, 0.86, 0.91, 0.33)


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is asked for and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the Parquet files")
    parser.add_argument("--only", nargs="+", choices=("spikes", "charges", "limits", "costs", "sizes"), default=None)
    options = parser.parse_args(words)
    parts = {
        "spikes": lambda: spikes(options.data),
        "charges": lambda: charges(options.data),
        "limits": lambda: limits(options.data),
        "costs": adapter_costs.rows,
        "sizes": state_sizes.rows,
    }
    found: list[Row] = []
    for name, measure in parts.items():
        if options.only is not None and name not in options.only:
            continue
        if name in {"spikes", "charges", "limits"} and not options.data.is_dir():
            print(f"{name}: there is no folder {options.data}; give one with --data")
            continue
        found += measure()
    print()
    for row in found:
        print(row)


def spikes(data: Path) -> Iterator[Row]:
    """Yield the rows of usage spikes in homes."""
    homes = read_homes(data)
    print(f"spikes: {len(homes)} homes, {', '.join(KINDS)}; {len(SEEDS)} draws")
    settled = [recalls(adapter("spike"), homes, tuple(_BUDGETS), seed) for seed in SEEDS]
    for number, (budget, floor) in enumerate(_BUDGETS.items()):
        yield Row(f"spike_recall_at_{budget:g}", mean(each[number].found for each in settled), "share", floor)
    young = [recalls(adapter("spike"), homes, (_YOUNG_BUDGET,), seed, is_young=True)[0] for seed in SEEDS]
    print(f"spikes, days 3 to 28: {mean(each.false for each in young):.2f} false alerts an account-month")
    yield Row("spike_recall_days_3_to_28", mean(each.found for each in young), "share", _YOUNG_FLOOR)


def charges(data: Path) -> Iterator[Row]:
    """Yield the rows of suspicious charges."""
    every = read_charges(data)
    for (name, ways), floor in zip(CIRCUMSTANCES.items(), _CHARGE_FLOORS, strict=True):
        precision = average_precision(cast("LabelledScorer", adapter("charge")), every, ways)
        print(f"charges, {name}: average precision {precision:.3f}")
        short = "".join(letter if letter.isalnum() else "_" for letter in name.replace(" %", "")).replace("__", "_")
        yield Row(f"charge_precision_{short}", precision, "ap", floor)


def limits(data: Path) -> Iterator[Row]:
    """Yield the rows of plan limits."""
    homes = read_homes(data)
    found = measure_limits(lambda: adapter("limit"), homes)
    print(
        f"limits: {found.count:,} forecasts; median days from warning to breach {found.median_days:.0f}; "
        f"warned 3 days ahead where nine of ten warned cycles are breached {found.by_cycle.early:.3f}"
    )
    yield Row("limit_brier", found.brier, "mse", 0.066, is_ceiling=True)
    yield Row("limit_calibration_error", found.calibration_error, "share", 0.02, is_ceiling=True)
    yield Row("limit_warned_3_days_ahead", found.early, "share", 0.97)


if __name__ == "__main__":
    main()
