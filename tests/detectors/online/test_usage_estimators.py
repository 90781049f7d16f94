"""The estimators of usage spikes keep River's conventions, and lose nothing when saved."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from detectors.online import AlertLine, LogTail, UsageCohort, UsageHabit, UsageSpikes


def usages(seed: int, count: int) -> Iterator[tuple[int, float]]:
    """Yield buckets with holes, in pieces, some of them odd."""
    random = Random(seed)
    for bucket in range(count):
        for _ in range(random.choice([0, 1, 1, 1, 3])):
            yield bucket, random.lognormvariate(0, 0.5) * (1 + bucket % 2) * (30 if random.random() < 0.01 else 1)


@pytest.mark.parametrize("daily", [False, True])
def test_a_habit_that_was_saved_after_every_reading_scores_as_one_that_never_was(daily: bool) -> None:
    straight, saved, cohorts = UsageHabit(daily), UsageHabit(daily), (UsageCohort(daily), UsageCohort(daily))
    slots = straight.grain.slots
    for bucket, usage in usages(1, 1500):
        for habit, cohort in zip((straight, saved), cohorts, strict=True):
            habit.begin(bucket, bucket % slots, 0, cohort)
        assert straight.score_one(usage, cohorts[0]) == saved.score_one(usage, cohorts[1])
        straight.learn_one(usage, cohorts[0])
        saved.learn_one(usage, cohorts[1])
        saved = UsageHabit.restored(saved.save())

    assert straight.save() == saved.save()
    assert cohorts[0].numbers() == cohorts[1].numbers()
    assert cohorts[0].line.value == cohorts[1].line.value


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1000.0, 1e9])
def test_the_unit_does_not_matter(scale: float) -> None:
    scores = []
    for factor in (1.0, scale):
        habit, cohort = UsageHabit(), UsageCohort()
        found = []
        for bucket, usage in usages(2, 1000):
            habit.begin(bucket, bucket % 24, 0, cohort)
            found.append(habit.score_one(factor * usage, cohort))
            habit.learn_one(factor * usage, cohort)
        scores.append(found)

    assert max(scores[0]) > 2
    assert scores[1] == pytest.approx(scores[0], abs=0.15)  # rounding to a thousandth of the level falls otherwise


def test_a_level_that_falls_and_rises_a_thousandfold_is_followed() -> None:
    habit, cohort = UsageHabit(), UsageCohort()
    for hour in range(24 * 560):
        habit.begin(hour, hour % 24, 0, cohort)
        habit.learn_one(1000.0 if hour < 24 * 100 or hour > 24 * 300 else 0.001, cohort)

    habit.begin(24 * 560, 0, 0, cohort)
    assert habit.score_one(1000.0, cohort) < 0.5
    assert habit.score_one(1e5, cohort) > 1.0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1.0, 1e300, 10**400, None, "3", True])
def test_what_is_no_usage_scores_nothing_and_poisons_nothing(odd: Any) -> None:
    spikes, clean = UsageSpikes(), UsageSpikes()
    for hour in range(24 * 20):
        reading: dict[Any, Any] = {"account": "a", "t": 3600 * hour, "value": 1.0 + hour % 3}
        assert spikes.score_one({**reading, "value": odd}) == 0.0
        spikes.learn_one({**reading, "value": odd})
        spikes.learn_one({**reading, "t": odd} if odd not in (1e300, 10**400) else {})
        spikes.learn_one(reading)
        clean.learn_one(reading)

    last: dict[Any, Any] = {"account": "a", "t": 3600 * 24 * 20, "value": 50.0}
    assert spikes.score_one(last) == clean.score_one(last) > 0.0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -3.0])
def test_tails_and_lines_are_not_poisoned(odd: float) -> None:
    tail, line = LogTail(), AlertLine()
    before = tail.decades(3.0), line.value
    tail.learn_one(odd if odd != float("inf") else float("nan"))
    line.learn_one(odd if odd != float("inf") else float("nan"))
    tail.refresh()
    line.refresh()

    assert tail.decades(3.0) == pytest.approx(before[0], abs=1e-3)
    assert line.value == before[1]
    assert tail.decades(float("nan")) == 0.0


def test_what_the_others_do_too_is_less_odd() -> None:
    def score(also: int) -> float:
        random, accounts = Random(3), range(6)
        spikes = UsageSpikes()
        for hour in range(24 * 30 + 20):
            readings: list[dict[Any, Any]] = [
                {"account": each, "t": 3600 * hour, "value": random.uniform(0.7, 1.3)} for each in accounts
            ]
            if hour >= 24 * 30:
                for reading in readings[: 1 + also]:
                    reading["value"] *= 4
            found = spikes.score_one(readings[0])
            for reading in readings:
                spikes.learn_one(reading)
        return found

    assert score(also=5) < score(also=0) - 0.2


def test_an_account_alone_does_not_see_itself_in_the_cohorts_move() -> None:
    habit, cohort, random = UsageHabit(), UsageCohort(), Random(3)
    moves = []
    for hour in range(24 * 20):
        habit.begin(hour, hour % 24, 0, cohort)
        moves.append(cohort.move(hour, habit.own / 1024))
        habit.learn_one(random.lognormvariate(0, 1), cohort)

    assert max(map(abs, moves)) < 0.01


def test_a_reading_of_one_account_that_is_far_ahead_does_not_blind_the_cohort() -> None:
    cohort = UsageCohort()
    for hour in range(100):
        cohort.begin(hour)
        cohort.join(hour, 0.5, 1)
    cohort.begin(100_000)
    assert cohort.move(100, 0.0) == 0.0

    for _ in range(100):
        cohort.begin(101)
        cohort.join(101, 0.5, 1)
    cohort.begin(102)

    assert cohort.move(102, 0.0) > 0.1


def test_accounts_past_the_most_push_out_the_first() -> None:
    spikes = UsageSpikes(most_accounts=2)
    for account in "abc":
        spikes.learn_one({"account": account, "t": 0, "value": 1.0})

    assert list(spikes._accounts) == ["b", "c"]


def test_a_damaged_habit_is_refused() -> None:
    saved = UsageHabit().save()

    with pytest.raises(ValueError, match="bytes; expected"):
        UsageHabit.restored(saved[:-1])
    with pytest.raises(ValueError, match="absurd"):
        UsageHabit.restored(saved[:12] + b"\xff" * 8 + saved[20:])


def test_a_run_that_was_told_before_there_was_a_habit_ends_in_quiet_hours() -> None:
    habit, cohort = UsageHabit(), UsageCohort()
    for hour in range(8):
        habit.begin(hour, hour, 0, cohort)
        habit.learn_one(2.0, cohort)
    habit.begin(8, 8, 0, cohort)
    habit.learn_one(60.0, cohort)
    habit.calm = 0  # as when it was told
    for hour in range(9, 9 + habit.grain.told_apart + 1):
        habit.begin(hour, hour, 0, cohort)
        habit.learn_one(1.0, cohort)

    assert habit.calm >= habit.grain.told_apart


@pytest.mark.parametrize(("budget", "hours_a_day"), [(0.25, 24), (1.0, 24), (0.25, 5), (1.0, 5)])
def test_the_line_leaves_about_so_many_alerts_a_month_however_often_a_meter_is_used(
    budget: float, hours_a_day: int
) -> None:
    random, accounts, days = Random(11), 40, 150
    spikes = UsageSpikes(alerts_a_month=budget)
    told, open_until = 0, dict.fromkeys(range(accounts), -1)
    for hour in range(24 * days):
        for account in range(accounts):
            if random.random() * 24 >= hours_a_day:
                continue
            reading: dict[Any, Any] = {"account": account, "t": 3600.0 * hour, "value": random.lognormvariate(0, 0.5)}
            score = spikes.score_one(reading)
            spikes.learn_one(reading)
            is_open = hour <= open_until[account]
            told += score >= spikes.line and not is_open and hour >= 24 * days // 2
            if score >= spikes.line or (is_open and score >= spikes.line / 2):
                open_until[account] = hour + 6
    months = accounts * days / 2 / 30

    assert 0.6 * budget <= told / months <= 1.7 * budget
