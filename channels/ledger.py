"""The ledger: every alert that came in, every time somebody was to be told, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, literal, or_, select, union_all, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from detectors.alerts import Alert, Disposition, Receipt
from detectors.codec import decode_alert, encode

from .ledger_file import READS, LedgerError, open_ledger_file
from .receipts import make_receipt
from .senders.sender import Outcome
from .tables import WAITING, alert, attempt, position, receipt, tally


class Position(NamedTuple):
    """Up to where a partition was admitted.

    Attributes:
        next_offset: the first offset that was not.
        topic_id: Kafka's id of the topic, where the broker gives one.
    """

    topic: str
    partition: int
    next_offset: int
    topic_id: str | None = None


@dataclass(slots=True)
class Admission:
    """What became of the alerts of one poll.

    Attributes:
        admitted: how many are new.
        repeated: how many were known already.
        settled: receipts of alerts that ended as they came in.
    """

    admitted: int = 0
    repeated: int = 0
    settled: list[Receipt] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Claim:
    """An alert that the holder alone may send, for a while.

    Attributes:
        until: after this the holder is believed dead; also proves whose claim it is.
        attempts: how often a provider was asked so far.
        refused: channels that said no for good.
        in_doubt: the channel of an attempt whose holder died before it noted what became of it.
    """

    alert: Alert
    until: datetime
    attempts: int
    refused: frozenset[str]
    in_doubt: str | None


@dataclass(frozen=True, slots=True)
class PendingReceipt:
    """A receipt that is to be published."""

    receipt_id: str
    account: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Conservation:
    """Both sides of the law: every alert that was admitted is waiting or has exactly one disposition, with its receipt."""

    admitted: int
    waiting: int
    dispositions: Mapping[str, int]
    receipts: int

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing counted twice."""
        ended = sum(self.dispositions.values())
        return self.admitted == self.waiting + ended and self.receipts == ended


