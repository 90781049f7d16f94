"""Were probabilities right? What was promised, by tenth, and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from river import base

_TENTHS = 10


class Reliability(base.Estimator):
    """Brier score and expected calibration error of probabilities whose outcome is known by now.

    By tenths of probability: how many, their sum, and how often it happened (G. W. Brier, Monthly Weather Review 78, 1950;
    Naeini et al., AAAI 2015). River's metrics know neither of the two for probabilities of a binary outcome.

    Attributes:
        settled: how many probabilities.

    >>> reliability = Reliability()
    >>> for happened in (True, True, True, False):
    ...     reliability.learn_one(0.75, happened)
    >>> reliability.brier, reliability.calibration_error
    (0.1875, 0.0)
    """

    __slots__ = ("_happened", "_n", "_promised", "_squares")

    def __init__(self) -> None:
        self._n = [0] * _TENTHS
        self._promised = [0.0] * _TENTHS
        self._happened = [0] * _TENTHS
        self._squares = 0.0

    def learn_one(self, chance: float, happened: bool) -> None:
        """Take in what was promised and whether it happened; what is no probability is ignored."""
        if not 0.0 <= chance <= 1.0:
            return
        tenth = min(int(chance * _TENTHS), _TENTHS - 1)
        self._n[tenth] += 1
        self._promised[tenth] += chance
        self._happened[tenth] += happened
        self._squares += (chance - happened) ** 2

    @property
    def settled(self) -> int:
        """How many probabilities were compared with what happened."""
        return sum(self._n)

    @property
    def brier(self) -> float:
        """The mean square of probability less outcome; .25 is as good as always saying one half, 0 is perfect."""
        return self._squares / (self.settled or 1)

    @property
    def calibration_error(self) -> float:
        """The mean over tenths, by their size, of |promised share - share that happened|."""
        off = sum(abs(promised - happened) for promised, happened in zip(self._promised, self._happened, strict=True))
        return off / (self.settled or 1)

    def tenths(self) -> list[tuple[int, float, float]]:
        """Return for each tenth: how many, the mean promised, the share that happened."""
        rows = zip(self._n, self._promised, self._happened, strict=True)
        return [(n, promised / (n or 1), happened / (n or 1)) for n, promised, happened in rows]

    def save(self) -> tuple[list[int], list[float], list[int], float]:
        """Return what was counted."""
        return self._n, self._promised, self._happened, self._squares

    def restore(self, n: Sequence[int], promised: Sequence[float], happened: Sequence[int], squares: float) -> None:
        """Take the place of the reliability that was saved.

        Raises:
            ValueError: these are not one's counts.
        """
        if not len(n) == len(promised) == len(happened) == _TENTHS or any(
            h > k for h, k in zip(happened, n, strict=True)
        ):
            raise ValueError(f"{len(n)} counts of probabilities; expected {_TENTHS}, none smaller than what happened")
        self._n, self._promised, self._happened, self._squares = list(n), list(promised), list(happened), squares
