"""Were probabilities right? What was promised, by tenth, and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from river import base

TENTHS = 10


class Reliability(base.Estimator):
    """Brier score and expected calibration error of probabilities whose outcome is known by now.

    By tenths of probability: how many, their sum, how often it happened, and the squares of the differences (G. W. Brier,
    Monthly Weather Review 78, 1950; Naeini et al., AAAI 2015). River's metrics know neither of the two for probabilities of
    a binary outcome.

    Attributes:
        settled: how many probabilities.

    >>> reliability = Reliability()
    >>> for happened in (True, True, True, False):
    ...     reliability.learn_one(0.75, happened)
    >>> reliability.brier, reliability.calibration_error
    (0.1875, 0.0)
    >>> reliability.take(), reliability.take()
    ({7: (4, 3.0, 3, 0.75)}, {})
    """

    __slots__ = ("_happened", "_n", "_promised", "_squares", "_taken", "settled")

    def __init__(self) -> None:
        self._n = [0] * TENTHS
        self._promised = [0.0] * TENTHS
        self._happened = [0] * TENTHS
        self._squares = [0.0] * TENTHS
        self.settled = 0
        self._taken = self._rows()

    def learn_one(self, chance: float, happened: bool) -> None:
        """Take in what was promised and whether it happened; what is no probability is ignored."""
        if not 0.0 <= chance <= 1.0:
            return
        tenth = min(int(chance * TENTHS), TENTHS - 1)
        self.settled += 1
        self._n[tenth] += 1
        self._promised[tenth] += chance
        self._happened[tenth] += happened
        self._squares[tenth] += (chance - happened) ** 2

    @property
    def brier(self) -> float:
        """The mean square of probability less outcome; .25 is as good as always saying one half, 0 is perfect."""
        return sum(self._squares) / (self.settled or 1)

    @property
    def calibration_error(self) -> float:
        """The mean over tenths, by their size, of |promised share - share that happened|."""
        off = sum(abs(promised - happened) for promised, happened in zip(self._promised, self._happened, strict=True))
        return off / (self.settled or 1)

    def tenths(self) -> list[tuple[int, float, float]]:
        """Return for each tenth: how many, the mean promised, the share that happened."""
        return [(n, promised / (n or 1), happened / (n or 1)) for n, promised, happened, _ in self._rows()]

    def take(self) -> dict[int, tuple[int, float, int, float]]:
        """Return what came since this was last asked, or since `restore`, by tenth: for whoever adds it up elsewhere.

        Each is how many, the sum promised, how often it happened, and the sum of squares. It is no part of what is saved.
        """
        before, now = self._taken, self._rows()
        self._taken = now
        return {
            tenth: (row[0] - old[0], row[1] - old[1], row[2] - old[2], row[3] - old[3])
            for tenth, (row, old) in enumerate(zip(now, before, strict=True))
            if row[0] != old[0]
        }

    def save(self) -> tuple[list[int], list[float], list[int], list[float]]:
        """Return what was counted."""
        return self._n, self._promised, self._happened, self._squares

    def restore(
        self, n: Sequence[int], promised: Sequence[float], happened: Sequence[int], squares: Sequence[float]
    ) -> None:
        """Take the place of the reliability that was saved.

        Raises:
            ValueError: these are not one's counts.
        """
        if not len(n) == len(promised) == len(happened) == len(squares) == TENTHS or any(
            not 0 <= h <= k for h, k in zip(happened, n, strict=True)
        ):
            raise ValueError(f"{len(n)} counts of probabilities; expected {TENTHS}, none smaller than what happened")
        self._n, self._promised, self._happened, self._squares = list(n), list(promised), list(happened), list(squares)
        self.settled = sum(n)
        self._taken = self._rows()

    def _rows(self) -> list[tuple[int, float, int, float]]:
        return list(zip(self._n, self._promised, self._happened, self._squares, strict=True))
