"""What becomes a habit, what a customer's answer does, and what of the input is no use: asked through the engine."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pydantic import ValidationError

from detectors.alerts import Alert
from detectors.events import UsageRecorded
from detectors.profile import AccountFacts
from detectors.usage_spike import UsageSpike, UsageSpikeSettings

START = datetime(2026, 2, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WARM = 21


class Home:
    """A home whose usage is told hour by hour: little at night, more in the evening, noise on all of it."""

    def __init__(self, asked: Any, seed: int = 1, account: str = "home", scale: float = 1.0, **more: Any) -> None:
        self.asked = asked
        self.at = START
        self.alerts: list[Alert] = []
        self._random = Random(seed)
        self._account, self._scale, self._more = account, scale, more

    def level(self) -> float:
        hour = self.at.hour
        return (0.3 if hour < 6 else 2.0 if 17 <= hour < 22 else 1.0) * self._random.uniform(0.6, 1.4)

    def use(self, days: float, change: Callable[[float], float] = lambda usage: usage) -> list[Alert]:
        """Go on for so long, with each hour's usage changed; return the alerts."""
        found = []
        for _ in range(round(24 * days)):
            found += self.read(change(self.level()))
            self.at += HOUR
        return found

    def read(self, usage: float, **more: Any) -> list[Alert]:
        fields = {"meter": "power", "unit": "kWh", "quantity": f"{self._scale * usage:.6f}"}
        found = self.asked.tell("usage.recorded", self.at, self._account, **fields | self._more | more)
        self.alerts += found
        return [alert for alert in found if alert.kind == "usage_spike"]

    def answer(self, alert: Alert, means: str) -> None:
        self.asked.tell(
            "answer.given", self.at, self._account, alert_id=alert.alert_id, choice="1", means=means, at=self.at
        )


def triggered(alerts: list[Alert]) -> list[Alert]:
    return [alert for alert in alerts if alert.state == "triggered"]


@pytest.fixture
def home(ask: Callable[..., Any]) -> Home:
    found = Home(ask())
    assert found.use(WARM) == []
    return found


def irregularities(home: Home) -> dict[str, int]:
    taken = home.asked.engine.take_irregularities().items()
    return {what: count for (kind, what), count in taken if kind == "usage_spike"}


# change of habit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [2, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_a_level_that_changes_for_good_costs_one_alert(ask: Callable[..., Any], times: float, seed: int) -> None:
    home = Home(ask(), seed)
    home.use(WARM)

    alerts = home.use(45, lambda usage: times * usage)

    assert len(triggered(alerts)) == 1
    assert alerts[-1].state == "resolved"


@pytest.mark.parametrize("seed", range(3))
def test_use_that_grows_by_a_percent_a_day_is_told_at_some_point(ask: Callable[..., Any], seed: int) -> None:
    home = Home(ask(), seed)
    home.use(60)

    alerts = [alert for day in range(180) for alert in home.use(1, lambda usage, day=day: usage * 1.01**day)]  # type: ignore[misc]

    assert any("grown slowly" in alert.reasons[0].what for alert in alerts)
    assert len(triggered(alerts)) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_a_leak_that_lifts_the_nights_slowly_is_told_at_some_point(ask: Callable[..., Any], seed: int) -> None:
    home = Home(ask(), seed)
    home.use(60)

    alerts = [alert for day in range(120) for alert in home.use(1, lambda usage, day=day: usage + 0.02 * day)]  # type: ignore[misc]

    assert triggered(alerts)


def test_a_spike_does_not_become_the_habit(home: Home) -> None:
    first = home.use(0.5, lambda usage: 10 * usage)
    home.use(3)

    again = home.use(0.5, lambda usage: 10 * usage)

    assert len(triggered(first)) == len(triggered(again)) == 1


def test_two_spikes_of_one_day_are_two_alerts(home: Home) -> None:
    first = home.use(2 / 24, lambda usage: usage + 15)
    home.use(15 / 24)
    second = home.use(2 / 24, lambda usage: usage + 40)

    ids = [alert.alert_id for alert in triggered(first + second)]
    assert len(ids) == len(set(ids)) == 2


# answers -----------------------------------------------------------------------------------------------------------


def test_who_knows_why_is_not_asked_again_about_the_same_level(home: Home) -> None:
    (alert,) = triggered(home.use(0.5, lambda usage: 4 * usage))
    assert alert.question is not None
    assert {option.means for option in alert.question.options} == {"confirmed", "denied"}
    home.answer(alert, "confirmed")

    after = home.use(30, lambda usage: 4 * usage)

    assert triggered(after) == []


