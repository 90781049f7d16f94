from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.datasets import WaterFlow

from detectors.alerts import Alert, DetectorVersion, Evidence
from detectors.codec import Reader, encode
from detectors.events import ChargePosted, UsageRecorded
from foretell.scenario_habits import DAY, HOUR, Rhythm, Surge, meter_readings, sessions
from foretell.scenarios import METERS, PLANS, World
from foretell.verdict import Case, judge

CUSTOMERS = 30
NOON = datetime(2022, 4, 1, 12, tzinfo=UTC)


def drawn(seed: int) -> Random:
    return Random(seed)


def fingerprint(world: World) -> str:
    whole = sha256()
    for message in world.accounts:
        whole.update(encode(message)[0])
    for happening in world:
        whole.update(happening.role.encode() + encode(happening.message)[0])
    return whole.hexdigest()


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=7, customers=CUSTOMERS)


# the world


def test_the_same_seed_gives_the_same_bytes_and_labels(world: World) -> None:
    again = World(seed=7, customers=CUSTOMERS)

    assert fingerprint(again) == fingerprint(world)
    assert again.cases == world.cases


def test_another_seed_gives_other_customers(world: World) -> None:
    assert fingerprint(World(seed=8, customers=CUSTOMERS)) != fingerprint(world)


def test_more_customers_leave_the_habits_of_the_others_alone() -> None:
    few, more = World(seed=7, customers=2), World(seed=7, customers=4)
    known = {message.account for message in few.accounts}

    assert [message for message in more.accounts if message.account in known] == list(few.accounts)


def test_events_come_in_the_order_of_time_with_ids_of_their_own(world: World) -> None:
    messages = [happening.message for happening in world]

    assert len(messages) == len(world)
    assert all(before.time <= after.time for before, after in pairwise(messages))
    assert len({message.id for message in messages}) == len(messages)
    assert world.begins <= messages[0].time
    assert messages[-1].time <= world.ends
    assert all(message.time < world.begins for message in world.accounts)


def test_every_event_is_one_that_the_stream_worker_takes(world: World) -> None:
    types = {"usage": ("usage.recorded",), "charges": ("charge.posted",)}

    for role, message in world:
        assert Reader(types[role]).read(*encode(message)) == message
    for account in world.accounts:
        assert Reader(("account.updated",)).read(*encode(account)) == account


def test_meters_and_plans_fit_what_the_customers_use(world: World) -> None:
    used = {message.meter: message.unit for _, message in world if isinstance(message, UsageRecorded)}

    assert used == {name: meter.unit for name, meter in METERS.items()}
    assert {message.plan for message in world.accounts} - {None} <= set(PLANS)


def test_the_water_meter_is_rivers_reading_for_reading(world: World) -> None:
    theirs = [(row["Time"], Decimal(str(litres)) * Decimal("3.6")) for row, litres in WaterFlow()]  # type: ignore[no-untyped-call] # River has no types
    ours = [
        (message.time, message.quantity)
        for _, message in world
        if isinstance(message, UsageRecorded) and message.account == "water-main"
    ]

    assert [(time, round(quantity, 4)) for time, quantity in theirs] == ours


def test_usage_comes_several_times_a_day_at_irregular_times(world: World) -> None:
    times = defaultdict(list)
    for _, message in world:
        if isinstance(message, UsageRecorded) and message.account != "water-main":
            times[message.account].append(message.time)

    assert len(times) == CUSTOMERS
    for moments in times.values():
        assert len(moments) > 3 * 57
        assert len({after - before for before, after in pairwise(moments)}) > 50


# labels


def test_every_case_lies_within_the_simulated_time_and_has_a_customer(world: World) -> None:
    accounts = {message.account for message in world.accounts}

    for case in world.cases:
        assert case.account in accounts
        assert world.begins <= case.starts <= case.ends
        assert case.starts <= world.ends


def test_there_is_a_case_of_every_kind() -> None:
    kinds = Counter((case.kind, case.is_asked_for) for case in World(seed=1, customers=80).cases)

    assert kinds["usage_spike", True] > 5
    assert kinds["plan_limit", True] > 3
    assert kinds["suspicious_charge", True] > 2
    assert kinds["usage_spike", False] == 3


