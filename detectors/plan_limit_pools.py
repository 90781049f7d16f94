"""What the plan-limit detector pools over the accounts of a partition, meter by meter, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import NamedTuple

from .cycle_forecast import ForecastPool
from .detector import Settled
from .plan_limit_memory import KIND, VERSION
from .saved_memory import Format

MOST_POOLS = 64
REST = ""
"""The pool of all meters that came when there were as many as fit."""


class Calibration(NamedTuple):
    """How good probabilities of passing an allowance were.

    Attributes:
        brier: the mean square of probability less outcome.
        expected_calibration_error: by tenths of probability, how far what was promised is from what happened.
        settled: how many forecasts.
    """

    brier: float
    expected_calibration_error: float
    settled: int


class Pools:
    """Forecast pools by meter; with `MOST_POOLS` of them, further meters share one.

    Attributes:
        by_meter: each with the meter's name.
    """

    def __init__(self) -> None:
        self.by_meter: dict[str, ForecastPool] = {}
        self._taken = 0

    def of(self, meter: str) -> ForecastPool:
        """Return the pool of a meter, a new one if need be."""
        pool = self.by_meter.get(meter)
        if pool is None:
            if len(self.by_meter) >= MOST_POOLS:
                meter = REST
            pool = self.by_meter.get(meter)
            if pool is None:
                pool = self.by_meter[intern(meter)] = ForecastPool()
        return pool

    def take_settled(self) -> dict[int, Settled]:
        """Return what was settled since this was last asked, by tenth of probability, over all meters."""
        settled = sum([pool.reliability.settled for pool in self.by_meter.values()])
        if settled == self._taken:
            return {}
        self._taken = settled
        taken: dict[int, Settled] = {}
        for pool in self.by_meter.values():
            for tenth, counts in pool.reliability.take().items():
                taken[tenth] = taken.get(tenth, Settled()).plus(Settled(*counts))
        return taken

    def calibration(self) -> Calibration:
        """Return how probabilities compare with what happened, over all meters."""
        settled = squares = off = 0.0
        for pool in self.by_meter.values():
            count = pool.reliability.settled
            settled += count
            squares += count * pool.reliability.brier
            off += count * pool.reliability.calibration_error
        return Calibration(squares / (settled or 1), off / (settled or 1), int(settled))


def save_pools(pools: Pools) -> dict[str, bytes]:
    """Return each meter's cohort, which every day changes, and its errors and reliability, which a cycle's end does."""
    parts = {}
    for meter, pool in pools.by_meter.items():
        parts[f"cohort/{meter}"] = _COHORT.encode(pool.cohort.save())
        parts[f"errors/{meter}"] = _ERRORS.encode((pool.errors.save(), pool.reliability.save()))
    return parts


def restore_pools(saved: Mapping[str, bytes], version: int) -> Pools:
    """Return the pools that `save_pools` of that version wrote."""
    pools = Pools()
    for name in sorted(saved):
        which, _, meter = name.partition("/")
        if which == "cohort":
            cohort = _COHORT.decode(saved[name], version)
            counts, reliability = _ERRORS.decode(saved.get(f"errors/{meter}", b""), version)
            pool = pools.by_meter[intern(meter)] = ForecastPool()
            try:
                pool.cohort.restore(*cohort)
                pool.errors.restore(counts)
                pool.reliability.restore(*reliability)
            except ValueError as error:
                raise _COHORT.damaged(str(error)) from error
        elif which != "errors" or f"cohort/{meter}" not in saved:
            raise _COHORT.damaged(f"the pools have a part {name!r} that belongs to nothing")
    return pools


_COHORT = Format(KIND, VERSION, tuple[int | None, tuple[float, ...]])
_ERRORS = Format(
    KIND, VERSION, tuple[tuple[tuple[float, ...], ...], tuple[list[int], list[float], list[int], list[float]]]
)
