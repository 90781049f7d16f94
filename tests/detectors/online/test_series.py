"""A single long series: what rings, what does not, and what must not matter."""

from collections import Counter
from datetime import UTC
from math import cos, inf, nan, pi, sin
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import anomaly, base, datasets

from detectors.evaluation.series import SeriesAdapter
from detectors.online import SeriesAnomaly, SeriesTail
from detectors.online.series_watch import GATE, IRREGULARITIES, SeriesWatch

HOUR, WEEK = 3600.0, 7 * 86_400.0
START = 1_767_571_200.0  # a Monday
Series = list[tuple[float, float]]


def demand(seed: int, count: int, step: float = 1800.0) -> Series:
    """Half-hourly demand: a day's shape, quieter weekends, noise."""
    random = Random(seed)
    found = []
    for number in range(count):
        t = START + step * number
        shape = 100 + 40 * sin(t / 86_400 * 2 * pi) + 10 * cos(t / 43_200 * 2 * pi)
        found.append((t, shape * (0.8 if t // 86_400 % 7 in {2, 3} else 1.0) + random.gauss(0, 4)))
    return found


def noise(seed: int, count: int) -> Series:
    random = Random(seed)
    return [(START + 300.0 * number, random.gauss(50, 2)) for number in range(count)]


def bursts(seed: int, count: int) -> Series:
    random = Random(seed)
    return [(START + 300.0 * number, float(int(random.expovariate(0.2) ** 1.4))) for number in range(count)]


def on_and_off(seed: int, count: int) -> Series:
    random = Random(seed)
    return [(START + 300.0 * n, (20.0 if n % 90 < 30 else 2.0) + random.gauss(0, 0.3)) for n in range(count)]


KINDS = {"demand": demand, "noise": noise, "bursts": bursts, "on-and-off": on_and_off}
by_kind = pytest.mark.parametrize("kind", KINDS)


def raised(series: Series, from_: int = 0, until: int | None = None) -> Series:
    """Return the series with eight times its usual spread added to a stretch."""
    values = [value for _, value in series]
    mean = sum(values) / len(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    until = len(series) if until is None else until
    return [(t, value + 8 * spread * (from_ <= n < until)) for n, (t, value) in enumerate(series)]


def scores(series: Series, **rule: Any) -> list[float]:
    watch = SeriesWatch(**rule)
    found = []
    for t, value in series:
        found.append(watch.score(t, value))
        watch.learn(t, value)
    return found


def rung(series: Series, **rule: Any) -> list[int]:
    return [number for number, score in enumerate(scores(series, **rule)) if score > 0]


@by_kind
@pytest.mark.parametrize("seed", range(3))
def test_a_new_level_rings_within_a_few_readings(kind: str, seed: int) -> None:
    found = rung(raised(KINDS[kind](seed, 2000), 1500))
    is_tired = any(1400 <= number < 1500 for number in found)

    assert any(1500 <= number <= (1600 if is_tired else 1510) for number in found)


@by_kind
def test_a_quiet_series_rings_seldom(kind: str) -> None:
    assert sum(len(rung(KINDS[kind](seed, 3000))) for seed in range(4)) <= 4 * 6


@by_kind
def test_a_score_is_zero_or_past_the_gate_and_does_not_saturate(kind: str) -> None:
    found = [score for score in scores(raised(KINDS[kind](5, 3000), 2000)) if score]

    assert min(found) > GATE
    assert len(set(found)) == len(found)


def test_a_stretch_in_which_the_pattern_is_missing_rings() -> None:
    series = demand(3, 3000)
    flat = [(t, 100.0 if 2000 <= number < 2100 else value) for number, (t, value) in enumerate(series)]

    assert set(rung(flat)) & set(range(2000, 2100))


def test_what_is_watched_upwards_does_not_ring_below_and_the_other_way_round() -> None:
    up = raised(noise(1, 2000), 1500)
    down = [(t, 100 - value) for t, value in up]

    assert [number for number in rung(up, direction=1) if 1500 <= number < 1510]
    assert [number for number in rung(down, direction=-1) if 1500 <= number < 1510]
    assert not [number for number in rung(up, direction=-1) if 1500 <= number < 1600]
    assert not [number for number in rung(down, direction=1) if 1500 <= number < 1600]


def test_each_alarm_raises_the_bar_of_a_noisy_series() -> None:
    watch, bars = SeriesWatch(), []
    for t, value in bursts(1, 6000):
        alarm, oddness = watch.score(t, value), watch.oddness(t, value)
        if alarm:
            bars.append(oddness - alarm)
        watch.learn(t, value)

    assert len(bars) > 2
    assert bars[0] == 0.0
    assert all(bar > 0.05 for bar in bars[1:])


def test_after_an_alarm_only_what_is_odder_by_half_rings_again_for_a_while() -> None:
    found = rung(raised(noise(2, 2000), 1500, 1580))
    values = scores(raised(noise(2, 2000), 1500, 1580))

    first = next(number for number in found if number >= 1500)
    for number in found:
        if first < number < first + 99:
            assert values[number] > 1.2 * values[first]


def test_a_real_water_meter_rings_when_the_flow_falls_and_at_nothing_else() -> None:
    water: Any = datasets.WaterFlow
    readings = [(x["Time"].replace(tzinfo=UTC), value) for x, value in water()]
    found = rung([(at.timestamp(), value) for at, value in readings])

    assert [f"{readings[number][0]:%Y-%m-%d}" for number in found] == ["2022-03-24", "2022-04-27"]
    assert all(readings[number][1] < 60 for number in found)  # about 95 is usual at those hours


# what must not matter ----------------------------------------------------------------------------------------------------


@by_kind
@pytest.mark.parametrize("factor", [2.0**-30, 2.0**-3, 2.0**20, 2.0**30])
def test_another_unit_gives_the_same_scores(kind: str, factor: float) -> None:
    series = raised(KINDS[kind](7, 2500), 1800, 1900)

    assert scores([(t, value * factor) for t, value in series]) == scores(series)


@by_kind
@pytest.mark.parametrize("factor", [1e-9, 1e-12, 0.01, 3.7, 1e9, 1e12])
def test_a_unit_that_is_no_power_of_two_gives_the_same_alarms(kind: str, factor: float) -> None:
    """Rounding may put an error on the other side of a count's border; that moves a score by little, seldom an alarm."""
    series = raised(KINDS[kind](7, 2500), 1800, 1900)
    plain, scaled = scores(series), scores([(t, value * factor) for t, value in series])

    assert sum((one > 0) != (other > 0) for one, other in zip(plain, scaled, strict=True)) <= 1
    both = [(one, other) for one, other in zip(plain, scaled, strict=True) if one and other]
    assert both
    assert all(one == pytest.approx(other, abs=0.2) for one, other in both)


@by_kind
@pytest.mark.parametrize("shift", [-1024.0, 65_536.0])
def test_another_zero_gives_the_same_scores(kind: str, shift: float) -> None:
    series = [(t, round(value * 1024) / 1024) for t, value in raised(KINDS[kind](7, 2500), 1800, 1900)]  # exact sums

    assert scores([(t, value + shift) for t, value in series]) == scores(series)


@by_kind
@pytest.mark.parametrize("weeks", [-60, 1, 500])
def test_other_weeks_give_the_same_scores(kind: str, weeks: int) -> None:
    series = raised(KINDS[kind](7, 1500), 1200)

    assert scores([(t + weeks * WEEK, value) for t, value in series]) == scores(series)


def interleaved(names: list[str]) -> dict[str, list[float]]:
    adapter = SeriesAdapter()
    found: dict[str, list[float]] = {name: [] for name in names}
    rows = [raised(make(4, 1200), 900) for make in KINDS.values()]
    for number in range(1200):
        for name, row in zip(names, rows, strict=True):
            event = {"account": name, "t": row[number][0], "value": row[number][1]}
            found[name].append(adapter.score(event))
            adapter.learn(event)
    return found


def test_names_and_neighbours_do_not_matter() -> None:
    one, other = interleaved(["a", "b", "c", "d"]), interleaved(["z", "a", "y", "b"])
    alone = [scores(raised(make(4, 1200), 900)) for make in KINDS.values()]

    assert list(one.values()) == list(other.values()) == alone
    assert any(map(any, alone))


# what may come -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-25, 1e25, 0.1])
def test_a_constant_series_never_rings(value: float) -> None:
    assert rung([(START + HOUR * number, value) for number in range(3000)]) == []


def test_what_floats_round_off_a_constant_is_no_news() -> None:
    random = Random(1)
    series = [(START + HOUR * number, 0.1 + random.choice([0, 1, -1]) * 1.4e-17) for number in range(3000)]

    assert rung(series) == []


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_flat_line_that_moves_rings_at_once(scale: float) -> None:
    series = [(START + HOUR * number, scale * (5.0 if number < 500 else 5.01)) for number in range(600)]

    assert rung(series)[:1] == [500]


def test_a_value_that_is_not_one_changes_nothing_and_is_counted() -> None:
    plain, disturbed = SeriesAnomaly(), SeriesAnomaly()
    series = raised(demand(1, 800), 700)
    odd = [
        (START, nan),
        (START, inf),
        (START, -inf),
        (START, 1e30),
        (START, -1e200),
        (nan, 1.0),
        (inf, 1.0),
        (-1e13, 1.0),
    ]
    alarms: list[list[float]] = [[], []]
    for number, (t, value) in enumerate(series):
        if number % 100 == 50:
            for bad_t, bad_value in odd:
                assert disturbed.alarm_one({"t": bad_t, "value": bad_value}) == 0.0
                assert disturbed.score_one({"t": bad_t, "value": bad_value}) == 0.0
                disturbed.learn_one({"t": bad_t, "value": bad_value})
            for incomplete in ({}, {"t": t}, {"value": value}, {"t": None, "value": value}):
                assert disturbed.score_one(incomplete) == 0.0
                disturbed.learn_one(incomplete)
        for model, found in zip((plain, disturbed), alarms, strict=True):
            found.append(model.alarm_one({"t": t, "value": value}))
            model.learn_one({"t": t, "value": value})

    assert alarms[0] == alarms[1]
    assert any(alarms[0])
    assert plain.irregularities == Counter()
    assert disturbed.irregularities == {"not_a_number": 24, "absurd_value": 16, "not_a_time": 24, "missing": 32}


def test_time_that_runs_backwards_is_counted_and_learned() -> None:
    model = SeriesAnomaly()
    for t, value in noise(1, 200):
        model.learn_one({"t": t, "value": value})
    model.learn_one({"t": START, "value": 50.0})

    assert model.irregularities == {"time_went_back": 1}
    assert model._watch.habit.n == 201
    assert "time_went_back" in IRREGULARITIES


def test_one_absurdly_large_value_does_not_make_the_series_blind() -> None:
    series = raised(noise(1, 3000), 2500)
    series[1000] = (series[1000][0], 1e29)

    assert [number for number in rung(series) if 2500 <= number < 2520]


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e3, 1e3), st.sampled_from([0.0, 1.0, 1e29])
)


@settings(max_examples=60, deadline=None)
@given(
    readings=st.lists(st.tuples(st.one_of(numbers, st.floats(0, 2e9)), numbers), max_size=60), seed=st.integers(0, 99)
)
def test_whatever_comes_a_score_is_a_finite_number(readings: list[tuple[float, float]], seed: int) -> None:
    watch = SeriesWatch()
    for t, value in [*noise(seed, 100), *readings, *noise(seed + 1, 50)]:
        assert 0.0 <= watch.score(t, value) < 10.0
        assert 0.0 <= watch.oddness(t, value) < 10.0
        watch.learn(t, value)

    assert watch.habit.n >= 150


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 9),
    gate=st.sampled_from([0.5, 1.0, GATE, 3.0]),
    restarts=st.sets(st.integers(0, 1499), min_size=1, max_size=20),
)
def test_a_watch_restored_scores_as_one_that_was_never_saved(
    kind: str, seed: int, gate: float, restarts: set[int]
) -> None:
    """Neither what is rounded nor what is only cached, such as the bounds below which nothing is worked out, matters."""
    series = raised(KINDS[kind](seed, 1500), 1100, 1200)
    straight, restarted = SeriesWatch(gate), SeriesWatch(gate)
    for number, (t, value) in enumerate(series):
        assert restarted.score(t, value) == straight.score(t, value)
        straight.learn(t, value)
        restarted.learn(t, value)
        if number in restarts:
            restarted = SeriesWatch.restored(restarted.save(), gate)

    assert restarted.save() == straight.save()


