"""What one account usually uses of one meter, and how odd the last hours are against that."""

# min() and max() take three times as long as a comparison, in what is done for each reading:
# ruff: noqa: FURB136, PLR1730
from __future__ import annotations

from array import array
from math import log2, sqrt
from struct import Struct

from .alert_line import AlertLine
from .log_tail import NOTABLE
from .usage_cohort import MEMORY, NO_BINS, UsageCohort
from .usage_memory import FINE, LEAST_SIZE, MOST, PASSING, TICKS, Judged, UsageMemory, rounded, single

_INTEGRAL = 1.5 * 2.0**52  # added and taken away again, it rounds to an integer without leaving floats, which is quick
_ROUNDED_UP = _INTEGRAL + LEAST_SIZE
_MOST_ROOT = 100_000.0  # ticks; with the least size of a deviation it keeps those within the tails' bins
_CLIP = 3.0  # a bucket may teach no more than this many times the level
_NORMAL = 1.25  # a normal error's standard deviation over its mean size
_SETTLED = 8.0  # cycles until the account's own spread counts for half
_SPREAD_CYCLES = 60.0
_SETTLED_SPREAD = 20.0  # cycles after which a deviation may teach no more than four times the usual one
_HABITUATION = 1 / 72  # buckets: what was odd for three days must be odder to count
_HABITUATED = 0.7 / TICKS
_COLD = 0.1  # of the score, that a young account's is less
_ADOPTED = 1 / 24
_BASE_CLIP = 0.3
_BASE_LEVEL = 400
_BASE_PRIOR = 10.0
_QUARANTINE = 72  # buckets: what was told teaches little for so long
_DENIED = 240
_DISMISSED = 720  # buckets
_MOST_DISMISSED = 3
_DISMISSED_BAR = 0.25
_SMALL, _LARGE = TICKS / 2, TICKS * 2.0  # a level beyond them is made the new unit
MOST_USAGE = 1e17
"""More is not of this world, and is not learned."""

_LEAST_USAGE = 1e-25  # less than it sets no scale
_MOST_LEARNED = 65_534  # then the count goes on below, as old and in the same place of all cycles that it has
_COMMON_CYCLE = 59
_ANCHORING = 30
_FOUR = Struct("=4f")
_unpack_four, _pack_four = _FOUR.unpack_from, _FOUR.pack_into
_BLANK = UsageCohort()


