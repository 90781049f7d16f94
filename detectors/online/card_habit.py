"""What one card usually pays, and whether it is in a thief's hands."""

# ruff: noqa: FURB136 - min and max are calls, and there is an estimate for every charge

from __future__ import annotations

from array import array
from math import exp, log, log2, sqrt
from typing import NamedTuple

from river import base

from .charge_population import RATIO_BINS, AmountPopulation, RatioHistogram

_DAY = 86_400.0
_MOST_CHARGES = 100  # after so many an old charge fades as a new one comes
_THIEFS_SHARE = 1 / 3  # of the charges of a stolen card
_STOLEN_AT_ANY_TIME = 0.003
_STAY = 14 * _DAY  # how long a card stays stolen, usually
_TOP_STAY = 7 * _DAY
_MOST_STOLEN = 0.98
_DENIED_STOLEN = 0.9
_MOST_EVIDENCE = 6.0  # of one amount, as a logarithm
_CLIP_MEANS = 3.0
_CLIP_VARIANCES = 9.0
_PRIOR_MEAN_CHARGES = 2.0
_PRIOR_SPREAD_CHARGES = 3.0
_TINY = 1e-30  # beside any amount of money
_NEVER = -(10**9)
_NO_FRAUD = -1  # as it is saved; frauds are never before 1970

_MEAN, _SQUARES, _STOLEN, _TOP = range(4)


class Look(NamedTuple):
    """How a charge looks on its card, worked out before anything is learned from it.

    Attributes:
        at: when it was made, in epoch seconds.
        amount: in the currency's major unit.
        mean: what the card usually pays, shrunk to the population's mean.
        variance: of it.
        surplus: spreads above the mean; negative below.
        ratio: bin of amount over mean, a quarter of an octave wide; 32 is the mean itself.
        stolen: probability that the card is stolen, before this charge.
        odds: logarithm of the odds of that.
        top: the largest ratio lately, fading over a week.
        height: spreads of the population's logarithms above its mean.
        suspicion: log odds that the thief made this charge, up to a constant.
        days_since_fraud: since the last charge of a size out of habit that was called fraud.
    """

    at: float
    amount: float
    mean: float
    variance: float
    surplus: float
    ratio: int
    stolen: float
    odds: float
    top: float
    height: float
    suspicion: float
    days_since_fraud: float


