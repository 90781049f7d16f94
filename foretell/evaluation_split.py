"""Which rows count: those of held-out accounts, from a time on. Every row is scored and learned, whether it counts or not."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

_RANGE = 1 << 32


@dataclass(frozen=True, slots=True)
class Split:
    """Accounts are split by a hash of their name, so that a row more or less moves none of them.

    Attributes:
        held_out: the share of accounts whose rows count; 1 for all.
        is_rest: the other accounts' rows count instead.
        start: seconds since 1970; rows before it do not count.

    >>> split = Split(held_out=0.5)
    >>> sum(split.counts(f"a{number}", 0.0) for number in range(1000))
    493
    """

    held_out: float = 1.0
    is_rest: bool = False
    start: float = float("-inf")

    def counts(self, account: str, at: float) -> bool:
        """Return whether a row counts."""
        if at < self.start:
            return False
        place = int.from_bytes(blake2b(account.encode(), digest_size=4).digest())
        return (place < self.held_out * _RANGE) is not self.is_rest
