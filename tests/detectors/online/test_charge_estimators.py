"""The estimators of charges are River's kind, and nothing poisons them."""

from math import exp, log
from random import Random

import pytest

from detectors.online.card_habit import CardHabit
from detectors.online.charge_odds import ChargeOdds
from detectors.online.charge_population import AmountPopulation, RatioHistogram, decades
from detectors.online.merchant_runs import BadRun, MerchantRuns
from detectors.online.question_line import QuestionLine

DAY = 86_400


def used_card(charges: int, factor: float = 1.0) -> tuple[CardHabit, AmountPopulation, RatioHistogram]:
    card, population, ratios = CardHabit(), AmountPopulation(), RatioHistogram()
    random = Random(4)
    for number in range(charges):
        amount = factor * exp(random.gauss(3, 0.4))
        card.learn_one(card.look(DAY * number / 2, amount, population, ratios), ratios)
        population.learn_one(amount)
    return card, population, ratios


def test_a_few_high_charges_make_the_next_medium_one_suspicious() -> None:
    card, population, ratios = used_card(1200)
    for number in range(1200):
        ratios.learn_one(number % 5 + 30)
    quiet = card.look(DAY * 600, 60.0, population, ratios)
    for number in range(4):
        card.learn_one(card.look(DAY * 600 + number * 600, 120.0, population, ratios), ratios)

    alarmed = card.look(DAY * 600 + 3000, 60.0, population, ratios)

    assert alarmed.stolen > 2 * quiet.stolen
    assert alarmed.suspicion > quiet.suspicion + log(2)


def test_frauds_cannot_teach_a_card_what_is_usual() -> None:
    card, population, ratios = used_card(60)
    before = card.usual
    for number in range(5):
        card.learn_one(card.look(DAY * 40 + number, 100_000.0, population, ratios), ratios)

    assert card.usual < 1.6 * before


def test_another_unit_of_money_changes_nothing() -> None:
    looks = []
    for factor in (1.0, 1024.0):
        card, population, ratios = used_card(300, factor)
        looks.append(card.look(DAY * 151, 90.0 * factor, population, ratios))

    first, second = looks
    assert first.surplus == pytest.approx(second.surplus, rel=1e-4)
    assert first.height == pytest.approx(second.height, rel=1e-6)
    assert first.ratio == second.ratio
    assert first.suspicion == pytest.approx(second.suspicion)


def test_a_card_is_saved_in_60_bytes_and_goes_on_as_it_was() -> None:
    card, population, ratios = used_card(300)
    restored = CardHabit.restored(card.save())

    assert restored.look(DAY * 200, 44.0, population, ratios) == card.look(DAY * 200, 44.0, population, ratios)
    assert len(card.save()[3]) + 4 + 4 + 1 <= 60


@pytest.mark.parametrize("numbers", [b"", b"\0" * 16, b"\xff" * 16, b"\0" * 12])
def test_what_is_no_card_is_refused(numbers: bytes) -> None:
    with pytest.raises(ValueError, match=r"no card's habit|multiple"):
        CardHabit.restored((1, 1, 1, numbers))


def test_a_clock_that_jumps_back_does_no_harm() -> None:
    card, population, ratios = used_card(50)
    at = card.at
    card.learn_one(card.look(at - 30 * DAY, 20.0, population, ratios), ratios)

    assert card.at == at
    assert 0 < card.look(at, 20.0, population, ratios).stolen < 0.1


def test_goods_since_a_run_are_counted_and_many_of_them_end_it() -> None:
    runs, run = MerchantRuns(), BadRun(0, 0, 1)
    for day in range(1, 6):
        runs.passed("m", run)
        runs.learn_good("m", day * DAY, (day + 1) * DAY, run)
    later = run.extended(7 * DAY)

    assert (runs.seen("m", run).goods, runs.seen("m", run).since) == (5, 5)
    assert runs.seen("m", later).begun == (7 * DAY, 1)
    assert runs.crosses("m", 100 * DAY, later) == ()


def test_a_run_goes_on_after_few_goods() -> None:
    runs, run = MerchantRuns(), BadRun(0, 0, 1)
    runs.learn_good("m", DAY, 2 * DAY, run)

    assert runs.seen("m", run.extended(3 * DAY)).inside == 1


def test_the_rate_of_questions_holds_whatever_comes() -> None:
    line, random, asked = QuestionLine(begin=1.0, lowest=0.0), Random(2), 0
    for number in range(40_000):
        is_asked = random.expovariate(1.0 if number < 20_000 else 0.5) > line.value
        asked += is_asked
        line.learn_one(is_asked, 0.02)

    assert asked / 40_000 == pytest.approx(0.02, rel=0.2)


def test_what_is_beyond_all_that_was_seen_is_rarer_the_further_it_is() -> None:
    counts = [10.0] * 20 + [0.0] * 44

    assert decades(counts, 10) < decades(counts, 25) < decades(counts, 50)


def test_a_model_that_was_saved_goes_on_as_it_was() -> None:
    odds, restored, random = ChargeOdds(), ChargeOdds(), Random(3)
    for number in range(400):
        odds.learn_one(dict.fromkeys(random.sample(range(60), 6), 1.0), number % 7 == 0)
    restored.restore(odds.save())
    for each in (odds, restored):
        each.learn_one({1: 1.0, 70: 1.0}, True)

    assert restored.save() == odds.save()
    assert restored.predict_proba_one({1: 1.0, 2: 1.0, 70: 1.0}) == odds.predict_proba_one({1: 1.0, 2: 1.0, 70: 1.0})