def test_the_dates_of_the_real_anomalies_are_those_of_the_data() -> None:
    flow = {row["Time"]: litres for row, litres in WaterFlow()}  # type: ignore[no-untyped-call] # River has no types
    cases = [case for case in World(customers=0).cases if case.account == "water-main"]
    lows = [case for case in cases if not case.is_asked_for]
    (peak,) = [case for case in cases if case.is_asked_for]

    def inside(case: Case) -> list[float]:
        return [litres for time, litres in flow.items() if case.starts <= time <= case.ends]

    outside = [litres for time, litres in flow.items() if not any(case.starts <= time <= case.ends for case in lows)]
    assert len(lows) == 3
    assert all(min(inside(low)) < 25 for low in lows)
    assert min(outside) > 95
    assert max(inside(peak)) == max(flow.values())
    assert lows[1].ends < peak.starts < lows[2].starts  # "after the first 2 segments"


def test_a_plan_limit_case_starts_with_the_reading_that_passes_the_threshold() -> None:
    world = World(seed=3, customers=60)
    cases = [case for case in world.cases if case.kind == "plan_limit" and case.threshold != "forecast"]
    plans = {message.account: message for message in world.accounts}
    usage = defaultdict(list)
    for _, message in world:
        if isinstance(message, UsageRecorded):
            usage[message.account].append(message)

    assert cases
    for case in cases:
        facts = plans[case.account]
        assert facts.cycle is not None
        assert facts.cycle.anchor is not None
        assert facts.plan is not None
        zone = ZoneInfo(facts.timezone or "UTC")
        renewed = case.starts.astimezone(zone)
        while renewed.day != facts.cycle.anchor.astimezone(zone).day:
            renewed -= timedelta(hours=1)
        midnight = renewed.replace(hour=0, minute=0, second=0, microsecond=0)
        line = PLANS[facts.plan].allowances["data"].quantity * int(case.threshold or 0) / 100
        used = [each.quantity for each in usage[case.account] if midnight <= each.time <= case.starts]
        assert sum(used) >= line > sum(used[:-1])


def test_what_is_used_up_could_have_been_foreseen_from_the_cycles_start() -> None:
    cases = [case for case in World(seed=3, customers=60).cases if case.kind == "plan_limit"]
    used_up = {(case.account, case.starts) for case in cases if case.threshold == "100"}
    foreseen = {(case.account, case.ends): case.ends - case.starts for case in cases if case.threshold == "forecast"}

    assert used_up
    assert foreseen.keys() == used_up
    assert all(timedelta(0) <= length < timedelta(days=31) for length in foreseen.values())


def test_some_plans_are_renewed_and_passed_again() -> None:
    passed = Counter((case.account, case.threshold) for case in World(seed=1).cases if case.kind == "plan_limit")

    assert max(passed.values()) > 1


def test_a_theft_is_one_case_that_names_its_charges(world: World) -> None:
    charges = {message.id: message for _, message in world if isinstance(message, ChargePosted)}
    thefts = [case for case in world.cases if case.kind == "suspicious_charge"]

    assert thefts
    for case in thefts:
        stolen = [charges[event] for event in case.events]
        assert stolen
        assert {charge.account for charge in stolen} == {case.account}
        assert {charge.merchant.country for charge in stolen} == {"LV"}
        assert (min(charge.time for charge in stolen), max(charge.time for charge in stolen)) == (
            case.starts,
            case.ends,
        )


@given(st.integers(), st.floats(min_value=0.05, max_value=5))
@settings(max_examples=20, deadline=None)
def test_a_habit_comes_to_its_mean_in_the_long_run(seed: int, per_hour: float) -> None:
    rhythm = Rhythm(drawn(seed), ZoneInfo("Europe/Rome"))
    weeks = 20 * 7 * DAY

    for habit in (meter_readings, sessions):
        total = sum(quantity for _, quantity in habit(drawn(seed), rhythm, per_hour, 0, weeks))
        assert total / (weeks / HOUR) == pytest.approx(per_hour, rel=0.25)


@given(st.integers(), st.sampled_from([meter_readings, sessions]))
@settings(max_examples=20, deadline=None)
def test_a_surge_changes_nothing_before_it_begins(seed: int, habit: Any) -> None:
    rhythm = Rhythm(drawn(seed), ZoneInfo("America/New_York"))
    surge = Surge(10 * DAY, 10 * DAY + 5 * HOUR, factor=100)

    without = list(habit(drawn(seed), rhythm, 1.0, 0, 12 * DAY))
    with_it = list(habit(drawn(seed), rhythm, 1.0, 0, 12 * DAY, [surge]))

    quiet = 10 * DAY - 2 * HOUR
    assert [each for each in without if each[0] < quiet] == [each for each in with_it if each[0] < quiet]
    assert sum(used for second, used in with_it if surge.begins <= second < surge.ends) > 2 * sum(
        used for second, used in without if surge.begins <= second < surge.ends
    )


# the judgement


