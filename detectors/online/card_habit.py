"""What one card usually pays, and whether it is in a thief's hands."""

# ruff: noqa: FURB136, PLR2004 - min and max are calls, on every charge's way; the edges of bins stand where they are used

from __future__ import annotations

from math import exp, log, log2, sqrt
from struct import Struct
from typing import NamedTuple

from river import base

from .charge_population import LAST_RATIO, AmountPopulation, RatioHistogram

_DAY = 86_400.0
_MOST_CHARGES = 100  # after so many an old charge fades as a new one comes
_STOLEN_AT_ANY_TIME = 0.003
_STAY = 14 * _DAY  # how long a card stays stolen, usually
_MOST_STOLEN = 0.98
_DENIED_STOLEN = 0.9
_CLIP_MEANS = 3.0
_CLIP_VARIANCES = 9.0
_PRIOR_MEAN_CHARGES = 2.0
_PRIOR_SPREAD_CHARGES = 3.0
_MOST_TOP = 1e9
_MOST_YOUNG = 5
_TINY = 1e-30  # beside any amount of money
_LAST_SECOND = 2**32 - 1

CARD = Struct("<IBII4f")
"""A card as it is kept: name, charges, time of the latest, of the latest fraud (0 for none), the four numbers."""

Card = tuple[int, int, int, int, float, float, float, float]
"""The same unpacked: name, charges (up to 100), the two times in epoch seconds, mean, sum of squares, P(stolen), top.

The mean and squares are of amounts; top is the largest amount over the mean lately, fading over a week. Whatever learns
returns packed bytes, and those are read for the next charge: so what is saved is what is there.
"""


def new_card(name: int = 0) -> Card:
    """Return a card that was never used."""
    return name, 0, 0, 0, 0.0, 0.0, _STOLEN_AT_ANY_TIME, 0.0


def young_copy(card: Card, name: int) -> Card:
    """Return what to begin another card of the same owner with: the same amounts, of little weight."""
    charges = min(card[1], _MOST_YOUNG)
    return name, charges, 0, 0, card[4], card[5] * charges / max(card[1], 1), _STOLEN_AT_ANY_TIME, 0.0


class Look(NamedTuple):
    """How a charge looks on its card, worked out before anything is learned from it.

    Attributes:
        card: as it was before.
        at: when it was made, in epoch seconds.
        amount: in the currency's major unit.
        mean: what the card usually pays, shrunk to the population's mean.
        variance: of it.
        surplus: spreads above the mean; negative below.
        ratio: bin of amount over mean, a quarter of an octave wide; 32 is the mean itself.
        stolen: probability that the card is stolen, before this charge.
        top: the largest ratio lately.
        height: spreads of the population's logarithms above its mean.
        suspicion: log odds that the thief made this charge, up to a constant.
        bins: of suspicion; ratio and odds; surplus and time since the last fraud; top and ratio; height and whether it is
            above all that was confirmed good; height and surplus. Each below 256, so that it is kept in a byte.
    """

    card: Card
    at: float
    amount: float
    mean: float
    variance: float
    surplus: float
    ratio: int
    stolen: float
    top: float
    height: float
    suspicion: float
    bins: tuple[int, int, int, int, int, int]


_look = tuple.__new__  # what a named tuple's own constructor does in the end, in a third of its time


def look_at(card: Card, at: float, amount: float, population: AmountPopulation, ratios: RatioHistogram) -> Look:
    """Return how a charge above zero looks on a card; changes nothing. One function, as every charge passes through it.

    Args:
        card: its habit.
        at: epoch seconds; a time before the latest charge counts as that charge's.
        amount: in the currency's major unit.
        population: of the same currency.
        ratios: of all cards.
    """
    _, n, last, fraud_at, mean, squares, stolen, top = card
    if at > last:
        fading = exp((last - at) / _STAY)
        stolen = stolen * fading + _STOLEN_AT_ANY_TIME * (1 - fading)
        top *= fading * fading  # of half the stay
    usual = (n * mean + _PRIOR_MEAN_CHARGES * population.mean) / (n + _PRIOR_MEAN_CHARGES) if population.n else amount
    variance = (squares + 0.25 * _PRIOR_SPREAD_CHARGES * usual * usual) / (n + _PRIOR_SPREAD_CHARGES)
    surplus = (amount - usual) / (sqrt(variance) + _TINY)
    ratio = int((log2(amount / (usual + _TINY) + 1e-6) + 8) * 4)
    ratio = 0 if ratio < 0 else LAST_RATIO if ratio > LAST_RATIO else ratio
    odds = log(stolen / (1 - stolen))
    suspicion = odds + ratios.evidence[ratio]
    height = population.height(amount)

    days = (at - fraud_at) / _DAY if fraud_at else 31
    since = 0 if days <= 0 else 10 if days > 30 else int(days / 3)
    spreads = 0 if surplus <= -1 else int((surplus + 1) * 2) if surplus < 9 else 20
    spread = 0 if spreads < 4 else 7 if spreads > 17 else (spreads >> 1) - 1
    octaves = 0 if ratio < 28 else 18 if ratio > 46 else ratio - 28
    above = height if height > -2 else -2.0
    band = 100 if above > 5 else int(above * 12) + 40 if above > 0.8 else int((above + 2) * 3)
    bins = (
        0 if suspicion < -8 else 30 if suspicion > 7 else int((suspicion + 8) * 2),
        octaves * 12 + (0 if odds < -6 else 11 if odds > 5 else int(odds + 6)),
        spreads * 11 + since,
        (12 if top > 6.4 else int(top * 2)) * 10 + (octaves >> 1),
        2 * band + (amount > population.top),
        (17 if above > 2.4 else int((above + 2) * 4)) * 8 + spread,
    )
    return _look(Look, (card, at, amount, usual, variance, surplus, ratio, stolen, top, height, suspicion, bins))


