from __future__ import annotations

import io
import json
import stat
from datetime import UTC, datetime
from pathlib import Path

from channels.senders import ConsoleSender, OutgoingMessage

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
MESSAGE = OutgoingMessage("x1", "a1", "plan_limit", "notice", "You have used 80 %", "Line one.\n\nLine two.", NOON)


def test_a_person_can_read_it() -> None:
    stream = io.StringIO()

    ConsoleSender("console", stream=stream, clock=lambda: NOON).send(MESSAGE)

    assert stream.getvalue() == (
        "--- 12:00:00 UTC, to account a1: You have used 80 %\n    Line one.\n\n    Line two.\n\n"
    )


def test_a_program_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    sender = ConsoleSender("console", "json", path, clock=lambda: NOON)

    sender.send(MESSAGE)
    sender.send(MESSAGE)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0] == {
        "channel": "console",
        "alert_id": "x1",
        "account": "a1",
        "kind": "plan_limit",
        "severity": "notice",
        "subject": "You have used 80 %",
        "body": "Line one.\n\nLine two.",
        "detected_at": "2026-03-28T12:00:00Z",
        "sent_at": "2026-03-28T12:00:00Z",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_message_cannot_command_the_terminal() -> None:
    stream = io.StringIO()
    message = OutgoingMessage("x1", "a\x1b[2J", "plan_limit", "notice", "s\rx", "b\x07", NOON)

    ConsoleSender("console", stream=stream, clock=lambda: NOON).send(message)

    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_a_closed_output_has_taken_nothing_and_one_that_breaks_may_have() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()

    assert ConsoleSender("console", stream=closed).send(MESSAGE).verdict == "unavailable"
    assert ConsoleSender("console", stream=Full()).send(MESSAGE).verdict == "lost"
