"""What all cards' charges have in common: amounts by currency, and how amounts compare with their card's mean."""

from __future__ import annotations

from math import exp, inf, log, log10, sqrt

from river import base

BINS = 64
"""Of a ratio a quarter of an octave each; bin 32 begins at the card's mean."""
LAST_RATIO = BINS - 1

_OFFSET_SHARE = 0.02  # of the mean amount, added before the logarithm: pennies are not rare amounts
_SMALLEST_SHIFT, _LARGEST_SHIFT = 4, 13  # a thief spends two to eight times what is usual: quarter octaves
_THIEFS_SHARE = 1 / 3  # of the charges of a stolen card
_MOST_EVIDENCE = 6.0  # of one amount, as a logarithm
_PRIOR_FRAUDS = 10.0
_TINY_SHARE = 1e-7
_REFRESH = 2_000
_EARLY_REFRESHES = (100, 500, 1_000)
_MOST_COUNTS = 1e6
_DECADES_A_BIN_OUTSIDE = 0.125
_TABLE_GROWTH = 50  # a table is worked out again when there are a fiftieth more counts
_BELIEVED_LABELS = 50_000  # good ones, until an amount above all of them says something
_NEXT_AMOUNT = 1 + 2.0**-23  # a waiting charge's amount is kept in four bytes: what is no further off is the same

SavedRarity = tuple[int, int, float, list[float], list[float]]
SavedRatios = tuple[SavedRarity, list[float], list[float]]


class AmountPopulation(base.Estimator):
    """Amounts in one currency: their mean, mean and spread of their logarithms, the largest that was confirmed good.

    Plain sums rather than River's `Mean` and `Var`: three objects' calls would take longer than the rest of a charge.

    Attributes:
        n: how many were learned.
        mean: of the amounts.
        top: the largest amount that was confirmed good; infinite while few were confirmed.

    >>> population = AmountPopulation()
    >>> for amount in [20.0, 30.0, 45.0] * 10:
    ...     population.learn_one(amount)
    >>> round(population.mean, 1), population.height(900.0) > 5
    (31.7, True)
    """

    __slots__ = ("_confirmed", "_labels", "_log_mean", "_log_squares", "mean", "n", "top")

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self.top = inf
        self._log_mean = 0.0
        self._log_squares = 0.0
        self._labels = 0
        self._confirmed = 0.0

    def height(self, amount: float) -> float:
        """Return how many spreads the logarithm of an amount is above the mean; 0 while few are known."""
        n = self.n
        if n <= 10:  # noqa: PLR2004 - fewer have no spread worth the name
            return 0.0
        return (log(amount + _OFFSET_SHARE * self.mean) - self._log_mean) / sqrt(self._log_squares / n + 1e-6)

    def learn_one(self, amount: float) -> None:
        """Take in an amount above zero."""
        n = self.n = self.n + 1
        mean = self.mean
        value = log(amount + _OFFSET_SHARE * (mean or amount))
        self.mean = mean + (amount - mean) / n
        difference = value - self._log_mean
        centre = self._log_mean = self._log_mean + difference / n
        self._log_squares += difference * (value - centre)

    def confirm(self, amount: float) -> None:
        """Learn that a charge of this amount was good."""
        self._labels += 1
        self._confirmed = max(self._confirmed, amount)
        if self._labels > _BELIEVED_LABELS:
            self.top = self._confirmed * _NEXT_AMOUNT

    def save(self) -> tuple[int, float, float, float, int, float]:
        """Return what was learned."""
        return self.n, self.mean, self._log_mean, self._log_squares, self._labels, self._confirmed

    @classmethod
    def restored(cls, saved: tuple[int, float, float, float, int, float]) -> AmountPopulation:
        """Return the population that was saved."""
        each = cls()
        each.n, each.mean, each._log_mean, each._log_squares, each._labels, each._confirmed = saved
        if each._labels > _BELIEVED_LABELS:
            each.top = each._confirmed * _NEXT_AMOUNT
        return each