class UsageHabit(UsageMemory):
    """Usage by slot of the day or week, as exponentially weighted means of square roots, and what strays from it.

    Square roots make the spread of small and large hours alike. The residual of a bucket is its root less the usual one and
    less the others' common move. Residuals keep their sign while they are added up over the windows, so use that moved by an
    hour cancels out; each sum is divided by its own usual size at that time of day, mixed with the cohort's while the account
    is young. The fifth deviation is that of the base load: the least of the last day over what is usual for it, which finds
    leaks. How odd the bucket is: the quadratic mean of the rarities, in decades, by the cohort's tails. The score is that less
    seven tenths of its own mean over three days, since an account that was odd for days must be odder to count.

    Use is never negative and what is expected is fixed when the bucket begins, so what a part of a bucket shows the whole
    would show too. A bucket without a reading deviates by nothing.

    River's estimators, an object for each mean, would take 20 kB an account and five times as long.

    Args:
        daily: whether buckets are days; else they are hours.

    Attributes:
        n: buckets learned.
        bucket: the running one's number; -1 before any was begun.

    >>> habit, cohort = UsageHabit(), UsageCohort()
    >>> for hour in range(24 * 14):
    ...     known = habit.begin(hour, hour % 24, 0, cohort)
    ...     habit.learn_one(4.0 + hour % 3, cohort)
    >>> habit.begin(336, 0, 0, cohort)
    True
    >>> habit.score_one(5.0, cohort) < 0.5 < 1.0 < habit.score_one(50.0, cohort)
    True
    """

    # a bucket begins --------------------------------------------------------------------------------------------------

    def begin(self, bucket: int, slot: int, kind: int, cohort: UsageCohort, tag: int = 0) -> bool:
        """Learn what had ended before `bucket`, and fix what is expected of it.

        Args:
            bucket: its number; one that is not later than the running one changes nothing.
            slot: its place in the day or week, by the clock on the wall.
            kind: 1 on a weekend, else 0; always 0 where buckets are days.
            cohort: of the account.
            tag: of the cohort, 16 bits; when it is another than before, the account has no part in its move yet.

        Returns:
            Whether the account was known until now: after months without a reading it is not, and begins anew.
        """
        known, last = True, self.bucket
        if bucket <= last:
            return known
        if last >= 0:
            gap = bucket - last - 1
            if gap > self.grain.too_old:
                self.forget()
                known = False
            else:
                if self.filled:
                    self._close(cohort)
                else:
                    gap += 1
                if gap:
                    self.skip(gap)
                    if self.n >= self.grain.least:  # quiet hours are hours of an account's month, too
                        cohort.line.pass_hours(min(gap, self.grain.quiet) * self.grain.seconds // 3600)
        if tag != self.tag:
            self.tag, self.own = tag, 0.0
        if bucket != cohort.bucket:
            cohort.begin(bucket)
        self._open(bucket, slot, kind, cohort)
        return known

    def _open(self, bucket: int, slot: int, kind: int, cohort: UsageCohort) -> None:
        grain, cells, n = self.grain, self.cells, self.n
        if bucket // grain.block != self.bucket // grain.block:
            self.turn_blocks(bucket // grain.block - self.bucket // grain.block)
        self.bucket, self.slot, self.kind = bucket, slot, kind
        self.filled = False
        self.odd = self.score = self.value = 0.0
        self.bins, self.judged = NO_BINS, None
        level = self.level
        place = slot if grain.spread_slots > 1 else 0
        middle = cells[slot * grain.kinds + kind]
        if middle < 0.0:
            middle = level * cohort.shape[slot]
        expected = middle + self.adopted + level * cohort.move(bucket, self.own / TICKS)
        cycles = n / grain.spread_slots
        mine = cycles / (cycles + _SETTLED) if cycles < _SPREAD_CYCLES else _SPREAD_CYCLES / (_SPREAD_CYCLES + _SETTLED)
        q0, q1, q2, q3 = _unpack_four(cells, grain.spread_bytes + 16 * place)
        if q0 < 0.0:  # all four are learned at once
            q0 = q1 = q2 = q3 = mine = 0.0
        theirs = 1.0 - mine
        p0, p1, p2, p3 = cohort.spread[place]
        f0, f1, f2, f3 = grain.least_spreads
        base_size = level
        if self.base >= 0.0:
            seen = n - grain.base_after if n < _BASE_LEVEL else _BASE_LEVEL
            base_size = (self.base_spread * seen + _BASE_PRIOR * cohort.base_spread * level) / (seen + _BASE_PRIOR)
            base_size += f0 * level
        d0 = mine * q0 + level * (theirs * p0 + f0)
        d1 = mine * q1 + level * (theirs * p1 + f1)
        d2 = mine * q2 + level * (theirs * p2 + f2)
        d3 = mine * q3 + level * (theirs * p3 + f3)
        now: tuple[float, ...] = (
            expected + _INTEGRAL - _INTEGRAL,
            middle + _INTEGRAL - _INTEGRAL,
            d0 + _ROUNDED_UP - _INTEGRAL,
            d1 + _ROUNDED_UP - _INTEGRAL,
            d2 + _ROUNDED_UP - _INTEGRAL,
            d3 + _ROUNDED_UP - _INTEGRAL,
            base_size + _ROUNDED_UP - _INTEGRAL,
        )
        if expected + middle + d0 + d1 + d2 + d3 + base_size > MOST or expected < -MOST:
            now = tuple([max(-MOST, min(MOST, number)) for number in now])
        self.now = now

    # a reading --------------------------------------------------------------------------------------------------------

    def judge(self, more: float, cohort: UsageCohort) -> Judged:
        """Return how odd the running bucket is with `more` in it; changes nothing that is saved."""
        value = self.value + more
        judged = self.judged
        if judged is not None and judged[0] == value:
            return judged[1]
        x = sqrt(value * self.scale)
        if x > _MOST_ROOT:
            x = _MOST_ROOT
        expected, _, d0, d1, d2, d3, d4 = self.now
        s0, s1, s2, s3 = self._sums
        r = x - expected
        total = 0.0
        b0 = b1 = b2 = b3 = b4 = -1
        if (e := (s0 + r) / d0) > NOTABLE:
            b0 = int(log2(e) * 4.0) + 4
            total = cohort.tables[0][b0]
        if (e := (s1 + r) / d1) > NOTABLE:
            b1 = int(log2(e) * 4.0) + 4
            total += cohort.tables[1][b1]
        if (e := (s2 + r) / d2) > NOTABLE:
            b2 = int(log2(e) * 4.0) + 4
            total += cohort.tables[2][b2]
        if (e := (s3 + r) / d3) > NOTABLE:
            b3 = int(log2(e) * 4.0) + 4
            total += cohort.tables[3][b3]
        least = self._least
        if self.base >= 0.0 and (e := ((x if x < least else least) - self.base - self.adopted) / d4) > NOTABLE:
            b4 = int(log2(e) * 4.0) + 4
            total += cohort.tables[4][b4]
        found: Judged = x, 0.0, 0.0, NO_BINS
        if total:
            odd = 512.0 * sqrt(total) + _INTEGRAL - _INTEGRAL  # half of it, in ticks
            found = x, odd, self.score_of(odd), (b0, b1, b2, b3, b4)
        self.judged = value, found
        return found

    def score_of(self, odd: float) -> float:
        """Return how far `odd` is above what the account has got used to, in decades."""
        grain, n = self.grain, self.n
        above = odd / TICKS - _HABITUATED * self.habituation
        if n < grain.least or above <= 0.0:
            return 0.0
        return above if n >= grain.young else above * (1.0 - _COLD * (1.0 - n / grain.young))

    def score_one(self, x: float, cohort: UsageCohort) -> float:
        """Return how odd the running bucket is with `x` more in it, above habituation, in decades."""
        return self.judge(x, cohort)[2] if 0.0 <= x < MOST_USAGE else 0.0

    def learn_one(self, x: float, cohort: UsageCohort) -> None:
        """Add `x` to the running bucket; what is no usage, as NaN, is not added."""
        if not 0.0 <= x < MOST_USAGE or self.bucket < 0:
            return
        if self.scale == 0.0 and x > _LEAST_USAGE:
            self.scale = single(TICKS * TICKS / x)
            self.judged = None
        root, self.odd, self.score, self.bins = self.judge(x, cohort)
        level = self.level
        if level > 0.0:
            by = (root - self.now[1]) / level
            by = 1.0 if by > 1.0 else -1.0 if by < -1.0 else by
            if self.filled:
                cohort.join(self.bucket, by - self._moved(), 0)
            else:
                cohort.join(self.bucket, by, 1)
        self.value += x
        self.filled, self.judged = True, None

    def _moved(self) -> float:
        """Return how far the running bucket was beyond habit until now, over the level, as the cohort was told."""
        by = (sqrt(self.value * self.scale) - self.now[1]) / self.level
        return 1.0 if by > 1.0 else -1.0 if by < -1.0 else by

    # a bucket ends ----------------------------------------------------------------------------------------------------

    def _close(self, cohort: UsageCohort) -> None:
        """Learn the bucket that has ended, unless nothing was ever used: then there is no level to learn."""
        if self.scale == 0.0:
            return
        n, level, x = self.n, self.level, sqrt(self.value * self.scale)
        if level > 0.0:
            by = (x - self.now[1]) / level
            by = 1.0 if by > 1.0 else -1.0 if by < -1.0 else by
            self.own = self.own + (by * TICKS - self.own) * MEMORY + _INTEGRAL - _INTEGRAL
        if not n % 5:  # which comes to all slots in turn
            cohort.learn_usage(self.value)
            if not n % PASSING:
                self._pass(cohort)
        odd = self.odd
        if odd or self.peak:
            teaches = self._watch(cohort.line)
        else:
            teaches, self.calm = True, self.calm + 1 if self.calm < 255 else 255  # noqa: PLR2004 - a byte
            if self.held:
                self.held -= 1
        if odd or self.habituation:
            self.habituation = self.habituation + (odd - self.habituation) * _HABITUATION + _INTEGRAL - _INTEGRAL
        self._learn(x if x < MOST else MOST, teaches, cohort)

    def _learn(self, x: float, teaches: bool, cohort: UsageCohort) -> None:
        grain, cells, n, level = self.grain, self.cells, self.n, self.level
        expected, middle = self.now[:2]
        taught = x
        if x > _CLIP * level and n > 2 * grain.slots:
            taught = _CLIP * level
        if not teaches:  # a spike is one rarity, not one in each of its hours
            self.bins = NO_BINS
            taught = taught if taught < middle else middle
        self.n = n + 1 if n < _MOST_LEARNED else n - _COMMON_CYCLE
        level += (taught - level) / (n + 1 if n < grain.level else grain.level)
        self.level = level = level + FINE - FINE
        self._learn_profile(taught, middle, n)
        at = grain.spread_at - 1
        held = cells[at]
        held = sqrt(held * held + x * x) + _INTEGRAL - _INTEGRAL
        cells[at] = held if held < MOST else MOST
        residual = x - expected
        window = n + n // grain.slots & 3  # each in turn, and in each slot
        size = self._learn_spread(residual, n, window)
        base_size = self._learn_base(x, level, n)
        if self.adopted:
            self._let_go(x - middle)
        if level > 0.0:
            cohort.learn_one(self.slot, taught / level, window, size / level, base_size / level, self.bins)
        if not _SMALL < level < _LARGE:
            self.rescale()

    def _pass(self, cohort: UsageCohort) -> None:
        """Let time pass, a few buckets at once."""
        grain = self.grain
        hours = PASSING * grain.seconds // 3600
        if self.n >= grain.least:
            cohort.line.pass_hours(hours)
        self.dismissed = max(0, self.dismissed - PASSING)
        if self.n and not self.n % _ANCHORING:
            rate = _ANCHORING / (self.n if self.n < grain.anchor else grain.anchor)
            self.anchor = rounded(self.anchor + (self.level - self.anchor) * rate)
            base = max(self.base, 0.0)
            self.anchor_base = rounded(self.anchor_base + (base - self.anchor_base) * rate)

    def _watch(self, line: AlertLine) -> bool:
        """Follow a run of high scores to its end, for the line; return whether the bucket may teach in full."""
        score = self.score
        if self.held:
            self.held -= 1
        if score < 0.5 * line.value:
            self.calm = self.calm + 1 if self.calm < 255 else 255  # noqa: PLR2004 - a byte
            if self.peak and self.calm >= self.grain.told_apart:
                line.learn_one(self.peak / TICKS)
                self.peak, self.held = 0.0, 0
            return True
        if score >= line.value > self.peak / TICKS:
            self.held = _QUARANTINE
        self.calm = 0
        self.peak = max(self.peak, rounded(score * TICKS))
        return self.held == 0

    def _learn_profile(self, taught: float, middle: float, n: int) -> None:
        grain, cells = self.grain, self.cells
        at = self.slot * grain.kinds
        here = at + self.kind
        cycles, own = n / grain.slots, cells[here]
        if own < 0.0:
            own = middle + (taught - middle) * 0.25
        else:
            own += (taught - own) / (1.0 + cycles if cycles < grain.profile - 1 else grain.profile)
        cells[here] = own = own + _INTEGRAL - _INTEGRAL if own < MOST else MOST
        if grain.kinds > 1:
            other = at + 1 - self.kind
            known = cells[other]
            if known >= 0.0:
                known += (taught - known) * (0.05 if cycles > _SETTLED else 0.25)
                cells[other] = known + _INTEGRAL - _INTEGRAL if known < MOST else MOST
            else:
                cells[other] = own

    def _learn_spread(self, residual: float, n: int, window: int) -> float:
        """Learn how large the windows' deviations usually are; return the size of that of `window`, for the cohort.

        The residual joins the last ones, and the sums move on with it.
        """
        grain, cells = self.grain, self.cells
        at = grain.spread_bytes + (16 * self.slot if grain.spread_slots > 1 else 0)
        s0, s1, s2, s3 = self._sums
        z0, z1, z2, z3 = s0 + residual, s1 + residual, s2 + residual, s3 + residual
        z0 = z0 * _NORMAL if z0 > 0.0 else -z0 * _NORMAL
        z1 = z1 * _NORMAL if z1 > 0.0 else -z1 * _NORMAL
        z2 = z2 * _NORMAL if z2 > 0.0 else -z2 * _NORMAL
        z3 = z3 * _NORMAL if z3 > 0.0 else -z3 * _NORMAL
        size = (z0, z1, z2, z3)[window]
        q0, q1, q2, q3 = _unpack_four(cells, at)
        if q0 >= 0.0:
            cycles = n / grain.spread_slots
            if cycles > _SETTLED_SPREAD:
                z0 = z0 if z0 < 4.0 * q0 else 4.0 * q0
                z1 = z1 if z1 < 4.0 * q1 else 4.0 * q1
                z2 = z2 if z2 < 4.0 * q2 else 4.0 * q2
                z3 = z3 if z3 < 4.0 * q3 else 4.0 * q3
            rate = 1.0 / (1.0 + cycles) if cycles < _SPREAD_CYCLES else 1.0 / _SPREAD_CYCLES
            z0 = q0 + (z0 - q0) * rate
            z1 = q1 + (z1 - q1) * rate
            z2 = q2 + (z2 - q2) * rate
            z3 = q3 + (z3 - q3) * rate
        if z0 + z1 + z2 + z3 > MOST:
            z0, z1, z2, z3 = min(z0, MOST), min(z1, MOST), min(z2, MOST), min(z3, MOST)
        _pack_four(
            cells,
            at,
            z0 + _INTEGRAL - _INTEGRAL,
            z1 + _INTEGRAL - _INTEGRAL,
            z2 + _INTEGRAL - _INTEGRAL,
            z3 + _INTEGRAL - _INTEGRAL,
        )
        residual = residual + _INTEGRAL - _INTEGRAL if -MOST < residual < MOST else MOST
        o0, o1, o2, o3 = grain.oldest
        cells.insert(grain.blocks_at, residual)
        self._sums = (
            s0 + residual - cells[o0],
            s1 + residual - cells[o1],
            s2 + residual - cells[o2],
            s3 + residual - cells[o3],
        )
        del cells[grain.ring_at]
        return size

    def _learn_base(self, x: float, level: float, n: int) -> float:
        """Learn the base load; return the size of its deviation for the cohort, below 0 while there is none."""
        grain, cells = self.grain, self.cells
        least = self._least
        if x < least:
            self._least = least = x + _INTEGRAL - _INTEGRAL
        if x < cells[grain.sums_at - 1]:
            cells[grain.sums_at - 1] = x + _INTEGRAL - _INTEGRAL
        seen = n - grain.base_after
        if seen < 0:
            return -1.0
        base = self.base
        if base < 0.0:
            self.base = least
            return -1.0
        rate = 1.0 / (seen + 1 if seen < grain.level else grain.level)
        stray = least - base
        most = _BASE_CLIP * level
        self.base = base + (stray if stray < most else most) * rate + FINE - FINE
        found = size = stray * _NORMAL if stray > 0.0 else -stray * _NORMAL
        spread = self.base_spread
        if size > 4.0 * spread and n > 4 * grain.slots:
            size = 4.0 * spread
        self.base_spread = spread + (size - spread) * rate + FINE - FINE
        return found

    # what a person said ------------------------------------------------------------------------------------------------

    def adopt(self, buckets: int) -> None:
        """Take what was used lately for this account's own wish: that much more is expected from now on.

        It is let go of as the profile learns it, and within days when it was for once only.

        Args:
            buckets: since when, before the running one.
        """
        grain, cells = self.grain, self.cells
        count = max(0, min(buckets, grain.ring))
        end = grain.blocks_at
        residuals = list(cells[end - count : end])
        if self.filled:
            residuals.append(sqrt(self.value * self.scale) - self.now[0])
        if not residuals:
            return
        more = rounded(max(0.0, min(MOST / 2, sum(residuals) / len(residuals))))
        cells[end - count : end] = array("f", [0.0] * count)
        self.adopted = min(MOST, self.adopted + more)
        self.now = (min(MOST, self.now[0] + more), *self.now[1:])
        self.held, self.judged, self.peak = 0, None, 1.0
        self.add_up()
        if self.filled:
            self.judge_running()

    def deny(self) -> None:
        """Take what was used lately for a fault: for long it becomes no habit, and says nothing of quiet accounts."""
        self.held, self.peak = _DENIED, 1.0

    def dismiss(self) -> None:
        """Raise this meter's bar for a month: what was told was of no use; three times at most."""
        by = _DISMISSED if not self.daily else _DISMISSED // 24
        self.dismissed = min(self.dismissed + by, _MOST_DISMISSED * by)

    def _let_go(self, left: float) -> None:
        left = max(0.0, left)
        if left < self.adopted:
            self.adopted = rounded(self.adopted + (left - self.adopted) * _ADOPTED - 0.5)
            self.adopted = max(0.0, self.adopted)

    def line(self, cohort: UsageCohort) -> float:
        """Return the score from which on this account is told."""
        return cohort.line.value * (
            1.0 + _DISMISSED_BAR * -(-self.dismissed // (_DISMISSED // 24 if self.daily else _DISMISSED))
        )

    def forget_growth(self) -> None:
        """Take the present level for the one to compare with."""
        self.anchor, self.anchor_base = rounded(self.level), rounded(max(0.0, self.base))

    def judge_running(self) -> None:
        """Work out anew what is not saved, since all that it follows from is: the running bucket's bins, and its score."""
        self.bins, self.score = self.judge(0.0, _BLANK)[3], self.score_of(self.odd)
        self.judged = None
