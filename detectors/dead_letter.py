"""How a rejected record is kept: the same key, value and headers, beside them where it came from and why."""

from __future__ import annotations

from .codec import Headers, Rejected

SUFFIX = "-dlt"
_ORIGINAL = "foretell_original_"
_LONGEST_DETAIL = 4000


def dead_letter_topic(topic: str) -> str:
    """Return the topic that keeps the rejects of `topic`.

    >>> dead_letter_topic("foretell.usage")
    'foretell.usage-dlt'
    """
    return topic + SUFFIX


def dead_letter_headers(
    topic: str, partition: int, offset: int, timestamp_ms: int, headers: Headers, rejected: Rejected
) -> list[tuple[str, bytes]]:
    """Return the headers of the dead letter: the record's own, where it stood, and why it was rejected."""
    ours = {
        f"{_ORIGINAL}topic": topic,
        f"{_ORIGINAL}partition": str(partition),
        f"{_ORIGINAL}offset": str(offset),
        f"{_ORIGINAL}timestamp": str(timestamp_ms),
        "foretell_reason": rejected.reason,
        "foretell_detail": rejected.detail[:_LONGEST_DETAIL],
    }
    return [*headers, *((name, text.encode()) for name, text in ours.items())]
