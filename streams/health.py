"""Is the worker alive? It is when it has nothing to read, or reads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

EXIT_STALLED = 74
EXIT_BLOCKED = 75
_BEAT_SECONDS = 1.0
_JUMP_SECONDS = 5.0
_SEEN_BLOCKED = 5  # times in a row: a process that was stopped and goes on is not blocked


class Health:
    """What `/healthz` asks, and what ends a process that is stuck.

    Args:
        stalled_after_seconds: with lag and without progress for so long it is not healthy; after twice that it is to end.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, stalled_after_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._stalled_after = stalled_after_seconds
        self._now = now
        self._progress = self._beat = now()
        self._lag = 0
        self._is_over = threading.Event()

    def moved(self) -> None:
        """Note that records were processed, or that there is a reason why none are."""
        self._progress = self._now()

    def beat(self, lag: int) -> bool:
        """Note that the event loop runs, and how many records wait; return whether the process was stopped meanwhile."""
        now = self._now()
        jumped = now - self._beat > _JUMP_SECONDS
        if jumped or lag == 0:
            self._progress = now  # whoever was stopped needs time to rejoin
        self._beat, self._lag = now, lag
        return jumped

    def is_healthy(self) -> bool:
        """Return whether there is nothing to read, or some of it was read lately, and the event loop runs."""
        now = self._now()
        moves = self._lag == 0 or now - self._progress < self._stalled_after
        return moves and now - self._beat < self._stalled_after

    def is_stalled(self) -> bool:
        """Return whether nothing moved for so long that only a restart can help."""
        return self._lag > 0 and self._now() - self._progress > 2 * self._stalled_after

    def watch(self) -> None:
        """Start a thread that ends the process when its event loop stands still."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def end(self) -> None:
        """Stop watching."""
        self._is_over.set()

    def _watch(self) -> None:
        blocked = 0
        while not self._is_over.wait(_BEAT_SECONDS):
            blocked = blocked + 1 if self._now() - self._beat > 2 * self._stalled_after else 0
            if blocked >= _SEEN_BLOCKED:
                log.critical("event_loop_blocked", exit_code=EXIT_BLOCKED, seconds=round(self._now() - self._beat))
                os._exit(EXIT_BLOCKED)
