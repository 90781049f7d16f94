"""The mathematics of suspicious charges, on plain numbers: what a charge looks like, how odd that is, what labels teach."""

# ruff: noqa: PLR2004 - the edges of bins stand where they are used

from __future__ import annotations

from typing import NamedTuple

from .online.card_habit import CardHabit, Look
from .online.charge_odds import ChargeOdds
from .online.charge_population import AmountPopulation, RatioHistogram, decades
from .online.merchant_runs import MERCHANT_CROSSES, BadRun, MerchantRuns

NEWS = ("merchant", "category", "country", "channel")
"""What of a charge can be new to an account, in this order."""
NEWS_CROSSES = 4000  # two of each of NEWS: known, new
VELOCITY_CROSSES = 4020
CHANNEL_CROSSES = 4040
TIME_CROSSES = 4060
CURRENCY_CROSS = 4080
DENIED_CROSSES = 4090
CATEGORY_CROSSES = 4200

BASE = "base"
_LARGE = 2.5  # spreads: a fraud above is out of the card's ordinary
_TAIL_BINS = 64
_LEARNED_FIRST = 200  # charges, before rarity means something
_POWER = 6  # of the mean of the rarities: nearly the largest, and a little more where several agree
_EVEN_ODDS_AT = 3.5  # decades of rarity that stand for a probability of one half, before labels are known
_DENIED_DECADES = (
    3.5  # one is enough to ask the next customers about an ordinary charge, until questions have raised the line
)
_MOST_DENIALS = 2


class Extra(NamedTuple):
    """What else an event says beside amount, card and merchant.

    Attributes:
        crosses: for the model that learned from labels.
        rarities: how rare each side is, in decades, by name; for the time before.
        denials: how often customers denied a charge of the merchant, whoever was to blame.
    """

    crosses: tuple[int, ...] = ()
    rarities: tuple[tuple[str, float], ...] = ()
    denials: int = 0


NOTHING_ELSE = Extra()


class Sight(NamedTuple):
    """A charge as it was when it was scored; what its label will teach is fixed here."""

    look: Look
    crosses: tuple[int, ...]
    run: BadRun | None
    extra: Extra

    @property
    def is_out_of_habit(self) -> bool:
        """Whether the card's habit alone could explain a fraud."""
        return self.look.surplus > _LARGE


class Waiting(NamedTuple):
    """A charge that waits for its label."""

    at: int
    amount: float
    merchant: str
    ratio: int
    is_out_of_habit: bool
    crosses: tuple[int, ...]


class ChargeCore:
    """All that is pooled over cards, and the steps of a charge through it: see, weigh, take in, label.

    A confirmed fraud is explained once ("explaining away", Pearl 1988): out of the card's habit, it is the card that is
    stolen, and the merchant is not blamed; within it, it is the merchant that has a run of bad charges.
    """

    def __init__(self) -> None:
        self.odds = ChargeOdds()
        self.ratios = RatioHistogram()
        self.runs = MerchantRuns()
        self.heights = [0.0] * _TAIL_BINS
        self.suspicions = [0.0] * _TAIL_BINS
        self.charges = 0

    def see(
        self,
        card: CardHabit,
        population: AmountPopulation,
        merchant: str,
        run: BadRun | None,
        at: float,
        amount: float,
        extra: Extra = NOTHING_ELSE,
    ) -> Sight:
        """Return how a charge looks; changes nothing.

        Args:
            card: its habit.
            population: of the charge's currency.
            merchant: its id.
            run: the merchant's, as all partitions know it.
            at: epoch seconds.
            amount: above zero and finite, in the currency's major unit.
            extra: what else is known of it.
        """
        look = card.look(at, amount, population, self.ratios)
        crosses = crosses_of(look, amount > population.top)
        if run is not None:
            crosses += self.runs.crosses(merchant, at, run)
        return Sight(look, crosses + extra.crosses, run, extra)

    def probability(self, sight: Sight) -> float:
        """Return how likely the charge is bad, as far as that can be said: before labels are known it only ranks."""
        if self.odds.is_ready:
            return self.odds.predict_proba_one(dict.fromkeys(sight.crosses, 1.0))[True]
        return 1 / (1 + 10 ** (_EVEN_ODDS_AT - self._rarity(sight)))

    def decades(self, sight: Sight) -> float:
        """Return the evidence that the charge is bad: decades of odds, or of rarity before enough labels are known."""
        if self.odds.is_ready:
            return sum(self.odds.weights_of(sight.crosses))
        return self._rarity(sight)

    def contributions(self, sight: Sight) -> dict[str, float]:
        """Return what adds up to `decades`, by what it is about."""
        if self.odds.is_ready:
            parts: dict[str, float] = {}
            for cross, weight in zip(sight.crosses, self.odds.weights_of(sight.crosses), strict=True):
                name = name_of(cross)
                parts[name] = parts.get(name, 0.0) + weight
            return parts
        rarities, denied = self._rarities(sight)
        powers = [rarity**_POWER for _, rarity in rarities]
        whole = sum(powers) or 1.0
        total, parts = whole ** (1 / _POWER), {}
        for (name, _), power in zip(rarities, powers, strict=True):
            parts[name] = parts.get(name, 0.0) + total * power / whole
        return parts | ({"denied": denied} if denied else {})

    def take(self, sight: Sight, card: CardHabit, population: AmountPopulation, merchant: str) -> None:
        """Learn from a charge what needs no label."""
        look = sight.look
        card.learn_one(look, self.ratios)
        self.charges += 1
        population.learn_one(look.amount)
        self.ratios.learn_one(look.ratio)
        if sight.run is not None:
            self.runs.passed(merchant, sight.run)
        if not self.odds.is_ready:
            self.heights[_height_bin(look.height)] += 1
            self.suspicions[_suspicion_bin(look.suspicion)] += 1

    def blames_card(self, waiting: Waiting, population: AmountPopulation) -> bool:
        """Return whether a fraud is explained by its size on this card, so that the merchant is not to blame."""
        return waiting.is_out_of_habit or waiting.amount > population.top

    def label(
        self,
        waiting: Waiting,
        bad: bool,
        now: float,
        card: CardHabit | None,
        population: AmountPopulation,
        run: BadRun | None,
    ) -> None:
        """Learn whether a charge was bad; the counters first, so that the next charge sees it.

        Args:
            waiting: the charge as it was when it was scored.
            bad: whether it was.
            now: when that became known, in epoch seconds.
            card: its habit, where it is still kept.
            population: of its currency.
            run: the merchant's, this charge not counted.
        """
        if bad:
            if waiting.is_out_of_habit and waiting.amount <= population.top:
                self.ratios.learn_fraud(waiting.ratio)
                if card is not None:
                    card.accuse(waiting.at, now)
        else:
            population.confirm(waiting.amount)
            if run is not None:
                self.runs.learn_good(waiting.merchant, waiting.at, now, run)
        self.odds.learn_one(dict.fromkeys(waiting.crosses, 1.0), bad)

    def _rarity(self, sight: Sight) -> float:
        rarities, denied = self._rarities(sight)
        return float(sum(rarity**_POWER for _, rarity in rarities) ** (1 / _POWER)) + denied

    def _rarities(self, sight: Sight) -> tuple[list[tuple[str, float]], float]:
        """Return how rare each side is, by name, and what denials add to all of them."""
        look, found = sight.look, list(sight.extra.rarities)
        if self.charges >= _LEARNED_FIRST:
            found.append(("amount", decades(self.ratios.counts, look.ratio)))
            found.append(("amount", decades(self.heights, _height_bin(look.height))))
            found.append(("card", decades(self.suspicions, _suspicion_bin(look.suspicion))))
        bads = sight.run.bads if sight.run is not None and not sight.run.is_over(look.at) else 0
        return found, _DENIED_DECADES * min(max(bads, sight.extra.denials), _MOST_DENIALS)


