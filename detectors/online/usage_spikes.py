"""Usage spikes of many accounts as River asks for anomalies: a mapping in, a score out."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from math import nan
from numbers import Real
from typing import Any

from river import base

from .usage_cohort import UsageCohort
from .usage_grain import DAILY
from .usage_habit import MOST_USAGE, UsageHabit

OFTEN_HOURS = 12
SELDOM_HOURS = 20
"""A reading so long after the last is a day's."""
_OUTAGE_HOURS = 24 * 14  # but one after weeks is no sign of how often a meter is read
_CONVINCED = 4  # readings in a row
_NO_WEEKEND, _THURSDAY = (0, 0, 0, 0, 0, 1, 1), 3
_LAST = 2.0**42  # seconds
_SELDOM_SECONDS = SELDOM_HOURS * 3600
_NEVER_SCORED = -1.0


class UsageSpikes(base.AnomalyDetector):
    """How odd an account's usage is just now, against its own habit and what the others do.

    The accounts are of one kind and have one meter; each reading is what was used since the one before. Readings of an hour
    add up, in UTC; accounts that are read once a day are looked at by the day. Scores are decades: of five rarities the
    quadratic mean, less habituation (`UsageHabit`), so they compare over accounts. Scoring first settles what had ended
    before the reading's time, as learning would, and changes nothing else. What is no usage (NaN, infinite, negative,
    missing) or late scores 0 and teaches nothing.

    Args:
        value: the feature with the usage, in any unit.
        time: the feature with the time, in seconds since 1970.
        account: the feature with the account; None where all is one account's.
        alerts_a_month: runs of high scores for each account-month above the line, which `line` tells.
        most_accounts: the one that began first is forgotten when there are more.

    >>> spikes = UsageSpikes()
    >>> for hour in range(24 * 21):
    ...     for account in "ab":
    ...         spikes.learn_one({"account": account, "t": 3600 * hour, "value": 1.0 + hour * 7 % 5})
    >>> usual, odd = ({"account": "a", "t": 3600 * 24 * 21, "value": value} for value in (3.0, 300.0))
    >>> spikes.score_one(usual) < spikes.line / 2, spikes.score_one(odd) > spikes.line / 2
    (True, True)
    """

    def __init__(
        self,
        value: str = "value",
        time: str = "t",
        account: str | None = "account",
        alerts_a_month: float = 0.25,
        most_accounts: int = 1_000_000,
    ) -> None:
        self.value = value
        self.time = time
        self.account = account
        self.alerts_a_month = alerts_a_month
        self.most_accounts = most_accounts
        self._cohorts = (UsageCohort(False, alerts_a_month), UsageCohort(True, alerts_a_month))
        self._accounts: dict[Any, _Account] = {}

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"value": "Amount", "time": "Time", "account": None}

    @property
    def line(self) -> float:
        """The score from which on accounts with hourly readings would be told."""
        return self._cohorts[0].line.value

    def score_one(self, x: dict[Hashable, Any]) -> float:
        """Return how odd the reading makes the running hour or day, in decades; 0 when it cannot be used."""
        account = self._accounts.get(None if self.account is None else x.get(self.account))
        if account is None:
            return 0.0
        time: Any = x.get(self.time)
        value: Any = x.get(self.value)
        if type(value) is not float or type(time) is not float:
            time, value = _number(time), _number(value)
        if not 0.0 <= time < _LAST:
            return 0.0
        habit = account.habit
        cohort = self._cohorts[habit.daily]
        bucket = int(time // habit.grain.seconds)
        if bucket != habit.bucket:
            if bucket < habit.bucket:
                return 0.0
            _begin(habit, bucket, cohort)
        account.scored_at = time
        return habit.judge(value, cohort)[2] if 0.0 <= value < MOST_USAGE else 0.0

    def learn_one(self, x: dict[Hashable, Any]) -> None:
        """Add the reading to the running hour or day."""
        key = None if self.account is None else x.get(self.account)
        account = self._accounts.get(key)
        time: Any = x.get(self.time)
        value: Any = x.get(self.value)
        if type(value) is not float or type(time) is not float:
            time, value = _number(time), _number(value)
        if not (0.0 <= time < _LAST and value >= 0.0):
            return
        if account is None:
            if len(self._accounts) >= self.most_accounts:
                del self._accounts[next(iter(self._accounts))]
            account = self._accounts[key] = _Account(time)
        apart = time - account.read_at
        if account.strange or account.habit.daily or apart >= _SELDOM_SECONDS:
            account.habit, account.strange = regrained(account.habit, apart / 3600, account.strange)
            account.scored_at = _NEVER_SCORED
        account.read_at = time
        habit = account.habit
        cohort = self._cohorts[habit.daily]
        if time != account.scored_at:  # else it is in the bucket that was begun to score it
            bucket = int(time // habit.grain.seconds)
            if bucket < habit.bucket:
                return
            if bucket > habit.bucket:
                _begin(habit, bucket, cohort)
        habit.learn_one(value, cohort)


class _Account:
    """What is kept of one: its habit, the times of its last reading and score, and how many came at strange distances."""

    __slots__ = ("habit", "read_at", "scored_at", "strange")

    def __init__(self, read_at: float) -> None:
        self.habit = UsageHabit()
        self.read_at = read_at
        self.scored_at = _NEVER_SCORED
        self.strange = 0


def regrained(habit: UsageHabit, hours: float, strange: int) -> tuple[UsageHabit, int]:
    """Return the habit to go on with, and how many readings in a row came too seldom or too often for its buckets.

    After four of them it is another habit, of days instead of hours or the other way round, which begins anew.

    Args:
        habit: as it is.
        hours: since the last reading; one from before it says nothing.
        strange: such readings in a row until now.
    """
    if hours < 0:
        return habit, strange
    is_strange = hours < OFTEN_HOURS if habit.daily else SELDOM_HOURS <= hours <= _OUTAGE_HOURS
    if not is_strange:
        return habit, 0
    if strange + 1 < _CONVINCED:
        return habit, strange + 1
    return UsageHabit(not habit.daily), 0


def _number(given: Any) -> float:
    """Return a number of any kind, NumPy's too, as a float; NaN for what is none. A boolean is no usage."""
    if isinstance(given, bool) or not isinstance(given, Real):
        return nan
    try:
        return float(given)
    except OverflowError:
        return nan


def _begin(habit: UsageHabit, bucket: int, cohort: UsageCohort) -> None:
    day = bucket if habit.daily else bucket // 24
    weekday = (day + _THURSDAY) % DAILY.slots
    slot, kind = (weekday, 0) if habit.daily else (bucket % 24, _NO_WEEKEND[weekday])
    habit.begin(bucket, slot, kind, cohort)
