"""The ledger: every alert that came in, every time somebody was to be told, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from detectors.alerts import Alert, Disposition, Receipt
from detectors.codec import decode_alert, encode

from . import statements
from .ledger_file import READS, LedgerError, open_ledger_file
from .receipts import make_receipt
from .senders.sender import Outcome
from .tables import WAITING

_NOT_TRUE = "not_true_any_more"


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

    @property
    def proof(self) -> dict[str, Any]:
        """What shows the ledger that the claim still holds."""
        return {"this_alert": self.alert.alert_id, "held_until": self.until}


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
                _admit_one(connection, each, admission, now)
            connection.execute(statements.COUNT_ADMITTED, {"more": admission.admitted})
            for reached in positions:
                connection.execute(statements.ADVANCE, reached._asdict())
        return admission

    def positions(self, topic: str) -> dict[int, Position]:
        """Return how far each partition of `topic` was admitted."""
        with self._reading_from() as connection:
            rows = connection.execute(statements.POSITIONS, {"topic": topic}).mappings()
            return {row["partition"]: Position(**row) for row in rows}

    # going out --------------------------------------------------------------------------------------------------

    def claim(self, now: datetime, lease: timedelta) -> Claim | None:
        """Return the alert that waits longest and that nobody is sending, or None; for `lease` nobody else is given it."""
        until = now + lease
        with self._writing() as connection:
            row = connection.execute(statements.FIRST_FREE, {"now": now}).one_or_none()
            if row is None:
                return None
            connection.execute(statements.CLAIM, {"this_alert": row.alert_id, "until": until})
            tried = connection.execute(statements.TRIED, {"this_alert": row.alert_id}).all()
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
            connection.execute(statements.HOLD_ON, claim.proof | {"until": None})

    def start_attempt(self, claim: Claim, channel: str, now: datetime, lease: timedelta) -> tuple[Claim, int] | None:
        """Note that a provider is about to be asked.

        Returns:
            The claim, extended, and the attempt's number; None if the claim has run out and somebody else has the alert.
        """
        until = now + lease
        attempt = {"alert_id": claim.alert.alert_id, "channel": channel, "started_at": now}
        with self._writing() as connection:
            if connection.execute(statements.HOLD_ON, claim.proof | {"until": until}).rowcount == 0:
                return None
            number: int = connection.execute(statements.START_ATTEMPT, attempt).scalar_one()
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
        end = claim.proof | {"ends_as": disposition, "why": reason, "over": channel, "now": now}
        with self._writing() as connection:
            if last is not None:
                _end_attempt(connection, *last, now)
            if connection.execute(statements.SETTLE, end).rowcount == 0:
                return None
            return _add_receipt(
                connection, make_receipt(claim.alert, disposition, now, reason, channel, claim.attempts)
            )

    # telling what became of it ----------------------------------------------------------------------------------

    def unpublished(self, most: int) -> list[PendingReceipt]:
        """Return receipts that are not known to be published, oldest first."""
        with self._reading_from() as connection:
            rows = connection.execute(statements.UNPUBLISHED, {"most": most})
            return [PendingReceipt(row.receipt_id, row.account, row.body.encode()) for row in rows]

    def mark_published(self, receipt_ids: Sequence[str], now: datetime) -> None:
        """Note that Kafka has these receipts."""
        if receipt_ids:
            with self._writing() as connection:
                marks = [{"this_receipt": receipt_id, "now": now} for receipt_id in receipt_ids]
                connection.execute(statements.MARK_PUBLISHED, marks)

    # counting ---------------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many alerts have no disposition yet."""
        with self._reading_from() as connection:
            count: int = connection.execute(statements.COUNT_WAITING).scalar_one()
            return count

    def conservation(self) -> Conservation:
        """Return both sides of the conservation law, from one query."""
        with self._reading_from() as connection:
            counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(statements.CONSERVATION)}
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


def _admit_one(connection: Connection, new: Alert, admission: Admission, now: datetime) -> None:
    if connection.execute(statements.ADD_ALERT, _row(new, now)).rowcount == 1:
        admission.admitted += 1
        if new.state == "resolved":  # never told, and not true any more
            admission.settled.append(_end_untold(connection, new, now))
    elif new.state == "triggered":
        admission.repeated += 1
    elif new.state == "updated":
        _refresh(connection, new, now)
    elif _resolve(connection, new, now):
        admission.settled.append(_end_untold(connection, new, now))


def _row(new: Alert, now: datetime) -> dict[str, Any]:
    is_over = new.state == "resolved"
    return {
        "alert_id": new.alert_id,
        "account": new.account,
        "kind": new.kind,
        "class": new.alert_class,
        "body": encode(new)[0].decode(),
        "state": new.state,
        "state_at": new.detected_at,
        "disposition": "resolved_first" if is_over else WAITING,
        "reason": _NOT_TRUE if is_over else None,
        "admitted_at": now,
        "settled_at": now if is_over else None,
    }


def _refresh(connection: Connection, newer: Alert, now: datetime) -> None:
    """Say the newer thing if nobody was told yet; in any case note that it changed."""
    told = {"now": now, "new_body": encode(newer)[0].decode()}
    if connection.execute(statements.REFRESH_UNSENT, _state(newer) | told).rowcount == 0:
        connection.execute(statements.NOTE_STATE, _state(newer))


def _resolve(connection: Connection, over: Alert, now: datetime) -> bool:
    """End the alert if nobody can have been told, else note that it is over; return whether this ended it."""
    if connection.execute(statements.RESOLVE_UNSENT, _state(over) | {"now": now, "why": _NOT_TRUE}).rowcount == 1:
        return True
    connection.execute(statements.NOTE_STATE, _state(over))
    return False


def _state(newer: Alert) -> dict[str, Any]:
    return {"this_alert": newer.alert_id, "new_state": newer.state, "at": newer.detected_at}


def _end_untold(connection: Connection, over: Alert, now: datetime) -> Receipt:
    return _add_receipt(connection, make_receipt(over, "resolved_first", now, _NOT_TRUE))


def _end_attempt(connection: Connection, number: int, outcome: Outcome, now: datetime) -> None:
    end = {"this_attempt": number, "now": now, "verdict": outcome.verdict, "why": outcome.detail}
    connection.execute(statements.END_ATTEMPT, end)


def _add_receipt(connection: Connection, new: Receipt) -> Receipt:
    row = {
        "receipt_id": new.id,
        "alert_id": new.alert_id,
        "account": new.account,
        "body": encode(new)[0].decode(),
        "recorded_at": new.time,
    }
    connection.execute(statements.ADD_RECEIPT, row)
    return new
