"""The mathematics of suspicious charges, on plain numbers: how odd a charge is, and what labels teach."""

from __future__ import annotations

from .online.charge_cross_numbers import BASE, NEWS, name_of
from .online.charge_odds import ChargeOdds
from .online.charge_population import AmountPopulation
from .online.charge_state import NOTHING_ELSE, ChargeState, Extra, Sight, Waiting, height_bin, suspicion_bin
from .online.merchant_runs import BadRun

__all__ = ["BASE", "NEWS", "NOTHING_ELSE", "ChargeCore", "Extra", "Sight", "Waiting"]

_LEARNED_FIRST = 200  # charges, before rarity means something
_POWER = 6  # of the mean of the rarities: nearly the largest, and a little more where several agree
_EVEN_ODDS_AT = 3.5  # decades of rarity that stand for a probability of one half, before labels are known
_DENIED_DECADES = (
    3.5  # one is enough to ask the next customers about an ordinary charge, until questions have raised the line
)
_MOST_DENIALS = 2


class ChargeCore(ChargeState):
    """All that is pooled over cards, and the steps of a charge through it: see, weigh, take in, label.

    Attributes:
        odds: what labels taught.
    """

    def __init__(self) -> None:
        super().__init__()
        self.odds = ChargeOdds()

    def probability(self, sight: Sight) -> float:
        """Return how likely the charge is bad, as far as that can be said: before labels are known it only ranks."""
        if self.odds.is_ready:
            return self.odds.predict_proba_one(sight.crosses)[True]
        return 1 / (1 + 10 ** (_EVEN_ODDS_AT - self._rarity(sight)))

    def decades(self, sight: Sight) -> float:
        """Return the evidence that the charge is bad: decades of odds, or of rarity before enough labels are known."""
        if self.odds.is_ready:
            return sum(self.odds.weights_of(sight.crosses))
        return self._rarity(sight)

    def contributions(self, sight: Sight) -> dict[str, float]:
        """Return what adds up to `decades`, by what it is about."""
        parts: dict[str, float] = {}
        if self.odds.is_ready:
            for cross, weight in zip(sight.crosses, self.odds.weights_of(sight.crosses), strict=True):
                name = name_of(cross)
                parts[name] = parts.get(name, 0.0) + weight
            return parts
        rarities, denied = self._rarities(sight)
        powers = [rarity**_POWER for _, rarity in rarities]
        whole = sum(powers) or 1.0
        total = whole ** (1 / _POWER)
        for (name, _), power in zip(rarities, powers, strict=True):
            parts[name] = parts.get(name, 0.0) + total * power / whole
        return parts | ({"denied": denied} if denied else {})

    def label(self, waiting: Waiting, bad: bool, now: float, population: AmountPopulation, run: BadRun | None) -> bool:
        """Learn whether a charge was bad, the counters first; return whether its card is to be accused. See `tell`."""
        accuses = self.tell(waiting, bad, now, population, run)
        odds = self.odds
        odds.learn_one(waiting[6], bad)
        self.counts_rarity = not odds.is_ready
        return accuses

    def _rarity(self, sight: Sight) -> float:
        if sight.extra is NOTHING_ELSE and sight.seen is None and self.charges >= _LEARNED_FIRST:
            look = sight.look  # the common case of the sum below, without its lists
            ratio = self.ratios.decades[look.ratio] ** _POWER
            height = self.heights.decades[height_bin(look.height)] ** _POWER
            suspicion = self.suspicions.decades[suspicion_bin(look.suspicion)] ** _POWER
            return (ratio + height + suspicion) ** (1 / _POWER)  # type: ignore[no-any-return] # never negative
        rarities, denied = self._rarities(sight)
        return float(sum(rarity**_POWER for _, rarity in rarities) ** (1 / _POWER)) + denied

    def _rarities(self, sight: Sight) -> tuple[list[tuple[str, float]], float]:
        """Return how rare each side is, by name, and what denials add to all of them."""
        look, _, seen, _, extra = sight
        found = list(extra.rarities)
        if self.charges >= _LEARNED_FIRST:
            found.append(("amount", self.ratios.decades[look.ratio]))
            found.append(("amount", self.heights.decades[height_bin(look.height)]))
            found.append(("card", self.suspicions.decades[suspicion_bin(look.suspicion)]))
        bads = 0 if seen is None else seen.run.bads
        return found, _DENIED_DECADES * min(max(bads, extra.denials), _MOST_DENIALS)
