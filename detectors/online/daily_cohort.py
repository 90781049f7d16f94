"""What the accounts that use one meter have in common: their week, their unsteadiness, and where they are all going."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import isfinite

from river import base

WEEK = 7
_NUMBERS = WEEK + 4
_MOST = 0.5


class DailyCohort(base.Estimator):
    """The pooled part of daily usage forecasts: day-of-week factors, usual scatter, and the cohort's present move.

    The move is the mean, over accounts, of how far a day lies from the account's own slow level (clipped to half of it), as
    an exponentially weighted mean over days. Plain numbers in single precision instead of River's `EWMean`: what is saved is
    then what is kept, and an account-day costs a third of it.

    Args:
        week_fading: weight of one account-day in its weekday's factor.
        scatter_fading: weight of one account-day in the usual scatter.
        move_fading: weight of one day, over all accounts, in the move.

    Attributes:
        week: usage by weekday over the level, in whatever order the caller counts them; 1 is an ordinary day.
        scatter: usual relative error of a day.
        move: how far the cohort is from its slow level now: .1 is a tenth above it.
        numbers: all that changes: seven factors, the scatter, the move, and the sum and number of today's deviations.

    >>> cohort = DailyCohort()
    >>> for day in range(60):
    ...     for _ in range(5):
    ...         cohort.learn_one(0.2, day)
    >>> round(cohort.move, 2)
    0.2
    """

    __slots__ = ("day", "move_fading", "numbers", "scatter_fading", "week_fading")

    def __init__(self, week_fading: float = 0.005, scatter_fading: float = 0.002, move_fading: float = 0.1) -> None:
        self.week_fading = week_fading
        self.scatter_fading = scatter_fading
        self.move_fading = move_fading
        self.day: int | None = None
        self.numbers = array("f", [1.0] * WEEK + [0.35, 0.0, 0.0, 0.0])

    @property
    def week(self) -> Sequence[float]:
        """The factors of the seven weekdays."""
        return self.numbers[:WEEK]

    @property
    def scatter(self) -> float:
        """Usual relative error of a day."""
        return self.numbers[WEEK]

    @property
    def move(self) -> float:
        """How far the cohort is from its slow level."""
        return self.numbers[WEEK + 1]

    def learn_one(self, deviation: float, day: int) -> None:
        """Take in how far an account's `day` lay from its slow level; a day of more than a week ago counts as a new one.

        Accounts in other zones close a day a little later or earlier: that is the same day. Numbers that are not finite
        are ignored.
        """
        if not isfinite(deviation):
            return
        numbers = self.numbers
        latest = self.day
        if latest is None or day > latest or day < latest - WEEK:
            if numbers[WEEK + 3]:
                mean = numbers[WEEK + 2] / numbers[WEEK + 3]
                numbers[WEEK + 1] += self.move_fading * (mean - numbers[WEEK + 1])
            self.day = day
            numbers[WEEK + 2] = numbers[WEEK + 3] = 0.0
        numbers[WEEK + 2] += max(-_MOST, min(_MOST, deviation))
        numbers[WEEK + 3] += 1.0

    def learn_week(self, weekday: int, factor: float, error: float) -> None:
        """Take in a day's usage over its account's level, and the relative error it was expected with."""
        numbers = self.numbers
        numbers[weekday] += self.week_fading * (factor - numbers[weekday])
        numbers[WEEK] += self.scatter_fading * (error - numbers[WEEK])

    def save(self) -> tuple[int | None, tuple[float, ...]]:
        """Return what was learned."""
        return self.day, tuple(self.numbers)

    def restore(self, day: int | None, numbers: Sequence[float]) -> None:
        """Take the place of the cohort that was saved.

        Raises:
            ValueError: these are not one's numbers.
        """
        if len(numbers) != _NUMBERS:
            raise ValueError(f"{len(numbers)} numbers of a cohort; expected {_NUMBERS}")
        self.day, self.numbers = day, array("f", numbers)
