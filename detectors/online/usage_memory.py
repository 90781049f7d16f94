"""All that is kept of one meter of one account: laid out to be small, and saved exactly."""

from __future__ import annotations

from array import array
from math import isfinite
from struct import Struct
from typing import Any, Self

import numpy as np
from river import base

from .usage_cohort import MEMORY, NO_BINS
from .usage_grain import GRAINS, Grain

TICKS = 1024.0
"""Of the account's level: so finely are the numbers kept of which there are many."""

MOST = 32_767.0
UNKNOWN = -1.0
"""Stands for a value that nothing was learned of: no root of a usage is negative."""

FINE = 1.5 * 2.0**39
"""Added and taken away again, it rounds to an 8,192th of a tick, in which levels are kept."""

LEAST_SIZE = 8.0  # ticks, of a deviation
PASSING = 15  # buckets; what is left of a dismissal is a multiple of it

_INTEGRAL = 1.5 * 2.0**52
_FINENESS = 8192
_MOST_SCALE = 1e34
_NOTHING = (0.0, 0.0, 8.0, 8.0, 8.0, 8.0, 8.0)
_SAVED = Struct("<HiBBBBHdf3i7h7h")
_SINGLE = Struct("<f")
_CELL = np.dtype("<i2")
_SIZES = tuple(_SAVED.size + 2 * len(grain.beginning) for grain in GRAINS)

Judged = tuple[float, float, float, tuple[int, ...]]
"""The root of the bucket's usage in ticks, how odd it is in ticks, the score, and the bins of its deviations."""


