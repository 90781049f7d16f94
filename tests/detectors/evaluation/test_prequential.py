"""A scorer is asked before it learns, and never hears what was not known yet."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.lead import by_cycle, lead
from detectors.evaluation.prequential import Charge, DisorderError, Forecast, foresee, judge, watch

DAY = 86400.0


class Diary:
    """A scorer that writes down what it is told, in order."""

    def __init__(self, chance: float = 0.0) -> None:
        self.lines: list[tuple[Any, ...]] = []
        self._chance = chance

    def score(self, event: Mapping[str, Any]) -> float:
        self.lines.append(("score", event.get("id", event["t"])))
        return self._chance

    def learn(self, event: Mapping[str, Any]) -> None:
        self.lines.append(("learn", event.get("id", event["t"])))

    def feedback(self, event: Mapping[str, Any], is_bad: bool) -> None:
        self.lines.append(("feedback", event["id"], event["now"], is_bad))


def charge(number: int, at: float, known_at: float | None = None, *, is_bad: bool = False) -> Charge:
    return Charge({"id": number, "account": "a", "merchant": "m", "t": at, "amount": 1.0}, is_bad, known_at)


def test_a_row_is_scored_before_it_is_learned_and_its_mark_stays_unseen() -> None:
    diary = Diary()
    rows = [({"account": "a", "t": float(number), "value": 1.0}, number == 1) for number in range(3)]

    judged = list(watch(diary, rows))

    assert diary.lines == [(what, float(number)) for number in range(3) for what in ("score", "learn")]
    assert [row.is_bad for row in judged] == [False, True, False]


def test_labels_come_when_they_are_known_in_their_order_and_before_the_next_charge() -> None:
    diary = Diary()

    list(judge(diary, [charge(1, 0, 25, is_bad=True), charge(2, 10, 20), charge(3, 25), charge(4, 26)]))

    assert diary.lines == [
        ("score", 1),
        ("learn", 1),
        ("score", 2),
        ("learn", 2),
        ("feedback", 2, 20, False),
        ("feedback", 1, 25, True),
        ("score", 3),
        ("learn", 3),
        ("score", 4),
        ("learn", 4),
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 20)), max_size=40))
def test_no_label_comes_before_it_is_known_nor_before_its_charge(steps: list[tuple[int, int]]) -> None:
    diary, charges, at = Diary(), [], 0.0
    for number, (step, delay) in enumerate(steps):
        at += step
        charges.append(charge(number, at, at + delay, is_bad=number % 3 == 0))

    list(judge(diary, charges))

    now = 0.0
    learned: set[int] = set()
    for what, number, *more in diary.lines:
        if what == "score":
            now = charges[number].event["t"]
        elif what == "learn":
            learned.add(number)
        else:
            known_at, is_bad = more
            assert number in learned
            assert charges[number].event["t"] <= known_at
            assert is_bad == charges[number].is_bad
            following = next((c.event["t"] for c in charges if c.event["id"] == max(learned) + 1), float("inf"))
            assert now <= following
            assert known_at <= following


def test_rows_out_of_order_are_refused_with_their_place() -> None:
    with pytest.raises(DisorderError, match="row 2 is 5 s before the row above it; sort the rows by time"):
        list(judge(Diary(), [charge(1, 10), charge(2, 5)]))


def test_a_score_that_is_no_number_is_an_error_that_names_the_event() -> None:
    with pytest.raises(ValueError, match=r"Diary gives nan for .*'id': 1"):
        list(judge(Diary(chance=float("nan")), [charge(1, 10)]))


def days(*values: float, account: str = "a", start: float = 0.0, length: int = 5, allowance: float = 10.0) -> Any:
    return [
        {
            "account": account,
            "t": start + number * DAY,
            "value": value,
            "allowance": allowance,
            "cycle_start": start + number // length * length * DAY,
            "cycle_end": start + (number // length + 1) * length * DAY,
        }
        for number, value in enumerate(values)
    ]


def test_a_day_is_learned_then_the_rest_of_its_cycle_is_foretold() -> None:
    diary = Diary(chance=0.5)

    found = list(foresee(diary, days(4, 4, 4, 4, 4, 1, 1, 1, 1, 1)))

    assert found == [
        *[Forecast("a", 0.0, day * DAY, 0.5, True, 3 * DAY) for day in (1, 2)],
        *[Forecast("a", 0.0, day * DAY, 0.5, True, 3 * DAY, is_known=True) for day in (3, 4)],
        *[Forecast("a", 5 * DAY, day * DAY, 0.5, False, None) for day in (6, 7, 8, 9)],
    ]
    assert diary.lines[:4] == [("learn", 0.0), ("score", DAY), ("learn", DAY), ("score", 2 * DAY)]


def test_cycles_that_were_not_seen_whole_are_learned_and_not_judged() -> None:
    begun_late = [day for day in days(1, 1, 1, 1, 1) if day["t"] >= 2 * DAY]

    assert list(foresee(Diary(), begun_late)) == []
    assert list(foresee(Diary(), days(1, 1, 1))) == []


def test_the_lead_is_of_the_lowest_line_that_is_right_often_enough() -> None:
    forecasts = [
        Forecast("a", 0.0, 1 * DAY, 0.3, True, 9 * DAY),
        Forecast("a", 0.0, 2 * DAY, 0.8, True, 9 * DAY),  # seven days ahead
        Forecast("b", 0.0, 1 * DAY, 0.2, True, 4 * DAY),
        Forecast("b", 0.0, 2 * DAY, 0.9, True, 4 * DAY),  # two days ahead
        Forecast("c", 0.0, 1 * DAY, 0.5, False, None),
    ]

    strict = lead(by_cycle(forecasts), precision=0.9, days=3)
    lenient = lead(by_cycle(forecasts), precision=0.6, days=3)

    assert (strict.line, strict.precision, strict.early, strict.median_days) == (0.8, 1.0, 0.5, 4.5)
    assert (lenient.line, lenient.early) == (0.5, 0.5)
    assert lead(by_cycle(forecasts[4:]), precision=0.9, days=3).early != 0, "no breach, no share"
