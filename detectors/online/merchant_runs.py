"""Merchants whose charges turn out bad for a while: when it began, when it was last so, and what came since."""

from __future__ import annotations

from typing import NamedTuple

from river import base

from .charge_cross_numbers import run_bits

_DAY = 86_400.0
_KEPT_SECONDS = 60 * _DAY
_MOST_RUNS = 10_000
_BADS = (0, 1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6)
_SINCE = (0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 8)
_MOST_GOODS = 5


class BadRun(NamedTuple):
    """The bad charges of one merchant, as all partitions know them; times in epoch seconds."""

    onset: int
    last: int
    bads: int

    def is_over(self, at: float) -> bool:
        """Return whether nothing bad was heard for so long before `at` that the run says nothing any more."""
        return at - self.last > _KEPT_SECONDS

    def extended(self, at: int) -> BadRun:
        """Return the run with one more bad charge, made at `at`. One 60 days after the last begins a new run.

        >>> BadRun(1000, 1000, 1).extended(5000)
        BadRun(onset=1000, last=5000, bads=2)
        """
        if at > self.last + _KEPT_SECONDS:
            return BadRun(at, at, 1)
        if at < self.last - _KEPT_SECONDS:
            return self
        return BadRun(min(self.onset, at), max(self.last, at), self.bads + 1)


class RunSeen(NamedTuple):
    """What one partition saw at a merchant with a run.

    Attributes:
        run: the run as it was when this was written.
        begun: the first time, and how many bads before it do not count: after enough good charges a run is a new one.
        goods: confirmed good charges since the last bad.
        since: charges since the last bad.
        inside: confirmed good charges between the first and the last bad.
    """

    run: BadRun
    begun: tuple[int, int] = (0, 0)
    goods: int = 0
    since: int = 0
    inside: int = 0


class MerchantRuns(base.Estimator):
    """What was seen at merchants while they have a run of bad charges: some hundreds of ten thousand.

    The run itself is told by others (a customer's "no" goes to every partition); what is learned here is how the run
    fares: charges and confirmed good charges since, and within.

    >>> runs, bad = MerchantRuns(), BadRun(0, 0, 1)
    >>> runs.passed("dealer", runs.seen("dealer", bad))
    >>> runs.learn_good("dealer", 86400.0, 172800.0, bad)
    >>> seen, _ = runs.look("dealer", 172800.0, bad)
    >>> seen.goods, seen.since
    (1, 1)
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[str, RunSeen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, merchant: str, run: BadRun) -> RunSeen:
        """Return what was seen at the merchant, in the light of its run as it is now; changes nothing."""
        seen = self._seen.get(merchant)
        if seen is None:
            return RunSeen(run)
        if seen.run == run:
            return seen
        before = seen.run
        if run.last <= before.last:
            return RunSeen(run, seen.begun, seen.goods, seen.since, seen.inside)
        if run.onset > before.last or seen.goods > 2 + before.bads - seen.begun[1]:
            return RunSeen(run, (run.onset, 0) if run.onset > before.last else (run.last, before.bads))
        return RunSeen(run, seen.begun, inside=seen.inside + seen.goods)

    def look(self, merchant: str, at: float, run: BadRun) -> tuple[RunSeen, int]:
        """Return what was seen and what it says about a charge made at `at`, packed by `run_bits`; changes nothing."""
        seen = self.seen(merchant, run)
        since_when, not_counted = seen.begun
        count = max(run.bads - not_counted, 0)
        age, quiet = (at - max(run.onset, since_when)) / _DAY, (at - run.last) / _DAY
        inside = seen.inside
        return seen, run_bits(
            max(0.0, age),
            max(0.0, quiet),
            _BADS[min(count, 12)],
            min(seen.goods, _MOST_GOODS),
            _SINCE[min(seen.since, 18)],
            4 * inside // (inside + max(count, 1)) if inside else 0,
        )

    def passed(self, merchant: str, seen: RunSeen) -> None:
        """Count a charge at a merchant that has a run, of which so much was seen."""
        run, begun, goods, since, inside = seen
        self._keep(merchant, RunSeen(run, begun, goods, since + 1, inside))

    def learn_good(self, merchant: str, at: float, now: float, run: BadRun) -> None:
        """Count a charge, made at `at`, that was confirmed good at `now`."""
        if run.is_over(now):
            self._seen.pop(merchant, None)
            return
        run, begun, goods, since, inside = self.seen(merchant, run)
        if at > run.last:
            self._keep(merchant, RunSeen(run, begun, goods + 1, since, inside))
        elif at >= max(run.onset, begun[0]):
            self._keep(merchant, RunSeen(run, begun, goods, since, inside + 1))

    def _keep(self, merchant: str, seen: RunSeen) -> None:
        self._seen[merchant] = seen
        if len(self._seen) > _MOST_RUNS:
            del self._seen[next(iter(self._seen))]

    def save(self) -> list[tuple[str, RunSeen]]:
        """Return what was seen."""
        return list(self._seen.items())

    def restore(self, saved: list[tuple[str, RunSeen]]) -> None:
        """Take the place of what was saved."""
        self._seen = dict(saved)
