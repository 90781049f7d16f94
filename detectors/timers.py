"""Who is to be woken when: pending timers cost memory, not time per event."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import inf


class Timers:
    """A queue of accounts by due time.

    Nothing is ever taken out of its middle: whoever is woken looks whether it still wants to be, and a time that was
    moved to later is set again when the earlier one has come. So an account that moves its time with every event costs
    nothing for it.

    >>> timers = Timers()
    >>> timers.set(b"a1", 2000)
    >>> timers.set(b"a2", 1000)
    >>> timers.next_ms, list(timers.due(1500)), timers.next_ms
    (1000, [(1000, b'a2')], 2000)
    """

    def __init__(self) -> None:
        self._queue: list[tuple[int, bytes]] = []
        self.next_ms: float = inf

    def __len__(self) -> int:
        return len(self._queue)

    def set(self, key: bytes, due_ms: int) -> None:
        """Wake `key` at `due_ms`, in milliseconds since 1970."""
        heapq.heappush(self._queue, (due_ms, key))
        self.next_ms = self._queue[0][0]

    def fill(self, timers: list[tuple[int, bytes]]) -> None:
        """Set many at once, as after a restore."""
        self._queue += timers
        heapq.heapify(self._queue)
        self.next_ms = self._queue[0][0] if self._queue else inf

    def due(self, now_ms: float) -> Iterator[tuple[int, bytes]]:
        """Give and forget those that are due, the earliest first; accounts due at once in their own order."""
        queue = self._queue
        while queue and queue[0][0] <= now_ms:
            found = heapq.heappop(queue)
            self.next_ms = queue[0][0] if queue else inf
            yield found