def crosses_of(look: Look, is_above_all: bool) -> tuple[int, ...]:
    """Return the numbers of the one-hot crosses of a charge on its card: bins, so that no number needs a scale.

    Args:
        look: the charge.
        is_above_all: it is larger than every amount that was confirmed good.
    """
    # comparisons rather than min and max, whose calls would take half of the time
    _, _, _, _, surplus, ratio, _, odds, top, height, suspicion, days = look
    spreads = 0 if surplus <= -1 else int((surplus + 1) * 2) if surplus < 9 else 20
    ratio = 0 if ratio < 28 else 18 if ratio > 46 else ratio - 28
    since = 0 if days <= 0 else 10 if days > 30 else int(days / 3)
    height = -2.0 if height < -2 else height
    band = 100 if height > 5 else int(height * 12) + 40 if height > 0.8 else int((height + 2) * 3)
    spread = (spreads >> 1) - 1
    return (
        0,
        100 + (0 if suspicion < -8 else 30 if suspicion > 7 else int((suspicion + 8) * 2)),
        200 + ratio * 12 + (0 if odds < -6 else 11 if odds > 5 else int(odds + 6)),
        500 + spreads * 11 + since,
        800 + (12 if top > 6.4 else int(top * 2)) * 10 + (ratio >> 1),
        1000 + 2 * band + is_above_all,
        1300 + (17 if height > 2.4 else int((height + 2) * 4)) * 8 + (0 if spread < 0 else min(spread, 7)),
    )


def name_of(cross: int) -> str:
    """Return what a cross is about: base, card, amount, run, a name of `NEWS`, velocity, time, currency, denied."""
    if cross == 0:
        return BASE
    if NEWS_CROSSES <= cross < VELOCITY_CROSSES:
        return NEWS[(cross - NEWS_CROSSES) // 2]
    return next(name for crosses, name in _NAMES if cross in crosses)


_NAMES = (
    (range(100, 500), "card"),
    (range(800, 1000), "card"),
    (MERCHANT_CROSSES, "run"),
    (range(VELOCITY_CROSSES, CHANNEL_CROSSES), "velocity"),
    (range(CHANNEL_CROSSES, TIME_CROSSES), "channel"),
    (range(TIME_CROSSES, CURRENCY_CROSS), "time"),
    (range(CURRENCY_CROSS, DENIED_CROSSES), "currency"),
    (range(DENIED_CROSSES, CATEGORY_CROSSES), "denied"),
    (range(CATEGORY_CROSSES, CATEGORY_CROSSES + 256), "category"),
    (range(500, 2000), "amount"),
)


def _height_bin(height: float) -> int:
    return min(max(int((height + 3) * 10), 0), _TAIL_BINS - 1)


def _suspicion_bin(suspicion: float) -> int:
    return min(max(int((suspicion + 12) * 3), 0), _TAIL_BINS - 1)
