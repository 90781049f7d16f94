"""What every partition keeps of the facts about many accounts: incidents, notices and denied merchants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from struct import Struct
from types import MappingProxyType
from typing import Any
from zlib import crc32

import msgspec
from pydantic import ValidationError

from .bulletins import Bulletin, IncidentChange, IncidentReported, IncidentResolved, MerchantDenied, NoticePublished
from .online.merchant_runs import BadRun
from .state import StateError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 24 * 3600 * 1_000_000
_KEPT_AFTER_END = 7 * _DAY
_KEPT = 30 * _DAY
_MOST_MERCHANTS = 10_000
_MOST_INCIDENTS = 1_000
_MOST_NOTICES = 1_000
_MOST_HEARD = 10_000
_DIGEST_BYTES = 8
_PART_BYTES = 512 * 1024  # half of what a broker takes for a record
_FORMAT = 1
_HEADER = Struct(">BHI")  # format, how many parts there are, checksum of all that
_KINDS = ("heard", "incidents", "merchants", "notices")
_INCIDENT_FACTS = ("service", "areas", "accounts", "component", "started_at", "expected_end", "planned")


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of an incident that is not over.

    Attributes:
        reported_at: the time of the latest event about it.
    """

    incident: str
    service: str
    areas: frozenset[str]
    accounts: frozenset[str]
    component: str | None
    started_at: datetime
    expected_end: datetime | None
    planned: bool
    reported_at: datetime


