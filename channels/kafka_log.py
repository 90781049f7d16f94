"""kafka-python's own log, summed up: it writes ten lines a second while a broker is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .seldom import Seldom

_LONGEST = 200


class _Summary(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seldom = Seldom()

    def emit(self, record: logging.LogRecord) -> None:
        self._seldom.warn("kafka_client", says=record.getMessage()[:_LONGEST])


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
