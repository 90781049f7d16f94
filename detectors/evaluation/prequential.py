"""Score before learning, in the order of time; what becomes known later is told later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import isfinite
from typing import Any, NamedTuple

from .scorer import Event, LabelledScorer, Scorer


class Judged(NamedTuple):
    """A row, with what the scorer said before it learned it."""

    account: str
    at: float
    score: float
    is_bad: bool


class Charge(NamedTuple):
    """A charge, and when it becomes known whether it was fraud.

    Attributes:
        known_at: seconds since 1970; None for never.
    """

    event: Event
    is_bad: bool
    known_at: float | None


class DisorderError(ValueError):
    """Rows are not in the order of time: a scorer would learn from the future."""


@dataclass(slots=True)
class Clock:
    """Sees to it that time does not run backwards."""

    latest: float = float("-inf")

    def tick(self, at: float, row: int) -> None:
        """Go on to `at`.

        Raises:
            DisorderError: that is before the row before.
        """
        if at < self.latest:
            raise DisorderError(f"row {row} is {self.latest - at:.0f} s before the row above it; sort the rows by time")
        self.latest = at


def watch(scorer: Scorer, rows: Iterable[tuple[Event, bool]]) -> Iterator[Judged]:
    """Yield what the scorer says of each reading; the marks are for whoever measures, the scorer never sees them."""
    clock = Clock()
    for number, (event, is_bad) in enumerate(rows, 1):
        clock.tick(event["t"], number)
        yield Judged(event["account"], event["t"], _score(scorer, event), is_bad)
        scorer.learn(event)


def judge(scorer: LabelledScorer, charges: Iterable[Charge]) -> Iterator[Judged]:
    """Yield what the scorer says of each charge; labels reach it when they are known, before the next charge."""
    clock, waiting = Clock(), list[tuple[float, int, Charge]]()
    for number, charge in enumerate(charges, 1):
        event = charge.event
        at = event["t"]
        clock.tick(at, number)
        while waiting and waiting[0][0] <= at:
            known_at, _, known = heappop(waiting)
            scorer.feedback({**known.event, "now": known_at}, known.is_bad)
        yield Judged(event["account"], at, _score(scorer, event), charge.is_bad)
        scorer.learn(event)
        if charge.known_at is not None:
            heappush(waiting, (max(charge.known_at, at), number, charge))


@dataclass(frozen=True, slots=True)
class Forecast:
    """One day's forecast of one cycle.

    Attributes:
        chance: that the allowance is passed before the cycle's end, as it was foretold.
        is_passed: whether it was passed in the end.
        passed_at: when, in seconds since 1970; None where it was not.
        is_known: whether it had been passed already, so that there was nothing left to foretell.
    """

    account: str
    cycle: float
    at: float
    chance: float
    is_passed: bool
    passed_at: float | None
    is_known: bool = False


def foresee(scorer: Scorer, days: Iterable[Event]) -> Iterator[Forecast]:
    """Yield a forecast for each day but the last of its cycle, once that has ended.

    Args:
        scorer: asked at the end of each day for the probability that the cycle's usage will be above its allowance.
        days: `{"account", "t" (the day's start), "value", "allowance", "cycle_start", "cycle_end"}`, by time. Cycles that the
            rows begin in the middle of, or do not reach the end of, are learned and not judged.
    """
    clock, cycles = Clock(), dict[str, _Cycle]()
    for number, day in enumerate(days, 1):
        clock.tick(day["t"], number)
        account = day["account"]
        cycle = cycles.get(account)
        if cycle is None or cycle.start != day["cycle_start"]:
            if cycle is not None:
                yield from cycle.ended()
            cycle = cycles[account] = _Cycle(account, day)
        scorer.learn({"account": account, "t": day["t"], "value": day["value"]})
        cycle.take(scorer, day)
    for cycle in cycles.values():
        yield from cycle.ended()


_DAY_SECONDS = 86400.0


class _Cycle:
    def __init__(self, account: str, day: Event) -> None:
        self.start: float = day["cycle_start"]
        self._account = account
        self._end: float = day["cycle_end"]
        self._is_whole = day["t"] < self.start + _DAY_SECONDS
        self._reached = 0.0
        self._used = 0.0
        self._passed_at: float | None = None
        self._said: list[tuple[float, float]] = []

    def take(self, scorer: Scorer, day: Event) -> None:
        self._used += day["value"]
        self._reached = day["t"] + _DAY_SECONDS
        if self._passed_at is None and self._used > day["allowance"]:
            self._passed_at = self._reached
        if self._reached < self._end:
            asked: dict[str, Any] = {
                "account": self._account,
                "t": self._reached,
                "used": self._used,
                **{name: day[name] for name in ("allowance", "cycle_start", "cycle_end")},
            }
            self._said.append((self._reached, _score(scorer, asked)))

    def ended(self) -> Iterator[Forecast]:
        if self._is_whole and self._reached >= self._end:
            for at, chance in self._said:
                passed_at = self._passed_at
                is_known = passed_at is not None and passed_at <= at
                yield Forecast(self._account, self.start, at, chance, passed_at is not None, passed_at, is_known)


def _score(scorer: Scorer, event: Event) -> float:
    score = float(scorer.score(event))
    if not isfinite(score):
        raise ValueError(f"{type(scorer).__name__} gives {score} for {dict(event)}; a score is a finite number")
    return score
