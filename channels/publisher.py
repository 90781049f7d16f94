"""What goes to Kafka: receipts from the ledger, and records that could not be read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from detectors.codec import Rejected, encode_key
from detectors.dead_letter import dead_letter_headers

from .ledger import Ledger
from .metrics import DeliveryMetrics
from .reader import unreachable
from .seldom import Seldom
from .settings import DeliverySettings

log = structlog.get_logger(__name__)

_MOST_IN_FLIGHT = 500
_ACKNOWLEDGE_SECONDS = 20.0
_OPTIONS = {
    "acks": "all",
    "enable_idempotence": False,  # a repeat carries the same id; a producer that must not repeat can get stuck instead
    "linger_ms": 5,
    "max_block_ms": 5_000,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": 30_000,
    "max_request_size": 32 << 20,  # the broker's limit decides
    "reconnect_backoff_max_ms": 2_000,
    "allow_auto_create_topics": False,
}
_EXCERPT_BYTES = 64 << 10
_HEADERS = [("content-type", b"application/cloudevents+json")]


class NotKeptError(Exception):
    """Kafka has not taken a reject, so it may not be left behind."""


class Publisher:
    """Publish receipts and rejects.

    Args:
        settings: topics and how to reach Kafka.
        clock: gives aware times.

    Raises:
        ConsumerError: no broker answers.
    """

    def __init__(
        self, settings: DeliverySettings, ledger: Ledger, metrics: DeliveryMetrics, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._seldom = Seldom()
        self._in_flight: dict[str, Any] = {}
        try:
            self._producer = KafkaProducer(**{**_OPTIONS, **settings.kafka})
        except KafkaError as error:
            raise unreachable(settings, error) from error

    def publish_receipts(self) -> None:
        """Send the receipts that the ledger has for Kafka, and note those that it took. Does not wait for it."""
        self._note_published()
        room = _MOST_IN_FLIGHT - len(self._in_flight)
        if room <= 0:
            return
        for receipt in self._ledger.unpublished(_MOST_IN_FLIGHT):
            if receipt.receipt_id not in self._in_flight:
                try:
                    self._in_flight[receipt.receipt_id] = self._producer.send(
                        self._settings.receipts, receipt.body, encode_key(receipt.account), headers=_HEADERS
                    )
                except KafkaError as error:
                    self._seldom.warn("receipts_wait", error=type(error).__name__)
                    return

    def keep_reject(self, record: Any, rejected: Rejected) -> None:
        """Put a record that could not be read on the dead-letter topic, and return when Kafka has it.

        Raises:
            NotKeptError: Kafka did not take it.
        """
        headers = dead_letter_headers(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            [(name, text or b"") for name, text in record.headers],
            rejected,
        )
        value = record.value if record.value is not None or record.key is not None else b""
        try:
            try:
                self._send_and_wait(record, value, headers)
            except MessageSizeTooLargeError:  # it was as large as a record may be, before our headers
                cut = (value or b"")[:_EXCERPT_BYTES]
                self._send_and_wait(record, cut, [*headers, ("foretell_cut_at_bytes", str(len(cut)).encode())])
        except KafkaError as error:
            raise NotKeptError(
                f"{self._settings.dead_letters} did not take a reject ({type(error).__name__})"
            ) from error
        self._metrics.dead_letters.labels(record.topic, rejected.reason).inc()

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Wait a little for receipts that are on their way, then let go."""
        try:
            self._producer.flush(timeout_seconds)
        except KafkaError as error:
            log.warning("receipts_wait", error=type(error).__name__, for_next_start=len(self._in_flight))
        self._note_published()
        self._producer.close(timeout=0)

    def _send_and_wait(self, record: Any, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        topic = self._settings.dead_letters
        same = record.partition if record.partition in (self._producer.partitions_for(topic) or ()) else None
        self._producer.send(topic, value, record.key, headers=headers, partition=same).get(_ACKNOWLEDGE_SECONDS)

    def _note_published(self) -> None:
        done = {receipt_id: future for receipt_id, future in self._in_flight.items() if future.is_done}
        for receipt_id in done:
            del self._in_flight[receipt_id]
        taken = [receipt_id for receipt_id, future in done.items() if future.succeeded()]
        if taken:
            self._ledger.mark_published(taken, self._clock())
            self._metrics.receipts_published.inc(len(taken))
        if len(taken) < len(done):
            failed = next(future.exception for future in done.values() if not future.succeeded())
            self._seldom.warn("receipts_wait", error=type(failed).__name__)