@by_kind
def test_what_is_not_worked_out_could_not_have_rung(kind: str) -> None:
    quick, slow = SeriesWatch(), SeriesWatch()
    for t, value in raised(KINDS[kind](3, 4000), 3000):
        slow.bounds_until = 0
        assert quick.score(t, value) == slow.score(t, value)
        assert quick.is_odd(t, value) == slow.is_odd(t, value)
        quick.learn(t, value)
        slow.learn(t, value)


# the tail ----------------------------------------------------------------------------------------------------------------


def test_a_tail_says_how_rare_an_error_was() -> None:
    random, tail = Random(3), SeriesTail()
    errors = [random.paretovariate(2) for _ in range(20_000)]
    for error in errors:
        tail.learn_one(error)

    for bar in (1.5, 3.0, 10.0):
        share = sum(error >= bar for error in errors) / len(errors)
        assert 10 ** -tail.decades(bar) == pytest.approx(share, rel=0.35)


def test_a_tail_that_is_full_halves_and_goes_on() -> None:
    tail = SeriesTail()
    for number in range(140_000):
        tail.learn_one(100.0 if number % 1000 == 0 else 1.0)

    assert max(tail.counts) <= 65_535
    assert tail.n == sum(tail.counts)
    assert tail.decades(100.0) == pytest.approx(3.3, abs=0.1)