class Ledger:
    """A ledger in an SQLite file. Several processes may use it at once.

    Args:
        url: SQLAlchemy URL; the file is made if need be, for this user only.

    Raises:
        LedgerError: it cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._path = make_url(url).database
        self._engine = open_ledger_file(url)
        self._reading = self._engine.execution_options(**{READS: True})

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    # coming in --------------------------------------------------------------------------------------------------

    def admit(self, alerts: Iterable[Alert], positions: Iterable[Position], now: datetime) -> Admission:
        """Take in what a poll brought, and how far it went, in one transaction."""
        admission = Admission()
        with self._writing() as connection:
            for each in alerts:
                if _insert_alert(connection, each, now):
                    admission.admitted += 1
                    if each.state == "resolved":  # never told, and not true any more
                        admission.settled.append(_write_receipt(connection, each, "resolved_first", now))
                elif each.state == "triggered":
                    admission.repeated += 1
                elif each.state == "updated":
                    _refresh(connection, each, now)
                elif _resolve(connection, each, now):
                    admission.settled.append(_write_receipt(connection, each, "resolved_first", now))
            connection.execute(
                update(tally).where(tally.c.name == "admitted").values(count=tally.c.count + admission.admitted)
            )
            for each_position in positions:
                _advance(connection, each_position)
        return admission

    def positions(self, topic: str) -> dict[int, Position]:
        """Return how far each partition of `topic` was admitted."""
        with self._reading_from() as connection:
            rows = connection.execute(select(position).where(position.c.topic == topic)).mappings()
            return {row["partition"]: Position(**row) for row in rows}

    # going out --------------------------------------------------------------------------------------------------

    def claim(self, now: datetime, lease: timedelta) -> Claim | None:
        """Return the alert that waits longest and that nobody is sending, or None; for `lease` nobody else is given it."""
        with self._writing() as connection:
            row = connection.execute(
                select(alert.c.alert_id, alert.c.body)
                .where(alert.c.disposition == WAITING, _is_free(now))
                .order_by(alert.c.number)
                .limit(1)
            ).one_or_none()
            if row is None:
                return None
            until = now + lease
            connection.execute(update(alert).where(alert.c.alert_id == row.alert_id).values(claimed_until=until))
            tried = connection.execute(
                select(attempt.c.channel, attempt.c.outcome).where(attempt.c.alert_id == row.alert_id)
            ).all()
        return Claim(
            alert=decode_alert(row.body.encode()),
            until=until,
            attempts=len(tried),
            refused=frozenset(each.channel for each in tried if each.outcome == "refused"),
            in_doubt=next((each.channel for each in tried if each.outcome is None), None),
        )

    def release(self, claim: Claim) -> None:
        """Give back an alert that was not sent."""
        with self._writing() as connection:
            connection.execute(update(alert).where(*_is_held(claim)).values(claimed_until=None))

    def start_attempt(self, claim: Claim, channel: str, now: datetime, lease: timedelta) -> tuple[Claim, int] | None:
        """Note that a provider is about to be asked.

        Returns:
            The claim, extended, and the attempt's number; None if the claim has run out and somebody else has the alert.
        """
        with self._writing() as connection:
            until = now + lease
            held = connection.execute(update(alert).where(*_is_held(claim)).values(claimed_until=until))
            if held.rowcount == 0:
                return None
            number = connection.execute(
                insert(attempt)
                .values(alert_id=claim.alert.alert_id, channel=channel, started_at=now)
                .returning(attempt.c.number)
            ).scalar_one()
        return Claim(claim.alert, until, claim.attempts + 1, claim.refused, None), number

    def end_attempt(self, number: int, outcome: Outcome, now: datetime) -> None:
        """Note what became of an attempt, where more are to follow."""
        with self._writing() as connection:
            _end_attempt(connection, number, outcome, now)

    def settle(
        self,
        claim: Claim,
        disposition: Disposition,
        now: datetime,
        *,
        reason: str | None = None,
        channel: str | None = None,
        last: tuple[int, Outcome] | None = None,
    ) -> Receipt | None:
        """End an alert: its last attempt's outcome, its disposition and its receipt, in one transaction.

        Returns:
            The receipt; None if the claim had run out and somebody else has ended the alert.
        """
        with self._writing() as connection:
            if last is not None:
                _end_attempt(connection, *last, now)
            ended = connection.execute(
                update(alert)
                .where(*_is_held(claim))
                .values(disposition=disposition, reason=reason, channel=channel, settled_at=now, claimed_until=None)
            )
            if ended.rowcount == 0:
                return None
            return _write_receipt(connection, claim.alert, disposition, now, reason, channel, claim.attempts)

    # telling what became of it ----------------------------------------------------------------------------------

    def unpublished(self, most: int) -> list[PendingReceipt]:
        """Return receipts that are not known to be published, oldest first."""
        with self._reading_from() as connection:
            rows = connection.execute(
                select(receipt.c.receipt_id, receipt.c.account, receipt.c.body)
                .where(receipt.c.published_at.is_(None))
                .order_by(receipt.c.number)
                .limit(most)
            )
            return [PendingReceipt(row.receipt_id, row.account, row.body.encode()) for row in rows]

    def mark_published(self, receipt_ids: Sequence[str], now: datetime) -> None:
        """Note that Kafka has these receipts."""
        with self._writing() as connection:
            connection.execute(
                update(receipt)
                .where(receipt.c.receipt_id.in_(receipt_ids), receipt.c.published_at.is_(None))
                .values(published_at=now)
            )

    # counting ---------------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many alerts have no disposition yet."""
        with self._reading_from() as connection:
            query = select(func.count()).select_from(alert).where(alert.c.disposition == WAITING)
            return connection.execute(query).scalar_one()

    def conservation(self) -> Conservation:
        """Return both sides of the conservation law, from one query."""
        query = union_all(
            select(literal("tally:admitted").label("name"), tally.c.count).where(tally.c.name == "admitted"),
            select(literal("tally:receipts"), func.count()).select_from(receipt),
            select(alert.c.disposition, func.count()).group_by(alert.c.disposition),
        )
        with self._reading_from() as connection:
            counts: dict[str, int] = {row.name: row[1] for row in connection.execute(query)}
        return Conservation(
            admitted=counts.pop("tally:admitted", 0),
            receipts=counts.pop("tally:receipts", 0),
            waiting=counts.pop(WAITING, 0),
            dispositions=counts,
        )

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise self._broken(error) from error

    @contextmanager
    def _reading_from(self) -> Iterator[Connection]:
        try:
            with self._reading.connect() as connection:
                yield connection
        except OperationalError as error:
            raise self._broken(error) from error

    def _broken(self, error: OperationalError) -> LedgerError:
        return LedgerError(f"the ledger {self._path} fails: {error.orig}; see to its disk, then start again")


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(alert.c.claimed_until.is_(None), alert.c.claimed_until < now)


