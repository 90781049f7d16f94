"""What the accounts that use one meter have in common: their week, their unsteadiness, and where they are all going."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from river import base

WEEK = 7
_OTHERS = 4
_MOST = 0.5


class DailyCohort(base.Estimator):
    """The pooled part of daily usage forecasts: day-of-week factors, usual scatter, and the cohort's present move.

    The move is the mean, over accounts, of how far a day lies from the account's own slow level (clipped to half of it), as
    an exponentially weighted mean over days. Plain numbers instead of River's `EWMean`: an account-day costs a third of it.

    Args:
        week_fading: weight of one account-day in its weekday's factor.
        scatter_fading: weight of one account-day in the usual scatter.
        move_fading: weight of one day, over all accounts, in the move.

    Attributes:
        week: usage by weekday over the level, in whatever order the caller counts them; 1 is an ordinary day.
        scatter: usual relative error of a day.
        move: how far the cohort is from its slow level now: .1 is a tenth above it.
        sum: of the deviations of the latest `day`; `count`: how many.

    >>> cohort = DailyCohort()
    >>> for day in range(60):
    ...     for _ in range(5):
    ...         cohort.learn_one(0.2, day)
    >>> round(cohort.move, 2)
    0.2
    """

    __slots__ = ("count", "day", "move", "move_fading", "scatter", "scatter_fading", "sum", "week", "week_fading")

    def __init__(self, week_fading: float = 0.005, scatter_fading: float = 0.002, move_fading: float = 0.1) -> None:
        self.week_fading = week_fading
        self.scatter_fading = scatter_fading
        self.move_fading = move_fading
        self.week = [1.0] * WEEK
        self.scatter = 0.35
        self.move = 0.0
        self.day: int | None = None
        self.sum = 0.0
        self.count = 0

    def learn_one(self, deviation: float, day: int) -> None:
        """Take in how far an account's `day` lay from its slow level; a day of more than a week ago counts as a new one.

        Accounts in other zones close a day a little later or earlier: that is the same day. Numbers that are not finite
        are ignored.
        """
        if not -inf < deviation < inf:
            return
        latest = self.day
        if day != latest and (latest is None or day > latest or day < latest - WEEK):
            if self.count:
                self.move += self.move_fading * (self.sum / self.count - self.move)
            self.day = day
            self.sum, self.count = 0.0, 0
        self.sum += deviation if -_MOST < deviation < _MOST else _MOST if deviation > 0.0 else -_MOST
        self.count += 1

    def learn_week(self, weekday: int, factor: float, error: float) -> None:
        """Take in a day's usage over its account's level, and the relative error it was expected with."""
        week = self.week
        week[weekday] += self.week_fading * (factor - week[weekday])
        self.scatter += self.scatter_fading * (error - self.scatter)

    def save(self) -> tuple[int | None, tuple[float, ...]]:
        """Return what was learned."""
        return self.day, (*self.week, self.scatter, self.move, self.sum, float(self.count))

    def restore(self, day: int | None, numbers: Sequence[float]) -> None:
        """Take the place of the cohort that was saved.

        Raises:
            ValueError: these are not one's numbers.
        """
        if len(numbers) != WEEK + _OTHERS or not all(map(isfinite, numbers)):
            raise ValueError(f"{len(numbers)} numbers of a cohort; expected {WEEK + _OTHERS}, all finite")
        self.day = day
        *self.week, self.scatter, self.move, self.sum, count = numbers
        self.count = int(count)
