"""What `foretell evaluate` measures: each kind's figures on held-out accounts, after a warm-up, with their ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from detectors.evaluation import LabelledScorer, Scorer
from detectors.evaluation.episodes import Watched
from detectors.evaluation.intervals import Interval, over_accounts
from detectors.evaluation.lead import by_cycle, lead
from detectors.evaluation.measures import (
    Numbers,
    Ranking,
    Tenth,
    Truths,
    brier,
    calibration_error,
    reliability,
)
from detectors.evaluation.prequential import Charge, DisorderError, Forecast, Judged, foresee, judge, watch

from .evaluation_data import DataError, Table
from .evaluation_split import Split

_FEW = 30  # positives or accounts: below it a figure says little
_PRECISION = 0.9
_DAYS_AHEAD = 3.0
_DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        split: which accounts and times the figures are of.
        seed: of the bootstrap.
        label_delay_seconds: after a charge its label is known, where the file has no `known_at`.
        budgets: false alerts an account-month, for spikes and series.
        questions_a_day: for charges.
    """

    split: Split
    seed: int = 1
    label_delay_seconds: float = 7 * _DAY_SECONDS
    budgets: tuple[float, ...] = (1.0, 0.25)
    questions_a_day: int = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result.

    Attributes:
        of: how many positives it stands on.
        accounts: how many accounts it stands on.
    """

    name: str
    value: float
    low: float
    high: float
    of: int
    accounts: int

    @property
    def is_thin(self) -> bool:
        """Whether it stands on too little to say much."""
        return self.of < _FEW or self.accounts < _FEW


@dataclass(slots=True)
class Result:
    """What was found.

    Attributes:
        rows: read; `measured` of them count, the others were learned only.
        tenths: forecasts by their tenth, for limits.
    """

    kind: str
    rows: int = 0
    measured: int = 0
    accounts: int = 0
    positives: int = 0
    seed: int = 1
    figures: list[Figure] = field(default_factory=list)
    tenths: list[Tenth] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data; a figure that does not exist is null."""
        found = asdict(self)
        for figure in found["figures"]:
            figure.update({name: None for name in ("value", "low", "high") if np.isnan(figure[name])})
        return found


Note = Callable[[str, float, float, bool], None]
"""Takes account, time, score and label of each row that counts."""


def evaluate(scorer: Scorer, table: Table, plan: Plan, note: Note | None = None) -> Result:
    """Return how good `scorer` is on this file.

    Raises:
        DataError: the file or a row cannot be used.
    """
    result = Result(table.kind, seed=plan.seed)
    try:
        if table.kind == "limit":
            _measure_forecasts(list(foresee(scorer, _days(table, result))), plan, result, note)
        else:
            _measure_scores(_judged(scorer, table, plan, result), plan, result, note)
    except DisorderError as error:
        raise DataError(f"{table.path}: {error}") from error
    return result


def _judged(scorer: Scorer, table: Table, plan: Plan, result: Result) -> Iterator[Judged]:
    if table.kind == "charge":
        return judge(cast("LabelledScorer", scorer), _charges(table, plan, result))
    return watch(scorer, _readings(table, result))


def _readings(table: Table, result: Result) -> Iterator[tuple[dict[str, Any], bool]]:
    for row in table.rows():
        result.rows += 1
        yield {"account": row["account"], "t": row["time"], "value": row["value"]}, row.get("label", False)


def _charges(table: Table, plan: Plan, result: Result) -> Iterator[Charge]:
    for row in table.rows():
        result.rows += 1
        at = row["time"]
        event = {
            "id": row.get("id", str(result.rows)),
            "account": row["account"],
            "merchant": row["merchant"],
            "t": at,
            "amount": row["amount"],
        }
        known_at = row.get("known_at", at + plan.label_delay_seconds) if "label" in row else None
        yield Charge(event, row.get("label", False), known_at)


def _days(table: Table, result: Result) -> Iterator[dict[str, Any]]:
    for row in table.rows():
        result.rows += 1
        yield {**row, "t": row["time"]}


class _Gathered:
    """Rows that count, as arrays."""

    def __init__(self, judged: Iterable[Judged], split: Split, note: Note | None) -> None:
        numbers: dict[str, int] = {}
        accounts, times, scores, truths = [], [], [], []
        for row in judged:
            if not split.counts(row.account, row.at):
                continue
            accounts.append(numbers.setdefault(row.account, len(numbers)))
            times.append(row.at)
            scores.append(row.score)
            truths.append(row.is_bad)
            if note is not None:
                note(*row)
        self.accounts: npt.NDArray[np.intp] = np.array(accounts, dtype=np.intp)
        self.times: Numbers = np.array(times, dtype=np.float64)
        self.scores: Numbers = np.array(scores, dtype=np.float64)
        self.truths: Truths = np.array(truths, dtype=bool)
        self.number = len(numbers)