class UsageMemory(base.Estimator):
    """The numbers of a habit, without what is done with them.

    Numbers of which there are many are integers of 16 bits in thousandths of the account's own level, the others single
    floats, and they are rounded as they are learned: what is saved is what is there. While they are worked with they are
    floats all the same, since Python is slow where it mixes the two.

    Args:
        daily: whether buckets are days; else they are hours.

    Attributes:
        n: buckets learned.
        bucket: the running one's number; -1 before any was begun.
        value: what was used in it, in the meter's unit.
        scale: ticks squared for a unit of usage.
        level: the usual root of usage, in ticks, as are the base load and what they were half a year ago, the anchors.
        now: what holds for the running bucket: the root expected, the profile's, and five usual sizes of deviations.
        own: the account's part in the cohort's move; as oddness, habituation and peak it is in thousandths.
        adopted: what is expected beyond the profile since the customer knows why.
        score: of the running bucket, as far as it was learned.
        calm: buckets since the score was last high; at most 255.
        held: buckets for which what is odd teaches little.
        dismissed: buckets for which the bar is raised.
        tag: of the cohort.
    """

    __slots__ = (
        "_least",
        "_sums",
        "adopted",
        "anchor",
        "anchor_base",
        "base",
        "base_spread",
        "bins",
        "bucket",
        "calm",
        "cells",
        "daily",
        "dismissed",
        "filled",
        "grain",
        "habituation",
        "held",
        "judged",
        "kind",
        "level",
        "n",
        "now",
        "odd",
        "own",
        "peak",
        "scale",
        "score",
        "slot",
        "tag",
        "value",
    )

    def __init__(self, daily: bool = False) -> None:  # noqa: FBT002 - an estimator takes its parameters by name
        self.daily = daily
        self.grain: Grain = GRAINS[daily]
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        grain = self.grain
        self.cells = grain.beginning[:]
        self.level = self.base_spread = self.anchor = self.anchor_base = self.scale = self.value = 0.0
        self.base: float = UNKNOWN
        self.n, self.bucket, self.slot, self.kind = 0, -1, 0, 0
        self.filled = False
        self.own = self.habituation = self.odd = self.score = self.peak = self.adopted = 0.0
        self.calm = self.held = self.tag = self.dismissed = 0
        self.now: tuple[float, ...] = _NOTHING
        self.bins: tuple[int, ...] = NO_BINS
        self.judged: tuple[float, Judged] | None = None
        self._sums: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
        self._least = MOST

    def skip(self, gap: int) -> None:
        """Note buckets without a reading: nothing is known of them, so they deviate by nothing."""
        grain, cells = self.grain, self.cells
        self.own = rounded(self.own * (1.0 - MEMORY) ** min(gap, 99))
        self.calm = min(255, self.calm + gap)
        gap = min(gap, grain.ring)
        start, end = grain.ring_at, grain.blocks_at
        cells[start:end] = cells[start + gap : end] + array("f", [0.0] * gap)
        self.add_up()

    def add_up(self) -> None:
        """Work out the sums of residuals and the least value, of which only the parts are saved."""
        grain, cells = self.grain, self.cells
        ring = cells[grain.ring_at : grain.blocks_at]
        self._sums = tuple([sum(ring[grain.ring + 1 - window :]) for window in grain.windows])
        self._least = min(cells[grain.blocks_at : grain.sums_at])

    def turn_blocks(self, turned: int) -> None:
        """Begin a block of buckets of which the least value is kept; where nothing was read the base load stands in."""
        grain, cells = self.grain, self.cells
        start, end = grain.blocks_at, grain.sums_at
        base = self.base
        hole = rounded(base) if 0.0 <= base < MOST else MOST
        if cells[end - 1] == MOST:
            cells[end - 1] = hole
        if turned == 1:
            cells.insert(end, MOST)
            del cells[start]
            cells.insert(grain.spread_at, 0.0)
            del cells[end]
            self._least = min(cells[start:end])
            return
        turned = min(turned, grain.base_blocks + 1)
        cells[start:end] = cells[start + turned : end] + array("f", [*([hole] * (turned - 1)), MOST])
        self._least = min(cells[start:end])
        start, end = end, grain.spread_at
        cells[start:end] = cells[start + turned : end] + array("f", [0.0] * turned)

    def rescale(self) -> None:
        """Count in units of the present level, so that 16 bits reach."""
        cells = self.cells
        by = self.level / TICKS
        if not by > 0.0 or self.scale / by / by > _MOST_SCALE:
            bucket = self.bucket
            self.forget()
            self.bucket = bucket
            return
        for at, number in enumerate(cells):
            if number not in (UNKNOWN, MOST):
                cells[at] = max(-MOST, min(MOST, rounded(number / by)))
        self.scale = single(self.scale / by / by)
        if self.base >= 0.0:
            self.base = fine(self.base / by)
        self.level, self.base_spread = fine(self.level / by), fine(self.base_spread / by)
        self.anchor = min(MOST, rounded(self.anchor / by))
        self.anchor_base = min(MOST, rounded(self.anchor_base / by))
        self.adopted = min(MOST, rounded(self.adopted / by))
        self.add_up()

    def rewind(self, bucket: int) -> None:
        """Go on at an earlier bucket: it was the clock that was ahead."""
        self.bucket, self.filled = bucket - 1, False

    def save(self) -> bytes:
        """Return all that was learned, exactly."""
        head = _SAVED.pack(
            self.n,
            self.bucket,
            (2 * self.slot + self.kind) * 2 + self.filled,
            self.calm,
            self.held,
            self.dismissed // PASSING,
            self.tag,
            self.value,
            self.scale,
            *[int(number * _FINENESS) for number in (self.level, self.base, self.base_spread)],
            *map(int, (self.anchor, self.anchor_base, self.own, self.habituation, self.odd, self.peak, self.adopted)),
            *map(int, self.now),
        )
        return head + np.asarray(self.cells).astype(_CELL).tobytes()

    @classmethod
    def restored(cls, saved: bytes) -> Self:
        """Return the habit that was saved.

        Raises:
            ValueError: these are not a habit's bytes.
        """
        if len(saved) not in _SIZES:
            raise ValueError(f"a habit of {len(saved)} bytes; expected one of {_SIZES}")
        habit = cls(daily=bool(_SIZES.index(len(saved))))
        grain = habit.grain
        found: tuple[Any, ...] = _SAVED.unpack_from(saved)
        habit.n, habit.bucket, place, habit.calm, habit.held, dismissed, habit.tag = found[:7]
        habit.slot, habit.kind, habit.filled = place // 4, place // 2 % 2, bool(place % 2)
        habit.dismissed = dismissed * PASSING
        reals = found[7], found[8], *[number / _FINENESS for number in found[9:12]]
        habit.value, habit.scale, habit.level, habit.base, habit.base_spread = reals
        if not all(map(isfinite, reals)) or min(reals[:3]) < 0.0 or habit.base_spread < 0.0:
            raise ValueError("a habit of absurd numbers; expected finite ones that are not negative")
        if habit.slot >= grain.slots or habit.kind >= grain.kinds or min(found[21:26]) < LEAST_SIZE:
            raise ValueError("a habit of a slot that its cycle has not; expected what one saved")
        habit.anchor, habit.anchor_base, habit.own, habit.habituation, habit.odd, habit.peak, habit.adopted = map(
            float, found[12:19]
        )
        habit.now = tuple(map(float, found[19:]))
        habit.cells = array("f", np.frombuffer(saved, _CELL, offset=_SAVED.size).astype("f4").tobytes())
        habit.add_up()
        if habit.filled:
            habit.judge_running()
        return habit

    def judge_running(self) -> None:
        """Work out anew what is not saved, since all that it follows from is: the running bucket's bins, and its score."""
        raise NotImplementedError


def rounded(x: float) -> float:
    """Return `x` rounded to an integer, which is quicker than leaving floats."""
    return x + _INTEGRAL - _INTEGRAL


def fine(x: float) -> float:
    """Return `x` rounded to an 8,192th, at most what is kept of it."""
    return min(x, MOST) + FINE - FINE


def single(x: float) -> float:
    """Return `x` rounded to a single float."""
    return float(_SINGLE.unpack(_SINGLE.pack(x))[0])
