"""What a habit knows in figures that a person reads: what was used, what is usual, and how it has grown."""

from __future__ import annotations

from math import sqrt

from .usage_cohort import UsageCohort
from .usage_habit import UsageHabit

_GROWTH_AFTER_SECONDS = 60 * 86400


def window_of(habit: UsageHabit, more: float, cohort: UsageCohort) -> int:
    """Return the number of the window that says most about the running bucket with `more` in it."""
    bins = habit.judge(more, cohort)[3]
    says = [table[number] if number >= 0 else 0.0 for table, number in zip(cohort.tables, bins, strict=True)]
    return min(says.index(max(says)), len(habit.grain.windows) - 1)


def span_of(habit: UsageHabit, window: int, more: float) -> tuple[int, float]:
    """Return how many buckets are told of for a window, and what was used in them, `more` with it."""
    grain, seen = habit.grain, habit.value + more
    if window == 0:
        return 1, seen
    buckets, cells, at = habit.bucket % grain.block + 1, habit.cells, grain.spread_at - 1
    roots = cells[at] ** 2
    while buckets < grain.windows[window] and at > grain.sums_at:
        at -= 1
        buckets += grain.block
        roots += cells[at] ** 2
    return buckets, seen + (roots / habit.scale if habit.scale > 0.0 else 0.0)


def usual_of(habit: UsageHabit, slot: int, kind: int) -> float:
    """Return what is usual in such a bucket, in the meter's unit."""
    grain = habit.grain
    root = habit.cells[slot * grain.kinds + kind]
    root = (habit.level if root < 0.0 else root) + habit.adopted
    return root * root / habit.scale if habit.scale > 0.0 else 0.0


def spread_of(habit: UsageHabit, window: int) -> float:
    """Return the usual size of a window's deviation for one bucket, on the scale of square roots."""
    return habit.now[2 + window] / habit.grain.windows[window] / sqrt(habit.scale) if habit.scale > 0.0 else 0.0


def growth_of(habit: UsageHabit) -> float:
    """Return how many times what was usual half a year ago is usual now; of the base load, if that grew more.

    A level that creeps up by less each day than days differ never looks odd; this is where it shows.
    """
    if habit.n * habit.grain.seconds < _GROWTH_AFTER_SECONDS or not habit.anchor > 0.0:
        return 1.0
    whole = (habit.level / habit.anchor) ** 2
    base = (max(0.0, habit.base - habit.anchor_base) / habit.anchor + 1.0) ** 2
    return max(whole, base)


def days_of(habit: UsageHabit) -> tuple[float, float]:
    """Return what a day holds about now, and half a year ago, in the meter's unit."""
    buckets = 86400 / habit.grain.seconds / habit.scale if habit.scale > 0.0 else 0.0
    return habit.level**2 * buckets, habit.anchor**2 * buckets