def test_a_tail_takes_any_number() -> None:
    tail = SeriesTail()
    for error in (nan, inf, -inf, -1.0, 0.0, 1e300):
        assert tail.decades(error) >= 0.0
        tail.learn_one(error)

    assert tail.n == 6  # one was there before, and NaN is none


@given(errors=st.lists(st.floats(0, 1e6), max_size=80), decades=st.floats(0.3, 3))
def test_the_first_rare_place_is_the_first(errors: list[float], decades: float) -> None:
    tail = SeriesTail()
    for error in errors:
        tail.learn_one(error)
    place = tail.place_from(decades)

    assert all(tail.decades_at(at) < decades + 1e-9 for at in range(place))
    assert all(tail.decades_at(at) > decades - 1e-9 for at in range(place, 56))


# as River ----------------------------------------------------------------------------------------------------------------


def test_it_works_inside_rivers_filters() -> None:
    model: Any = anomaly.ThresholdFilter(SeriesAnomaly(), threshold=1.9)
    for t, value in noise(1, 500):
        model.learn_one({"t": t, "value": value})

    assert isinstance(model.anomaly_detector, base.AnomalyDetector)
    assert model.classify(model.score_one({"t": START, "value": 90.0}))
    assert not model.classify(model.score_one({"t": START, "value": 50.0}))


@pytest.mark.parametrize("rule", [{"gate": 0.1}, {"gate": nan}, {"gate": inf}, {"direction": 2}])
def test_a_rule_that_is_none_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a gate"):
        SeriesAnomaly(**rule)
