"""How early a limit's breach is foretold, and at what price in warnings that were wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .prequential import Forecast

_DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Warned:
    """One cycle of one account: the warnings that each line would have given.

    Attributes:
        chances: as foretold, day by day.
        days_ahead: of each, days until the breach; empty where there was none.
    """

    account: str
    is_passed: bool
    chances: tuple[float, ...]
    days_ahead: tuple[float, ...]

    def lead(self, line: float) -> float | None:
        """Return how many days before the breach the first warning at or above `line` came; None for no warning."""
        for number, chance in enumerate(self.chances):
            if chance >= line:
                return self.days_ahead[number] if self.is_passed else 0.0
        return None


def by_cycle(forecasts: Iterable[Forecast]) -> list[Warned]:
    """Return the forecasts' cycles."""
    cycles: Mapping[tuple[str, float], list[Forecast]] = defaultdict(list)
    for forecast in forecasts:
        days = cycles[forecast.account, forecast.cycle]
        if not forecast.is_known:
            days.append(forecast)
    return [
        Warned(
            account,
            not days or days[0].is_passed,
            tuple(day.chance for day in days),
            tuple((day.passed_at - day.at) / _DAY_SECONDS for day in days if day.passed_at is not None),
        )
        for (account, _), days in cycles.items()
    ]


@dataclass(frozen=True, slots=True)
class Lead:
    """What warnings at one line are worth.

    Attributes:
        line: warnings are given from this probability on.
        precision: share of warned cycles that were passed in the end.
        early: share of passed cycles that were warned early enough.
        median_days: from the warning to the breach, of those warned.
    """

    line: float
    precision: float
    early: float
    median_days: float


def lead(cycles: list[Warned], *, precision: float, days: float) -> Lead:
    """Return what the lowest line is worth that keeps this precision, a cycle being warned once.

    Args:
        cycles: with their forecasts.
        precision: of warned cycles.
        days: before the breach, to count as early.
    """
    passed = [cycle for cycle in cycles if cycle.is_passed]
    tops = np.array([max(cycle.chances, default=-1.0) for cycle in cycles])
    truths = np.array([cycle.is_passed for cycle in cycles])
    best = None
    for line in np.unique(tops[tops >= 0]):
        warned = tops >= line
        if truths[warned].mean() >= precision:
            best = float(line)
            break
    if best is None or not passed:
        return Lead(float("nan"), float("nan"), 0.0 if passed else float("nan"), float("nan"))
    leads = [cycle.lead(best) for cycle in passed]
    came = [each for each in leads if each is not None]
    return Lead(
        best,
        float(truths[tops >= best].mean()),
        sum(each >= days for each in came) / len(passed),
        float(np.median(came)) if came else float("nan"),
    )
