"""Daily forecasts of whether a home will pass its allowance: 30-day cycles in four phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
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
_HISTORY_DAYS = 28


@dataclass(frozen=True, slots=True)
class Forecasts:
    """How good they were."""

    brier: float
    calibration_error: float
    lead: Lead
    count: int


def measure(make: Callable[[], Scorer], homes: dict[str, Home], seed: int = 1) -> Forecasts:
    """Return how good forecasts are, over all homes and phases; the first 28 days and the first cycle are not judged.

    Each day but a cycle's last counts, also after the allowance was passed, as in the measurements that the floors are from.
    """
    forecasts: list[Forecast] = []
    for phase in PHASES:
        rows = sorted(_days(homes, phase, seed), key=lambda row: (row["t"], row["account"]))
        judged_from = rows[0]["t"] + _HISTORY_DAYS * DAY
        forecasts += [
            replace(each, account=f"{each.account}/{phase}")
            for each in foresee(make(), rows)
            if each.cycle >= judged_from
        ]
    chances = np.array([each.chance for each in forecasts])
    happened = np.array([each.is_passed for each in forecasts])
    return Forecasts(
        brier(chances, happened),
        calibration_error(chances, happened),
        lead(by_cycle(forecasts), precision=0.9, days=3),
        len(forecasts),
    )


def _days(homes: dict[str, Home], phase: int, seed: int) -> list[dict[str, float | str]]:
    """Return each home's days, with an allowance for each cycle of .7 to 1.4 times the home's usual cycle."""
    rows: list[dict[str, float | str]] = []
    for account, home in homes.items():
        random = Random(f"{seed}/{phase}/{account}")  # noqa: S311 - allowances are no secret
        began = home[0][0] // DAY * DAY
        days = [0.0] * (int((home[-1][0] - began) // DAY) + 1)
        for time, usage in home:
            days[int((time - began) // DAY)] += usage
        usual = median(sum(days[start : start + CYCLE_DAYS]) for start in range(0, len(days) - CYCLE_DAYS, CYCLE_DAYS))
        allowances: dict[int, float] = {}
        for number, value in enumerate(days):
            cycle = (number - phase) // CYCLE_DAYS
            allowance = allowances.setdefault(cycle, usual * random.uniform(0.7, 1.4))
            start = began + (phase + cycle * CYCLE_DAYS) * DAY
            rows.append(
                {
                    "account": account,
                    "t": began + number * DAY,
                    "value": value,
                    "allowance": allowance,
                    "cycle_start": start,
                    "cycle_end": start + CYCLE_DAYS * DAY,
                }
            )
    return rows
