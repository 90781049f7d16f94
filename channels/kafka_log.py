"""kafka-python's own log, summed up: it writes ten lines a second while a broker is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)

_SECONDS_BETWEEN = 60.0
_LONGEST = 200


class _Summary(logging.Handler):
    """Pass on the first warning, then one a minute with how many were held back."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next = 0.0
        self._held_back = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._next:
            self._held_back += 1
            return
        log.warning("kafka_client", says=record.getMessage()[:_LONGEST], held_back=self._held_back)
        self._next = now + _SECONDS_BETWEEN
        self._held_back = 0


@contextmanager
def summed_up() -> Iterator[None]:
    """Sum up what kafka-python logs while the block runs."""
    logger, summary = logging.getLogger("kafka"), _Summary()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(summary)
    try:
        yield
    finally:
        logger.removeHandler(summary)
        logger.propagate = propagated
