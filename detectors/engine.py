"""The engine: all accounts of one partition. Pure and deterministic; the same records in order give the same alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from pydantic import BaseModel, ConfigDict, Field

from .alerts import Alert, DetectorVersion, Evidence, derive_alert_id
from .catalogue import CatalogueSettings, build_detectors
from .codec import EVENT_TYPES, Rejected
from .detector import Detector, Finding
from .events import AccountClosed, AccountUpdated, UsageRecorded
from .message import Message, Name
from .plans import Meter, Plan
from .profile import Profile

_SOURCE = "/foretell/streams"
_MOST_AHEAD_SECONDS = 24 * 3600.0  # clocks differ, and some meters name the end of their period


class EngineSettings(BaseModel):
    """What the alerts depend on besides the events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    meters: dict[Name, Meter] = Field(default_factory=dict)
    plans: dict[Name, Plan] = Field(default_factory=dict)
    detectors: CatalogueSettings = Field(default_factory=CatalogueSettings)

    def digest(self) -> str:
        """Return a short hash that changes with any setting."""
        return blake2b(self.model_dump_json().encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an event stands and when it got there.

    Attributes:
        timestamp_ms: the record's own timestamp, which a replay repeats; None where the event comes from a file.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None = None


class Engine:
    """Turn the events of one partition's accounts into alerts.

    Attributes:
        repeated: events that were not applied because their id was seen lately.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._meters = settings.meters
        self._config = settings.digest()
        detectors = build_detectors(settings.detectors, settings.plans)
        self._readers = {
            read: tuple(detector for detector in detectors if read in detector.reads) for read in EVENT_TYPES.values()
        }
        self._profiles: dict[str, Profile] = {}
        self.repeated = 0

    def __len__(self) -> int:
        return len(self._profiles)

    def handle(self, event: Message, origin: Origin) -> list[Alert]:
        """Return the alerts that `event` raises, and learn from it.

        Raises:
            Rejected: the event cannot be used; nothing has changed.
        """
        self._check_unit(event)
        _check_time(event, origin)
        profile = self._profiles.get(event.account)
        if profile is None:
            profile = self._profiles[event.account] = Profile(event.account)
        if profile.is_repeated(event.source, event.id):
            self.repeated += 1
            return []
        if isinstance(event, AccountClosed):
            del self._profiles[event.account]
            return []
        if isinstance(event, AccountUpdated):
            profile.facts = profile.facts.updated(event)
        return [
            alert for detector in self._readers[type(event)] for alert in self._ask(detector, event, profile, origin)
        ]

    def _ask(self, detector: Detector, event: Message, profile: Profile, origin: Origin) -> list[Alert]:
        memory = profile.memories.get(detector.kind)
        if memory is None:
            memory = profile.memories[detector.kind] = detector.begin()
        detector.settle(event.time, profile.facts, memory)
        raised = [
            self._alert(detector, finding, event, origin) for finding in detector.score(event, profile.facts, memory)
        ]
        detector.learn(event, profile.facts, memory, raised)
        return raised

    def _alert(self, detector: Detector, finding: Finding, event: Message, origin: Origin) -> Alert:
        alert_id = derive_alert_id(event.account, detector.kind, finding.subject, finding.period, finding.threshold)
        reached = origin.timestamp_ms
        detected_at = finding.occurred_at if reached is None else datetime.fromtimestamp(reached / 1000, UTC)
        return Alert(
            id=f"{alert_id}:{finding.state}",
            source=_SOURCE,
            time=detected_at,
            account=event.account,
            alert_id=alert_id,
            kind=detector.kind,
            subject=finding.subject,
            state=finding.state,
            score=finding.score,
            severity=finding.severity,
            alert_class=detector.alert_class,
            occurred_at=finding.occurred_at,
            detected_at=detected_at,
            useful_until=finding.useful_until,
            harm=finding.harm,
            reasons=finding.reasons,
            question=finding.question,
            facts=finding.facts,
            detector=DetectorVersion(name=detector.kind, version=detector.version),
            config=self._config,
            evidence=(
                Evidence(topic=origin.topic, partition=origin.partition, offset=origin.offset, event_id=event.id),
            ),
        )

    def _check_unit(self, event: Message) -> None:
        if not isinstance(event, UsageRecorded):
            return
        meter = self._meters.get(event.meter)
        if meter is not None and meter.unit != event.unit:
            raise Rejected(
                "unit_mismatch",
                f"meter {event.meter!r} is counted in {meter.unit!r}, this event is in {event.unit!r}; "
                "send it in that unit, or let the topic's map convert it with `times`",
            )


def _check_time(event: Message, origin: Origin) -> None:
    """Refuse a time that would end hours, days and cycles that have not begun: whatever came after it would be late."""
    if origin.timestamp_ms is None:
        return
    ahead = event.time.timestamp() - origin.timestamp_ms / 1000
    if ahead > _MOST_AHEAD_SECONDS:
        raise Rejected(
            "from_the_future",
            f"the event's time is {event.time.isoformat()}, {ahead / 3600:.0f} hours after it was sent; "
            "expected a time that has come; check the sender's clock and the unit of its times",
        )
