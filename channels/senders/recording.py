"""A sender for tests: plays a provider's outcomes and remembers what was accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .sender import Outcome, OutgoingMessage, Verdict


class RecordingSender:
    """Give each message the next of `verdicts`, then accept all that follow.

    >>> from datetime import UTC, datetime
    >>> sender = RecordingSender(["unavailable"])
    >>> message = OutgoingMessage("x1", "a1", "usage_spike", "notice", "Water", "You used more.", datetime.now(UTC))
    >>> sender.send(message).verdict, sender.send(message).verdict, len(sender.accepted), len(sender.tried)
    ('unavailable', 'accepted', 1, 2)
    """

    def __init__(self, verdicts: Iterable[Verdict] = ()) -> None:
        self._verdicts: Iterator[Verdict] = iter(verdicts)
        self.tried: list[OutgoingMessage] = []
        self.accepted: list[OutgoingMessage] = []

    def send(self, message: OutgoingMessage) -> Outcome:
        """Return the next outcome; remember the message."""
        self.tried.append(message)
        verdict: Verdict = next(self._verdicts, "accepted")
        if verdict == "accepted":
            self.accepted.append(message)
        return Outcome(verdict, "as played")