def is_out_of_habit(bins: tuple[int, ...]) -> bool:
    """Return whether the charge is two and a half spreads above the card's mean, so that the card alone explains a fraud."""
    return bins[2] >= 77  # seven half spreads, counted from one below


def learned(look: Look, ratios: RatioHistogram) -> bytes:
    """Return the card, packed, after a charge as it looked. No label is needed: the filter learns by Bayes, the habit clips."""
    card, at, full, usual, variance, _, ratio, stolen, top, _, _, _ = look
    name, n, last, fraud_at, mean, squares, _, _ = card
    most = _CLIP_MEANS * usual
    amount = most if n >= _PRIOR_SPREAD_CHARGES and full > most else full
    residual, most = (amount - usual) ** 2, _CLIP_VARIANCES * variance
    residual = residual if residual < most else most
    if n >= _MOST_CHARGES:
        squares += residual - squares / _MOST_CHARGES
        mean += (amount - mean) / _MOST_CHARGES
    else:
        n += 1
        squares += residual
        mean += (amount - mean) / n
    times = full / (usual + _TINY)
    if times > top:
        top = times if times < _MOST_TOP else _MOST_TOP
    odds = stolen * ratios.likely[ratio]
    stolen = odds / (odds + 1 - stolen)
    return CARD.pack(
        name,
        n,
        int(at) if at > last else last,
        fraud_at,
        mean,
        squares,
        stolen if stolen < _MOST_STOLEN else _MOST_STOLEN,
        top,
    )


def accused(card: Card, at: int, now: float) -> bytes:
    """Return the card, packed, after a charge out of habit, made at `at`, was called fraud at `now`; in epoch seconds."""
    name, n, last, fraud_at, mean, squares, stolen, top = card
    since = exp(-max(0.0, now - at) / _STAY)
    return CARD.pack(name, n, last, max(fraud_at, at, 1), mean, squares, max(stolen, _DENIED_STOLEN * since), top)


class CardHabit(base.Estimator):
    """Robust mean and spread of a card's amounts, and a two-state filter: is the card stolen?

    The mean is linear and clipped: on a logarithmic scale, or unclipped, frauds would teach the habit. The filter is a
    hidden Markov model of two states (Rabiner 1989, section III.A): the owner's and the thief's charges differ by how large
    they are against the mean, and a thief makes a third of a stolen card's charges. So several high charges in a row make
    the next medium one suspicious before any label is known.

    It is kept in 29 bytes: numbers are floats of four bytes, times seconds of 1970 to 2106.

    >>> card, population, ratios = CardHabit(), AmountPopulation(), RatioHistogram()
    >>> for day in range(20):
    ...     look = card.look(86400.0 * day, 30.0, population, ratios)
    ...     card.learn_one(look, ratios)
    ...     population.learn_one(30.0)
    >>> round(card.usual), card.look(86400.0 * 20, 300.0, population, ratios).surplus > 5
    (30, True)
    """

    __slots__ = ("_card",)

    def __init__(self) -> None:
        self._card = new_card()

    @property
    def usual(self) -> float:
        """What the card usually pays, by its own charges alone."""
        return self._card[4]

    @property
    def charges(self) -> int:
        """How many were learned, up to 100."""
        return self._card[1]

    @property
    def at(self) -> int:
        """Time of the latest, in epoch seconds."""
        return self._card[2]

    def look(self, at: float, amount: float, population: AmountPopulation, ratios: RatioHistogram) -> Look:
        """Return how a charge looks on this card; see `look_at`."""
        return look_at(self._card, min(max(at, 0.0), _LAST_SECOND), amount, population, ratios)

    def learn_one(self, look: Look, ratios: RatioHistogram) -> None:
        """Take in a charge as it looked."""
        self._card = CARD.unpack(learned(look, ratios))

    def accuse(self, at: float, now: float) -> None:
        """Learn that a charge out of habit, made at `at`, was called fraud at `now`; both in epoch seconds."""
        self._card = CARD.unpack(accused(self._card, int(min(max(at, 0), _LAST_SECOND)), now))

    def save(self) -> bytes:
        """Return what was learned."""
        return CARD.pack(*self._card)

    @classmethod
    def restored(cls, saved: bytes) -> CardHabit:
        """Return the habit that was saved.

        Raises:
            ValueError: this is not one's bytes.
        """
        habit = cls()
        if len(saved) != CARD.size:
            raise ValueError(f"{len(saved)} bytes are no card's habit, which has {CARD.size}")
        habit._card = CARD.unpack(saved)
        check_card(habit._card)
        return habit


def check_card(card: Card) -> None:
    """Refuse numbers that no card has.

    Raises:
        ValueError: these are such.
    """
    _, charges, _, _, mean, squares, stolen, top = card
    are_amounts = mean >= 0 and squares >= 0 and top >= 0 and mean + squares + top < float("inf")
    if not (0 < stolen < 1 and are_amounts and charges <= _MOST_CHARGES):
        raise ValueError(f"no card's habit: {card}")
