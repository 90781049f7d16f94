"""How finely a meter's usage is looked at: by the hour, or by the day where it is read no oftener."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

_LEAST_SPREAD = 0.02  # of the level, for one bucket: a flat habit must not score by rounding noise
_ANCHOR_SECONDS = 180 * 86400  # what the level is compared with to find what creeps


@dataclass(frozen=True, eq=False)
class Grain:
    """The sizes of a habit, all in buckets.

    Attributes:
        code: its name in saved state.
        seconds: a bucket's length, but for days of daylight saving.
        slots: buckets of a cycle, a day or a week, each with a usual value of its own.
        kinds: kinds of cycles: workdays and weekends.
        spread_slots: those with a usual size of deviations of their own.
        windows: over which deviations are added up: a burst shows in the first, a leak in the last.
        base_blocks: finished blocks that the base load, the least of the last buckets, is taken of.
        block: buckets of each.
        least: buckets learned before the score is more than 0.
        young: buckets until an account counts in full.
        level: buckets that the level remembers.
        profile: cycles that the profile remembers.
        too_old: buckets without a reading after which nothing is known any more.
        told_apart: buckets below half the line that end an episode.
        quiet: buckets without a reading that count as time of an account in use; in more it is away.
    """

    code: int
    seconds: int
    slots: int
    kinds: int
    spread_slots: int
    windows: tuple[int, int, int, int]
    base_blocks: int
    block: int
    least: int
    young: int
    level: int
    profile: int
    too_old: int
    told_apart: int
    quiet: int
    ring: int = field(init=False)
    ring_at: int = field(init=False)
    blocks_at: int = field(init=False)
    sums_at: int = field(init=False)
    spread_at: int = field(init=False)
    spread_bytes: int = field(init=False)
    oldest: tuple[int, ...] = field(init=False)
    beginning: array[float] = field(init=False)
    least_spreads: tuple[float, ...] = field(init=False)
    base_after: int = field(init=False)
    anchor: int = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the cells: profile, ring of residuals, blocks' least values, spreads."""
        ring = self.windows[-1] - 1
        profile, blocks, spreads = self.slots * self.kinds, self.base_blocks + 1, 4 * self.spread_slots
        places = {
            "ring": ring,
            "ring_at": profile,
            "blocks_at": profile + ring,
            "sums_at": profile + ring + blocks,
            "spread_at": profile + ring + 2 * blocks,
            "spread_bytes": 4 * (profile + ring + 2 * blocks),
            "oldest": tuple(profile + ring + 1 - window for window in self.windows),
            "beginning": array(
                "f", [*[-1.0] * profile, *[0.0] * ring, *[32767.0] * blocks, *[0.0] * blocks, *[-1.0] * spreads]
            ),
            "least_spreads": tuple(_LEAST_SPREAD * sqrt(window) for window in self.windows),
            "base_after": self.base_blocks * self.block + self.block - 1,
            "anchor": _ANCHOR_SECONDS // self.seconds,
        }
        for name, value in places.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Stay one of the two when pickled."""
        return _grain_of, (self.code,)

    def __deepcopy__(self, memo: object) -> Grain:
        """Stay one of the two when copied."""
        return self


HOURLY = Grain(
    code=0,
    seconds=3600,
    slots=24,
    kinds=2,
    spread_slots=24,
    windows=(2, 4, 8, 24),
    base_blocks=5,
    block=4,
    least=12,
    young=24 * 28,
    level=336,
    profile=7,
    too_old=24 * 60,
    told_apart=6,
    quiet=24 * 7,
)
DAILY = Grain(
    code=1,
    seconds=86400,
    slots=7,
    kinds=1,
    spread_slots=1,
    windows=(1, 2, 3, 7),
    base_blocks=6,
    block=1,
    least=10,
    young=28,
    level=60,
    profile=7,
    too_old=60,
    told_apart=2,
    quiet=7,
)
GRAINS = (HOURLY, DAILY)


def _grain_of(code: int) -> Grain:
    return GRAINS[code]
