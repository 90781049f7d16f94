"""What the suspicious-charge detector pools over the accounts of a partition, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern

import msgspec
from river import stats

from .online import UpperTail
from .online.charge_population import AmountPopulation, SavedRarity, SavedRatios
from .online.merchant_runs import RunSeen
from .online.question_line import QuestionLine
from .saved_memory import Format
from .suspicious_charge_core import NEWS, ChargeCore
from .suspicious_charge_memory import KIND, VERSION

_MOST_POPULATIONS = 300  # there are some 180 currencies
_RARE_AT_FIRST = 0.1  # how often a habit is broken, before anything was counted
_FADING = 0.001
_GAP_DAYS_AT_FIRST = 0.5
_MOST_GAP_DAYS = 30.0
_WEIGHTS_A_PART = 4_096  # some 110 KB
_RUNS_A_PART = 1_024

Weight = tuple[int, float, float]


class Pools:
    """What all accounts' charges have in common.

    Attributes:
        core: model, histograms and runs.
        populations: what is paid, by currency.
        velocity: the tail of how many charges come within an hour.
        broken: how often a charge is new in each of `NEWS`.
        gap_days: usual time between two charges of an account, to tell a share of charges from questions a day.
        unlabelled: the line on evidence in decades of rarity, until labels are known.
        labelled: the line on evidence in decades of odds, afterwards.
    """

    def __init__(self) -> None:
        self.core = ChargeCore()
        self.populations: dict[str, AmountPopulation] = {}
        self.velocity = UpperTail(0.6, 500)
        self.broken = tuple(stats.EWMean(_FADING) for _ in NEWS)
        for mean in self.broken:
            mean.update(_RARE_AT_FIRST)  # the first value is the mean
        self.gap_days = _GAP_DAYS_AT_FIRST
        self.unlabelled = QuestionLine(begin=3.8, lowest=2.5)
        self.labelled = QuestionLine(begin=0.0, lowest=-1.5)

    @property
    def line(self) -> QuestionLine:
        """The line that counts now."""
        return self.labelled if self.core.odds.is_ready else self.unlabelled

    def population(self, currency: str) -> AmountPopulation:
        """Return what is paid in a currency, or an empty one that nobody keeps; changes nothing."""
        return self.populations.get(currency) or AmountPopulation()

    def population_to_teach(self, currency: str) -> AmountPopulation:
        """Return what is paid in a currency, to be kept unless there are too many."""
        population = self.populations.get(currency)
        if population is None:
            population = AmountPopulation()
            if len(self.populations) < _MOST_POPULATIONS:
                self.populations[intern(currency)] = population
        return population

    def learn_gap(self, seconds: float) -> None:
        """Take in the time between two charges of one account."""
        days = min(max(seconds / 86_400, 0.0), _MOST_GAP_DAYS)
        self.gap_days += _FADING * (days - self.gap_days)

    def save(self) -> dict[str, bytes]:
        """Return the counts, which every charge changes, the model, which labels change, and the runs."""
        core = self.core
        frauds, goods, weights = core.odds.save()
        runs = core.runs.save()
        found: dict[str, bytes] = {}
        for number, start in enumerate(range(0, len(weights), _WEIGHTS_A_PART)):
            found[f"weights/{number}"] = _WEIGHTS.encode(weights[start : start + _WEIGHTS_A_PART])
        for number, start in enumerate(range(0, len(runs), _RUNS_A_PART)):
            found[f"runs/{number}"] = _RUNS.encode(runs[start : start + _RUNS_A_PART])
        found["counts"] = _COUNTS.encode(
            _Saved(
                parts=sorted(found),
                labels=(frauds, goods),
                charges=core.charges,
                ratios=core.ratios.save_all(),
                tails=(core.heights.save(), core.suspicions.save()),
                populations={currency: each.save() for currency, each in self.populations.items()},
                velocity=(self.velocity.save_counts(), self.velocity.save_table()),
                broken=[float(mean.get()) for mean in self.broken],
                gap_days=self.gap_days,
                lines=(self.unlabelled.value, self.labelled.value),
            )
        )
        return found

    @classmethod
    def restored(cls, saved: Mapping[str, bytes], version: int) -> Pools:
        """Return the pools that `save` of that version wrote."""
        if "counts" not in saved:
            raise _COUNTS.damaged(f"the pools have the parts {', '.join(sorted(saved)) or 'none'}")
        found = _COUNTS.decode(saved["counts"], version)
        if not saved.keys() >= set(found.parts):
            raise _COUNTS.damaged(f"the pools lack the parts {', '.join(sorted(set(found.parts) - saved.keys()))}")
        pools = cls()
        core = pools.core
        weights = [
            each for part in _in_order("weights/", found.parts) for each in _WEIGHTS.decode(saved[part], version)
        ]
        runs = [each for part in _in_order("runs/", found.parts) for each in _RUNS.decode(saved[part], version)]
        try:
            core.odds.restore((*found.labels, weights))
            core.counts_rarity = not core.odds.is_ready
            core.ratios.restore_all(found.ratios)
            for rarity, saved_rarity in zip((core.heights, core.suspicions), found.tails, strict=True):
                rarity.restore(saved_rarity)
            pools.velocity.restore(*found.velocity)
        except ValueError as error:
            raise _COUNTS.damaged(str(error)) from error
        core.runs.restore(runs)
        core.charges = found.charges
        pools.populations = {intern(name): AmountPopulation.restored(each) for name, each in found.populations.items()}
        pools.broken = tuple(stats.EWMean(_FADING) for _ in NEWS)
        for mean, value in zip(pools.broken, found.broken, strict=True):
            mean.update(value)
        pools.gap_days = found.gap_days
        pools.unlabelled.value, pools.labelled.value = found.lines
        return pools


class _Saved(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What every charge changes, and which other parts there are."""

    parts: list[str]
    labels: tuple[int, int]
    charges: int
    ratios: SavedRatios
    tails: tuple[SavedRarity, SavedRarity]
    populations: dict[str, tuple[int, float, float, float, int, float]]
    velocity: tuple[list[int], tuple[int, list[float]]]
    broken: list[float]
    gap_days: float
    lines: tuple[float, float]


def _in_order(prefix: str, parts: list[str]) -> list[str]:
    return [f"{prefix}{number}" for number in range(sum(part.startswith(prefix) for part in parts))]


_COUNTS = Format(KIND, VERSION, _Saved)
_WEIGHTS = Format(KIND, VERSION, list[Weight])
_RUNS = Format(KIND, VERSION, list[tuple[str, RunSeen]])
