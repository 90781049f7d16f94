"""What a reading says was used, be it an amount or a counter's value; and how a quantity is read out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from .events import UsageRecorded

_ZERO = Decimal(0)


class Counter:
    """The last value of a meter that only counts up."""

    __slots__ = ("_at", "_last")

    def __init__(self) -> None:
        self._last: Decimal | None = None
        self._at: datetime | None = None

    def used(self, reading: UsageRecorded) -> Decimal:
        """Return what was used since the last reading. Changes nothing.

        The first value of a counter says nothing of usage; one below the last is a meter that began again at zero; one
        that comes late is part of what came before it.
        """
        if not reading.cumulative:
            return reading.quantity
        if self._last is None or self._at is None or reading.time < self._at:
            return _ZERO
        return reading.quantity - self._last if reading.quantity >= self._last else reading.quantity

    def hours_since(self, reading: UsageRecorded) -> float:
        """Return over how many hours `reading` has gathered what it says was used; at least one."""
        if not reading.cumulative or self._at is None:
            return 1.0
        return max(1.0, (reading.time - self._at).total_seconds() / 3600)

    def take(self, reading: UsageRecorded) -> Decimal:
        """Return what was used, and remember the counter's value."""
        used = self.used(reading)
        if reading.cumulative and (self._at is None or reading.time >= self._at):
            self._last, self._at = reading.quantity, reading.time
        return used


def readable(number: Decimal) -> str:
    """Return `number` without an exponent and without trailing zeros, to three places.

    >>> readable(Decimal("8.5000")), readable(Decimal(100)), readable(Decimal("0.12345"))
    ('8.5', '100', '0.123')
    """
    text = f"{number:.3f}"
    return text.rstrip("0").rstrip(".") or "0"
