"""Messages for whoever watches: on standard output or appended to a file, as text or as JSON lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

import orjson

from .sender import Outcome, OutgoingMessage

_PRIVATE = 0o600  # messages are customer data


class ConsoleSender:
    r"""Print each message.

    Args:
        channel: the name that JSON lines carry.
        style: `text` to be read by a person, `json` for one object a line.
        path: append to this file instead.
        stream: print here instead of on standard output.
        clock: tells when a message was sent.

    >>> import io
    >>> stream = io.StringIO()
    >>> noon = datetime(2026, 3, 28, 12, tzinfo=UTC)
    >>> message = OutgoingMessage("x1", "a1", "usage_spike", "notice", "More water", "You used\nmore.", noon)
    >>> ConsoleSender("console", stream=stream, clock=lambda: noon).send(message).verdict
    'accepted'
    >>> print(stream.getvalue())
    --- 12:00:00 UTC, to account a1: More water
        You used
        more.
    """

    def __init__(
        self,
        channel: str,
        style: Literal["text", "json"] = "text",
        path: Path | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._channel = channel
        self._style = style
        self._path = path
        self._stream = stream
        self._clock = clock

    def send(self, message: OutgoingMessage) -> Outcome:
        """Print `message`; it is lost if the output breaks while it is written."""
        text = self._as_json(message) if self._style == "json" else self._as_text(message)
        if self._path is None:
            return self._print(text)
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        except OSError as error:
            return Outcome("unavailable", f"the file cannot be opened: {error.strerror}")
        try:
            whole = text.encode()
            written = os.write(file, whole)  # one write, so that several writers never mix their lines
        except OSError as error:
            return Outcome("lost", f"the file cannot be written: {error.strerror}")
        finally:
            os.close(file)
        return Outcome("accepted") if written == len(whole) else Outcome("lost", "the file took a part only")

    def _print(self, text: str) -> Outcome:
        stream = self._stream or sys.stdout
        if stream.closed:
            return Outcome("unavailable", "the output is closed")
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError) as error:
            return Outcome("lost", f"the output broke: {type(error).__name__}")
        return Outcome("accepted")

    def _as_text(self, message: OutgoingMessage) -> str:
        title = f"--- {self._clock():%H:%M:%S} UTC, to account {message.account}: {message.subject}"
        lines = [title, *(f"    {line}".rstrip() for line in message.body.splitlines()), ""]
        return "".join(_printable(line) + "\n" for line in lines)

    def _as_json(self, message: OutgoingMessage) -> str:
        line = {
            "channel": self._channel,
            "alert_id": message.alert_id,
            "account": message.account,
            "kind": message.kind,
            "severity": message.severity,
            "subject": message.subject,
            "body": message.body,
            "detected_at": message.detected_at,
            "sent_at": self._clock(),
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z).decode()


def _printable(line: str) -> str:
    """Return `line` without what could command a terminal."""
    return "".join(character if character.isprintable() else "?" for character in line)