def case(**others: Any) -> Case:
    fields: dict[str, Any] = {
        "account": "a1",
        "kind": "usage_spike",
        "starts": NOON,
        "ends": NOON + timedelta(hours=3),
        "what": "a spike",
    }
    return Case(**(fields | others))


def alert(alert_id: str = "x1", **others: Any) -> Alert:
    fields: dict[str, Any] = {
        "id": alert_id,
        "source": "s",
        "time": NOON,
        "account": "a1",
        "alert_id": alert_id,
        "kind": "usage_spike",
        "subject": "data",
        "state": "triggered",
        "score": 1.0,
        "severity": "notice",
        "alert_class": "limit",
        "occurred_at": NOON,
        "detected_at": NOON,
        "useful_until": NOON,
        "detector": DetectorVersion(name="d", version=1),
        "config": "c",
    }
    return Alert(**(fields | others))


def test_an_alert_in_time_about_the_case_hits_it() -> None:
    verdict = judge([case()], [alert()])

    (figures,) = verdict.by_kind()
    assert (figures.cases, figures.hit, figures.alerts, figures.right) == (1, 1, 1, 1)
    assert (figures.recall, figures.precision) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("of_case", "of_alert"),
    [
        ({}, {"account": "a2"}),
        ({}, {"kind": "plan_limit"}),
        ({"subject": "water"}, {}),
        ({"threshold": "80"}, {"facts": {"threshold": 100}}),
        ({"threshold": "80"}, {}),
        ({}, {"occurred_at": NOON - timedelta(seconds=1)}),
        ({}, {"occurred_at": NOON + timedelta(hours=3, seconds=1)}),
        (
            {"events": frozenset(["e1"])},
            {"evidence": (Evidence(topic="t", partition=0, offset=0, event_id="e2"),)},
        ),
    ],
)
def test_an_alert_about_something_else_is_a_stray_and_the_case_is_missed(
    of_case: dict[str, Any], of_alert: dict[str, Any]
) -> None:
    verdict = judge([case(**of_case)], [alert(**of_alert)])

    assert len(verdict.missed) == 1
    assert len(verdict.stray) == 1
    assert not verdict.hits


def test_an_alert_that_is_raised_again_or_resolved_counts_once() -> None:
    alerts = [alert(), alert(), alert(state="updated"), alert(state="resolved", id="x1:resolved")]

    (figures,) = judge([case()], alerts).by_kind()

    assert (figures.hit, figures.alerts) == (1, 1)


def test_two_alerts_about_one_case_are_both_right_and_hit_it_once() -> None:
    (figures,) = judge([case()], [alert("x1"), alert("x2")]).by_kind()

    assert (figures.hit, figures.right, figures.stray) == (1, 2, 0)


def test_an_alert_where_none_was_asked_for_is_a_stray() -> None:
    low = case(is_asked_for=False)

    spoken, silent = judge([low], [alert()]), judge([low], [])

    assert (len(spoken.stray), len(spoken.disturbed), len(spoken.quiet)) == (1, 1, 0)
    assert (len(silent.stray), len(silent.disturbed), len(silent.quiet)) == (0, 0, 1)
    assert not spoken.missed
    assert not silent.missed


hours = st.integers(min_value=0, max_value=20).map(lambda hour: NOON + timedelta(hours=hour))
names = st.sampled_from(["a1", "a2"])
kinds = st.sampled_from(["usage_spike", "plan_limit"])


@given(
    st.lists(st.tuples(names, kinds, hours, st.booleans()), max_size=8),
    st.lists(st.tuples(names, kinds, hours), max_size=8),
)
def test_every_case_and_every_alert_is_counted_exactly_once(
    cases: list[tuple[str, str, datetime, bool]], alerts: list[tuple[str, str, datetime]]
) -> None:
    labelled = [
        case(account=account, kind=kind, starts=at, ends=at + timedelta(hours=3), is_asked_for=asked)
        for account, kind, at, asked in cases
    ]
    raised = [
        alert(str(number), account=account, kind=kind, occurred_at=at)
        for number, (account, kind, at) in enumerate(alerts)
    ]

    verdict = judge(labelled, raised)
    figures = verdict.by_kind()

    asked_for = [each for each in labelled if each.is_asked_for]
    assert len(verdict.hits) + len(verdict.missed) == len(asked_for) == sum(each.cases for each in figures)
    assert len(verdict.quiet) + len(verdict.disturbed) == len(labelled) - len(asked_for)
    assert sum(each.alerts for each in figures) == len(raised)
    assert sum(each.right + each.stray for each in figures) == len(raised)
    assert sum(each.hit + each.missed for each in figures) == len(asked_for)
