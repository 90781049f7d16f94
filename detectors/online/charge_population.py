"""What all cards' charges have in common: amounts by currency, and how amounts compare with their card's mean."""

from __future__ import annotations

from math import inf, log, log10, sqrt

from river import base

RATIO_BINS = 64
"""A quarter of an octave each; bin 32 begins at the card's mean."""

_OFFSET_SHARE = 0.02  # of the mean amount, added before the logarithm: pennies are not rare amounts
_SMALLEST_SHIFT, _LARGEST_SHIFT = 4, 13  # a thief spends two to eight times what is usual: quarter octaves
_PRIOR_FRAUDS = 10.0
_TINY_SHARE = 1e-7
_REFRESH = 2_000
_EARLY_REFRESHES = (100, 500, 1_000)
_MOST_COUNTS = 1e6
_DECADES_A_BIN_OUTSIDE = 0.125
_BELIEVED_LABELS = 50_000  # good ones, until an amount above all of them says something


class AmountPopulation(base.Estimator):
    """Amounts in one currency: their mean, mean and spread of their logarithms, the largest that was confirmed good.

    Plain sums rather than River's `Mean` and `Var`: three objects' calls would take longer than the rest of a charge.

    >>> population = AmountPopulation()
    >>> for amount in [20.0, 30.0, 45.0] * 10:
    ...     population.learn_one(amount)
    >>> round(population.mean, 1), population.height(900.0) > 5
    (31.7, True)
    """

    __slots__ = ("_confirmed", "_labels", "_log_mean", "_log_squares", "mean", "n")

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self._log_mean = 0.0
        self._log_squares = 0.0
        self._labels = 0
        self._confirmed = 0.0

    @property
    def top(self) -> float:
        """The largest amount that was confirmed good; infinite while few were confirmed."""
        return self._confirmed if self._labels > _BELIEVED_LABELS else inf

    def height(self, amount: float) -> float:
        """Return how many spreads the logarithm of an amount is above the mean; 0 while few are known."""
        if self.n <= 10:  # noqa: PLR2004 - fewer have no spread worth the name
            return 0.0
        value = log(amount + _OFFSET_SHARE * self.mean)
        return (value - self._log_mean) / sqrt(self._log_squares / self.n + 1e-6)

    def learn_one(self, amount: float) -> None:
        """Take in an amount above zero."""
        self.n += 1
        value = log(amount + _OFFSET_SHARE * (self.mean or amount))
        self.mean += (amount - self.mean) / self.n
        difference = value - self._log_mean
        self._log_mean += difference / self.n
        self._log_squares += difference * (value - self._log_mean)

    def confirm(self, amount: float) -> None:
        """Learn that a charge of this amount was good."""
        self._labels += 1
        self._confirmed = max(self._confirmed, amount)

    def save(self) -> tuple[int, float, float, float, int, float]:
        """Return what was learned."""
        return self.n, self.mean, self._log_mean, self._log_squares, self._labels, self._confirmed

    @classmethod
    def restored(cls, saved: tuple[int, float, float, float, int, float]) -> AmountPopulation:
        """Return the population that was saved."""
        each = cls()
        each.n, each.mean, each._log_mean, each._log_squares, each._labels, each._confirmed = saved
        return each


class RatioHistogram(base.Estimator):
    """How often a charge is so many times its card's mean, for owners and for thieves.

    With no label a thief spends two to eight times the ordinary: the owners' histogram, shifted and averaged. Confirmed
    frauds take over as they come, that shape counting for ten of them.

    Attributes:
        counts: of all charges, by bin.
        evidence: by bin, the logarithm of thief's share over owner's; worked out anew every 2,000 charges.
    """

    __slots__ = ("counts", "evidence", "frauds", "n")

    def __init__(self) -> None:
        self.n = 0
        self.counts = [0.0] * RATIO_BINS
        self.frauds = [0.0] * RATIO_BINS
        self.evidence = [0.0] * RATIO_BINS

    def learn_one(self, ratio: int) -> None:
        """Count a charge in its bin."""
        self.n += 1
        self.counts[ratio] += 1
        if self.n % _REFRESH == 0 or self.n in _EARLY_REFRESHES:
            self._refresh()

    def learn_fraud(self, ratio: int) -> None:
        """Count a confirmed fraud in its bin; it speaks at the next refresh."""
        self.frauds[ratio] += 1

    def _refresh(self) -> None:
        total, frauds = sum(self.counts) + RATIO_BINS, sum(self.frauds)
        owner = [(count + 1) / total for count in self.counts]
        for ratio in range(RATIO_BINS):
            shifted = sum(owner[ratio - by] for by in range(_SMALLEST_SHIFT, _LARGEST_SHIFT) if ratio >= by)
            guess = shifted / (_LARGEST_SHIFT - _SMALLEST_SHIFT)
            thief = (self.frauds[ratio] + _PRIOR_FRAUDS * guess) / (frauds + _PRIOR_FRAUDS)
            self.evidence[ratio] = log((thief + _TINY_SHARE) / (owner[ratio] + _TINY_SHARE))
        if total > _MOST_COUNTS:
            self.counts = [count / 2 for count in self.counts]

    def save(self) -> tuple[int, list[float], list[float], list[float]]:
        """Return what was learned."""
        return self.n, self.counts, self.frauds, self.evidence

    def restore(self, saved: tuple[int, list[float], list[float], list[float]]) -> None:
        """Take the place of the histogram that was saved.

        Raises:
            ValueError: these are not its bins.
        """
        if any(len(part) != RATIO_BINS for part in saved[1:]):
            raise ValueError(f"a histogram that has not {RATIO_BINS} bins")
        self.n, self.counts, self.frauds, self.evidence = saved


def decades(counts: list[float], number: int) -> float:
    """Return how rare the bin and those above it are: 3.0 is one in a thousand.

    Above all that was ever counted, each bin further out adds an eighth: ranks alone could not tell a record from the absurd.
    """
    total, above = sum(counts), sum(counts[number + 1 :]) + 0.5 * counts[number]
    found = log10((total + 1) / (above + 0.5))
    if above:
        return found
    highest = number
    while highest and not counts[highest]:
        highest -= 1
    return found + _DECADES_A_BIN_OUTSIDE * (number - highest)
