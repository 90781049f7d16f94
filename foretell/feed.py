"""`foretell feed FILE`: a user's own file as events on the topics, in the order and, if asked, at the pace of its times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from detectors.codec import BULLETIN_TYPES, EVENT_TYPES, Rejected
from detectors.message import Envelope
from streams.settings import KafkaSettings, TopicsSettings

from .event_producer import EventProducer, UnacknowledgedError, role_of
from .feed_files import FeedError, Row, RowFile, open_file
from .feed_mapping import RowMapping

__all__ = ["FeedError", "FeedOptions", "FeedSummary", "Pace", "feed"]

_REFUSALS_SHOWN = 5
_WORTH_SLEEPING_SECONDS = 0.01
_REPORTED_EVERY_ROWS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """What to feed, and how.

    Attributes:
        file: CSV, JSON Lines or Parquet.
        type: of the events; it picks the topic.
        mapping: `ours=column`, `ours=column*factor` or `ours:=constant`, each.
        timezone: of times that name no offset, as in the IANA list.
        speed: seconds of the events' time in one of ours; None for as fast as it goes.
        start: the first row to feed; rows count from 1.
        limit: how many rows to feed at most.
        dry_run: read and check, but send nothing and need no Kafka.
    """

    file: Path
    type: str = "usage.recorded"
    mapping: tuple[str, ...] = ()
    timezone: str | None = None
    speed: float | None = None
    start: int = 1
    limit: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that makes no event, and why."""

    row: int
    why: str


@dataclass(slots=True)
class FeedSummary:
    """What became of the rows: read = sent + refused.

    Attributes:
        is_dry: nothing is sent; `sent` counts what would have been.
        sent: acknowledged by Kafka once `feed` has returned.
        backwards: rows whose time is before that of the row above; they are sent where they stand.
        refusals: the first few of the refused.
        first: the earliest of the events' times.
        last: the latest of the events' times.
    """

    topic: str
    is_dry: bool = False
    read: int = 0
    sent: int = 0
    refused: int = 0
    backwards: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Rows a second."""
        return self.read / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "topic": self.topic,
            "dry_run": self.is_dry,
            "read": self.read,
            "sent": self.sent,
            "refused": self.refused,
            "refusals": [{"row": refusal.row, "why": refusal.why} for refusal in self.refusals],
            "backwards": self.backwards,
            "first": self.first,
            "last": self.last,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.per_second, 1),
        }

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        sent = "fit for" if self.is_dry else "sent to"
        yield (
            f"{self.read:,} rows read, {self.sent:,} {sent} {self.topic}, {self.refused:,} refused; "
            f"{self.seconds:.1f} s, {self.per_second:,.0f} rows/s"
        )
        if self.is_dry:
            yield "nothing was sent: this was a dry run"
        if self.first and self.last:
            yield f"their times: {self.first.isoformat(' ')} to {self.last.isoformat(' ')}"
        if self.backwards:
            yield (
                f"{self.backwards:,} rows go back in time; they were sent where they stand, as late readings. "
                "Sort the file by time if that is not what happened."
            )
        for refusal in self.refusals:
            yield f"refused: row {refusal.row}: {refusal.why}"
        if self.refused > len(self.refusals):
            yield f"... and {self.refused - len(self.refusals):,} more"

    def refuse(self, row: int, why: str) -> None:
        """Count a row that makes no event."""
        self.refused += 1
        if len(self.refusals) < _REFUSALS_SHOWN:
            self.refusals.append(Refusal(row, why))

    def note_time(self, moment: datetime) -> None:
        """Widen the span of times by `moment`."""
        self.first = moment if self.first is None else min(self.first, moment)
        self.last = moment if self.last is None else max(self.last, moment)


class Pace:
    """When it is an event's turn: the events' clock against ours.

    Args:
        speed: seconds of the events' time in one of ours; None where every event's turn is at once.

    >>> from datetime import timedelta
    >>> pace = Pace(speed=3600)
    >>> noon = datetime(2026, 3, 28, 12)
    >>> pace.ahead(noon), 0.9 < pace.ahead(noon + timedelta(hours=1)) <= 1
    (0.0, True)
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._began = 0.0
        self._first: datetime | None = None

    def ahead(self, moment: datetime) -> float:
        """Return how many seconds too early it is for this event; 0 for one whose turn has come."""
        if self._speed is None:
            return 0.0
        if self._first is None:
            self._first, self._began = moment, time.monotonic()
        due = self._began + (moment - self._first).total_seconds() / self._speed
        return max(0.0, due - time.monotonic())