class _Known(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What was said of an incident, in whatever order it came: of each fact the latest word counts.

    Attributes:
        said: fact -> when it was said, by which event, and the fact. All times are microseconds since 1970.
        latest: the latest word.
    """

    said: dict[str, tuple[int, str, str | int | bool | list[str]]] = {}
    latest: int = 0
    reported: int = -1
    resolved: int = -1

    def hear(self, change: IncidentChange) -> None:
        """Take in a change."""
        when = _microseconds(change.time)
        self.latest = max(self.latest, when)
        if isinstance(change, IncidentResolved):
            self.resolved = max(self.resolved, when)
        elif isinstance(change, IncidentReported):
            self.reported = max(self.reported, when)
        facts = {name: getattr(change, name) for name in _INCIDENT_FACTS}
        if isinstance(change, IncidentReported) and change.started_at is None:
            facts["started_at"] = change.time
        for name, value in facts.items():
            if value is not None:
                told = (when, f"{change.source} {change.id}", _plain(value))
                self.said[name] = max(self.said.get(name, told), told, key=lambda each: each[:2])
        self.said = {name: told for name, told in self.said.items() if told[0] > self.resolved}

    def as_incident(self, name: str) -> Incident | None:
        """Return what goes on; None where it is over or too little is known of it.

        A word after its end opens it again only if it is a new report: people look back at what they have mended.
        """
        facts: dict[str, Any] = {fact: told[2] for fact, told in self.said.items()}
        is_over = self.reported <= self.resolved and self.resolved >= 0
        if is_over or "service" not in facts or not facts.keys() & {"areas", "accounts", "component"}:
            return None
        end = facts.get("expected_end")
        return Incident(
            incident=name,
            service=facts["service"],
            areas=frozenset(facts.get("areas", ())),
            accounts=frozenset(facts.get("accounts", ())),
            component=facts.get("component"),
            started_at=_moment(facts.get("started_at", min(told[0] for told in self.said.values()))),
            expected_end=None if end is None else _moment(end),
            planned=facts.get("planned", False),
            reported_at=_moment(self.latest),
        )

    @property
    def forgotten_at(self) -> int:
        """When nobody need know of it any more."""
        if self.resolved >= max(self.reported, 0):
            return max(self.resolved, self.latest) + _KEPT_AFTER_END
        began, end = (self.said.get(name, (0, "", 0))[2] for name in ("started_at", "expected_end"))
        if end:
            return max(int(end), self.latest) + _KEPT_AFTER_END  # type: ignore[arg-type] # times are numbers
        return max(int(began), self.latest) + _KEPT  # type: ignore[arg-type]


class _Denied(msgspec.Struct, array_like=True, frozen=True):
    """What was denied of a merchant; a board of an older version knows the count alone.

    Attributes:
        count: all denials.
        bads: those of the present run for which the merchant is to blame; 0 for no run.
        onset: the first charge of the run, in seconds since 1970.
        last: its latest.
    """

    merchant: str
    count: int = 0
    bads: int = 0
    onset: int = 0
    last: int = 0

    @property
    def run(self) -> BadRun | None:
        """The merchant's run of bad charges."""
        return BadRun(self.onset, self.last, self.bads) if self.bads else None

    def heard(self, denial: MerchantDenied) -> _Denied:
        """Return what is known after one more."""
        run = self.run
        if not denial.blames_card:
            at = _microseconds(denial.charged_at or denial.time) // 1_000_000
            run = BadRun(at, at, 1) if run is None else run.extended(at)
        return _Denied(self.merchant, self.count + 1, *((0, 0, 0) if run is None else (run.bads, run.onset, run.last)))


class BulletinBoard:
    """What one partition knows about many accounts. Bounded; its clock is the bulletins' own time.

    Attributes:
        changes: grows whenever an incident or a notice does, so that whoever keeps an index of them knows when it is old.

    >>> board = BulletinBoard()
    >>> denied = MerchantDenied(id="1", source="/x", time="2026-03-01T12:00:00Z", merchant="m1")
    >>> board.hear(denied), board.hear(denied), board.denials("m1")
    (True, False, 1)
    """

    def __init__(self) -> None:
        self.changes = 0
        self._heard: dict[bytes, None] = {}
        self._merchants: dict[str, _Denied] = {}
        self._incidents: dict[str, _Known] = {}
        self._notices: dict[str, NoticePublished] = {}
        self._shown: dict[str, Incident] | None = None
        self._latest = 0
        self._saved: dict[str, dict[str, bytes]] = {}

    def hear(self, bulletin: Bulletin) -> bool:
        """Take in a bulletin and return whether it is news; one that was heard before changes nothing."""
        identity = f"{len(bulletin.source)}:{bulletin.source}{bulletin.id}"
        digest = blake2b(identity.encode(), digest_size=_DIGEST_BYTES).digest()
        if digest in self._heard:
            return False
        self._heard[digest] = None
        _drop_oldest(self._heard, _MOST_HEARD)
        self._saved.pop("heard", None)
        if isinstance(bulletin, MerchantDenied):
            known_of = self._merchants.pop(bulletin.merchant, None) or _Denied(bulletin.merchant)
            self._merchants[bulletin.merchant] = known_of.heard(bulletin)
            _drop_oldest(self._merchants, _MOST_MERCHANTS)
            self._saved.pop("merchants", None)
        elif isinstance(bulletin, NoticePublished):
            known = self._notices.get(bulletin.notice)
            if known is None or _order(known) < _order(bulletin):
                self._notices.pop(bulletin.notice, None)
                self._notices[bulletin.notice] = bulletin
                _drop_oldest(self._notices, _MOST_NOTICES)
                self._changed("notices")
        elif isinstance(bulletin, IncidentChange):
            incident = self._incidents.setdefault(bulletin.incident, _Known())
            incident.hear(bulletin)
            _drop_oldest(self._incidents, _MOST_INCIDENTS)
            self._changed("incidents")
        self._latest = max(self._latest, _microseconds(bulletin.time))
        self.forget(_moment(self._latest))
        return True

    def forget(self, now: datetime) -> None:
        """Forget what is of no use at `now`. Hearing a bulletin forgets what is of none at the latest bulletin's time."""
        moment = _microseconds(now)
        over = [name for name, incident in self._incidents.items() if incident.forgotten_at < moment]
        stale = [name for name, notice in self._notices.items() if _microseconds(notice.time) + _KEPT < moment]
        for name in over:
            del self._incidents[name]
            self._changed("incidents")
        for name in stale:
            del self._notices[name]
            self._changed("notices")

    def denials(self, merchant: str) -> int:
        """Return how many times customers denied a charge of this merchant."""
        denied = self._merchants.get(merchant)
        return 0 if denied is None else denied.count

    def run_of(self, merchant: str) -> BadRun | None:
        """Return this merchant's run of charges that were denied or labelled bad, as far as it is to blame for them."""
        denied = self._merchants.get(merchant)
        return None if denied is None else denied.run

    @property
    def incidents(self) -> Mapping[str, Incident]:
        """The incidents that are not over, by name."""
        if self._shown is None:
            known = ((name, incident.as_incident(name)) for name, incident in sorted(self._incidents.items()))
            self._shown = {name: incident for name, incident in known if incident is not None}
        return MappingProxyType(self._shown)

    @property
    def notices(self) -> Mapping[str, NoticePublished]:
        """The notices of the last 30 days, by name."""
        return MappingProxyType(self._notices)

    def save(self) -> dict[str, bytes]:
        """Return all of it in parts, each small enough for a record; a part that has not changed is the same object."""
        for kind in _KINDS:
            if kind not in self._saved:
                self._saved[kind] = _parts(kind, msgspec.msgpack.encode(self._content(kind), order="deterministic"))
        return {name: part for kind in _KINDS for name, part in self._saved[kind].items()}

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Take the place of what was saved; a kind of which there is no part is empty.

        Raises:
            StateError: a newer version wrote it, or it is damaged.
        """
        unknown = sorted({name.partition("/")[0] for name in parts} - set(_KINDS))
        if unknown:
            raise StateError(
                f"the bulletin board has {unknown[0]!r}, which this version of Foretell does not know; "
                "run the version that wrote it, or a newer one"
            )
        joined = {kind: whole for kind in _KINDS if (whole := _joined(kind, parts)) is not None}
        restored = BulletinBoard()
        try:
            if "merchants" in joined:
                denied = msgspec.msgpack.decode(joined["merchants"], type=list[_Denied])
                restored._merchants = {each.merchant: each for each in denied}
            if "incidents" in joined:
                restored._incidents = dict(msgspec.msgpack.decode(joined["incidents"], type=list[tuple[str, _Known]]))
            if "notices" in joined:
                notices = [NoticePublished.model_validate(each) for each in msgspec.msgpack.decode(joined["notices"])]
                restored._notices = {notice.notice: notice for notice in notices}
            if "heard" in joined:
                restored._latest, heard = msgspec.msgpack.decode(joined["heard"], type=tuple[int, bytes])
                starts = range(0, len(heard), _DIGEST_BYTES)
                restored._heard = dict.fromkeys(heard[start : start + _DIGEST_BYTES] for start in starts)
        except (msgspec.DecodeError, ValidationError, TypeError) as error:
            raise StateError(
                f"the saved bulletin board is damaged ({error}); delete its records to begin anew"
            ) from error
        restored.changes = self.changes + 1
        vars(self).update(vars(restored))

    def _content(self, kind: str) -> Any:
        match kind:
            case "merchants":
                return list(self._merchants.values())
            case "incidents":
                return list(self._incidents.items())
            case "notices":
                return [notice.model_dump(mode="json") for notice in self._notices.values()]
            case _:
                return [self._latest, b"".join(self._heard)]

    def _changed(self, kind: str) -> None:
        self.changes += 1
        self._saved.pop(kind, None)
        self._shown = None


def _drop_oldest(entries: dict[Any, Any], most: int) -> None:
    if len(entries) > most:
        del entries[next(iter(entries))]


def _order(bulletin: Bulletin) -> tuple[datetime, str, str]:
    return bulletin.time, bulletin.source, bulletin.id


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: Any) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _microseconds(value)
    return list(value) if isinstance(value, tuple) else value


def _parts(kind: str, whole: bytes) -> dict[str, bytes]:
    """Cut `whole` to pieces; the first says how many there are, so that those of a longer past do not count."""
    count = max(1, -(-len(whole) // _PART_BYTES))
    pieces = [whole[number * _PART_BYTES : (number + 1) * _PART_BYTES] for number in range(count)]
    pieces[0] = _HEADER.pack(_FORMAT, count, crc32(whole, count)) + pieces[0]
    return {f"{kind}/{number}": piece for number, piece in enumerate(pieces)}


def _joined(kind: str, parts: Mapping[str, bytes]) -> bytes | None:
    first = parts.get(f"{kind}/0")
    if first is None:
        if any(name.partition("/")[0] == kind for name in parts):
            raise StateError(f"the saved bulletin board lacks {kind}/0; delete its records to begin anew")
        return None
    if first and first[0] > _FORMAT:
        raise StateError(
            f"the saved bulletin board is in format {first[0]}, this version of Foretell reads up to {_FORMAT}; "
            "run the version that wrote it, or a newer one"
        )
    if len(first) >= _HEADER.size and first[0] == _FORMAT:
        _, count, checksum = _HEADER.unpack_from(first)
        pieces = [first[_HEADER.size :], *(parts.get(f"{kind}/{number}", b"") for number in range(1, count))]
        whole = b"".join(pieces)
        if crc32(whole, count) == checksum:
            return whole
    raise StateError(
        f"the saved bulletin board is damaged: {kind} is not what was written; delete its records to begin anew"
    )
