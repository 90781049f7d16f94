"""Warnings that would repeat many times a second, logged once in a while."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_SECONDS_BETWEEN = 60.0


class Seldom:
    """Log an event the first time, then at most once a minute with how many were held back.

    >>> from structlog.testing import capture_logs
    >>> seldom = Seldom()
    >>> with capture_logs() as logged:
    ...     for attempt in range(5):
    ...         seldom.warn("kafka_waits", attempt=attempt)
    >>> [line["attempt"] for line in logged]
    [0]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def warn(self, event: str, **fields: object) -> None:
        """Log `event` if it was not logged within the last minute."""
        now = self._clock()
        if now < self._next.get(event, now):
            self._held_back[event] = self._held_back.get(event, 0) + 1
            return
        log.warning(event, **fields, held_back=self._held_back.pop(event, 0))
        self._next[event] = now + _SECONDS_BETWEEN
