"""Episodes by hand: what one alert is, what is false, and what finds a spike."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.episodes import MONTH_SECONDS, Watched

HOUR = 3600.0


def watched(scores: dict[int, float], spikes: tuple[int, ...] = (), hours: int = 24 * 60, accounts: int = 1) -> Watched:
    """Watch accounts for so many hours; the first has these scores by hour, all others none."""
    every = np.repeat(np.arange(accounts), hours)
    times = np.tile(np.arange(hours) * HOUR, accounts)
    given_scores = np.zeros(hours * accounts)
    truths = np.zeros(hours * accounts, dtype=bool)
    for hour, score in scores.items():
        given_scores[hour] = score
    for hour in spikes:
        truths[hour] = True
    return Watched.of(every, times, given_scores, truths)


def test_alerts_within_a_day_of_each_other_are_one() -> None:
    rows = watched({100: 1.0, 110: 1.0, 134: 1.0, 159: 1.0})

    assert rows.false_episodes(0.5).tolist() == [2], "134 is a day after 110, 159 more than a day after 134"


def test_a_spike_and_its_aftermath_hold_no_false_alerts() -> None:
    rows = watched({200: 1.0, 202: 1.0, 226: 1.0, 227: 1.0}, spikes=(200, 201, 202))

    assert rows.spikes == [(0, 200, 204)]
    assert rows.false_episodes(0.5).tolist() == [1], "24 h after its end are the spike's own"
    assert rows.found(0.5) == [(0, 0.0)]


@pytest.mark.parametrize(("hour", "delay"), [(199, None), (200, 0.0), (202, 7200.0), (203, 10800.0), (204, None)])
def test_a_spike_is_found_from_its_first_hour_to_one_after_its_last(hour: int, delay: float | None) -> None:
    assert watched({hour: 1.0}, spikes=(200, 201, 202)).found(0.5) == [(0, delay)]


def test_the_line_leaves_the_budget() -> None:
    rows = watched({48 * number: 1.0 + number / 100 for number in range(1, 29)})
    months = float(rows.months.sum())

    line = rows.line_for(2 / months)

    assert months == pytest.approx(60 * 24 * HOUR / MONTH_SECONDS, rel=0.01)
    assert rows.false_episodes(line).sum() == 2
    assert line == pytest.approx(1.27)
    assert rows.false_episodes(rows.line_for(0)).sum() == 0


def test_months_are_of_every_account() -> None:
    assert watched({}, accounts=3).months == pytest.approx([2.0, 2.0, 2.0], rel=0.01)


@given(st.permutations(range(72)))
def test_the_order_of_rows_does_not_matter(order: Any) -> None:
    accounts, times = np.repeat([0, 1], 36), np.tile(np.arange(36) * 3 * HOUR, 2)
    scores, truths = np.sin(np.arange(72.0)) + 1, np.arange(72) % 17 < 2
    straight = Watched.of(accounts, times, scores, truths)
    mixed = Watched.of(accounts[order], times[order], scores[order], truths[order])

    assert mixed.spikes == straight.spikes
    assert mixed.false_episodes(1.5).tolist() == straight.false_episodes(1.5).tolist()
    assert mixed.found(1.5) == straight.found(1.5)