class CardHabit(base.Estimator):
    """Robust mean and spread of a card's amounts, and a two-state filter: is the card stolen?

    The mean is linear and clipped: on a logarithmic scale, or unclipped, frauds would teach the habit. The filter is a
    hidden Markov model of two states (Rabiner 1989, section III.A): the owner's and the thief's charges differ by how large
    they are against the mean, and a thief makes a third of a stolen card's charges. So several high charges in a row make
    the next medium one suspicious before any label is known.

    All numbers but two times and a count are floats of four bytes in one array, so that what is saved is what is there.

    Attributes:
        charges: how many were learned, up to 100.
        at: time of the latest, in epoch seconds.
        fraud_at: time of the latest that was fraud of a size out of habit, in epoch seconds.

    >>> card, population, ratios = CardHabit(), AmountPopulation(), RatioHistogram()
    >>> for day in range(20):
    ...     look = card.look(86400.0 * day, 30.0, population, ratios)
    ...     card.learn_one(look, ratios)
    ...     population.learn_one(30.0)
    >>> round(card.usual), card.look(86400.0 * 20, 300.0, population, ratios).surplus > 5
    (30, True)
    """

    __slots__ = ("_numbers", "at", "charges", "fraud_at")

    def __init__(self) -> None:
        self.charges = 0
        self.at = _NEVER
        self.fraud_at = _NEVER
        self._numbers = array("f", (0.0, 0.0, _STOLEN_AT_ANY_TIME, 0.0))

    @property
    def usual(self) -> float:
        """What the card usually pays, by its own charges alone."""
        return self._numbers[_MEAN]

    def look(self, at: float, amount: float, population: AmountPopulation, ratios: RatioHistogram) -> Look:
        """Return how a charge above zero looks on this card; changes nothing.

        Args:
            at: epoch seconds; a time before the latest charge counts as that charge's.
            amount: in the currency's major unit.
            population: of the same currency.
            ratios: of all cards.
        """
        mean, squares, stolen, top = self._numbers
        past = at - self.at
        if past > 0:
            fading = exp(-past / _STAY)
            stolen = stolen * fading + _STOLEN_AT_ANY_TIME * (1 - fading)
            top *= fading * fading  # of half the stay
        n = self.charges
        usual = (
            (n * mean + _PRIOR_MEAN_CHARGES * population.mean) / (n + _PRIOR_MEAN_CHARGES) if population.n else amount
        )
        variance = (squares + 0.25 * _PRIOR_SPREAD_CHARGES * usual * usual) / (n + _PRIOR_SPREAD_CHARGES)
        ratio = int((log2(amount / (usual + _TINY) + 1e-6) + 8) * 4)
        ratio = 0 if ratio < 0 else RATIO_BINS - 1 if ratio >= RATIO_BINS else ratio
        odds = log(stolen / (1 - stolen))
        return Look(
            at,
            amount,
            usual,
            variance,
            (amount - usual) / (sqrt(variance) + _TINY),
            ratio,
            stolen,
            odds,
            top,
            population.height(amount),
            odds + ratios.evidence[ratio],
            (at - self.fraud_at) / _DAY,
        )

    def learn_one(self, look: Look, ratios: RatioHistogram) -> None:
        """Take in a charge as it looked. No label is needed: the filter learns by Bayes, the habit clips."""
        numbers, n = self._numbers, self.charges
        at, full, usual, variance, _, ratio, stolen, _, top, _, _, _ = look
        amount = _CLIP_MEANS * usual if n >= _PRIOR_SPREAD_CHARGES and full > _CLIP_MEANS * usual else full
        residual, most = (amount - usual) ** 2, _CLIP_VARIANCES * variance
        mean, squares, _, _ = numbers
        is_full = n >= _MOST_CHARGES
        numbers[_SQUARES] = (
            squares + (residual if residual < most else most) - (squares / _MOST_CHARGES if is_full else 0)
        )
        numbers[_MEAN] = mean + (amount - mean) / (_MOST_CHARGES if is_full else n + 1)
        if not is_full:
            self.charges = n + 1
        times = full / (usual + _TINY)
        numbers[_TOP] = times if times > top else top
        evidence = ratios.evidence[ratio]
        likely = exp(evidence if evidence < _MOST_EVIDENCE else _MOST_EVIDENCE)
        odds = stolen * (1 - _THIEFS_SHARE + _THIEFS_SHARE * likely)
        after = odds / (odds + 1 - stolen)
        numbers[_STOLEN] = after if after < _MOST_STOLEN else _MOST_STOLEN
        if at > self.at:
            self.at = int(at)

    def accuse(self, at: float, now: float) -> None:
        """Learn that a charge out of habit, made at `at`, was called fraud at `now`; both in epoch seconds."""
        self.fraud_at = max(self.fraud_at, int(at), 0)
        since = exp(-max(0.0, now - at) / _STAY)
        self._numbers[_STOLEN] = max(self._numbers[_STOLEN], _DENIED_STOLEN * since)

    def young_copy(self) -> CardHabit:
        """Return a habit to begin another card of the same owner with: the same amounts, of little weight."""
        copy = CardHabit()
        copy.charges = min(self.charges, 5)
        numbers = copy._numbers
        numbers[_MEAN] = self._numbers[_MEAN]
        numbers[_SQUARES] = self._numbers[_SQUARES] * copy.charges / max(self.charges, 1)
        return copy

    def save(self) -> tuple[int, int, int, bytes]:
        """Return what was learned."""
        return self.charges, self.at, max(self.fraud_at, _NO_FRAUD), self._numbers.tobytes()

    @classmethod
    def restored(cls, saved: tuple[int, int, int, bytes]) -> CardHabit:
        """Return the habit that was saved.

        Raises:
            ValueError: this is not one's bytes.
        """
        habit = cls()
        habit.charges, habit.at, fraud_at, numbers = saved
        habit.fraud_at = _NEVER if fraud_at == _NO_FRAUD else fraud_at
        kept = habit._numbers = array("f", numbers)
        if len(kept) != _TOP + 1 or not 0 < kept[_STOLEN] < 1:
            raise ValueError(f"{len(numbers)} bytes are no card's habit")
        return habit
