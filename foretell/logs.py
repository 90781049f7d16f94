"""Logging: one event with fields, on standard error, as text or JSON; libraries that repeat themselves are calmed."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

LogFormat = Literal["text", "json"]

_LIBRARY_LEVELS = {
    "faust": logging.WARNING,
    "streams.transport": logging.WARNING,  # Faust logs its app and consumer under the module of their subclasses
    "mode": logging.WARNING,
    "aiokafka": logging.WARNING,
    "kafka": logging.WARNING,
}
_REPEATS_EVERY_SECONDS = 30.0


class _Calm(logging.Filter):
    """Let a library say the same thing once in a while: aiokafka logs 30 lines a second while the broker is away."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = (record.pathname, record.lineno), time.monotonic()
        if now - self._said.get(key, -_REPEATS_EVERY_SECONDS) < _REPEATS_EVERY_SECONDS:
            return False
        self._said[key] = now
        return True


def configure_logs(log_format: LogFormat, **fields: object) -> None:
    """Send every log line of ours and of the libraries to standard error, in one form, each with these fields."""

    def add_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(fields)
        return event

    shared: list[Any] = [
        add_fields,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=30)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    handler.addFilter(lambda record: record.name.startswith(("streams", "channels", "foretell")) or calm.filter(record))
    calm = _Calm()
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name, level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