def test_a_confirmed_level_is_forgotten_when_usage_is_as_before(home: Home) -> None:
    (alert,) = triggered(home.use(0.5, lambda usage: 4 * usage))
    home.answer(alert, "confirmed")
    home.use(21)

    assert len(triggered(home.use(0.5, lambda usage: 10 * usage))) == 1


def test_an_answer_about_what_is_over_or_another_alert_adopts_nothing(home: Home) -> None:
    (alert,) = triggered(home.use(0.25, lambda usage: 10 * usage))
    home.use(3)
    home.answer(alert, "confirmed")
    home.answer(alert.model_copy(update={"alert_id": "other"}), "confirmed")

    assert len(triggered(home.use(0.25, lambda usage: 10 * usage))) == 1


def test_an_alert_that_was_declined_raises_the_bar_for_the_same(ask: Callable[..., Any]) -> None:
    """The least spike that rings once more is larger after it was declined; who accepts it again takes that back."""

    def least(*answers: str) -> float:
        for usage in range(2, 80):
            home = Home(ask())
            home.use(WARM)
            (alert,) = triggered(home.use(0.25, lambda usual: usual + 60))
            for means in answers:
                home.answer(alert, means)
            home.use(4)
            if triggered(home.use(1 / 24, lambda usual, usage=usage: usual + 2 ** (usage / 8))):  # type: ignore[misc]
                return 2 ** (usage / 8)
        return float("inf")

    assert least("accepted") == least() == least("declined", "accepted") < least("declined")


# irregular input ---------------------------------------------------------------------------------------------------


def test_a_late_reading_is_counted_and_joins_nothing(home: Home) -> None:
    home.read(1.0)
    home.at -= 5 * HOUR

    assert home.read(500.0) == []
    assert irregularities(home) == {"late_reading": 1}


def test_a_clock_that_was_ahead_is_put_right_after_a_day_of_readings(home: Home) -> None:
    home.at += 300 * HOUR
    home.read(1.0)
    home.at -= 300 * HOUR
    home.use(3)

    assert irregularities(home) == {"late_reading": 24, "clock_set_back": 1}
    assert len(triggered(home.use(0.25, lambda usage: 10 * usage))) == 1


def test_another_unit_is_ignored_until_it_stays_then_the_meter_begins_anew(home: Home) -> None:
    assert home.read(1000.0, unit="Wh") == []
    assert home.read(30.0) != []
    home.at += 30 * DAY
    for _ in range(4):
        home.at += HOUR
        home.read(1000.0, unit="Wh")

    assert irregularities(home) == {"unit_changed": 4}
    home.at += HOUR
    assert home.read(1e6, unit="Wh") == []  # nothing is known of the meter in this unit


def test_meters_past_the_most_are_counted(ask: Callable[..., Any]) -> None:
    home = Home(ask())
    for number in range(35):
        home.read(1.0, meter=f"meter-{number}")

    assert irregularities(home) == {"too_many_meters": 3}


def test_a_habit_from_before_months_of_silence_is_not_believed(home: Home) -> None:
    home.at += 61 * DAY

    assert home.use(2, lambda usage: 20 * usage) == []
    assert irregularities(home) == {"habit_too_old": 1}


def test_a_counter_that_begins_again_is_counted_and_rings_nothing(home: Home) -> None:
    total, found = 5000.0, []
    for hour in range(48):
        total = 0.0 if hour == 24 else total + home.level()
        found += home.read(total, cumulative=True)
        home.at += HOUR

    assert found == []
    assert irregularities(home) == {"counter_reset": 1}


# by the day --------------------------------------------------------------------------------------------------------


def by_the_day(ask: Callable[..., Any], **settings: Any) -> Home:
    home = Home(ask(**settings))
    for _ in range(70):
        home.at += DAY
        home.read(20 * home._random.uniform(0.85, 1.15))
    return home


@pytest.mark.parametrize("settings", [{}, {"detectors": {"usage_spike": {"buckets": {"power": "day"}}}}])
def test_a_meter_that_is_read_once_a_day_is_looked_at_by_the_day(ask: Callable[..., Any], settings: Any) -> None:
    home = by_the_day(ask, **settings)
    assert home.alerts == []

    home.at += DAY
    (alert,) = home.read(120.0)

    assert alert.facts["seen"] == "120"
    assert 15 < float(str(alert.facts["usual"])) < 25


