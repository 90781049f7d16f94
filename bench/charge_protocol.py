"""Simulated card charges with frauds: average precision when labels come late, when victims speak up, and without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, nlargest
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from pyarrow import parquet

from detectors.evaluation import LabelledScorer
from detectors.evaluation.measures import Ranking

DAY = 86400.0


class Labelled(NamedTuple):
    """A charge and whether it was fraud."""

    event: dict[str, Any]
    is_fraud: bool


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How it becomes known what was fraud.

    Attributes:
        late_days: all labels come so late; None for no labels at all.
        at_once: the share of victims who say "no" at once.
        asked_a_day: of each day's charges without a label, the highest are asked about in the evening.
        answered: the share of those questions that get an answer.
        judged_from, judged_to: days whose charges count.
    """

    late_days: float | None
    at_once: float = 0.0
    asked_a_day: int = 0
    answered: float = 0.0
    judged_from: float = 86.0
    judged_to: float = 128.0


CIRCUMSTANCES = {
    "7 days late": Circumstances(7.0),
    "30 % of victims say no": Circumstances(7.0, at_once=0.3),
    "60 % no, 60 % of 100 questions answered": Circumstances(7.0, at_once=0.6, asked_a_day=100, answered=0.6),
    "no label, 42 days": Circumstances(None, judged_from=0.0, judged_to=42.0),
}


def read_charges(data: Path) -> list[Labelled]:
    """Return the charges by time."""
    table = parquet.read_table(data / "charges.parquet").sort_by("time").to_pydict()
    columns = zip(table["time"], table["card"], table["merchant"], table["cents"], table["fraud"], strict=True)
    return [
        Labelled(
            {
                "id": number,
                "account": str(card),
                "merchant": str(merchant),
                "t": time.timestamp(),
                "amount": cents / 100,
            },
            bool(fraud),
        )
        for number, (time, card, merchant, cents, fraud) in enumerate(columns)
    ]


def average_precision(scorer: LabelledScorer, charges: Sequence[Labelled], ways: Circumstances, seed: int = 1) -> float:
    """Return the average precision over the judged days; the scorer never hears a label before it is known."""
    began = charges[0].event["t"]
    loop = _Loop(scorer, ways, Random(seed))  # noqa: S311 - who answers is no secret
    scores, truths = [], []
    for charge in charges:
        at = charge.event["t"]
        day = (at - began) / DAY
        if day >= ways.judged_to:
            break
        loop.go_on(at)
        score = loop.take(charge)
        if day >= ways.judged_from:
            scores.append(score)
            truths.append(charge.is_fraud)
    return Ranking.of(np.array(scores), np.array(truths, dtype=bool)).average_precision()


class _Loop:
    """A scorer, and who tells it what when.

    Attributes:
        known: ids of charges whose label it has.
    """

    def __init__(self, scorer: LabelledScorer, ways: Circumstances, random: Random) -> None:
        self._scorer = scorer
        self._ways = ways
        self._random = random
        self._known: set[int] = set()
        self._waiting: list[tuple[float, int, Labelled]] = []
        self._today: list[tuple[float, int, Labelled]] = []
        self._evening = 0.0
        self._number: Callable[[], int] = count().__next__

    def go_on(self, at: float) -> None:
        """Tell all that is known by then."""
        while True:
            label_at = self._waiting[0][0] if self._waiting else float("inf")
            evening = self._evening or float("inf")
            if min(label_at, evening) > at:
                break
            if evening <= label_at:
                self._ask(evening)
            else:
                now, _, charge = heappop(self._waiting)
                self._tell(charge, now)
        if self._ways.asked_a_day and not self._evening:
            self._evening = (at // DAY + 1) * DAY

    def take(self, charge: Labelled) -> float:
        """Return the charge's score, and see to it that its label comes."""
        score = self._scorer.score(charge.event)
        self._scorer.learn(charge.event)
        ways, at = self._ways, charge.event["t"]
        if ways.late_days is not None:
            speaks_up = charge.is_fraud and self._random.random() < ways.at_once
            heappush(self._waiting, (at if speaks_up else at + ways.late_days * DAY, self._number(), charge))
            if ways.asked_a_day and not speaks_up:
                self._today.append((score, -charge.event["id"], charge))
        return score

    def _ask(self, evening: float) -> None:
        for _, _, charge in nlargest(self._ways.asked_a_day, self._today):
            if self._random.random() < self._ways.answered:
                self._tell(charge, evening)
        self._today = []
        self._evening = 0.0

    def _tell(self, charge: Labelled, now: float) -> None:
        number = charge.event["id"]
        if number not in self._known:
            self._known.add(number)
            self._scorer.feedback({**charge.event, "now": now}, charge.is_fraud)
