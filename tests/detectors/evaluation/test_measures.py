"""The measures, against scikit-learn, by hand, and by their laws."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss

from detectors.evaluation.intervals import over_accounts
from detectors.evaluation.measures import Ranking, brier, calibration_error, reliability

rows = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60)


def arrays(found: list[tuple[int, bool]]) -> tuple[Any, Any]:
    return np.array([score / 6 for score, _ in found]), np.array([truth for _, truth in found])


@given(rows)
def test_average_precision_is_scikit_learns(found: list[tuple[int, bool]]) -> None:
    scores, truths = arrays(found)
    ours = Ranking.of(scores, truths).average_precision()

    if truths.any():
        assert ours == pytest.approx(average_precision_score(truths, scores))
    else:
        assert np.isnan(ours), "without a bad row there is nothing to find"


@given(rows, st.randoms(use_true_random=False), st.lists(st.integers(0, 3), min_size=60, max_size=60))
def test_neither_the_order_of_rows_nor_the_scale_of_scores_matters(
    found: list[tuple[int, bool]], random: Any, weights: list[int]
) -> None:
    mixed = [(*row, weight) for row, weight in zip(found, weights, strict=False)]
    random.shuffle(mixed)

    def measured(every: list[tuple[int, bool, int]], scale: float) -> float:
        scores, truths = arrays([(score, truth) for score, truth, _ in every])
        drawn = np.array([float(weight) for *_, weight in every])
        return Ranking.of(np.exp(scale * scores), truths).average_precision(drawn)

    straight = [(*row, weight) for row, weight in zip(found, weights, strict=False)]
    assert measured(mixed, 3.0) == pytest.approx(measured(straight, 1.0), nan_ok=True)


@given(rows, st.lists(st.integers(0, 3), min_size=60, max_size=60))
def test_a_weight_counts_a_row_so_often(found: list[tuple[int, bool]], weights: list[int]) -> None:
    repeated = [row for row, weight in zip(found, weights, strict=False) for _ in range(weight)]
    scores, truths = arrays(found)
    drawn = np.array([float(weight) for weight, _ in zip(weights, found, strict=False)])
    weighted = Ranking.of(scores, truths).average_precision(drawn)

    if any(truth for _, truth in repeated):
        again = Ranking.of(*arrays(repeated)).average_precision()
        assert weighted == pytest.approx(again)
    else:
        assert np.isnan(weighted)


def test_precision_at_k_shares_the_ties_at_its_edge() -> None:
    ranking = Ranking.of(np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([True, True, False, False, True]))

    assert ranking.precision_at(1) == 1.0
    assert ranking.precision_at(2) == pytest.approx((1 + 1 / 3) / 2)
    assert ranking.precision_at(4) == pytest.approx(0.5)
    assert ranking.precision_at(99) == pytest.approx(0.6), "there are no more than five"


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_brier_is_scikit_learns_and_calibration_is_what_the_tenths_say(found: list[tuple[float, bool]]) -> None:
    chances, happened = np.array([chance for chance, _ in found]), np.array([truth for _, truth in found])
    tenths = reliability(chances, happened)

    assert brier(chances, happened) == pytest.approx(brier_score_loss(happened, chances, labels=[False, True]))
    assert sum(tenth.count for tenth in tenths) == len(found)
    by_hand = sum(tenth.count * abs(tenth.foretold - tenth.happened) for tenth in tenths) / len(found)
    assert calibration_error(chances, happened) == pytest.approx(by_hand)


def test_a_score_that_is_no_number_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match="the score of row 1 is not a number"):
        Ranking.of(np.array([1.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="2 scores for 1 rows"):
        Ranking.of(np.array([1.0, 2.0]), np.array([True]))


def test_the_range_is_of_accounts_not_of_rows() -> None:
    accounts = np.repeat(np.arange(20), 50)
    truths = np.repeat(np.arange(20) % 2 == 0, 50)

    def share(weights: Any) -> float:
        return float(weights @ truths / weights.sum())

    interval = over_accounts(share, accounts, seed=3)
    as_rows = over_accounts(share, np.arange(1000), seed=3)

    assert interval.value == 0.5
    assert interval.low < 0.4, "twenty accounts say little"
    assert interval.high > 0.6
    assert as_rows.high - as_rows.low < (interval.high - interval.low) / 3, "a thousand independent rows would say more"
    assert over_accounts(share, accounts, seed=3) == interval, "the seed decides"


def test_one_account_has_no_range() -> None:
    interval = over_accounts(lambda weights: float(weights.sum()), np.zeros(5, dtype=np.intp), seed=1)

    assert interval.value == 5
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
