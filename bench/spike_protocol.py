"""Usage spikes put into real homes: how many are found, at how many false alerts an account-month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from pyarrow import parquet

from detectors.evaluation import Scorer
from detectors.evaluation.episodes import Watched
from detectors.evaluation.prequential import watch

HOUR = 3600.0
DAY = 24
YOUNG_FROM, SETTLED = 3 * DAY, 28 * DAY
Home = list[tuple[float, float]]
"""Start of the hour in seconds since 1970, and what was used in it."""

KINDS: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "8x the mean, 3 h": (3, lambda usage, mean: usage + 8 * mean),
    "4x the mean, 6 h": (6, lambda usage, mean: usage + 4 * mean),
    "+200 %, a day": (24, lambda usage, _: 3 * usage),
    "+100 %, 3 days": (72, lambda usage, _: 2 * usage),
    "3x the mean, 4 h, at the quietest hour": (4, lambda usage, mean: usage + 3 * mean),
}
"""How many hours it lasts, and what becomes of an hour's usage."""


def read_homes(data: Path) -> dict[str, Home]:
    """Return each home's hours."""
    table = parquet.read_table(data / "homes_hourly.parquet").to_pydict()
    homes: dict[str, Home] = defaultdict(list)
    for account, time, watt_hours in zip(table["account"], table["time"], table["watt_hours"], strict=True):
        homes[f"home-{account}"].append((time.timestamp(), float(watt_hours)))
    return homes


def injected(home: Home, random: Random, first: int, last: int, every: int) -> tuple[Home, set[int]]:
    """Return the home with a spike about `every` hours from `first` to `last`, and which hours are in one."""
    values = [usage for _, usage in home]
    mean = sum(values) / len(values)
    by_hour = [sum(values[hour::DAY]) for hour in range(DAY)]
    quietest = by_hour.index(min(by_hour))
    marked: set[int] = set()
    names = list(KINDS)
    offset = random.randrange(len(names))
    for number, begin in enumerate(range(first, last - every + 1, every)):
        name = names[(number + offset) % len(names)]
        hours, spiked = KINDS[name]
        start = begin + random.randrange(max(1, every - hours - DAY))
        if "quietest" in name:
            start += (quietest - start) % DAY
        for hour in range(start, min(start + hours, last)):
            values[hour] = spiked(values[hour], mean)
            marked.add(hour)
    return [(time, value) for (time, _), value in zip(home, values, strict=True)], marked


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of spikes that were found, and at how many false alerts an account-month that was."""

    found: float
    false: float
    spikes: int


def recalls(
    scorer: Scorer, homes: dict[str, Home], budgets: tuple[float, ...], seed: int, *, is_young: bool = False
) -> list[Recall]:
    """Return recall at each budget of false alerts, after the first 28 days or from day 3 to 28."""
    first, last, every = (YOUNG_FROM, SETTLED, 6 * DAY) if is_young else (SETTLED, 10**9, 30 * DAY)
    rows = []
    for account, home in homes.items():
        changed, marked = injected(home, Random(f"{seed}/{account}"), first, min(last, len(home)), every)  # noqa: S311
        rows += [(time, account, value, hour, hour in marked) for hour, (time, value) in enumerate(changed)]
    rows.sort(key=lambda row: row[:2])
    numbers = {account: number for number, account in enumerate(homes)}
    events = (({"account": account, "t": time, "value": value}, is_spike) for time, account, value, _, is_spike in rows)
    kept = [
        (numbers[judged.account], judged.at, judged.score, judged.is_bad)
        for judged, row in zip(watch(scorer, events), rows, strict=True)
        if first <= row[3] < last
    ]
    accounts, times, scores, truths = zip(*kept, strict=True)
    watched = Watched.of(
        np.array(accounts, dtype=np.intp), np.array(times), np.array(scores), np.array(truths, dtype=bool)
    )
    answers = []
    for budget in budgets:
        line = watched.line_for(budget)
        found = [delay is not None for _, delay in watched.found(line)]
        false = watched.false_episodes(line).sum() / watched.months.sum()
        answers.append(Recall(sum(found) / len(found), float(false), len(found)))
    return answers
