"""A shard: partition p of every input, its engine, and how far it has read."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from aiokafka import ConsumerRecord

from detectors.alerts import Alert
from detectors.codec import Reader, Rejected, encode, encode_key
from detectors.dead_letter import dead_letter_headers, dead_letter_topic
from detectors.engine import Engine, Origin

from .publisher import Outgoing
from .transport import Batch

Record: TypeAlias = ConsumerRecord  # bytes to bytes; aiokafka has no types


class ChainBrokenError(Exception):
    """A batch does not begin where the last one ended: events were lost on the way to the engine."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch: what is to be published, and what is to be counted."""

    outgoing: list[Outgoing] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    rejects: Counter[str] = field(default_factory=Counter)
    applied: int = 0
    repeated: int = 0


class Shard:
    """The engine of one partition number.

    Args:
        engine: starts empty; it is brought up to date by reading from `starts`.
        starts: the first offset of each input topic.
    """

    def __init__(
        self, engine: Engine, readers: Mapping[str, Reader], notifications: str, starts: Mapping[str, int]
    ) -> None:
        self.engine = engine
        self.positions = dict(starts)
        self._readers = readers
        self._notifications = notifications

    def take(self, batch: Batch) -> Outcome:
        """Run the batch through the engine, without giving way: state and position move together.

        Raises:
            ChainBrokenError: the batch does not begin where the last one ended.
        """
        topic = batch.tp.topic
        position = self.positions[topic]
        if batch.start != position:
            raise ChainBrokenError(
                f"{topic}-{batch.tp.partition}: batch starts at {batch.start}, the engine is at {position}"
            )
        outcome = Outcome()
        reader = self._readers[topic]
        for record in batch.records:
            if record.offset >= position:
                self._take_one(record, reader, outcome)
        self.positions[topic] = batch.records[-1].offset + 1
        return outcome

    def _take_one(self, record: Record, reader: Reader, outcome: Outcome) -> None:
        repeated = self.engine.repeated
        try:
            event = reader.read(record.value, record.headers, f"{record.topic}-{record.partition}-{record.offset}")
            origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
            alerts = self.engine.handle(event, origin)
        except Rejected as rejected:
            outcome.rejects[rejected.reason] += 1
            outcome.outgoing.append(_dead_letter(record, rejected))
        except Exception:  # noqa: BLE001 - a detector's fault costs this one event, on record, not the stream
            outcome.rejects["detector_failed"] += 1
            outcome.outgoing.append(_dead_letter(record, Rejected("detector_failed", traceback.format_exc(limit=-6))))
        else:
            was_repeated = self.engine.repeated - repeated
            outcome.repeated += was_repeated
            outcome.applied += 1 - was_repeated
            for alert in alerts:
                value, headers = encode(alert)
                outcome.alerts.append(alert)
                outcome.outgoing.append(Outgoing(self._notifications, encode_key(alert.account), value, headers))


def _dead_letter(record: Record, rejected: Rejected) -> Outgoing:
    headers = dead_letter_headers(
        record.topic, record.partition, record.offset, record.timestamp, list(record.headers), rejected
    )
    return Outgoing(dead_letter_topic(record.topic), record.key, record.value, headers, record.partition)
