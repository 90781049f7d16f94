"""What one account usually pays, on a logarithmic scale."""

from __future__ import annotations

from math import exp, log, sqrt

from river import base, stats

_FADING = 0.05
_PRIOR_CHARGES = 3.0
_LEAST_SPREAD = 0.25  # a quarter: a rent that rises by a tenth is no news
_POPULATION_MEAN = log(30.0)
_POPULATION_SPREAD = 1.2
_CLIP = 3.0


class AmountHabit(base.Estimator):
    """The mean and spread of the logarithms of amounts, shrunk to the population's while the account is young.

    Amounts further than three spreads out teach as if they were there: one large purchase does not make the next one usual.

    Args:
        prior_charges: how many charges the population's habit counts for.

    >>> habit = AmountHabit()
    >>> for amount in (20.0, 25.0, 30.0) * 10:
    ...     habit.learn_one(amount)
    >>> habit.surplus(25.0) < 0.5, habit.surplus(2500.0) > 5, round(habit.usual)
    (True, True, 24)
    """

    def __init__(self, prior_charges: float = _PRIOR_CHARGES) -> None:
        self.prior_charges = prior_charges
        self.charges = 0
        self._mean = stats.EWMean(_FADING)
        self._square = stats.EWMean(_FADING)

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
        self.charges += 1
        self._mean.update(value)
        self._square.update((value - mean) ** 2)

    def shape(self, population: AmountHabit | None = None) -> tuple[float, float]:
        """Return the mean and the spread of the logarithms."""
        known = population is not None and population.charges
        prior_mean, prior_spread = (
            population.shape() if population and known else (_POPULATION_MEAN, _POPULATION_SPREAD)
        )
        weight = self.charges / (self.charges + self.prior_charges)
        mean = weight * float(self._mean.get()) + (1 - weight) * prior_mean
        variance = weight * float(self._square.get()) + (1 - weight) * prior_spread**2
        return mean, sqrt(variance + _LEAST_SPREAD**2)
