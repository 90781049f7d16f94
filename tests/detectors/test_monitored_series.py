"""Monitored series, asked through the engine."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from time import process_time
from typing import Any

import pytest
from pydantic import ValidationError

from detectors.alerts import Alert
from detectors.bulletin_board import BulletinBoard
from detectors.catalogue import CatalogueSettings, build_detectors
from detectors.detector import Counting
from detectors.evaluation.series import SeriesAdapter
from detectors.events import UsageRecorded
from detectors.monitored_series import MonitoredSeries, MonitoredSeriesSettings
from detectors.profile import AccountFacts

START = datetime(2026, 2, 2, tzinfo=UTC)
WARM = 24 * 30
FACTS = AccountFacts("router-7")


def errors(seed: int, count: int) -> Iterator[tuple[datetime, float]]:
    """Yield hourly errors of a component: more by day than by night."""
    random = Random(seed)
    for hour in range(count):
        yield START + timedelta(hours=hour), (20 if hour % 24 < 7 else 60) * random.uniform(0.8, 1.2)


def settings_with(**rule: Any) -> dict[str, Any]:
    return {"monitored_series": {"meters": {"errors": rule}}, "usage_spike": {"enabled": False}}


def send(asked: Any, at: datetime, quantity: float, **more: Any) -> list[Alert]:
    fields = {"account": "router-7", "meter": "errors", "unit": "errors", "quantity": f"{quantity:.3f}"} | more
    found: list[Alert] = asked.tell("usage.recorded", at, **fields)
    return [alert for alert in found if alert.kind == "monitored_series"]


def after(hours: float) -> datetime:
    return START + timedelta(hours=WARM + hours)


def warmed(ask: Callable[..., Any], **rule: Any) -> Any:
    asked = ask(detectors=settings_with(**rule))
    assert [alert for at, quantity in errors(1, WARM) for alert in send(asked, at, quantity)] == []
    return asked


def test_errors_that_rise_are_told_to_staff_with_what_is_usual_and_since_when(ask: Callable[..., Any]) -> None:
    asked = warmed(ask)

    (alert,) = [alert for hour in range(4) for alert in send(asked, after(hour), 150)]

    assert (alert.state, alert.alert_class, alert.subject) == ("triggered", "staff", "errors")
    assert alert.score > 1.0
    assert "usual is" in alert.reasons[0].what
    assert "since 2026-03-04T" in alert.reasons[0].what
    assert float(str(alert.facts["usual_low"])) < float(str(alert.facts["usual"])) < float(str(alert.facts["seen"]))
    assert datetime.fromisoformat(str(alert.facts["since"])) <= alert.occurred_at


def test_an_episode_is_one_alert_that_is_resolved_when_readings_are_usual_again(ask: Callable[..., Any]) -> None:
    asked = warmed(ask)
    told = [alert for hour in range(12) for alert in send(asked, after(hour), 150)]
    quiet = [
        alert for at, quantity in errors(2, 24 * 10) for alert in send(asked, at + timedelta(hours=WARM + 24), quantity)
    ]

    assert len({alert.alert_id for alert in told}) == 1
    assert told[0].state == "triggered"
    assert {alert.state for alert in told[1:]} <= {"updated"}
    assert [alert.state for alert in quiet if alert.alert_id == told[0].alert_id] == ["resolved"]
    assert quiet[0].occurred_at - after(12) >= timedelta(hours=24)


def test_a_second_episode_is_another_alert(ask: Callable[..., Any]) -> None:
    asked = warmed(ask)
    series = [
        (at, 150.0 if hour in range(10) or hour in range(400, 410) else usual)
        for hour, (at, usual) in enumerate(errors(3, 600))
    ]

    found = [alert for at, value in series for alert in send(asked, at + timedelta(hours=WARM), value)]

    assert len({alert.alert_id for alert in found if alert.state == "triggered"}) >= 2
    for one, other in pairwise(alert for alert in found if alert.state != "updated"):
        assert (one.state, other.state) in {("triggered", "resolved"), ("resolved", "triggered")}


@pytest.mark.parametrize(("direction", "value", "rings"), [
    ("up", 150.0, True), ("up", 0.0, False), ("down", 0.0, True), ("down", 150.0, False), ("both", 0.0, True),
])  # fmt: skip
def test_only_the_direction_that_was_asked_for_rings(
    ask: Callable[..., Any], direction: str, value: float, rings: bool
) -> None:
    asked = ask(detectors=settings_with(direction=direction))
    for at, quantity in errors(1, WARM):
        send(asked, at, quantity)
    found = [alert for hour in range(8, 20) for alert in send(asked, after(hour), value)]

    assert bool([alert for alert in found if alert.state == "triggered"]) is rings


def test_meters_that_are_not_named_are_not_watched(ask: Callable[..., Any]) -> None:
    asked = warmed(ask)

    assert [alert for hour in range(99) for alert in send(asked, after(hour), hour % 2 * 1e6, meter="other")] == []


@pytest.mark.parametrize("settings", [{}, {"monitored_series": {"enabled": False, "meters": {"errors": {}}}}])
def test_a_deployment_without_monitored_meters_pays_nothing(settings: dict[str, Any]) -> None:
    built = build_detectors(CatalogueSettings.model_validate(settings), {}, BulletinBoard())

    assert "monitored_series" not in {each.kind for each in built}


@pytest.mark.parametrize("rule", [{"direction": "sideways"}, {"decades": 0.1}, {"decades": 7}, {"gate": 2}])
def test_a_rule_that_is_none_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CatalogueSettings.model_validate({"monitored_series": {"meters": {"errors": rule}}})


def event(number: int, quantity: str, hours: float | None = None, **more: Any) -> UsageRecorded:
    fields = {"id": f"e{number}", "source": "/t", "account": "router-7", "meter": "errors", "unit": "errors"}
    at = START + timedelta(hours=number if hours is None else hours)
    return UsageRecorded.model_validate(fields | {"time": at, "quantity": quantity} | more)


def detector(**settings: Any) -> MonitoredSeries:
    return MonitoredSeries(MonitoredSeriesSettings.model_validate({"meters": {"errors": {}}} | settings))


def told(watching: MonitoredSeries, memory: Any, events: list[UsageRecorded]) -> None:
    for each in events:
        watching.score(each, FACTS, memory)
        watching.learn(each, FACTS, memory, [])


def test_a_counter_is_watched_by_its_steps() -> None:
    steps, counter = detector(), detector()
    random, total = Random(2), 1000.0
    of_steps, of_counter = steps.begin(), counter.begin()
    counter.learn(event(-1, "1000", cumulative=True), FACTS, of_counter, [])
    for number in range(500):
        step = round(random.uniform(10, 20), 3)
        total += step
        told(steps, of_steps, [event(number, f"{step:.3f}")])
        told(counter, of_counter, [event(number, f"{total:.3f}", cumulative=True)])
    next_step, next_value = event(500, "90"), event(500, f"{total + 90:.3f}", cumulative=True)

    assert steps.score(next_step, FACTS, of_steps)
    assert [found.score for found in counter.score(next_value, FACTS, of_counter)] == pytest.approx(
        [found.score for found in steps.score(next_step, FACTS, of_steps)]
    )


def test_what_says_nothing_of_the_series_is_counted_and_changes_nothing() -> None:
    watching, memory = detector(), None
    memory = watching.begin()
    told(watching, memory, [event(number, str(number % 5)) for number in range(80)])
    before = memory[0].watch.save()
    told(
        watching,
        memory,
        [event(81, "-99", correction=True), event(82, "7", cumulative=True), event(83, "6", 1, cumulative=True)],
    )

    assert memory[0].watch.save() == before
    assert isinstance(watching, Counting)
    assert watching.irregularities == {"correction": 1, "first_of_counter": 1, "late_of_counter": 1}


def test_time_that_runs_back_is_counted() -> None:
    watching = detector()
    told(watching, watching.begin(), [event(0, "1"), event(1, "1", -5)])
    memory = watching.begin()
    told(watching, memory, [event(0, "1"), event(1, "1", -5)])

    assert watching.irregularities == {"time_went_back": 2}
    assert memory[0].watch.habit.n == 2


def test_an_account_with_more_meters_than_can_be_kept_is_counted() -> None:
    meters = [f"m{number}" for number in range(40)]
    watching = detector(meters={meter: {} for meter in meters})
    memory = watching.begin()
    told(watching, memory, [event(number, "1", meter=meter) for number, meter in enumerate(meters)])

    assert len(memory) == 32
    assert watching.irregularities == {"too_many_meters": 8}


def test_a_series_can_be_asked_how_odd_it_is_while_its_alerts_keep_silent() -> None:
    watching, memory = detector(), None
    memory = watching.begin()
    told(watching, memory, [event(number, f"{value:.3f}") for number, (_, value) in enumerate(errors(1, WARM))])
    usual, high = event(WARM, "20"), event(WARM, "200")
    assert watching.strength(usual, memory) < 1.0 < watching.strength(high, memory)
    assert watching.score(high, FACTS, memory)
    watching.learn(high, FACTS, memory, [])
    saved = watching.save(memory)

    again = event(WARM + 1, "200")

    assert watching.score(again, FACTS, memory) == []  # told just now
    assert watching.strength(again, memory) > 1.0
    assert watching.strength(event(1, "5", meter="other"), memory) == 0.0
    assert watching.save(memory) == saved


def test_a_series_is_saved_in_less_than_2048_bytes() -> None:
    watching = detector()
    memory = watching.begin()
    random = Random(4)
    told(watching, memory, [event(number, f"{random.lognormvariate(0, 2) * 1e6:.6f}") for number in range(6000)])

    assert 1700 < len(watching.save(memory)) < 2048


def test_the_rule_of_a_restored_series_is_that_of_the_settings() -> None:
    watching = detector()
    memory = watching.begin()
    told(watching, memory, [event(number, f"{value:.3f}") for number, (_, value) in enumerate(errors(1, WARM))])
    high = event(WARM, "200")
    assert watching.score(high, FACTS, memory)
    downwards = detector(meters={"errors": {"direction": "down"}})

    assert downwards.score(high, FACTS, downwards.restore(watching.save(memory), 1)) == []


def test_the_adapter_asks_the_rule_that_the_detector_asks() -> None:
    watching, adapter = detector(), SeriesAdapter()
    memory, found = watching.begin(), ([], [])  # type: tuple[Any, tuple[list[float], list[float]]]
    for number, (_, value) in enumerate(errors(1, WARM + 100)):
        reading = event(number, f"{value * (3 if number >= WARM else 1):.3f}")
        plain = {"account": "a", "t": reading.time.timestamp(), "value": float(reading.quantity)}
        found[0].append(sum(each.score * 1.6 for each in watching.score(reading, FACTS, memory)))
        found[1].append(adapter.score(plain))
        watching.learn(reading, FACTS, memory, [])
        adapter.learn(plain)

    assert found[0] == pytest.approx(found[1])
    assert any(found[1])


def test_an_event_through_the_adapter_costs_a_few_microseconds() -> None:
    random, adapter = Random(1), SeriesAdapter()
    events = [
        {"account": number % 3, "t": 1.7e9 + 100.0 * number, "value": random.gauss(9, 1)} for number in range(30_000)
    ]
    best = float("inf")
    for _ in range(3):
        began = process_time()
        for each in events:
            adapter.score(each)
            adapter.learn(each)
        best = min(best, (process_time() - began) / len(events) * 1e6)

    assert best < 60  # about 8 on a machine that does nothing else; the bound is for one that does


def test_what_is_small_is_told_with_its_digits(ask: Callable[..., Any]) -> None:
    asked = ask(detectors=settings_with())
    for at, quantity in errors(1, WARM):
        asked.tell(
            "usage.recorded", at, account="router-7", meter="errors", unit="share", quantity=f"{quantity / 1e6:.9f}"
        )

    alert = next(
        alert
        for hour in range(4)
        for alert in asked.tell(
            "usage.recorded", after(hour), account="router-7", meter="errors", unit="share", quantity="0.00015"
        )
        if alert.kind == "monitored_series"
    )

    assert 1e-6 < float(str(alert.facts["usual"])) < float(str(alert.facts["seen"])) <= 0.00015
