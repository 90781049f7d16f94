"""Progress: whether the consumer is alive, for `/healthz`."""

from __future__ import annotations

from datetime import datetime, timedelta


class Progress:
    """Healthy is who has nothing to read, or has read or told something lately.

    Args:
        patience: how long there may be lag and no progress.

    >>> from datetime import UTC
    >>> start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    >>> progress = Progress(timedelta(seconds=60), start)
    >>> progress.is_healthy(start), progress.is_healthy(start + timedelta(seconds=61))
    (True, False)
    """

    def __init__(self, patience: timedelta, now: datetime) -> None:
        self._patience = patience
        self._last = now

    def note(self, now: datetime, *, moved: bool, lag: int) -> None:
        """Take in what a turn of the loop has done; a turn that hangs is not noted at all."""
        if moved or lag == 0:
            self._last = now

    def is_healthy(self, now: datetime) -> bool:
        """Return whether there was progress, or nothing to do, within the patience."""
        return now - self._last <= self._patience
