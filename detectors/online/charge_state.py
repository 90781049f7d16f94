"""What is pooled over cards, and the steps of a charge through it: see, take in, hear what it was."""

# ruff: noqa: PLR2004 - the edges of bins stand where they are used

from __future__ import annotations

from typing import NamedTuple

from .card_habit import Card, Look, is_out_of_habit, learned, look_at
from .charge_cross_numbers import crosses_of
from .charge_population import AmountPopulation, BinRarity, RatioHistogram
from .merchant_runs import BadRun, MerchantRuns, RunSeen


class Extra(NamedTuple):
    """What else an event says beside amount, card and merchant.

    Attributes:
        bits: packed by `extra_bits`, for the model that learned from labels.
        rarities: how rare each side is, in decades, by name; for the time before.
        denials: how often customers denied a charge of the merchant, whoever was to blame.
    """

    bits: int = 0
    rarities: tuple[tuple[str, float], ...] = ()
    denials: int = 0


NOTHING_ELSE = Extra()


class Sight(NamedTuple):
    """A charge as it was when it was scored; what its label will teach is fixed here.

    Attributes:
        look: how it looks on its card.
        crosses: one-hot, as River's models take them.
        seen: what was seen of the merchant's run; None where there is none, or it is over.
        run_bits: what that says, packed; 0 for nothing.
        extra: what else is known.
    """

    look: Look
    crosses: dict[int, float]
    seen: RunSeen | None
    run_bits: int
    extra: Extra


class Waiting(NamedTuple):
    """A charge that waits for its label.

    Attributes:
        at: when it was made, in epoch seconds.
        amount: in its currency's major unit.
        merchant: its id.
        card: its card's name.
        ratio: bin of its amount over the card's mean.
        is_out_of_habit: whether the card's habit alone explains a fraud.
        crosses: what it looked like.
    """

    at: int
    amount: float
    merchant: str
    card: int
    ratio: int
    is_out_of_habit: bool
    crosses: dict[int, float]


_tuple = tuple.__new__  # what a named tuple's own constructor does in the end, in a third of its time


class ChargeState:
    """The ratios of all cards and the merchants' runs.

    A confirmed fraud is explained once ("explaining away", Pearl 1988): out of the card's habit, it is the card that is
    stolen, and the merchant is not blamed; within it, it is the merchant that has a run of bad charges.

    Attributes:
        heights: how rare amounts are in their currency.
        suspicions: how rare it is to be as likely a thief's.
        counts_rarity: whether these two learn; when labels are known nobody asks them any more.
        charges: how many were taken in.
    """

    def __init__(self) -> None:
        self.ratios = RatioHistogram()
        self.runs = MerchantRuns()
        self.heights = BinRarity()
        self.suspicions = BinRarity()
        self.counts_rarity = True
        self.charges = 0

    def see(
        self,
        card: Card,
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
            at: epoch seconds, of 1970 to 2106.
            amount: above zero and finite, in the currency's major unit.
            extra: what else is known of it.
        """
        look = look_at(card, at, amount, population, self.ratios)
        seen, bits = None, 0
        if run is not None and not run.is_over(at):
            seen, bits = self.runs.look(merchant, at, run)
        return _tuple(Sight, (look, crosses_of(look.bins, bits, extra[0]), seen, bits, extra))

    def take(self, sight: Sight, population: AmountPopulation, merchant: str) -> bytes:
        """Learn from a charge what needs no label, and return its card, packed."""
        look, _, seen, _, _ = sight
        ratios = self.ratios
        card = learned(look, ratios)
        population.learn_one(look.amount)
        ratios.learn_one(look.ratio)
        self.charges += 1
        if self.counts_rarity:
            self.heights.learn_one(height_bin(look.height))
            self.suspicions.learn_one(suspicion_bin(look.suspicion))
        if seen is not None:
            self.runs.passed(merchant, seen)
        return card

    def waiting(self, sight: Sight, merchant: str) -> Waiting:
        """Return what is to be kept of a charge until its label comes."""
        look = sight.look
        is_out = is_out_of_habit(look.bins)
        return Waiting(int(look.at), look.amount, merchant, look.card[0], look.ratio, is_out, sight.crosses)

    def blames_card(self, waiting: Waiting, population: AmountPopulation) -> bool:
        """Return whether a fraud is explained by its size on this card, so that the merchant is not to blame."""
        return waiting.is_out_of_habit or waiting.amount > population.top

    def tell(self, waiting: Waiting, bad: bool, now: float, population: AmountPopulation, run: BadRun | None) -> bool:
        """Learn what a charge was, before the next charge is seen; return whether its card is to be accused.

        Args:
            waiting: the charge as it was when it was scored.
            bad: whether it was.
            now: when that became known, in epoch seconds.
            population: of its currency.
            run: the merchant's, this charge not counted.
        """
        at, amount, merchant, _, ratio, is_out, _ = waiting
        if not bad:
            population.confirm(amount)
            if run is not None:
                self.runs.learn_good(merchant, at, now, run)
            return False
        is_theft = is_out and amount <= population.top
        if is_theft:
            self.ratios.learn_fraud(ratio)
        return is_theft


def height_bin(height: float) -> int:
    """Return the bin, of 64, of an amount's height in its currency."""
    return 0 if height < -3 else 63 if height > 3.3 else int((height + 3) * 10)


def suspicion_bin(suspicion: float) -> int:
    """Return the bin, of 64, of the log odds that a thief made a charge."""
    return 0 if suspicion < -12 else 63 if suspicion > 9 else int((suspicion + 12) * 3)
