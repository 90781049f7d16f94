"""What accounts of one kind have in common: the shape of their day, how far they stray, and what they do just now."""

# min() and max() take three times as long as a comparison, in what is done for each reading:
# ruff: noqa: FURB136
from __future__ import annotations

from river import base

from .alert_line import AlertLine
from .log_tail import LogTail, next_refresh
from .usage_grain import GRAINS, HOURLY, Grain

MEMORY = 0.286  # of a bucket in the cohort's move: three and a half of them; 4 to 9 h differ little
LATE = 24  # buckets behind the latest within which an account still joins the cohort's move
_STRAYING = 64  # readings in a row that are later than that, after which it is the latest that was wrong
_SLOW = 0.002
_SPREAD = 0.016
_SHAPE_MOST = 6.0
_BASE_SPREAD_MOST = 2.0
_SPREAD_MOST = 20.0
_TAILS = 5
NO_BINS = (-1, -1, -1, -1, -1)
"""Of a bucket in which nothing is out of the usual."""
_SIZE_LEAST = 144  # usages, of buckets that are days apart or of different accounts
_ABSURD = 1e300


class UsageCohort(base.Estimator):
    """What is pooled over accounts of one kind, for one meter.

    All of it is relative to each account's own level, in square roots, so that a large account counts as a small one does.
    Accounts of unlike kinds, homes and shops, belong to different cohorts.

    The common move is the sum of what the accounts of the last buckets did beyond their habit, exponentially weighted. Each
    account is compared with the others' move, its own taken out. It is linear, so a late account is added in after the fact;
    one that is more than a day behind, as after an outage of its meter, joins nothing.

    Plain floats: River's `stats.EWMean` costs an object and a call for each of 121 numbers.

    Args:
        daily: whether buckets are days.
        alerts_a_month: how many runs of high scores a month of an account may be told.

    Attributes:
        bucket: the number of the latest that was begun; -1 before any was.
        shape: by slot, what is usual over the level.
        spread: by slot and window, the usual size of deviations over the level.
        base_spread: that of the base load.
        tails: how rare deviations are, by window, then of the base load.
        line: the score from which on is told.
    """

    __slots__ = (
        "_by_slot",
        "_count",
        "_counted",
        "_counts",
        "_most_spreads",
        "_spreads",
        "_strays",
        "_sum",
        "_sums",
        "_young",
        "alerts_a_month",
        "base_spread",
        "bucket",
        "daily",
        "line",
        "n",
        "refresh_at",
        "shape",
        "size",
        "spread",
        "tables",
        "tails",
        "typical",
    )

    def __init__(self, daily: bool = False, alerts_a_month: float = 0.25) -> None:  # noqa: FBT002 - an estimator takes its parameters by name
        self.daily = daily
        self.alerts_a_month = alerts_a_month
        grain = self.grain
        self.shape = [1.0] * grain.slots
        self.spread = [[0.8 * window**0.7 for window in grain.windows] for _ in range(grain.spread_slots)]
        self.base_spread = 0.2
        self.tails = tuple(LogTail() for _ in range(_TAILS))
        self.tables = tuple(tail.squares for tail in self.tails)
        self._spreads = 4 * grain.spread_slots
        self._by_slot = grain.spread_slots > 1
        self._young = grain.slots / _SLOW
        self._counted = tuple(tail.counts for tail in self.tails)
        self._most_spreads = tuple(_SPREAD_MOST * window for window in grain.windows)
        self.n = self.refresh_at = 0
        self.line = AlertLine(alerts_a_month)
        self.size = LogTail(prior_decade=4.0)
        self.typical = 0.0
        self.bucket = -1
        self._strays = 0
        self._sums = self._counts = 0.0  # exponentially weighted, of finished buckets
        self._sum = 0.0  # of the running one
        self._count = 0

    @property
    def grain(self) -> Grain:
        """How finely its accounts are looked at."""
        return GRAINS[1] if self.daily else HOURLY

    def begin(self, bucket: int) -> None:
        """Note that an account has begun a bucket, which ends the ones before."""
        ahead = bucket - self.bucket
        if ahead > 0:
            self._turn(bucket, ahead)
        elif ahead < -LATE:
            self._strays += 1
            if self._strays >= _STRAYING:  # whoever was ahead has led us astray
                self.bucket, self._strays = bucket, 0
                self._sums = self._counts = self._sum = 0.0
                self._count = 0
        else:
            self._strays = 0

    def _turn(self, bucket: int, ahead: int) -> None:
        self._sums += (self._sum - self._sums) * MEMORY
        self._counts += (self._count - self._counts) * MEMORY
        if ahead > 1:
            kept = (1.0 - MEMORY) ** min(ahead - 1, 99)
            self._sums *= kept
            self._counts *= kept
        self.bucket, self._sum, self._count, self._strays = bucket, 0.0, 0, 0

    def move(self, bucket: int, own: float) -> float:
        """Return how far the others were beyond their habit lately, over their level; `own` is the account's own part."""
        if bucket < self.bucket - LATE:
            return 0.0
        counts = self._counts
        return (self._sums - own) / (counts if counts > 1.0 else 1.0)

    def join(self, bucket: int, by: float, is_new: int) -> bool:
        """Add to the move what an account did in a bucket beyond what it had said before; return whether it counts."""
        behind = self.bucket - bucket
        if behind == 0:
            self._sum += by
            self._count += is_new
        elif 0 < behind <= LATE:
            weight = MEMORY * (1.0 - MEMORY) ** (behind - 1)
            self._sums += weight * by
            self._counts += weight * is_new
        else:
            return False
        return True

    def learn_one(
        self, slot: int, share: float, window: int, size: float, base_size: float, bins: tuple[int, ...]
    ) -> None:
        """Learn from a bucket that has ended.

        Args:
            slot: of the day or week.
            share: its value over the account's level.
            window: the number of that of which a deviation is learned; each in turn.
            size: of that deviation, over the level.
            base_size: of the base load's, below 0 while it has none.
            bins: of its deviations among the tails', -1 for what is usual.
        """
        n = self.n
        slow, quick = _SLOW, _SPREAD
        if n < self._young:  # until the rates of later, the plain mean
            slow, quick = max(_SLOW, 1.0 / (n / len(self.shape) + 2.0)), max(_SPREAD, 1.0 / (n / self._spreads + 2.0))
        shape, spread = self.shape, self.spread
        usual = shape[slot]
        shape[slot] = usual + slow * ((_SHAPE_MOST if share > _SHAPE_MOST else share) - usual)
        sizes = spread[slot if self._by_slot else 0]
        usual = sizes[window]
        most = self._most_spreads[window]
        sizes[window] = usual + quick * ((most if size > most else size) - usual)
        if base_size >= 0.0:
            usual = self.base_spread
            self.base_spread = usual + slow * (
                (_BASE_SPREAD_MOST if base_size > _BASE_SPREAD_MOST else base_size) - usual
            )
        self.n = n = n + 1
        if bins is not NO_BINS:
            b0, b1, b2, b3, b4 = bins
            c0, c1, c2, c3, c4 = self._counted
            if b0 >= 0:
                c0[b0] += 1
            if b1 >= 0:
                c1[b1] += 1
            if b2 >= 0:
                c2[b2] += 1
            if b3 >= 0:
                c3[b3] += 1
            if b4 >= 0:
                c4[b4] += 1
        if n >= self.refresh_at:
            self._refresh()

    def _refresh(self) -> None:
        for tail in self.tails:
            tail.n = self.n
            tail.refresh()
        self.refresh_at = next_refresh(self.n)

    def learn_usage(self, usage: float) -> None:
        """Learn what accounts use in a bucket, in the meter's unit, for those of which nothing is known."""
        if self.size.n == 0:
            self.typical = usage
        self.typical += max(0.001, 1 / (self.size.n + 1)) * (usage - self.typical)
        self.size.learn_one(usage / self.typical if self.typical > 0 else 0.0)

    def rarity_of_usage(self, usage: float) -> float:
        """Return how rare it is that an account uses so much in a bucket, in decades; 0 while too little is known."""
        if self.size.n < _SIZE_LEAST or not usage > self.typical > 0:
            return 0.0
        return self.size.decades(usage / self.typical)

    def take_after(self, other: UsageCohort) -> None:
        """Begin with what another cohort has learned, but for what its accounts do just now."""
        self.restore(other.numbers())
        self.bucket, self._sum, self._count, self._sums, self._counts = -1, 0.0, 0, 0.0, 0.0
        for mine, theirs in zip((*self.tails, self.size), (*other.tails, other.size), strict=True):
            mine.restore(max(theirs.n, other.n), theirs.refreshed_at, list(theirs.counts), list(theirs.squares))
        line = other.line
        self.line.restore(line.hours, line.refreshed_at, line.forget_at, list(line.counts), line.value)
        self.refresh_at = other.refresh_at

    def numbers(self) -> tuple[float, ...]:
        """Return what changes with every bucket, to be saved; the tails and the line are saved apart."""
        now = float(self.bucket), float(self._strays), self._sums, self._counts, self._sum, float(self._count)
        spreads = (size for sizes in self.spread for size in sizes)
        return (*now, self.base_spread, self.typical, float(self.n), *self.shape, *spreads)

    def restore(self, numbers: tuple[float, ...]) -> None:
        """Take the place of the cohort that had these numbers; its tails and its line are put back apart.

        Raises:
            ValueError: they are not one's.
        """
        slots = self.grain.slots
        if len(numbers) != len(self.numbers()) or not all(-_ABSURD < number < _ABSURD for number in numbers):
            raise ValueError(f"{len(numbers)} numbers of a cohort; expected {len(self.numbers())}, none of them absurd")
        self.bucket, self._strays, self._count, self.n = (int(numbers[at]) for at in (0, 1, 5, 8))
        self._sums, self._counts, self._sum = numbers[2:5]
        self.base_spread, self.typical = numbers[6:8]
        self.shape = list(numbers[9 : 9 + slots])
        spreads = list(numbers[9 + slots :])
        self.spread = [spreads[at : at + 4] for at in range(0, len(spreads), 4)]
        self.refresh_at = next_refresh(self.tails[0].refreshed_at) if self.n else 0
