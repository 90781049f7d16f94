"""The estimators behind plan-limit forecasts: River's checks, and what they promise."""

import math
from random import Random

import pytest

from detectors.online import DailyCohort, ForecastErrors, Reliability, UsageForecaster
from detectors.online.forecast_errors import GROUPS


def weeks(number: int, scale: float = 1.0, seed: int = 1) -> list[float]:
    random = Random(seed)
    return [scale * (1.0 + (day % 7 > 4)) * random.lognormvariate(0, 0.2) for day in range(7 * number)]


def learned(days: list[float]) -> UsageForecaster:
    forecaster = UsageForecaster()
    for usage in days:
        forecaster.learn_one(usage)
    return forecaster


def test_the_sum_of_days_is_what_remains() -> None:
    forecaster = learned(weeks(20))

    mean, deviation = forecaster.remaining(10.0, forecaster.days % 7)
    assert mean == pytest.approx(sum(forecaster.forecast(10)), rel=1e-5)
    assert 0.05 < deviation / mean < 0.5


def test_weekdays_may_be_named() -> None:
    forecaster = UsageForecaster()
    for day, usage in enumerate(weeks(30)):
        forecaster.learn_one(usage, {"weekday": (day + 3) % 7})

    working, free = forecaster.forecast(2, [{"weekday": 3}, {"weekday": 1}])
    assert free > 1.5 * working


@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e12])
def test_the_unit_does_not_matter(scale: float) -> None:
    mean, deviation = learned(weeks(12)).remaining(9.5, 2)
    other_mean, other_deviation = learned(weeks(12, scale)).remaining(9.5, 2)

    assert other_mean == pytest.approx(scale * mean, rel=1e-4)
    assert other_deviation == pytest.approx(scale * deviation, rel=1e-4)


@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e300], ids=repr)
def test_what_is_no_usage_is_ignored(odd: float) -> None:
    forecaster, other = learned(weeks(4)), learned(weeks(4))

    forecaster.learn_one(odd)
    assert (forecaster.days, forecaster.numbers) == (other.days, other.numbers)


def test_negative_usage_counts_as_none_and_nothing_is_expected_of_none() -> None:
    forecaster = learned([-1.0, -math.inf, 0.0])

    assert forecaster.days == 3
    assert forecaster.forecast(3) == [0.0, 0.0, 0.0]
    assert forecaster.remaining(10.0, 0) == (0.0, 0.0)


def test_accounts_that_use_nothing_do_not_bend_the_cohorts_week() -> None:
    cohort = DailyCohort()
    forecasters = [UsageForecaster(cohort) for _ in range(20)]
    for _ in range(100):
        for forecaster in forecasters:
            forecaster.learn_one(0.0)

    assert list(cohort.week) == [1.0] * 7


def test_the_cohorts_move_carries_to_an_account_that_has_not_moved_yet() -> None:
    cohort = DailyCohort()
    account = UsageForecaster(cohort)
    for day in range(60):
        account.learn_day(1.0, day % 7, day)
    before, _ = account.remaining(7.0, 0)
    for day in range(60, 90):
        for _ in range(20):
            cohort.learn_one(0.4, day)

    after, _ = account.remaining(7.0, 0)
    assert after == pytest.approx(1.2 * before, rel=0.05)


def test_one_clock_that_is_years_ahead_stops_no_cohort() -> None:
    cohort = DailyCohort()
    cohort.learn_one(0.0, 1_000_000)
    for day in range(100):
        cohort.learn_one(0.3, day)

    assert cohort.move == pytest.approx(0.3, abs=0.01)


def test_a_zone_that_closes_its_day_later_belongs_to_that_day() -> None:
    together, apart = DailyCohort(), DailyCohort()
    for day in range(30):
        for zone in range(2):
            together.learn_one(0.1 * zone, day)
            apart.learn_one(0.1 * zone, day - zone)

    assert apart.save()[1] == together.save()[1]


