"""What an event costs each detector's core: its score and its learning, through the adapter, on made-up accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import pi, sin
from random import Random
from time import process_time
from typing import Any, cast

from detectors.evaluation import LabelledScorer, adapter

from .rows import Row

HOUR, DAY = 3600.0, 86400.0
_ACCOUNTS = 50
_ROUNDS = 3
_LABEL_DAYS = 7
_FLOORS = {"spike": 10.0, "charge": 30.0, "limit": 5.0, "series": 12.0}


def rows() -> Iterator[Row]:
    """Yield microseconds of processor time an event, the least of a few rounds: a noisy machine only ever adds."""
    for kind, cost in {"spike": _hourly, "charge": _charges, "limit": _daily, "series": _hourly}.items():
        least = min(cost(kind) for _ in range(_ROUNDS))
        yield Row(f"{kind}_cost", least * 1e6, "us", _FLOORS[kind], is_ceiling=True)


def _hourly(kind: str) -> float:
    random = Random(5)  # noqa: S311 - the same in every run
    events = [
        {
            "account": f"a{account}",
            "t": hour * HOUR,
            "value": (2 + sin(2 * pi * hour / 24)) * random.lognormvariate(0, 0.4),
        }
        for hour in range(24 * 40)
        for account in range(_ACCOUNTS)
    ]
    scorer = adapter(kind)

    def run() -> None:
        for event in events:
            scorer.score(event)
            scorer.learn(event)

    return _seconds(run) / len(events)


def _charges(kind: str) -> float:
    random = Random(6)  # noqa: S311 - the same in every run
    scorer = cast("LabelledScorer", adapter(kind))
    events: list[dict[str, Any]] = [
        {
            "id": number,
            "account": f"a{random.randrange(20 * _ACCOUNTS)}",
            "merchant": f"m{random.randrange(2000)}",
            "t": number * 60.0,
            "amount": random.lognormvariate(3.5, 0.6),
        }
        for number in range(40_000)
    ]
    is_bad = [random.random() < 0.008 for _ in events]
    late = int(_LABEL_DAYS * DAY / 60)
    labelled = [{**event, "now": event["t"] + _LABEL_DAYS * DAY} for event in events]

    def run() -> None:
        for number, event in enumerate(events):
            scorer.score(event)
            scorer.learn(event)
            if number >= late:
                scorer.feedback(labelled[number - late], is_bad[number - late])

    return _seconds(run) / len(events)


def _daily(kind: str) -> float:
    random = Random(7)  # noqa: S311 - the same in every run
    scorer = adapter(kind)
    days = []
    for account in range(8 * _ACCOUNTS):
        used = 0.0
        for day in range(180):
            value = random.lognormvariate(0, 0.5)
            used = value if day % 30 == 0 else used + value
            start = day // 30 * 30 * DAY
            asked = {
                "account": account,
                "t": (day + 1) * DAY,
                "used": used,
                "allowance": 33.0,
                "cycle_start": start,
                "cycle_end": start + 30 * DAY,
            }
            days.append(({"account": account, "t": day * DAY, "value": value}, asked))
    days.sort(key=lambda pair: cast("float", pair[0]["t"]))

    def run() -> None:
        for learned, asked in days:
            scorer.learn(learned)
            scorer.score(asked)

    return _seconds(run) / len(days)


def _seconds(run: Callable[[], None]) -> float:
    began = process_time()
    run()
    return process_time() - began
