"""Usage spikes, asked through the engine."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from detectors.alerts import Alert
from detectors.events import UsageRecorded
from detectors.profile import AccountFacts
from detectors.usage_spike import UsageSpike, UsageSpikeSettings

START = datetime(2026, 2, 2, tzinfo=UTC)
WARM = 24 * 21


def hours(seed: int, count: int) -> Iterator[tuple[datetime, float]]:
    """Yield hourly usage of a home: little at night, more in the evening, noise on all of it."""
    random = Random(seed)
    for hour in range(count):
        level = 0.3 if hour % 24 < 6 else 2.0 if 17 <= hour % 24 < 22 else 1.0
        yield START + timedelta(hours=hour), level * random.uniform(0.6, 1.4)


def use(asked: Any, at: datetime, quantity: float, **more: Any) -> list[Alert]:
    found: list[Alert] = asked.tell(
        "usage.recorded", at, **{"meter": "power", "unit": "kWh", "quantity": f"{quantity:.3f}", **more}
    )
    return [alert for alert in found if alert.kind == "usage_spike"]


@pytest.fixture
def warm(ask: Callable[..., Any]) -> Any:
    """An engine that has seen three ordinary weeks of one home."""
    asked = ask()
    assert [alert for at, quantity in hours(1, WARM) for alert in use(asked, at, quantity)] == []
    return asked


AT = START + timedelta(hours=WARM + 3)  # in the night


def test_a_spike_is_seen_while_its_hour_runs(warm: Any) -> None:
    alerts = [alert for minute in range(0, 60, 5) for alert in use(warm, AT + timedelta(minutes=minute), 1.0)]

    (alert,) = alerts
    assert alert.occurred_at < AT + timedelta(minutes=55)
    assert alert.facts["unit"] == "kWh"
    assert float(str(alert.facts["usual_high"])) < float(str(alert.facts["seen"]))
    assert (
        float(str(alert.facts["usual_low"]))
        <= float(str(alert.facts["usual"]))
        <= float(str(alert.facts["usual_high"]))
    )
    assert "times what is usual" in alert.reasons[0].what


def test_a_spike_is_told_once_and_resolved_when_all_is_as_usual(warm: Any) -> None:
    told = [alert for hour in range(3) for alert in use(warm, AT + timedelta(hours=hour), 12)]
    after = [alert for n in range(72) for alert in use(warm, AT + timedelta(hours=3 + n), 0.9)]

    assert [alert.state for alert in told + after] == ["triggered", "resolved"]
    assert after[0].alert_id == told[0].alert_id


def test_less_than_usual_worries_nobody(warm: Any) -> None:
    assert [alert for hour in range(48) for alert in use(warm, AT + timedelta(hours=hour), 0)] == []


def test_a_change_of_level_costs_one_alert(warm: Any) -> None:
    alerts = [
        alert for at, quantity in hours(2, 24 * 60) for alert in use(warm, at + timedelta(hours=WARM), 3 * quantity)
    ]

    assert [alert.state for alert in alerts].count("triggered") == 1


def test_the_hour_that_daylight_saving_doubles_is_two_hours(ask: Callable[..., Any]) -> None:
    asked = ask()
    asked.tell("account.updated", START, timezone="Europe/Stockholm")
    begin = datetime(2026, 10, 1, tzinfo=ZoneInfo("Europe/Stockholm")).astimezone(UTC)

    alerts = [alert for hour in range(24 * 28) for alert in use(asked, begin + timedelta(hours=hour), 1.0)]

    assert alerts == []


def test_pieces_add_up_to_what_the_hour_would_be(ask: Callable[..., Any]) -> None:
    """An hour in pieces raises what the hour in one reading raises."""
    whole, pieces = ask(), ask()
    found: dict[str, list[datetime]] = {"whole": [], "pieces": []}
    for at, quantity in [*hours(3, WARM), (START + timedelta(hours=WARM), 15.0)]:
        found["whole"] += [at for _ in use(whole, at, quantity)]
        for part in range(4):
            found["pieces"] += [at for _ in use(pieces, at + timedelta(minutes=14 * part), quantity / 4)]

    assert found["pieces"] == found["whole"] == [START + timedelta(hours=WARM)]


def test_a_late_reading_and_a_correction_ring_nothing(warm: Any) -> None:
    use(warm, AT, 0.3)

    assert use(warm, AT - timedelta(hours=5), 50) == []
    assert use(warm, AT, 50, correction=True) == []


def test_meters_have_habits_of_their_own(warm: Any) -> None:
    assert use(warm, AT, 500, meter="water", unit="l") == []


@pytest.mark.parametrize(("extra", "rings"), [("5", True), ("50", False)])
def test_what_is_odd_and_small_is_not_worth_a_word(ask: Callable[..., Any], extra: str, rings: bool) -> None:
    asked = ask(meters={"power": {"unit": "kWh"}}, detectors={"usage_spike": {"least_extra": {"power": extra}}})
    for at, quantity in hours(1, WARM):
        use(asked, at, quantity)

    assert bool(use(asked, AT, 20)) is rings


def test_weeks_without_a_reading_are_no_news(warm: Any) -> None:
    later = AT + timedelta(days=40)

    assert [alert for hour in range(48) for alert in use(warm, later + timedelta(hours=hour), 1.0)] == []


def test_a_counter_that_was_silent_for_hours_did_not_spike(ask: Callable[..., Any]) -> None:
    asked, total = ask(), 0.0
    alerts = []
    for hour, (at, quantity) in enumerate(hours(1, WARM + 48)):
        total += quantity
        if not WARM <= hour < WARM + 12:
            alerts += use(asked, at, total, cumulative=True)

    assert alerts == []


def test_a_newcomer_is_judged_by_what_others_use(ask: Callable[..., Any]) -> None:
    asked = ask()
    for account in range(4):
        for at, quantity in hours(account, WARM):
            use(asked, at, quantity, account=f"a{account}")

    assert use(asked, AT, 1.5, account="new") == []
    (alert,) = use(asked, AT + timedelta(hours=1), 400, account="new")
    assert "not known yet" in alert.reasons[0].what


def test_asking_about_a_meter_never_seen_pools_nothing() -> None:
    detector, facts = UsageSpike(UsageSpikeSettings()), AccountFacts("a1")
    fields = {"id": "u1", "source": "/t", "time": START, "account": "a1", "meter": "gas", "unit": "m3", "quantity": 5}
    memory = detector.begin()

    detector.score(UsageRecorded.model_validate(fields), facts, memory)

    assert detector.save_pools() == {}


def test_meters_past_the_two_hundredth_share_a_pool() -> None:
    detector = UsageSpike(UsageSpikeSettings())
    for number in range(230):
        facts, memory = AccountFacts(f"a{number}"), detector.begin()
        for hour in range(2):
            fields = {"id": f"u{hour}", "source": "/t", "time": START + timedelta(hours=hour), "account": facts.account}
            event = UsageRecorded.model_validate({**fields, "meter": f"m{number}", "unit": "1", "quantity": 5})
            detector.settle(event.time, facts, memory)
            detector.learn(event, facts, memory, [])

    assert len(detector.save_pools()) == 2 * 201
