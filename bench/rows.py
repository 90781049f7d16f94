"""The rows: what was measured, beside what it should be at least, or at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result.

    Attributes:
        floor: what it should be; None for what is only shown.
        is_ceiling: the floor is one from above: less is better.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    is_ceiling: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether the value is on the right side of its floor."""
        if self.floor is None:
            return True
        return self.value <= self.floor if self.is_ceiling else self.value >= self.floor

    def __str__(self) -> str:
        """Return the line.

        >>> print(Row("latency_p99", 12.345, "ms", 30, is_ceiling=True))
        bench latency_p99 12.3 ms floor 30 ok
        >>> print(Row("product_vs_quix", 3.5, "x"))
        bench product_vs_quix 3.50 x floor - ok
        """
        floor = "-" if self.floor is None else f"{self.floor:.10g}"
        return f"bench {self.name} {_short(self.value)} {self.unit} floor {floor} {'ok' if self.is_kept else 'short'}"


def _short(value: float) -> str:
    """Return three digits at least.

    >>> _short(123456.7), _short(12.345), _short(1.2345), _short(0.01234)
    ('123457', '12.3', '1.23', '0.0123')
    """
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:#.3g}"
