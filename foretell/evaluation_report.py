"""The result of `foretell evaluate`, for people."""

from __future__ import annotations

from math import isnan

from rich.console import Console
from rich.table import Table

from .evaluation import Figure, Result

_POSITIVES = {"spike": "spikes", "series": "anomalies", "charge": "frauds", "limit": "breached cycles"}


def show(result: Result, screen: Console) -> None:
    """Print the figures with their ranges, and say where they stand on too little."""
    things = _POSITIVES[result.kind]
    screen.print(
        f"{result.kind}: {result.rows:,} rows read, {result.measured:,} count, of {result.accounts:,} accounts, "
        f"with {result.positives:,} {things} (seed {result.seed})"
    )
    if not result.figures:
        screen.print("Nothing to measure: no row counts. See --from, --held-out and whether cycles are whole.")
        return
    table = Table("figure", "value", "9 of 10 draws of accounts", box=None, pad_edge=False)
    for figure in result.figures:
        table.add_row(figure.name, _number(figure.value), _range(figure))
    screen.print(table)
    if result.tenths:
        tenths = Table("foretold", "happened", "forecasts", box=None, pad_edge=False)
        for tenth in result.tenths:
            tenths.add_row(_number(tenth.foretold), _number(tenth.happened), f"{tenth.count:,}")
        screen.print(tenths)
    if not result.positives:
        screen.print(f"No {things} are marked in the column `label`: how many would be found cannot be said.")
    elif any(figure.is_thin for figure in result.figures):
        screen.print(
            f"These figures stand on {result.positives:,} {things} of {result.accounts:,} accounts: too few to choose a setting by."
        )


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:,.3f}"


def _range(figure: Figure) -> str:
    return "" if isnan(figure.low) else f"{_number(figure.low)} to {_number(figure.high)}"
