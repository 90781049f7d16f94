"""The shard that thinks: events through the partition's engine, alerts and dead letters out."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import structlog

from detectors.alerts import Alert
from detectors.bulletins import Bulletin
from detectors.codec import Reader, Rejected, encode, encode_key
from detectors.engine import DetectorFailedError, Engine, EngineSettings, Origin
from detectors.message import Envelope, Message
from detectors.profile import Profile
from detectors.state import StateError

from .checkpoints import Restored
from .dead_letters import dead_letter
from .keys import KeyCheck
from .publisher import Outgoing
from .residence import Residents
from .shard import Outcome, Record, Shard

log = structlog.get_logger(__name__)

_LARGEST_ALERT_BYTES = 900_000  # the limit of a topic by default is a little more


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the shards of one worker share.

    Attributes:
        partitions: how many there are of each input.
        memory_bytes: for the accounts of each shard.
        clock: what timers go by.
    """

    engine: EngineSettings
    readers: Mapping[str, Reader]
    notifications: str
    bulletins: str
    partitions: int
    memory_bytes: int
    clock: Literal["records", "events"]


class EngineShard(Shard):
    """The engine of one partition number.

    Args:
        number: the partition's.
        restored: what the state topic holds of it.
        around: what it shares with the others.

    Raises:
        StateError: the state is in a format that this version does not read.
    """

    def __init__(self, number: int, restored: Restored, around: Surroundings) -> None:
        self._around = around
        self._keys = KeyCheck(around.partitions)
        accounts: Residents[Profile] = Residents(
            self._save, self._restore, most_bytes=around.memory_bytes, idle=restored.states, disk=restored.disk
        )
        self.engine = Engine(around.engine, accounts)
        self.engine.restore(restored.shared, chain(restored.states.items(), restored.disk.items()))
        super().__init__(number, accounts, restored.positions, restored.shared)

    def _save(self, profile: Profile) -> bytes:
        return self.engine.codec.save(profile)

    def _note_refused(self, outcome: Outcome) -> None:
        refused = self.engine.codec.refused
        if refused:
            log.error("states_too_large", partition=self.number, begun_again=dict(refused))
            outcome.faults["state_too_large"] += refused.total()
            refused.clear()

    def _restore(self, key: bytes, saved: bytes) -> Profile:
        return self.engine.codec.restore(key.decode(), saved)

    @property
    def pending_timers(self) -> int:
        """How many accounts wait to be woken."""
        return self.engine.pending_timers

    def save_shared(self) -> dict[bytes, bytes]:
        """Return the pools and the bulletin board."""
        return self.engine.save_shared()

    def tick(self, now_ms: float) -> Outcome:
        """Wake the accounts whose time has come."""
        outcome = Outcome()
        if now_ms >= self.engine.next_timer_ms:
            self._wake(now_ms, outcome)
        return outcome

    def _apply(self, records: Sequence[Record], clock_ms: float) -> Outcome:
        outcome = Outcome()
        reader = self._around.readers[records[0].topic]
        self._note_refused(outcome)
        for record in records:
            self._apply_one(record, reader, clock_ms, outcome)
        outcome.irregularities = self.engine.take_irregularities()
        outcome.settled = self.engine.take_settled()
        return outcome

    def _apply_one(self, record: Record, reader: Reader, clock_ms: float, outcome: Outcome) -> None:
        try:
            event = reader.read(record.value, record.headers, f"{record.topic}-{record.partition}-{record.offset}")
        except Rejected as rejected:
            _reject(record, rejected, outcome)
            return
        now_ms = self._now_at(record, event)
        if min(clock_ms, now_ms) >= self.engine.next_timer_ms:
            self._wake(min(clock_ms, now_ms), outcome)
        if isinstance(event, Bulletin):
            was_repeated = int(not self.engine.hear(event))
            outcome.repeated += was_repeated
            outcome.applied += 1 - was_repeated
            return
        self._handle(event, record, now_ms, outcome)
        self._look_at_key(record, event, outcome)

    def _handle(self, event: Message, record: Record, now_ms: float, outcome: Outcome) -> None:
        repeated = self.engine.repeated
        origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
        alerts: Sequence[Alert] = ()
        try:
            alerts = self.engine.handle(event, origin, now_ms)
        except Rejected as rejected:
            _reject(record, rejected, outcome)
        except StateError:
            raise
        except DetectorFailedError as failed:
            _reject(record, Rejected("detector_failed", failed.traceback), outcome)
            alerts = failed.alerts
        except Exception:  # noqa: BLE001 - a fault of ours costs this one event, on record, not the stream
            _reject(record, Rejected("detector_failed", traceback.format_exc(limit=-6)), outcome)
        else:
            was_repeated = self.engine.repeated - repeated
            outcome.repeated += was_repeated
            outcome.applied += 1 - was_repeated
        self._publish(alerts, outcome, record)

    def _wake(self, now_ms: float, outcome: Outcome) -> None:
        try:
            alerts = self.engine.tick(now_ms)
        except DetectorFailedError as failed:
            outcome.faults["timer_failed"] += 1
            log.error("timer_failed", partition=self.number, traceback=failed.traceback)  # noqa: TRY400 - its own is the detector's
            alerts = failed.alerts
        self._publish(alerts, outcome, None)

    def _publish(self, alerts: Sequence[Alert], outcome: Outcome, record: Record | None) -> None:
        for alert in alerts:
            value, headers = encode(alert)
            if len(value) > _LARGEST_ALERT_BYTES:
                log.error("alert_too_large", kind=alert.kind, alert_id=alert.alert_id, bytes=len(value))
                outcome.faults["alert_too_large"] += 1
                if record is not None:
                    detail = f"its alert {alert.alert_id} of {alert.kind} has {len(value)} bytes, at most {_LARGEST_ALERT_BYTES} fit"
                    outcome.outgoing.append(dead_letter(record, Rejected("alert_too_large", detail)))
                continue
            outcome.alerts.append(alert)
            outcome.outgoing.append(Outgoing(self._around.notifications, encode_key(alert.account), value, headers))
        for bulletin in self.engine.take_announcements():
            value, headers = encode(bulletin)
            outcome.outgoing += [
                Outgoing(self._around.bulletins, str(partition).encode(), value, headers, partition)
                for partition in range(self._around.partitions)
            ]

    def _look_at_key(self, record: Record, event: Message, outcome: Outcome) -> None:
        why = self._keys.misplaced(record.key, event.account.encode(), record.partition)
        if why is not None:
            outcome.misplaced[why] += 1

    def _now_at(self, record: Record, event: Envelope) -> float:
        if self._around.clock == "records":
            return float(record.timestamp)
        return min(float(record.timestamp), event.time.timestamp() * 1000)


def _reject(record: Record, rejected: Rejected, outcome: Outcome) -> None:
    outcome.rejects[rejected.reason] += 1
    outcome.outgoing.append(dead_letter(record, rejected))
