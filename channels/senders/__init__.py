"""Senders hand a message to a provider and say honestly what became of it. `apprise` is read where it is used."""

from .console import ConsoleSender
from .recording import RecordingSender
from .sender import Outcome, OutgoingMessage, Sender, Verdict

__all__ = [
    "ConsoleSender",
    "Outcome",
    "OutgoingMessage",
    "RecordingSender",
    "Sender",
    "Verdict",
]
