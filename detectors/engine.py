"""The engine: all accounts of one partition. Pure and deterministic; the same records in order give the same alerts."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from .accounts import Accounts, AccountsInMemory
from .alerts import Alert, DetectorVersion, Evidence, derive_alert_id
from .bulletin_board import BulletinBoard
from .bulletins import Bulletin
from .catalogue import CatalogueSettings, build_detectors
from .codec import EVENT_TYPES, Rejected, refuse_future
from .detector import Announcing, Counting, Detector, Finding, Foretelling, Settled, Timed, Withholding
from .events import AccountClosed, AccountUpdated, UsageRecorded
from .message import Message, Name
from .plans import Meter, Plan
from .profile import NEVER, AccountFacts, Profile, RecentIds
from .profile_codec import ProfileCodec, check_format, timer_of
from .shared_state import is_shared, restore_shared, save_shared
from .state import StateError
from .timers import Timers

_SOURCE = "/foretell/streams"
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 24 * 3600 * 1000
_MOST_WAKES = 1000  # of one account at once, as after a long outage; a detector that wants more is broken


class EngineSettings(BaseModel):
    """What the alerts depend on besides the events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    meters: dict[Name, Meter] = Field(default_factory=dict)
    plans: dict[Name, Plan] = Field(default_factory=dict)
    detectors: CatalogueSettings = Field(default_factory=CatalogueSettings)

    def digest(self) -> str:
        """Return a short hash that changes with any setting."""
        return blake2b(self.model_dump_json().encode(), digest_size=6).hexdigest()


