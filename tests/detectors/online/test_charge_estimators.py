"""The estimators of charges are River's kind, and nothing poisons them."""

from math import exp, log, log10
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import linear_model, optim

from detectors.evaluation.charge import ChargeAdapter
from detectors.online.card_habit import CardHabit
from detectors.online.charge_cross_numbers import Bins, crosses_of, extra_bits, name_of, run_bits
from detectors.online.charge_crosses import ChargeCrosses
from detectors.online.charge_odds import ChargeOdds, ConstantAdaGrad
from detectors.online.charge_population import AmountPopulation, BinRarity, RatioHistogram
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


def test_a_card_is_saved_in_29_bytes_and_goes_on_as_it_was() -> None:
    card, population, ratios = used_card(300)
    restored = CardHabit.restored(card.save())
    for day in (200, 201):
        look = card.look(DAY * day, 44.0, population, ratios)
        assert restored.look(DAY * day, 44.0, population, ratios) == look
        for each in (card, restored):
            each.learn_one(look, ratios)

    assert restored.save() == card.save()
    assert len(card.save()) == 29


@pytest.mark.parametrize("saved", [b"", b"\0" * 29, b"\xff" * 29, b"\0" * 28, b"\0" * 30])
def test_what_is_no_card_is_refused(saved: bytes) -> None:
    with pytest.raises(ValueError, match="no card's habit"):
        CardHabit.restored(saved)


@pytest.mark.parametrize("amount", [1e-30, 1e12])
def test_the_least_and_the_most_of_money_leave_a_card_in_order(amount: float) -> None:
    card, population, ratios = used_card(40)
    for at in (-5.0, 1e12, DAY * 21.0):
        card.learn_one(card.look(at, amount, population, ratios), ratios)

    assert CardHabit.restored(card.save()).look(DAY * 30, 20.0, population, ratios).stolen < 1


def test_a_clock_that_jumps_back_does_no_harm() -> None:
    card, population, ratios = used_card(50)
    at = card.at
    card.learn_one(card.look(at - 30 * DAY, 20.0, population, ratios), ratios)

    assert card.at == at
    assert 0 < card.look(at, 20.0, population, ratios).stolen < 0.1


def test_goods_since_a_run_are_counted_and_many_of_them_end_it() -> None:
    runs, run = MerchantRuns(), BadRun(0, 0, 1)
    for day in range(1, 6):
        runs.passed("m", runs.seen("m", run))
        runs.learn_good("m", day * DAY, (day + 1) * DAY, run)
    later = run.extended(7 * DAY)

    assert (runs.seen("m", run).goods, runs.seen("m", run).since) == (5, 5)
    assert runs.seen("m", later).begun == (7 * DAY, 1)
    assert not later.is_over(60 * DAY)
    assert later.is_over(68 * DAY)


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
    rarity = BinRarity()
    for number in range(200):
        rarity.learn_one(number % 20)

    assert rarity.decades[10] < rarity.decades[25] < rarity.decades[50]
    assert rarity.decades[0] < 0.05
    assert rarity.decades[19] == pytest.approx(log10(201 / 5.5), abs=0.1)


def test_counts_fade_when_there_are_a_million() -> None:
    rarity = BinRarity()
    rarity.restore((2_000_000, 0, 2e6, [2e6] + [0.0] * 63, [0.0] * 64))
    rarity.learn_one(3)

    assert rarity.save()[2] == pytest.approx(1e6 + 0.5)
    assert sum(rarity.save()[3]) == rarity.save()[2]


@pytest.mark.parametrize("bins", [0, 63, 65])
def test_rarities_of_other_bins_are_refused(bins: int) -> None:
    numbers = [0.0] * bins
    with pytest.raises(ValueError, match="64 bins"):
        BinRarity().restore((0, 0, 0.0, numbers, numbers))
    with pytest.raises(ValueError, match="64 bins"):
        RatioHistogram().restore_all((RatioHistogram().save(), numbers, numbers))


bins = st.tuples(*(st.integers(0, most) for most in (30, 227, 230, 129, 201, 143)))
runs = st.just(0) | st.builds(
    run_bits,
    age=st.floats(0, 100),
    quiet=st.floats(0, 100),
    bads=st.integers(0, 6),
    goods=st.integers(0, 5),
    since=st.integers(0, 8),
    share=st.integers(0, 3),
)
extras = st.builds(
    extra_bits,
    part_of_day=st.integers(0, 8),
    news=st.tuples(*[st.integers(0, 2)] * 4),
    velocity=st.just(0) | st.integers(2, 12),
    channel=st.integers(0, 4),
    category=st.integers(0, 256),
    is_strange_currency=st.booleans(),
    denials=st.integers(0, 3),
)


@given(bins=bins, run=runs, extra=extras)
def test_every_side_of_a_charge_has_crosses_of_its_own_and_a_name(bins: Bins, run: int, extra: int) -> None:
    crosses = crosses_of(bins, run, extra)
    names = {name_of(cross) for cross in crosses}

    assert len(crosses) == 7 + 5 * (run > 0) + len(set(crosses_of(bins, 0, extra)) - set(crosses_of(bins, 0, 0)))
    assert names >= {"base", "card", "amount"}
    assert ("run" in names) == (run > 0)
    assert 0 <= run < 2**24
    assert 0 <= extra < 2**31


