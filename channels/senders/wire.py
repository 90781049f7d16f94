"""What happened on the wire while Apprise, which answers True or False only, handed a message over.

Most of Apprise's services speak HTTP through urllib3, which tells its logger of each connection that it opens and of
each answer's status. That logger is listened to, and nothing that it says at such a time goes any further: it names
whole URLs. Should urllib3 ever change its words, statuses are no longer seen, and what was a refusal becomes `lost`,
which is safe; `tests/contracts/test_senders.py` would tell.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_OPENS = "Starting new HTTP"  # and HTTPS
_ANSWERED = '%s://%s:%s "%s %s %s" %s %s'
_STATUS = 6


@dataclass(slots=True)
class Journal:
    """What was seen.

    Attributes:
        opened: connections begun.
        statuses: HTTP status of each answer, in order.
    """

    opened: int = 0
    statuses: list[int] = field(default_factory=list)


_urllib3 = logging.getLogger("urllib3.connectionpool")
_journal: ContextVar[Journal | None] = ContextVar("journal", default=None)


@contextmanager
def watched() -> Iterator[Journal]:
    """Note what urllib3 does in this context, and in threads that inherit it."""
    _urllib3.disabled = False  # a program may set up its logging after this module is read
    _urllib3.setLevel(logging.DEBUG)
    journal = Journal()
    token = _journal.set(journal)
    try:
        yield journal
    finally:
        _journal.reset(token)


def _note(record: logging.LogRecord) -> bool:
    """Note what the record tells; return whether it may be logged."""
    journal = _journal.get()
    if journal is None:
        return record.levelno > logging.DEBUG
    if isinstance(record.msg, str) and isinstance(record.args, tuple):
        if record.msg.startswith(_OPENS):
            journal.opened += 1
        elif record.msg == _ANSWERED:
            status = record.args[_STATUS]
            if isinstance(status, int):
                journal.statuses.append(status)
    return False


_urllib3.addFilter(_note)