def _is_held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        alert.c.alert_id == claim.alert.alert_id,
        alert.c.disposition == WAITING,
        alert.c.claimed_until == claim.until,
    )


def _insert_alert(connection: Connection, new: Alert, now: datetime) -> bool:
    resolved = new.state == "resolved"
    row: dict[str, Any] = {
        "alert_id": new.alert_id,
        "account": new.account,
        "kind": new.kind,
        "class": new.alert_class,
        "body": encode(new)[0].decode(),
        "state": new.state,
        "state_at": new.detected_at,
        "disposition": "resolved_first" if resolved else WAITING,
        "reason": "not_true_any_more" if resolved else None,
        "admitted_at": now,
        "settled_at": now if resolved else None,
    }
    inserted = connection.execute(sqlite_insert(alert).values(row).on_conflict_do_nothing(index_elements=["alert_id"]))
    return inserted.rowcount == 1


def _refresh(connection: Connection, newer: Alert, now: datetime) -> None:
    """Say the newer thing if nobody was told yet; in any case note that it changed."""
    known = update(alert).where(alert.c.alert_id == newer.alert_id, alert.c.state_at <= newer.detected_at)
    state = {"state": newer.state, "state_at": newer.detected_at}
    unsent = known.where(alert.c.disposition == WAITING, _is_free(now))
    if connection.execute(unsent.values(**state, body=encode(newer)[0].decode())).rowcount == 0:
        connection.execute(known.values(**state))


def _resolve(connection: Connection, ended: Alert, now: datetime) -> bool:
    """End the alert if nobody can have been told, else note that it is over; return whether this ended it."""
    known = update(alert).where(alert.c.alert_id == ended.alert_id)
    state = {"state": ended.state, "state_at": ended.detected_at}
    in_doubt = select(attempt.c.number).where(attempt.c.alert_id == ended.alert_id, attempt.c.outcome.is_(None))
    unsent = known.where(alert.c.disposition == WAITING, _is_free(now), ~in_doubt.exists())
    disposition = {"disposition": "resolved_first", "reason": "not_true_any_more", "settled_at": now}
    if connection.execute(unsent.values(**state, **disposition)).rowcount == 1:
        return True
    connection.execute(known.where(alert.c.state_at <= ended.detected_at).values(**state))
    return False


def _end_attempt(connection: Connection, number: int, outcome: Outcome, now: datetime) -> None:
    connection.execute(
        update(attempt)
        .where(attempt.c.number == number)
        .values(ended_at=now, outcome=outcome.verdict, detail=outcome.detail)
    )


def _write_receipt(
    connection: Connection,
    ended: Alert,
    disposition: Disposition,
    now: datetime,
    reason: str | None = None,
    channel: str | None = None,
    attempts: int = 0,
) -> Receipt:
    if disposition == "resolved_first":
        reason = "not_true_any_more"
    new = make_receipt(ended, disposition, now, reason, channel, attempts)
    connection.execute(
        insert(receipt).values(
            receipt_id=new.id,
            alert_id=new.alert_id,
            account=new.account,
            body=encode(new)[0].decode(),
            recorded_at=now,
        )
    )
    return new


def _advance(connection: Connection, reached: Position) -> None:
    row = sqlite_insert(position).values(reached._asdict())
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["topic", "partition"],
            set_={
                "next_offset": func.max(position.c.next_offset, row.excluded.next_offset),
                "topic_id": reached.topic_id,
            },
        )
    )