def test_errors_that_are_heavy_tailed_are_learned_as_such() -> None:
    random, errors = Random(1), ForecastErrors()
    draws = [random.gauss(0, 1) / math.sqrt(random.gammavariate(1.5, 1 / 1.5)) for _ in range(20_000)]
    for draw in draws:
        errors.learn_one(draw, days=5)

    for z in (-2.0, -0.5, 0.0, 1.0, 2.5):
        assert errors.chance_above(z, days=5) == pytest.approx(sum(d > z for d in draws[-4000:]) / 4000, abs=0.03)
    assert errors.chance_above(2.5, days=20) == ForecastErrors().chance_above(
        2.5, days=20
    )  # of others nothing was learned


def test_chances_fall_steadily_and_fit_the_excess() -> None:
    random, errors = Random(2), ForecastErrors()
    for _ in range(3000):
        errors.learn_one(random.gauss(0.2, 1.3), days=12)
    steps = [number / 50 for number in range(-300, 300)]

    chances = [errors.chance_above(z, days=12) for z in steps]
    assert chances == sorted(chances, reverse=True)
    assert all(0.0 <= chance <= 1.0 for chance in chances)
    area = sum(errors.chance_above(1.0 + number / 100, days=12) for number in range(300)) / 100
    assert errors.expected_excess(1.0, days=12) == pytest.approx(area, abs=0.02)
    assert errors.chance_above(errors.quantile(0.9, days=12), days=12) == pytest.approx(0.1, abs=0.005)


def test_an_error_that_is_no_number_is_ignored_and_an_infinite_one_is_the_largest() -> None:
    errors = ForecastErrors()
    errors.learn_one(math.nan, days=1)
    assert errors.save() == ForecastErrors().save()

    errors.learn_one(math.inf, days=1)
    errors.learn_one(-math.inf, days=1)
    assert [errors.save()[0][0], errors.save()[0][-1]] == [1.0, 1.0]


@pytest.mark.parametrize(
    "counts", [[], [[0.0] * 81] * (GROUPS - 1), [[-1.0] * 81] * GROUPS, [[math.nan] * 81] * GROUPS]
)
def test_errors_that_nobody_saved_are_refused(counts: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="counts each"):
        ForecastErrors().restore(counts)


def test_promises_that_are_kept_have_no_calibration_error() -> None:
    random, kept, broken = Random(3), Reliability(), Reliability()
    for _ in range(20_000):
        chance = random.random()
        kept.learn_one(chance, random.random() < chance)
        broken.learn_one(chance, random.random() < chance**3)

    assert kept.calibration_error < 0.015
    assert broken.calibration_error > 0.1
    assert kept.brier == pytest.approx(1 / 6, abs=0.01)
    assert sum(n for n, _, _ in kept.tenths()) == kept.settled == 20_000


def test_each_promise_is_taken_once_and_what_is_restored_never() -> None:
    reliability, other = Reliability(), Reliability()
    for happened in (True, False):
        reliability.learn_one(0.5, happened)
    other.restore(*reliability.save())

    assert reliability.take() == {5: (2, 1.0, 1, 0.5)}
    assert reliability.take() == other.take() == {}
    other.learn_one(1.0, True)
    assert other.take() == {9: (1, 1.0, 1, 0.0)}
    assert (other.settled, reliability.settled) == (3, 2)


@pytest.mark.parametrize("squares", [[], [0.0] * 9])
def test_promises_that_nobody_counted_are_refused(squares: list[float]) -> None:
    with pytest.raises(ValueError, match="counts of probabilities"):
        Reliability().restore([1] * 10, [0.5] * 10, [1] * 10, squares)
    with pytest.raises(ValueError, match="none smaller than what happened"):
        Reliability().restore([1] * 10, [0.5] * 10, [2] * 10, [0.0] * 10)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_cohort_that_is_no_number_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        DailyCohort().restore(3, [odd] * 11)


def test_what_is_no_probability_is_ignored() -> None:
    reliability = Reliability()
    for chance in (math.nan, -0.1, 1.1, math.inf):
        reliability.learn_one(chance, True)

    assert (reliability.settled, reliability.brier, reliability.calibration_error) == (0, 0.0, 0.0)