def test_a_meter_that_comes_to_be_read_hourly_is_looked_at_by_the_hour(ask: Callable[..., Any]) -> None:
    home = by_the_day(ask)

    assert triggered(home.use(WARM)) == []
    assert len(triggered(home.use(0.25, lambda usage: 10 * usage))) == 1


# the same whatever the unit, the name and the week -----------------------------------------------------------------


def hours_of_alerts(
    ask: Callable[..., Any], names: list[str], scale: float = 1.0, later: timedelta = timedelta()
) -> list[Any]:
    asked, found = ask(), []
    homes = [Home(asked, seed, name, scale) for seed, name in enumerate(names)]
    odd = Random(7)
    for each in homes:
        each.at += later
    for hour in range(24 * 60):
        for seed, each in enumerate(homes):
            times = 6.0 if odd.random() < 0.002 else 1.0
            found += [(hour, seed, alert.state) for alert in each.read(times * each.level())]
            each.at += HOUR
    return found


def test_unit_names_and_weeks_do_not_matter(ask: Callable[..., Any]) -> None:
    plain = hours_of_alerts(ask, ["a", "b", "c"])

    assert len(plain) >= 4
    assert hours_of_alerts(ask, ["a", "b", "c"], scale=1000.0) == plain
    assert hours_of_alerts(ask, ["z", "q", "b"]) == plain
    assert hours_of_alerts(ask, ["a", "b", "c"], later=timedelta(weeks=9)) == plain


@pytest.mark.parametrize("begin", ["2026-03-10", "2026-10-06"], ids=["an-hour-less", "an-hour-more"])
def test_a_day_of_daylight_saving_rings_nothing_and_shifts_no_habit(ask: Callable[..., Any], begin: str) -> None:
    """Usage goes by the clock on the wall, so it moves by an hour against UTC."""
    asked, zone, random, found = ask(), ZoneInfo("Europe/Stockholm"), Random(3), []
    asked.tell("account.updated", START, "a", timezone="Europe/Stockholm")
    at = datetime.fromisoformat(begin).replace(tzinfo=zone).astimezone(UTC)
    for _ in range(24 * 40):
        hour = at.astimezone(zone).hour
        usage = (5.0 if hour == 7 else 0.5) * random.uniform(0.8, 1.2)
        found += asked.tell("usage.recorded", at, "a", meter="power", unit="kWh", quantity=f"{usage:.3f}")
        at += HOUR

    assert found == []


# settings and saved state ------------------------------------------------------------------------------------------


def test_the_setting_of_old_is_refused_by_its_name() -> None:
    with pytest.raises(ValidationError, match="odd_hours_a_month"):
        UsageSpikeSettings.model_validate({"odd_hours_a_month": 1})


def test_a_larger_budget_rings_more_often(ask: Callable[..., Any]) -> None:
    def alerts(budget: float) -> int:
        home, random = Home(ask(detectors={"usage_spike": {"alerts_a_month": budget}})), Random(5)
        return len(triggered(home.use(240, lambda usage: usage * random.lognormvariate(0, 0.8))))

    few, many = alerts(0.1), alerts(5)

    assert few <= 3
    assert few + 3 < many <= 80


def test_a_memory_of_version_1_keeps_its_meters_and_begins_their_habits_anew() -> None:
    detector = UsageSpike(UsageSpikeSettings())
    old = [("power", "kWh", 500, b"\x00" * 300, ("12.5", START), None, 0.0, 490_000, 0.1, "", 9)]

    (metered,) = detector.restore(msgspec.msgpack.encode(old), 1)
    detector.restore_pools({"counts/power": b"old", "tables/power": b"old"}, 1)

    assert (metered.meter, metered.unit, metered.habit.n) == ("power", "kWh", 0)
    assert metered.counter.at == START
    assert detector.save_pools() == {}
    assert detector.irregularities == {"older_memory": 1, "older_pools": 1}


def test_a_meter_is_saved_in_450_bytes() -> None:
    detector, facts, random = UsageSpike(UsageSpikeSettings()), AccountFacts("a1"), Random(1)
    memory = detector.begin()
    for hour in range(24 * 30):
        fields = {"id": f"u{hour}", "source": "/t", "time": START + hour * HOUR, "account": "a1"}
        event = UsageRecorded.model_validate(
            {**fields, "meter": "electricity", "unit": "kWh", "quantity": f"{random.lognormvariate(0, 0.5):.3f}"}
        )
        detector.settle(event.time, facts, memory)
        detector.learn(event, facts, memory, [])

    assert len(detector.save(memory)) <= 450