def feed(
    options: FeedOptions,
    kafka: KafkaSettings,
    topics: TopicsSettings,
    on_progress: Callable[[FeedSummary], None] = lambda _: None,
) -> FeedSummary:
    """Send the rows of a file as events and return what became of them, once Kafka has acknowledged all that were sent.

    Rows that make no valid event are counted, not sent: the rules are those of the stream worker. An event whose id is
    mapped to nothing is called by the file and the row, so that feeding the file again sends the same ids.

    Raises:
        FeedError: the options or the file are of no use, or Kafka goes silent; nothing is sent in the first two cases.
        TopicError: no broker answers, or the topic is missing.
    """
    model, role = _type(options)
    file = open_file(options.file)
    mapping = RowMapping(model, options.mapping, file.columns, _zone(options))
    _refuse_naive_times(options, file, mapping)
    summary = FeedSummary(topics.named(role), is_dry=options.dry_run)
    pace = Pace(options.speed)
    began = time.monotonic()
    with ExitStack() as stack:
        producer = None if options.dry_run else stack.enter_context(EventProducer(kafka, topics, (role,)))
        try:
            for row, event in _events(options, file, mapping, summary):
                if producer is not None and not _sent(row, event, producer, pace, summary):
                    continue
                summary.sent += 1
                if summary.read % _REPORTED_EVERY_ROWS == 0:
                    summary.seconds = time.monotonic() - began
                    on_progress(summary)
            if producer is not None:
                producer.flush()
        except UnacknowledgedError as error:
            there = "nothing is there for sure" if error.last is None else f"all is there up to row {error.last}"
            raise FeedError(
                f"{error}; {there}; when it is back go on with --start {(error.last or options.start - 1) + 1}"
            ) from error
    summary.seconds = time.monotonic() - began
    return summary


def _sent(row: int, event: Envelope, producer: EventProducer, pace: Pace, summary: FeedSummary) -> bool:
    """Send an event when it is its turn; return False if it is one that Kafka would not take."""
    ahead = pace.ahead(event.time)
    if ahead > _WORTH_SLEEPING_SECONDS:
        producer.ship()
        time.sleep(ahead)
    try:
        producer.send(event, called=row)
    except Rejected as rejected:
        summary.refuse(row, rejected.detail)
        return False
    return True


def _events(
    options: FeedOptions, file: RowFile, mapping: RowMapping, summary: FeedSummary
) -> Iterator[tuple[int, Envelope]]:
    name = options.file.name
    before: datetime | None = None
    for row in _chosen(options, file.rows(mapping.columns)):
        summary.read += 1
        if row.values is None:
            summary.refuse(row.number, row.fault)
            continue
        try:
            event = mapping.event(row.values, {"id": f"{name}:{row.number}", "source": f"/file/{name}"})
        except Rejected as rejected:
            summary.refuse(row.number, rejected.detail)
            continue
        summary.note_time(event.time)
        if before is not None and event.time < before:
            summary.backwards += 1
        before = event.time
        yield row.number, event


def _chosen(options: FeedOptions, rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if row.number < options.start:
            continue
        if options.limit is not None and row.number >= options.start + options.limit:
            return
        yield row


def _type(options: FeedOptions) -> tuple[type[Envelope], str]:
    try:
        role = role_of(options.type)
    except ValueError as error:
        raise FeedError(f"--type: {error}") from error
    if options.speed is not None and not 0 < options.speed < float("inf"):
        raise FeedError(f"--speed {options.speed:g}: expected seconds of the events' time in one of ours, above 0")
    if options.start < 1 or (options.limit is not None and options.limit < 1):
        raise FeedError("--start and --limit count rows from 1")
    return (EVENT_TYPES | BULLETIN_TYPES)[options.type], role


def _zone(options: FeedOptions) -> ZoneInfo | None:
    if options.timezone is None:
        return None
    try:
        return ZoneInfo(options.timezone)
    except (LookupError, OSError, ValueError) as error:  # unknown; a directory such as "Europe"; a path such as "../x"
        raise FeedError(
            f"--timezone {options.timezone!r} is no IANA time zone; expected one like Europe/Stockholm"
        ) from error


def _refuse_naive_times(options: FeedOptions, file: RowFile, mapping: RowMapping) -> None:
    """Ask for the zone at once where the first row shows that it is needed, not after refusing every row."""
    first = next(file.rows(mapping.columns), None)
    if first is None or first.values is None:
        return
    moment = mapping.naive_time(first.values)
    if moment is not None and options.timezone is None:
        raise FeedError(
            f"{options.file.name}: the times name no offset, the first is {moment.isoformat(' ')}; "
            "say their zone: --timezone Europe/Stockholm"
        )