class BinRarity(base.Estimator):
    """How rare it is to fall into a bin or above: counts of 64 bins, and a table of decades that is as old as it says.

    The table is worked out anew when there are a fiftieth more counts: summing the bins for every charge would take longer
    than all else. Above all that was ever counted, each bin further out adds an eighth: ranks alone could not tell a record
    from the absurd. `UpperTail` differs in its prior, its cap and its scale.

    Attributes:
        decades: by bin: 3.0 is one in a thousand.

    >>> rarity = BinRarity()
    >>> for number in range(10_000):
    ...     rarity.learn_one(number % 10)
    >>> round(rarity.decades[9], 1), rarity.decades[20] < rarity.decades[40]
    (1.3, True)
    """

    __slots__ = ("_counts", "_n", "_refresh_at", "_total", "decades")

    def __init__(self) -> None:
        self._n = self._refresh_at = 0
        self._total = 0.0
        self._counts = [0.0] * BINS
        self.decades = [0.0] * BINS

    def learn_one(self, number: int) -> None:
        """Count what fell into a bin."""
        self._counts[number] += 1
        self._total += 1
        n = self._n = self._n + 1
        if n >= self._refresh_at:
            self._refresh_decades()

    def _refresh_decades(self) -> None:
        self._refresh_at = self._n + 10 + self._n // _TABLE_GROWTH
        counts, total, above = self._counts, self._total, 0.0
        highest = max((number for number in range(BINS) if counts[number]), default=0)
        for number in range(BINS - 1, -1, -1):
            outside = _DECADES_A_BIN_OUTSIDE * (number - highest) if number > highest else 0.0
            self.decades[number] = log10((total + 1) / (above + 0.5 * counts[number] + 0.5)) + outside
            above += counts[number]
        if total > _MOST_COUNTS:
            self._counts = [count / 2 for count in counts]
            self._total = sum(self._counts)

    def save(self) -> SavedRarity:
        """Return what was learned."""
        return self._n, self._refresh_at, self._total, self._counts, self.decades

    def restore(self, saved: SavedRarity) -> None:
        """Take the place of what was saved.

        Raises:
            ValueError: these are not its bins.
        """
        if any(len(part) != BINS for part in saved[3:]):
            raise ValueError(f"counts that have not {BINS} bins")
        self._n, self._refresh_at, self._total, self._counts, self.decades = saved


class RatioHistogram(BinRarity):
    """How often a charge is so many times its card's mean, for owners and for thieves.

    With no label a thief spends two to eight times the ordinary: the owners' histogram, shifted and averaged. Confirmed
    frauds take over as they come, that shape counting for ten of them.

    Attributes:
        decades: how rare a ratio is, or a larger one.
        evidence: by bin, the logarithm of thief's share over owner's; worked out anew every 2,000 charges.
        likely: by bin, how much likelier a charge is on a stolen card, of whose charges a thief makes a third.
    """

    __slots__ = ("_frauds", "evidence", "likely")

    def __init__(self) -> None:
        super().__init__()
        self._frauds = [0.0] * BINS
        self.evidence = [0.0] * BINS
        self._weigh()

    def learn_one(self, number: int) -> None:
        """Count a charge in its bin."""
        self._counts[number] += 1  # as above: a call of that would cost as much again
        self._total += 1
        n = self._n = self._n + 1
        if n % _REFRESH == 0 or n in _EARLY_REFRESHES:
            self._refresh_evidence()
        if n >= self._refresh_at:
            self._refresh_decades()

    def learn_fraud(self, number: int) -> None:
        """Count a confirmed fraud in its bin; it speaks at the next refresh."""
        self._frauds[number] += 1

    def _refresh_evidence(self) -> None:
        total, frauds = self._total + BINS, sum(self._frauds)
        owner = [(count + 1) / total for count in self._counts]
        for number in range(BINS):
            shifted = sum(owner[number - by] for by in range(_SMALLEST_SHIFT, _LARGEST_SHIFT) if number >= by)
            guess = shifted / (_LARGEST_SHIFT - _SMALLEST_SHIFT)
            thief = (self._frauds[number] + _PRIOR_FRAUDS * guess) / (frauds + _PRIOR_FRAUDS)
            self.evidence[number] = log((thief + _TINY_SHARE) / (owner[number] + _TINY_SHARE))
        self._weigh()

    def _weigh(self) -> None:
        self.likely = [1 - _THIEFS_SHARE + _THIEFS_SHARE * exp(min(each, _MOST_EVIDENCE)) for each in self.evidence]

    def save_all(self) -> SavedRatios:
        """Return what was learned, of frauds too."""
        return self.save(), self._frauds, self.evidence

    def restore_all(self, saved: SavedRatios) -> None:
        """Take the place of the histogram that was saved.

        Raises:
            ValueError: these are not its bins.
        """
        if any(len(part) != BINS for part in saved[1:]):
            raise ValueError(f"a histogram that has not {BINS} bins")
        counts, self._frauds, self.evidence = saved
        self.restore(counts)
        self._weigh()