def test_what_else_is_known_is_told_again_from_its_bits() -> None:
    extra = extra_bits(8, (1, 2, 0, 2), 12, 4, 256, True, 3)
    found = list(crosses_of((0,) * 6, 0, extra))[7:]

    assert found == [4067, 4000, 4003, 4007, 4032, 4044, 4455, 4080, 4093]
    assert [name_of(cross) for cross in found] == [
        "time",
        "merchant",
        "category",
        "channel",
        "velocity",
        "channel",
        "category",
        "currency",
        "denied",
    ]


def test_a_run_is_told_again_from_its_bits() -> None:
    run = run_bits(age=13.5, quiet=7.2, bads=3, goods=4, since=5, share=2)

    assert list(crosses_of((0,) * 6, run, 0))[7:] == [2027, 3126, 2222, 2452, 2716]


def test_a_constant_rate_gives_what_rivers_own_gives() -> None:
    random, models = Random(9), []
    events = [(dict.fromkeys(random.sample(range(40), 5), random.random()), random.random() < 0.2) for _ in range(900)]
    for optimizer in (ConstantAdaGrad(0.3), optim.AdaGrad(0.3)):
        model = linear_model.LogisticRegression(optimizer=optimizer)
        for x, y in events:
            model.learn_one(x, y)
        models.append((model.weights, optimizer.n_iterations, dict(optimizer.g2)))

    (weights, steps, squares), (rivers, rivers_steps, rivers_squares) = models
    assert weights == pytest.approx(rivers, rel=1e-9)
    assert squares == pytest.approx(rivers_squares, rel=1e-9)
    assert steps == rivers_steps


def test_a_model_that_was_saved_goes_on_as_it_was() -> None:
    odds, restored, random = ChargeOdds(), ChargeOdds(), Random(3)
    for number in range(400):
        odds.learn_one(dict.fromkeys(random.sample(range(60), 6), 1.0), number % 7 == 0)
    restored.restore(odds.save())
    for each in (odds, restored):
        each.learn_one({1: 1.0, 70: 1.0}, True)

    assert restored.save() == odds.save()
    assert restored.predict_proba_one({1: 1.0, 2: 1.0, 70: 1.0}) == odds.predict_proba_one({1: 1.0, 2: 1.0, 70: 1.0})


# a pipeline -----------------------------------------------------------------------------------------------------------


def simulated(count: int) -> list[tuple[dict[str, Any], bool]]:
    random, events = Random(12), []
    for number in range(count):
        is_bad = number % 60 == 0
        events.append(
            (
                {
                    "id": number,
                    "account": f"a{random.randrange(40)}",
                    "merchant": "bad" if is_bad else f"m{random.randrange(30)}",
                    "t": number * 900.0,
                    "amount": random.lognormvariate(3.3, 0.4) * (6 if number % 120 == 0 else 1),
                },
                is_bad,
            )
        )
    return events


@pytest.mark.parametrize("late", [0, 40])
def test_the_pipeline_says_what_the_detectors_core_says(late: int) -> None:
    model, adapter, events = ChargeCrosses() | ChargeOdds(), ChargeAdapter(), simulated(2600)
    found = []
    for number, (event, _) in enumerate(events):
        found.append((model.predict_proba_one(event)[True], adapter.score(event)))
        model.learn_one(event)
        adapter.learn(event)
        if number >= late:
            known, is_bad = events[number - late]
            label = known | {"now": event["t"] + 60.0}
            model.learn_one(label, is_bad)
            adapter.feedback(label, is_bad)
    ready = [pair for (_, is_bad), pair in zip(events, found, strict=True)][2200:]

    assert adapter._core.odds.is_ready
    assert [ours for ours, _ in ready] == pytest.approx([theirs for _, theirs in ready], rel=1e-6)
    assert max(ours for ours, _ in ready) > 0.5
    assert min(ours for ours, _ in ready) < 0.01


def test_a_label_that_is_there_at_once_needs_one_call() -> None:
    at_once, later = ChargeCrosses() | ChargeOdds(), ChargeCrosses() | ChargeOdds()
    for event, is_bad in simulated(300):
        at_once.learn_one(event, is_bad)
        later.learn_one(event)
        later.learn_one(event, is_bad)
    event, _ = simulated(301)[-1]

    assert at_once.predict_proba_one(event) == later.predict_proba_one(event)


def test_a_charge_that_waits_keeps_the_crosses_that_it_had() -> None:
    crosses = ChargeCrosses(most_waiting=5)
    events = [event for event, _ in simulated(50)]
    before = crosses.transform_one(events[0])
    for event in events[:5]:
        crosses.learn_one(event)

    assert crosses.transform_one(events[0]) == before
    for event in events:
        crosses.learn_one(event)
    assert crosses.transform_one(events[0]) != before  # forgotten, and so seen anew


@pytest.mark.parametrize(
    "odd",
    [{}, {"amount": None}, {"amount": float("nan")}, {"amount": float("inf")}, {"amount": -3.0}, {"t": float("nan")}],
    ids=str,
)
def test_what_is_no_charge_has_no_crosses_and_teaches_nothing(odd: dict[str, Any]) -> None:
    crosses, (event, _) = ChargeCrosses(), simulated(1)[0]
    unusable = event | odd if odd else {}
    crosses.learn_one(unusable, True)

    assert crosses.transform_one(unusable) == {}
    assert crosses.transform_one(event) == ChargeCrosses().transform_one(event)
