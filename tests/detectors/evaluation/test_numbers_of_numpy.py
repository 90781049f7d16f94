"""An outside scorer's numbers often are NumPy's: they must mean what Python's mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from detectors.evaluation import adapter

DAY = 86_400.0


def plain_events(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield which method to call and the event."""
    random = Random(7)
    for number in range(1500):
        account, at = number % 5, float(number // 5 * 3600)
        if kind == "charge":
            event = {
                "id": number,
                "account": account,
                "merchant": number % 7,
                "t": at,
                "amount": random.lognormvariate(3, 1),
            }
            yield "score", event
            yield "learn", event
            if number % 3 == 0:
                yield "feedback", event | {"now": at + 60.0}
        elif kind == "limit":
            day = number // 5
            yield "learn", {"account": account, "t": day * DAY, "value": random.lognormvariate(0, 1)}
            start = day // 30 * 30 * DAY
            asked = {"account": account, "t": (day + 1) * DAY, "used": day % 30 * 1.5, "allowance": 40.0}
            yield "score", asked | {"cycle_start": start, "cycle_end": start + 30 * DAY}
        else:
            event = {"account": account, "t": at, "value": random.lognormvariate(0, 1) * (40 if number == 1400 else 1)}
            yield "score", event
            yield "learn", event


def scores(kind: str, kept_as: Callable[[Any], Any]) -> list[float]:
    scorer: Any = adapter(kind)
    found = []
    for what, event in plain_events(kind):
        given = {key: kept_as(value) for key, value in event.items()}
        if what == "feedback":
            scorer.feedback(given, event["id"] % 9 == 0)
        elif what == "score":
            found.append(float(scorer.score(given)))
        else:
            scorer.learn(given)
    return found


@pytest.mark.parametrize("kind", ["spike", "charge", "limit", "series"])
def test_numpys_numbers_score_as_pythons_do(kind: str) -> None:
    of_python = scores(kind, lambda value: value)

    assert scores(kind, lambda value: np.array([value])[0]) == of_python
    assert any(of_python)


@pytest.mark.parametrize("kind", ["spike", "series"])
def test_whole_numbers_score_as_they_do_with_a_point(kind: str) -> None:
    def rounded(as_type: Callable[[float], Any]) -> Callable[[Any], Any]:
        return lambda value: as_type(round(10 * value)) if isinstance(value, float) else value

    assert scores(kind, rounded(int)) == scores(kind, rounded(float)) == scores(kind, rounded(np.int64))
