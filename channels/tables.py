"""The ledger's tables. Any change raises `SCHEMA_VERSION` and needs a migration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

from detectors.alerts import AlertState, Disposition

from .senders.sender import Verdict

SCHEMA_VERSION = 1
WAITING = "waiting"


class _UtcTime(TypeDecorator[datetime]):
    """Aware time, also in databases that know no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value and value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=f"{column}_is_known")


metadata = MetaData()

schema = Table("ledger_schema", metadata, Column("version", Integer, nullable=False))
"""One row. Alembic's own table will stand beside it."""

tally = Table(
    "tally",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("count", Integer, nullable=False),
)
"""`admitted`: counted where alerts are admitted, so that the conservation law has two sides."""

alert = Table(
    "alert",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("alert_id", String(256), nullable=False, unique=True),
    Column("account", String(256), nullable=False),
    Column("kind", String(256), nullable=False),
    Column("class", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), _one_of("state", *get_args(AlertState)), nullable=False),
    Column("state_at", _UtcTime, nullable=False),
    Column("disposition", String(16), _one_of("disposition", WAITING, *get_args(Disposition)), nullable=False),
    Column("reason", String(64)),
    Column("channel", String(32)),
    Column("admitted_at", _UtcTime, nullable=False),
    Column("settled_at", _UtcTime),
    Column("claimed_until", _UtcTime),
    Index("alert_waiting", "number", sqlite_where=text("disposition = 'waiting'")),
    sqlite_autoincrement=True,
)
"""`body` is the alert as a CloudEvent. `claimed_until`: somebody is sending it, and is believed dead after this."""

attempt = Table(
    "attempt",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("alert_id", ForeignKey("alert.alert_id"), nullable=False, index=True),
    Column("channel", String(32), nullable=False),
    Column("started_at", _UtcTime, nullable=False),
    Column("ended_at", _UtcTime),
    Column("outcome", String(16), _one_of("outcome", *get_args(Verdict))),
    Column("detail", Text),
)
"""One row for each time that a provider was asked, written before asking."""

receipt = Table(
    "receipt",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("receipt_id", String(300), nullable=False, unique=True),
    Column("alert_id", ForeignKey("alert.alert_id"), nullable=False, unique=True),
    Column("account", String(256), nullable=False),
    Column("body", Text, nullable=False),
    Column("recorded_at", _UtcTime, nullable=False),
    Column("published_at", _UtcTime),
    Index("receipt_unpublished", "number", sqlite_where=text("published_at IS NULL")),
)
"""What is to be published, and what was: one for each disposition."""

position = Table(
    "position",
    metadata,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic_id", String(36)),
    Column("next_offset", BigInteger, nullable=False),
)
"""How far each partition was admitted. `topic_id` is Kafka's own, which a topic of the same name does not inherit."""
