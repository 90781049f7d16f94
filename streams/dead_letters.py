"""A record that cannot be used, as the dead-letter topic keeps it."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from detectors.codec import Rejected
from detectors.dead_letter import dead_letter_headers, dead_letter_topic

from .publisher import Outgoing

_LARGEST_VALUE_BYTES = 800_000  # with key and headers below what a topic takes by default
_MOST_HEADER_BYTES = 60_000


def dead_letter(record: ConsumerRecord, rejected: Rejected) -> Outgoing:
    """Return the record with why it was rejected; one that no topic would take is cut, and stays whole where it came from."""
    headers = list(record.headers)
    if sum(len(name) + len(value or b"") for name, value in headers) > _MOST_HEADER_BYTES:
        headers = []
    value = record.value
    if value is not None and len(value) > _LARGEST_VALUE_BYTES:
        headers.append(("foretell_truncated", str(len(value)).encode()))
        value = value[:_LARGEST_VALUE_BYTES]
    letter_headers = dead_letter_headers(
        record.topic, record.partition, record.offset, record.timestamp, headers, rejected
    )
    return Outgoing(dead_letter_topic(record.topic), record.key, value, letter_headers, record.partition)
