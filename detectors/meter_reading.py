"""What a reading says was used, be it an amount or a counter's value; and how a quantity is read out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from .events import UsageRecorded

_ZERO = Decimal(0)


class Counter(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """The last value of a meter that only counts up. Those that count nothing are one and the same, `NO_COUNTER`.

    Attributes:
        last: the value.
        at: when it was read, in UTC.
    """

    last: Decimal
    at: datetime | None

    def used(self, reading: UsageRecorded) -> Decimal:
        """Return what was used since the last reading.

        The first value of a counter says nothing of usage; one below the last is a meter that began again at zero; one
        that comes late is part of what came before it.
        """
        if not reading.cumulative:
            return reading.quantity
        if self.at is None or reading.time < self.at:
            return _ZERO
        return reading.quantity - self.last if reading.quantity >= self.last else reading.quantity

    def is_reset_by(self, reading: UsageRecorded) -> bool:
        """Return whether `reading` shows that the meter began again at zero."""
        return reading.cumulative and self.at is not None and reading.time >= self.at and reading.quantity < self.last

    def hours_since(self, reading: UsageRecorded) -> float:
        """Return over how many hours `reading` has gathered what it says was used; at least one."""
        if not reading.cumulative or self.at is None:
            return 1.0
        return max(1.0, (reading.time - self.at).total_seconds() / 3600)

    def after(self, reading: UsageRecorded) -> Counter:
        """Return the counter as it stands after `reading`."""
        if reading.cumulative and (self.at is None or reading.time >= self.at):
            # rounded to 28 digits, as every sum is: a reading may have thousands
            return Counter(+reading.quantity, reading.time.astimezone(UTC))
        return self


NO_COUNTER = Counter(_ZERO, None)


def readable(number: Decimal) -> str:
    """Return `number` without an exponent and without trailing zeros, to three places.

    >>> readable(Decimal("8.5000")), readable(Decimal(100)), readable(Decimal("0.12345"))
    ('8.5', '100', '0.123')
    """
    text = f"{number:.3f}"
    return text.rstrip("0").rstrip(".") or "0"