class Origin(NamedTuple):
    """Where an event stands and when it got there.

    Attributes:
        timestamp_ms: the record's own timestamp, which a replay repeats; None where the event comes from a file.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None = None


class DetectorFailedError(Exception):
    """Detectors raised; the others have done their part.

    Args:
        alerts: what the others raised.
        traceback: of each that failed, for a person.
    """

    def __init__(self, alerts: list[Alert], traceback: str) -> None:
        super().__init__(traceback)
        self.alerts = alerts
        self.traceback = traceback


class Engine:
    """Turn the events of one partition's accounts into alerts.

    Args:
        settings: what the alerts depend on besides the events.
        accounts: where profiles are kept; in memory by default.
        board: what is known about many accounts; an empty one by default.

    Attributes:
        repeated: events that were not applied because their id was seen lately.
        codec: how profiles are saved.
    """

    def __init__(
        self, settings: EngineSettings, accounts: Accounts | None = None, board: BulletinBoard | None = None
    ) -> None:
        self._meters = settings.meters
        self._config = settings.digest()
        self._board = BulletinBoard() if board is None else board
        self._accounts: Accounts = AccountsInMemory() if accounts is None else accounts
        self._detectors = build_detectors(settings.detectors, settings.plans, self._board)
        self._readers = {
            read: tuple((number, each) for number, each in enumerate(self._detectors) if read in each.reads)
            for read in EVENT_TYPES.values()
        }
        self._timed = tuple((number, each) for number, each in enumerate(self._detectors) if isinstance(each, Timed))
        self._counting = tuple(each for each in self._detectors if isinstance(each, Counting))
        self._foretelling = tuple((each.kind, each) for each in self._detectors if isinstance(each, Foretelling))
        self._withholding = {
            number: each for number, each in enumerate(self._detectors) if isinstance(each, Withholding)
        }
        self._announcing = frozenset(each.kind for each in self._detectors if isinstance(each, Announcing))
        self._timers = Timers()
        self._announced: list[Bulletin] = []
        self.codec = ProfileCodec(self._detectors)
        self.repeated = 0

    def __len__(self) -> int:
        return len(self._accounts)

    # events -----------------------------------------------------------------------------------------------------

    def handle(self, event: Message, origin: Origin, now_ms: float | None = None) -> list[Alert]:
        """Return the alerts that `event` raises, and learn from it.

        Args:
            event: what happened.
            origin: where it stands.
            now_ms: what time it is for the timers, in milliseconds since 1970; the event's own time by default.

        Raises:
            Rejected: the event cannot be used; nothing has changed.
            DetectorFailedError: a detector failed on it; the others did not.
            StateError: what is saved of the account cannot be read.
        """
        self._check_unit(event)
        account_ms = event.time.timestamp() * 1000
        if origin.timestamp_ms is not None and account_ms > origin.timestamp_ms:
            refuse_future(event.time, origin.timestamp_ms)
            account_ms = origin.timestamp_ms  # a clock that is ahead wakes nobody early
        key = event.account.encode()
        if is_shared(key):
            raise Rejected("invalid", "account: begins with a zero byte, which only our own state may; expected a name")
        profile = self._accounts.get(key)
        if profile is None:
            profile = Profile(AccountFacts(event.account), RecentIds(), [None] * len(self._detectors))
            self._accounts.add(key, profile)
        if profile.recent.is_repeated(event.source, event.id):
            self.repeated += 1
            return []
        work = _Work()
        if profile.timer_ms != NEVER:
            self._wake(key, profile, account_ms, work)
        profile.late_ms = 0 if now_ms is None else max(0, int((now_ms - account_ms) // _DAY_MS)) * _DAY_MS
        if isinstance(event, AccountClosed):
            self._accounts.remove(key)
            return work.done()
        if isinstance(event, AccountUpdated):
            profile.facts = profile.facts.updated(event)
        for number, detector in self._readers[type(event)]:
            is_withheld = False
            with work.attempt():
                memory = self._memory(profile, number)
                is_withheld = number in self._withholding and self._withholding[number].withholds(event, memory)
                self._ask(detector, memory, event, profile.facts, origin, work)
            if is_withheld:
                break
        self._set_timer(key, profile)
        return work.done()

    def _ask(
        self, detector: Detector, memory: Any, event: Message, facts: AccountFacts, origin: Origin, work: _Work
    ) -> None:
        detector.settle(event.time, facts, memory)
        raised = [self._alert(detector, finding, event, origin) for finding in detector.score(event, facts, memory)]
        if detector.kind in self._announcing and isinstance(detector, Announcing):
            self._announced += detector.announce(event, facts, memory)
        detector.learn(event, facts, memory, raised)
        work.alerts += raised

    def _memory(self, profile: Profile, number: int) -> Any:
        memory = profile.memories[number]
        if memory is None:
            memory = profile.memories[number] = self._detectors[number].begin()
        elif type(memory) is bytes:
            detector = self._detectors[number]
            memory = profile.memories[number] = detector.restore(memory, detector.version)
        return memory

    # timers -----------------------------------------------------------------------------------------------------

    @property
    def next_timer_ms(self) -> float:
        """When `tick` has something to do next, in milliseconds since 1970; infinite when nothing is pending."""
        return self._timers.next_ms

    @property
    def pending_timers(self) -> int:
        """How many accounts wait to be woken."""
        return len(self._timers)

    def tick(self, now_ms: float) -> list[Alert]:
        """Wake the accounts whose time has come, and return what their detectors have to say.

        Raises:
            DetectorFailedError: a detector failed; the others did not.
        """
        work = _Work()
        for due_ms, key in self._timers.due(now_ms):
            profile = self._accounts.get(key)
            if profile is not None and profile.timer_ms == due_ms:  # else it was woken by an event, or closed
                profile.timer_ms = NEVER
                self._wake(key, profile, now_ms - profile.late_ms, work)
                self._set_timer(key, profile)
        return work.done()

    def _wake(self, key: bytes, profile: Profile, now_ms: float, work: _Work) -> None:
        """Let each detector whose time has come say so; `now_ms` is the account's own time."""
        if profile.timer_ms - profile.late_ms > now_ms:
            return
        profile.timer_ms = NEVER
        for number, detector in self._timed:
            with work.attempt():
                memory = self._memory(profile, number)
                for _ in range(_MOST_WAKES):
                    due = detector.due(profile.facts, memory)
                    if due is None or _milliseconds(due) > now_ms:
                        break
                    findings = detector.wake(due, profile.facts, memory)
                    work.alerts += [self._alert_of_timer(detector, finding, key.decode(), due) for finding in findings]
                else:
                    raise RuntimeError(f"{detector.kind} wants to be woken at {due} again and again")

    def _set_timer(self, key: bytes, profile: Profile) -> None:
        for number, detector in self._timed:
            if profile.memories[number] is None or type(profile.memories[number]) is bytes:
                continue  # it was not asked, so its time has not changed
            due = detector.due(profile.facts, profile.memories[number])
            timer = NEVER if due is None else _milliseconds(due) + profile.late_ms
            if timer != NEVER and (profile.timer_ms == NEVER or timer < profile.timer_ms):
                profile.timer_ms = timer
                self._timers.set(key, timer)

    # facts about many accounts ----------------------------------------------------------------------------------

    def hear(self, bulletin: Bulletin) -> bool:
        """Take in a fact about many accounts; return whether it is news."""
        return self._board.hear(bulletin)

    def take_irregularities(self) -> Counter[tuple[str, str]]:
        """Return what the detectors could make no use of, by detector kind and what it was, once."""
        taken: Counter[tuple[str, str]] = Counter()
        for each in self._counting:
            if each.irregularities:
                taken.update({(each.kind, what): count for what, count in each.irregularities.items()})
                each.irregularities.clear()
        return taken

    def take_settled(self) -> dict[tuple[str, int], Settled]:
        """Return the probabilities whose outcome became known, by detector kind and tenth, once."""
        return {
            (kind, tenth): settled for kind, each in self._foretelling for tenth, settled in each.take_settled().items()
        }

    def take_announcements(self) -> list[Bulletin]:
        """Return what the detectors have to tell every partition, once."""
        announced, self._announced = self._announced, []
        return announced

    # state ------------------------------------------------------------------------------------------------------

    def save_shared(self) -> dict[bytes, bytes]:
        """Return what is kept besides the accounts, in parts."""
        return save_shared(self._detectors, self._board)

    def restore(self, shared: Mapping[bytes, bytes], profiles: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up where a saved engine left off; the profiles themselves are the accounts' keeper's affair.

        Args:
            shared: what `save_shared` gave.
            profiles: every account with its saved profile, to set the timers from.

        Raises:
            StateError: a newer version wrote it, or it is damaged.
        """
        restore_shared(shared, self._detectors, self._board)
        timers = []
        for key, saved in profiles:
            check_format(saved)
            timer = timer_of(saved)
            if timer != NEVER:
                timers.append((timer, key))
        self._timers.fill(timers)

    # alerts -----------------------------------------------------------------------------------------------------

    def _alert(self, detector: Detector, finding: Finding, event: Message, origin: Origin) -> Alert:
        reached = origin.timestamp_ms
        detected_at = finding.occurred_at if reached is None else datetime.fromtimestamp(reached / 1000, UTC)
        evidence = Evidence(topic=origin.topic, partition=origin.partition, offset=origin.offset, event_id=event.id)
        return self._address(detector, finding, event.account, detected_at, (evidence,))

    def _alert_of_timer(self, detector: Detector, finding: Finding, account: str, due: datetime) -> Alert:
        return self._address(detector, finding, account, due, ())

    def _address(
        self,
        detector: Detector,
        finding: Finding,
        account: str,
        detected_at: datetime,
        evidence: tuple[Evidence, ...],
    ) -> Alert:
        alert_id = derive_alert_id(account, detector.kind, finding.subject, finding.period, finding.threshold)
        return Alert(
            id=f"{alert_id}:{finding.state}",
            source=_SOURCE,
            time=detected_at,
            account=account,
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
            evidence=evidence,
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


class _Work:
    """What came of one event or wake: alerts, and what went wrong on the way."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self._failures: list[str] = []

    def attempt(self) -> _Work:
        """Return a block that keeps a detector's fault from the other detectors."""
        return self

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, StateError):
            return False
        self._failures.append("".join(traceback.format_exception(error, limit=-6)))
        return True

    def done(self) -> list[Alert]:
        """Return the alerts.

        Raises:
            DetectorFailedError: a detector raised.
        """
        if self._failures:
            raise DetectorFailedError(self.alerts, "\n".join(self._failures))
        return self.alerts


def _milliseconds(moment: datetime) -> int:
    return -((_EPOCH - moment) // _MILLISECOND)  # rounded up: never woken before the time
