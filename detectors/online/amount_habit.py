"""What one account usually pays, on a logarithmic scale."""

from __future__ import annotations

from math import exp, log, sqrt

from river import base

_FADING = 0.05
_PRIOR_CHARGES = 3.0
_LEAST_SPREAD = 0.25  # a quarter: a rent that rises by a tenth is no news
_POPULATION_MEAN = log(30.0)
_POPULATION_SPREAD = 1.2
_CLIP = 3.0


class AmountHabit(base.Estimator):
    """The mean and spread of the logarithms of amounts, shrunk to the population's while the account is young.

    Amounts further than three spreads out teach as if they were there: one large purchase does not make the next one usual.
    Mean and square fade as River's `EWMean` does; they are plain numbers here since there is a habit for every account.

    Args:
        prior_charges: how many charges the population's habit counts for.

    Attributes:
        charges: how many were learned.
        largest: the largest of them.

    >>> habit = AmountHabit()
    >>> for amount in (20.0, 25.0, 30.0) * 10:
    ...     habit.learn_one(amount)
    >>> habit.surplus(25.0) < 0.5, habit.surplus(2500.0) > 5, round(habit.usual)
    (True, True, 24)
    """

    __slots__ = ("_mean", "_square", "charges", "largest", "prior_charges")

    def __init__(self, prior_charges: float = _PRIOR_CHARGES) -> None:
        self.prior_charges = prior_charges
        self.charges = 0
        self.largest = 0.0
        self._mean = 0.0
        self._square = 0.0

    @property
    def usual(self) -> float:
        """The usual amount."""
        return exp(self.shape()[0])

    def surplus(self, amount: float, population: AmountHabit | None = None) -> float:
        """Return how many spreads `amount` is above the usual; negative below it.

        Args:
            amount: above zero, in the currency's major unit.
            population: the habit of all accounts in this currency, for lack of own experience.
        """
        mean, spread = self.shape(population)
        return (log(amount) - mean) / spread

    def learn_one(self, amount: float, population: AmountHabit | None = None) -> None:
        """Take in an amount above zero."""
        mean, spread = self.shape(population)
        value = min(max(log(amount), mean - _CLIP * spread), mean + _CLIP * spread)
        square = (value - mean) ** 2
        if self.charges:
            self._mean = _FADING * value + (1 - _FADING) * self._mean
            self._square = _FADING * square + (1 - _FADING) * self._square
        else:
            self._mean, self._square = value, square
        self.charges += 1
        self.largest = max(self.largest, amount)

    def shape(self, population: AmountHabit | None = None) -> tuple[float, float]:
        """Return the mean and the spread of the logarithms."""
        prior_mean, prior_spread = (
            population.shape()
            if population is not None and population.charges
            else (_POPULATION_MEAN, _POPULATION_SPREAD)
        )
        weight = self.charges / (self.charges + self.prior_charges)
        mean = weight * self._mean + (1 - weight) * prior_mean
        variance = weight * self._square + (1 - weight) * prior_spread**2
        return mean, sqrt(variance + _LEAST_SPREAD**2)

    def save(self) -> tuple[int, float, float, float]:
        """Return what was learned."""
        return self.charges, self.largest, self._mean, self._square

    @classmethod
    def restored(cls, saved: tuple[int, float, float, float]) -> AmountHabit:
        """Return the habit that was saved."""
        habit = cls()
        habit.charges, habit.largest, habit._mean, habit._square = saved
        return habit