def _measure_scores(judged: Iterable[Judged], plan: Plan, result: Result, note: Note | None) -> None:
    rows = _Gathered(judged, plan.split, note)
    result.measured, result.accounts = rows.scores.size, rows.number
    if not result.measured:
        return
    if result.kind == "charge":
        result.positives = int(rows.truths.sum())
        _measure_charges(rows, plan, result)
    else:
        watched = Watched.of(rows.accounts, rows.times, rows.scores, rows.truths)
        result.positives = len(watched.spikes)
        for budget in plan.budgets:
            _measure_budget(watched, budget, plan, result)


def _measure_charges(rows: _Gathered, plan: Plan, result: Result) -> None:
    ranking = Ranking.of(rows.scores, rows.truths)
    _add(result, "average precision", over_accounts(ranking.average_precision, rows.accounts, seed=plan.seed))
    for most in (100, 1000):
        if most <= rows.scores.size:
            _add(result, f"precision of the {most} highest", _single(ranking.precision_at(most)))
    asked = _asked_a_day(rows, plan.questions_a_day)
    right, bad = asked & rows.truths, rows.truths
    name = f"{plan.questions_a_day} questions a day"
    _add(result, f"{name}: right", over_accounts(partial(_share, right, asked), rows.accounts, seed=plan.seed))
    _add(
        result, f"{name}: frauds asked about", over_accounts(partial(_share, right, bad), rows.accounts, seed=plan.seed)
    )


def _asked_a_day(rows: _Gathered, most: int) -> Truths:
    """Return the `most` highest scores of each day (in UTC)."""
    days = (rows.times // _DAY_SECONDS).astype(np.int64)
    order = np.lexsort((-rows.scores, days))
    asked = np.zeros(rows.scores.size, dtype=bool)
    ordered = days[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    for begin, end in zip(begins, np.append(begins[1:], ordered.size), strict=True):
        asked[order[begin : min(end, begin + most)]] = True
    return asked


def _share(part: Truths, whole: Truths, weights: Numbers) -> float:
    every = float(weights @ whole)
    return float(weights @ part) / every if every else float("nan")


def _measure_budget(watched: Watched, budget: float, plan: Plan, result: Result) -> None:
    line = watched.line_for(budget)
    found = watched.found(line)
    accounts = np.array([account for account, _ in found], dtype=np.intp)
    hits = np.array([delay is not None for _, delay in found], dtype=bool)
    every = np.ones(hits.size, dtype=bool)
    name = f"at {budget:g} false alerts an account-month"
    if hits.size:
        _add(result, f"recall {name}", over_accounts(partial(_share, hits, every), accounts, seed=plan.seed))
        delays = [delay / 3600 for _, delay in found if delay is not None]
        _add(result, f"median hours to the alert {name}", _single(float(np.median(delays)) if delays else float("nan")))
    false, months = watched.false_episodes(line), float(watched.months.sum())
    _add(
        result,
        f"false alerts an account-month {name}",
        _single(float(false.sum()) / months if months else float("nan")),
    )
    _add(result, f"the line {name}", _single(line))


def _measure_forecasts(forecasts: list[Forecast], plan: Plan, result: Result, note: Note | None) -> None:
    forecasts = [each for each in forecasts if not each.is_known and plan.split.counts(each.account, each.at)]
    numbers = {account: number for number, account in enumerate(sorted({each.account for each in forecasts}))}
    result.measured, result.accounts = len(forecasts), len(numbers)
    if not forecasts:
        return
    if note is not None:
        for each in forecasts:
            note(each.account, each.at, each.chance, each.is_passed)
    accounts = np.array([numbers[each.account] for each in forecasts], dtype=np.intp)
    chances = np.array([each.chance for each in forecasts])
    happened = np.array([each.is_passed for each in forecasts])
    cycles = by_cycle(forecasts)
    result.positives = sum(cycle.is_passed for cycle in cycles)
    _add(result, "Brier", over_accounts(partial(brier, chances, happened), accounts, seed=plan.seed))
    error = over_accounts(partial(calibration_error, chances, happened), accounts, seed=plan.seed)
    _add(result, "calibration error", error)
    warned = lead(cycles, precision=_PRECISION, days=_DAYS_AHEAD)
    name = f"breaches warned {_DAYS_AHEAD:g} days ahead"
    _add(result, f"{name}, {_PRECISION:.0%} of warned cycles passed", _single(warned.early))
    _add(result, "median days from warning to breach", _single(warned.median_days))
    _add(result, "the line of these warnings", _single(warned.line))
    result.tenths = reliability(chances, happened)


def _single(value: float) -> Interval:
    return Interval(float(value), float("nan"), float("nan"))


def _add(result: Result, name: str, interval: Interval) -> None:
    result.figures.append(Figure(name, *interval, result.positives, result.accounts))
