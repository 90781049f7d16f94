"""Daily forecasts of whether a home will pass its allowance: 30-day cycles in four phases, allowances of eight sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from detectors.evaluation import Scorer
from detectors.evaluation.lead import Lead, by_cycle, lead
from detectors.evaluation.measures import brier, calibration_error
from detectors.evaluation.prequential import Forecast, foresee

from .spike_protocol import Home

DAY = 86400.0
CYCLE_DAYS = 30
PHASES = (0, 7, 15, 22)
SHARES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
"""Of the home's usual cycle: all of them, and not some drawn, since a draw moves the Brier score by .003."""

_HISTORY_DAYS = 28
_PRECISION = 0.9
_EARLY_DAYS = 3


@dataclass(frozen=True, slots=True)
class Forecasts:
    """How good they were.

    Attributes:
        early: share of breached cycles that were warned three days ahead or more, at the lowest chance from which on nine of
            ten forecasts came true; days after a breach are no forecasts.
        median_days: from that warning to the breach.
        by_cycle: the same at the line from which on nine of ten warned cycles were breached, which is stricter: a cycle
            that is not breached has thirty days to be warned wrongly.
    """

    brier: float
    calibration_error: float
    early: float
    median_days: float
    by_cycle: Lead
    count: int


def measure(make: Callable[[], Scorer], homes: dict[str, Home]) -> Forecasts:
    """Return how good forecasts are, over all homes, phases and sizes; the first 28 days and the first cycle are not judged.

    Each day but a cycle's last counts, also after the allowance was passed, as in the measurements that the floors are from.
    """
    forecasts: list[Forecast] = []
    for phase in PHASES:
        for share in SHARES:
            rows = sorted(_days(homes, phase, share), key=lambda row: (row["t"], row["account"]))
            judged_from = rows[0]["t"] + _HISTORY_DAYS * DAY
            forecasts += [
                replace(each, account=f"{each.account}/{phase}/{share}")
                for each in foresee(make(), rows)
                if each.cycle >= judged_from
            ]
    chances = np.array([each.chance for each in forecasts])
    happened = np.array([each.is_passed for each in forecasts])
    cycles = by_cycle(forecasts)
    line = _line(forecasts)
    leads = [cycle.lead(line) for cycle in cycles if cycle.is_passed]
    came = [each for each in leads if each is not None]
    return Forecasts(
        brier(chances, happened),
        calibration_error(chances, happened),
        sum(each >= _EARLY_DAYS for each in came) / len(leads),
        float(np.median(came)),
        lead(cycles, precision=_PRECISION, days=_EARLY_DAYS),
        len(forecasts),
    )


def _line(forecasts: Iterable[Forecast]) -> float:
    """Return the lowest chance from which on nine of ten forecasts came true; infinite where there is none."""
    open_ones = [each for each in forecasts if not each.is_known]
    chances = np.array([each.chance for each in open_ones])
    falling = np.argsort(-chances, kind="stable")
    precision = np.cumsum(np.array([each.is_passed for each in open_ones])[falling]) / np.arange(1, chances.size + 1)
    enough = np.flatnonzero(precision >= _PRECISION)
    return float(chances[falling][enough[-1]]) if enough.size else float("inf")


def _days(homes: dict[str, Home], phase: int, share: float) -> list[dict[str, float | str]]:
    """Return each home's days, with an allowance of `share` of the home's usual cycle."""
    rows: list[dict[str, float | str]] = []
    for account, home in homes.items():
        began = home[0][0] // DAY * DAY
        days = [0.0] * (int((home[-1][0] - began) // DAY) + 1)
        for time, usage in home:
            days[int((time - began) // DAY)] += usage
        usual = median(sum(days[start : start + CYCLE_DAYS]) for start in range(0, len(days) - CYCLE_DAYS, CYCLE_DAYS))
        for number, value in enumerate(days):
            cycle = (number - phase) // CYCLE_DAYS
            start = began + (phase + cycle * CYCLE_DAYS) * DAY
            rows.append(
                {
                    "account": account,
                    "t": began + number * DAY,
                    "value": value,
                    "allowance": usual * share,
                    "cycle_start": start,
                    "cycle_end": start + CYCLE_DAYS * DAY,
                }
            )
    return rows
