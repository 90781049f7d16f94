"""Which lines of one allowance were told, and which of those are still in alarm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from .exact import EXACT

FORECAST = "forecast"
_PERCENT = Decimal(100)


@dataclass(slots=True)
class LimitState:
    """One meter's lines in one billing period.

    A line is in alarm when usage stands on it or above. It is told once; usage that is corrected to strictly below
    resolves what was told, and crossing again repeats nothing.

    Attributes:
        told: lines of which nothing more is to be said in this period.
        alarms: lines in alarm that an alert named, each with the period that the alert named.
    """

    told: tuple[str, ...] = ()
    alarms: dict[str, str] = field(default_factory=dict)

    def news(self, used: Decimal, allowance: Decimal, thresholds: Sequence[Decimal]) -> Decimal | None:
        """Return the highest threshold, in percent, that is in alarm and not told; None where all was said.

        A threshold below one that was told is no news.
        """
        for threshold in reversed(thresholds):
            if is_reached(used, allowance, threshold):
                return None if name_of(threshold) in self.told else threshold
        return None

    def resolved(self, used: Decimal, allowance: Decimal | None) -> list[tuple[str, str]]:
        """Return the lines that were told and are above usage now, each with the period that the alert named.

        Without an allowance there is no line left to be above of: all of them.
        """
        return [
            (line, period)
            for line, period in self.alarms.items()
            if allowance is None or not is_reached(used, allowance, Decimal(line))
        ]

    def tell(self, threshold: Decimal, period: str, thresholds: Sequence[Decimal]) -> None:
        """Remember that an alert named `threshold`; those below it are told with it."""
        self.mark(name_of(below) for below in thresholds if below <= threshold)
        self.alarms[name_of(threshold)] = period

    def mark(self, lines: Iterable[str]) -> None:
        """Remember that nothing more is to be said of these lines."""
        self.told = tuple(dict.fromkeys((*self.told, *lines)))

    def rearm(self, used: Decimal, allowance: Decimal | None, thresholds: Sequence[Decimal]) -> None:
        """Take up another plan or another period: only lines that usage stands on or above stay told."""
        self.told = tuple(
            name_of(threshold)
            for threshold in thresholds
            if name_of(threshold) in self.told and allowance is not None and is_reached(used, allowance, threshold)
        )


def is_reached(used: Decimal, allowance: Decimal, threshold: Decimal) -> bool:
    """Return whether usage stands on the line or above; exact, so that ten times 0.1 is on the line of 1.

    >>> is_reached(Decimal("0.8"), Decimal(1), Decimal(80)), is_reached(Decimal("0.7999"), Decimal(1), Decimal(80))
    (True, False)
    """
    return EXACT.multiply(used, _PERCENT) >= EXACT.multiply(allowance, threshold)


def name_of(threshold: Decimal) -> str:
    """Return the threshold's name on the wire.

    >>> name_of(Decimal("80.0")), name_of(Decimal(100)), name_of(Decimal("97.5"))
    ('80', '100', '97.5')
    """
    return f"{threshold.normalize():f}"
