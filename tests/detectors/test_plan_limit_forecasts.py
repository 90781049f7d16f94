"""Forecasts of the plan-limit detector, and the adapter that scorers ask."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from detectors.alerts import Alert
from detectors.cycle_forecast import CycleForecast, ForecastPool
from detectors.detector import Settled
from detectors.evaluation.limit import LimitAdapter
from detectors.plan_limit import PlanLimit, PlanLimitSettings
from detectors.plan_limit_pools import MOST_POOLS, Pools
from detectors.plans import Plan

DAY = 86_400.0
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLANS = {"basic": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "GB", "overage": "8.00"}}}}


def outcomes(
    adapter: LimitAdapter, accounts: int = 20, cycles: int = 14, scale: float = 1.0, shift: int = 0, names: str = "a"
) -> list[tuple[float, bool]]:
    """Ask daily, over cycles of 30 days of accounts whose level wanders, and return what was said and what happened."""
    random = Random(5)
    level = [random.lognormvariate(0, 0.5) for _ in range(accounts)]
    found = []
    for cycle in range(cycles):
        start = 30 * cycle + shift
        usage = [[] for _ in range(accounts)]  # type: list[list[float]]
        for each in range(accounts):
            for day in range(30):
                level[each] *= math.exp(random.gauss(0, 0.05))
                weekend = 1.4 if (start + day) % 7 > 4 else 1.0
                usage[each].append(scale * level[each] * weekend * random.lognormvariate(0, 0.3))
        allowance = [sum(days) * random.uniform(0.7, 1.4) for days in usage]
        for day in range(30):
            for each in range(accounts):
                name, now = f"{names}{each}", DAY * (start + day)
                adapter.learn({"account": name, "t": now, "value": usage[each][day]})
                chance = adapter.score(
                    {
                        "account": name,
                        "t": now + DAY,
                        "used": sum(usage[each][: day + 1]),
                        "allowance": allowance[each],
                        "cycle_start": DAY * start,
                        "cycle_end": DAY * (start + 30),
                    }
                )
                if cycle > 1 and day < 29:
                    found.append((chance, sum(usage[each]) > allowance[each]))
    return found


@pytest.fixture(scope="module")
def said() -> list[tuple[float, bool]]:
    return outcomes(LimitAdapter())


def test_chances_are_calibrated_and_better_than_the_share_of_breaches(said: list[tuple[float, bool]]) -> None:
    share = sum(happened for _, happened in said) / len(said)
    brier = sum((chance - happened) ** 2 for chance, happened in said) / len(said)
    off = 0.0
    for tenth in range(10):
        inside = [(chance, happened) for chance, happened in said if min(int(chance * 10), 9) == tenth]
        off += abs(sum(chance - happened for chance, happened in inside))

    assert brier < 0.5 * share * (1 - share)
    assert off / len(said) < 0.03


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: outcomes(LimitAdapter(), scale=1024.0), id="another-unit"),
        pytest.param(lambda: outcomes(LimitAdapter(), shift=7), id="a-week-later"),
        pytest.param(lambda: outcomes(LimitAdapter(), names="other"), id="other-names"),
    ],
)
def test_the_unit_the_date_and_the_names_do_not_matter(
    said: list[tuple[float, bool]], other: Callable[[], list[tuple[float, bool]]]
) -> None:
    for (chance, _), (also, _) in zip(said, other(), strict=True):
        assert also == pytest.approx(chance, abs=1e-4)


def test_asking_twice_and_asking_for_another_allowance_changes_nothing() -> None:
    once, often = LimitAdapter(), LimitAdapter()
    for day in range(50):
        cycle = {
            "account": "a",
            "t": DAY * (day + 1),
            "used": float(day % 30 + 1),
            "cycle_end": DAY * 30 * (day // 30 + 1),
        }
        for adapter in (once, often):
            adapter.learn({"account": "a", "t": DAY * day, "value": 1.0 + day % 3})
        for allowance in (1.0, 20.0, 70.0):
            often.score(cycle | {"allowance": allowance})

        assert once.score(cycle | {"allowance": 30.0}) == often.score(cycle | {"allowance": 30.0})


def test_a_constant_series_settles_at_error_0() -> None:
    pool = ForecastPool()
    forecast = CycleForecast(pool)
    for day in range(120):
        if day and day % 30 == 0:
            forecast.settle(30.0, None)  # before the next cycle's first day is learned
        forecast.learn_day(1.0, day)
        left = 29 - day % 30
        forecast.keep(forecast.outlook(day % 30 + 1.0, float(left), day + 1), None)

    assert {number - 40 for counts in pool.errors.save() for number, count in enumerate(counts) if count} <= {-1, 0}


def test_a_very_regular_account_is_forecast_narrowly() -> None:
    pool, random = ForecastPool(), Random(3)
    regular, unsteady = CycleForecast(pool), CycleForecast(pool)
    for day in range(360):
        for forecast, spread in ((regular, 0.01), (unsteady, 0.8)):
            forecast.learn_day(random.lognormvariate(0, spread), day)
    narrow, wide = (each.outlook(0.0, 20.0, 360) for each in (regular, unsteady))
    assert narrow.deviation / narrow.end < wide.deviation / wide.end
    for forecast, outlook in ((regular, narrow), (unsteady, wide)):
        for days in (7.0, 5.0, 3.0):
            forecast.keep(replace(outlook, days=days), None)
        forecast.settle(outlook.end + (0.0 if forecast is regular else 2 * outlook.deviation), None)

    assert regular.outlook(0.0, 20.0, 360).deviation < narrow.deviation
    assert unsteady.outlook(0.0, 20.0, 360).deviation > wide.deviation


@pytest.mark.parametrize("asks_first", [False, True])
def test_a_day_may_be_learned_before_or_after_it_is_asked_about(asks_first: bool) -> None:
    adapter = LimitAdapter()
    for day in range(200):
        cycle_end = DAY * 30 * (day // 30 + 1)
        usage = {"account": "a", "t": DAY * day, "value": 1.0}
        asked = {
            "account": "a",
            "t": DAY * (day + 1),
            "used": day % 30 + 1.0,
            "allowance": 31.0,
            "cycle_end": cycle_end,
        }
        if asks_first:
            adapter.score(asked)
        adapter.learn(usage)
        if not asks_first:
            adapter.score(asked)
    errors = adapter.pool.errors.save()

    assert sum(map(sum, errors)) > 60
    assert {number - 40 for counts in errors for number, count in enumerate(counts) if count} <= {-1, 0}


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf], ids=repr)
def test_what_is_no_number_poisons_nothing(odd: float) -> None:
    adapter, other = LimitAdapter(), LimitAdapter()
    cycle = {"account": "a", "t": DAY * 20, "used": 20.0, "allowance": 31.0, "cycle_end": DAY * 30}
    for each in (adapter, other):
        for day in range(20):
            each.learn({"account": "a", "t": DAY * day, "value": 1.0})
    adapter.learn({"account": "a", "t": DAY * 20, "value": odd})
    adapter.score(cycle | {"used": odd})

    assert adapter.score(cycle) == other.score(cycle)
    assert adapter.irregularities == {"not_finite": 2}


def test_an_account_that_is_not_known_and_a_cycle_that_is_over_are_what_they_are() -> None:
    adapter = LimitAdapter()
    cycle = {"account": "a", "t": 0.0, "used": 20.0, "allowance": 10.0, "cycle_end": DAY * 30}

    assert adapter.score(cycle) == 1.0
    assert adapter.score(cycle | {"used": 5.0}) == 0.0
    adapter.learn({"account": "a", "t": 0.0, "value": 5.0})
    assert adapter.score(cycle | {"t": DAY * 30, "used": 10.0}) == 0.0


def test_an_allowance_that_is_passed_is_certain_however_little_is_expected() -> None:
    adapter = LimitAdapter()
    for day in range(40):
        adapter.learn({"account": "a", "t": DAY * day, "value": 0.001})
    cycle = {"account": "a", "t": DAY * 40, "allowance": 10.0, "cycle_end": DAY * 60}

    assert adapter.score(cycle | {"used": math.nextafter(10.0, 11.0)}) == 1.0
    assert adapter.score(cycle | {"used": 10.0}) <= 1.0
    assert adapter.score(cycle | {"used": 5.0}) < 0.05


@pytest.mark.parametrize("odd", [1e300, -1e300, 1e-300], ids=repr)
def test_absurd_usage_is_no_error_and_spoils_no_pool(odd: float) -> None:
    adapter = LimitAdapter()
    for day in range(90):
        adapter.learn({"account": "a", "t": DAY * day, "value": odd if day == 50 else 1.0})
        cycle_end = DAY * 30 * (day // 30 + 1)
        asked = {"account": "a", "t": DAY * (day + 1), "used": 1.0, "allowance": 31.0, "cycle_end": cycle_end}
        assert 0.0 <= adapter.score(asked) <= 1.0

    assert all(math.isfinite(number) for counts in adapter.pool.errors.save() for number in counts)
    assert all(map(math.isfinite, adapter.pool.cohort.save()[1]))


# through the engine ---------------------------------------------------------------------------------------------------


@pytest.fixture
def customer(ask: Callable[..., Any]) -> Any:
    asked = ask(plans=PLANS, detectors={"usage_spike": {"enabled": False}, "suspicious_charge": {"enabled": False}})
    asked.tell("account.updated", FIRST - timedelta(hours=1), plan="basic", timezone="UTC")
    return asked


def use(customer: Any, quantity: str, at: datetime) -> list[Alert]:
    found: list[Alert] = customer.tell("usage.recorded", at, meter="data", unit="GB", quantity=quantity)
    return found


def detector_of(customer: Any) -> PlanLimit:
    (found,) = (each for each in customer.engine._detectors if isinstance(each, PlanLimit))
    return found


def test_a_forecast_says_when_at_the_earliest_at_the_latest_and_what_it_will_cost(customer: Any) -> None:
    alerts = [alert for day in range(31) for alert in use(customer, "0.6", FIRST + timedelta(days=day))]
    forecast = alerts[0]
    facts, harm = forecast.facts, forecast.harm

    assert facts["threshold"] == "forecast"
    assert str(facts["breach_from"]) <= str(facts["breach_date"]) <= str(facts["breach_to"] or "2026-03-31")
    assert "2026-03-15" <= str(facts["breach_date"]) <= "2026-03-19"
    assert harm is not None
    assert harm.probability == pytest.approx(float(str(facts["chance"])), abs=0.001)
    assert float(harm.amount) * harm.probability == pytest.approx(float(str(facts["overage"])), abs=0.02)
    assert 60 < float(str(facts["overage"])) < 75  # about 8.6 GB at 8 EUR
    assert forecast.useful_until == datetime(2026, 4, 1, tzinfo=UTC)


def test_80_percent_says_how_likely_the_rest_is(customer: Any) -> None:
    alerts = [alert for day in range(31) for alert in use(customer, "0.33", FIRST + timedelta(days=day))]
    (alert,) = [each for each in alerts if each.facts["threshold"] == "80"]

    assert alert.harm is not None
    assert 0.0 < float(str(alert.facts["chance"])) < 1.0
    assert 0.0 < float(alert.harm.amount) < 10.0


def test_how_good_chances_were_is_kept_track_of(customer: Any) -> None:
    random = Random(4)
    for day in range(200):
        use(customer, f"{random.uniform(0.1, 0.55):.3f}", FIRST + timedelta(days=day))
    detector = detector_of(customer)
    calibration = detector.calibration()

    assert calibration.settled > 60
    assert 0.0 < calibration.brier < 0.25
    assert 0.0 <= calibration.expected_calibration_error < 0.3
    other = PlanLimit(PlanLimitSettings(), {"basic": Plan.model_validate(PLANS["basic"])})
    other.restore_pools(detector.save_pools(), PlanLimit.version)
    assert other.calibration() == calibration


def test_what_is_settled_is_said_once_and_what_is_restored_not_again(customer: Any) -> None:
    random = Random(4)
    said: list[Settled] = []
    for day in range(200):
        use(customer, f"{random.uniform(0.1, 0.55):.3f}", FIRST + timedelta(days=day))
        taken = customer.engine.take_settled()
        assert {kind for kind, _ in taken} <= {"plan_limit"}
        assert day % 30 > 25 or day % 30 < 5 or not taken  # a month's end settles it
        said += taken.values()
        assert customer.engine.take_settled() == {}
    calibration = detector_of(customer).calibration()
    other = PlanLimit(PlanLimitSettings(), {"basic": Plan.model_validate(PLANS["basic"])})
    other.restore_pools(detector_of(customer).save_pools(), PlanLimit.version)

    assert sum(each.number for each in said) == calibration.settled > 60
    assert sum(each.squares for each in said) == pytest.approx(calibration.brier * calibration.settled)
    assert all(0 <= each.happened <= each.number and 0.0 <= each.promised <= each.number for each in said)
    assert other.take_settled() == {}


def test_a_meter_is_saved_in_410_bytes_when_a_cycle_ends(customer: Any) -> None:
    random = Random(4)
    sizes = []
    for hour in range(24 * 70):
        use(customer, f"{random.uniform(0.001, 0.03):.4f}", FIRST + timedelta(hours=hour))
        if hour % 24 == 0:
            place = customer.engine._detectors.index(detector_of(customer))
            memory = customer.engine._accounts.get(b"acct-1234").memories[place]
            sizes.append(len(detector_of(customer).save(memory)))

    assert max(sizes) <= 410


def test_pools_are_few_and_their_parts_small() -> None:
    pools = Pools()
    assert len({id(pools.of(f"m{number}")) for number in range(500)}) == MOST_POOLS + 1
    detector = PlanLimit(PlanLimitSettings(), {})
    detector._pools = pools

    assert max(map(len, detector.save_pools().values())) < 10_000


def test_a_balance_is_exact_to_the_last_place(customer: Any) -> None:
    alerts = [alert for _ in range(8000) for alert in use(customer, "0.001", FIRST)]

    (alert,) = alerts
    assert alert.facts["used"] == Decimal(8)
