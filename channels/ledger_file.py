"""Opening the ledger's file: made private, in write-ahead mode, and of a version that this program knows."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, NoResultFound
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from .tables import SCHEMA_VERSION, metadata, schema, tally

_BUSY_SECONDS = 30
_PRIVATE = 0o600  # it holds customer data
READS = "foretell_reads"


class LedgerError(Exception):
    """The ledger cannot be used; the sentence names the file and what to do."""


def open_ledger_file(url: str) -> Engine:
    """Return an engine on the ledger at `url`, an SQLite file that is made if need be.

    Raises:
        LedgerError: it cannot be opened, is no ledger, or was written by a newer version.
    """
    path = Path(make_url(url).database or "")
    _create(path)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            _create_tables(connection)
            found = connection.execute(select(schema.c.version)).scalar_one()
    except (DatabaseError, NoResultFound, sqlite3.DatabaseError) as error:
        engine.dispose()
        why = error.orig if isinstance(error, DatabaseError) else error
        raise LedgerError(
            f"the ledger {path} cannot be used: {why}; name another file in channels.ledger, or move this one away"
        ) from error
    if found != SCHEMA_VERSION:
        engine.dispose()
        newer = found > SCHEMA_VERSION
        raise LedgerError(
            f"the ledger {path} has schema {found}, this program writes schema {SCHEMA_VERSION}; "
            + ("run the newer Foretell that wrote it" if newer else "migrate it")
            + ", or name another file in channels.ledger"
        )
    return engine


def _create(path: Path) -> None:
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))
        with path.open("r+b"):
            pass
        # SQLite keeps two more files beside it
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(0, f"the folder {path.parent} cannot be written")
    except OSError as error:
        raise LedgerError(
            f"the ledger {path} cannot be written: {error.strerror}; "
            "let this user write there, or name another file in channels.ledger"
        ) from error


def _create_tables(connection: Connection) -> None:
    if inspect(connection).has_table(schema.name):
        return
    metadata.create_all(connection)
    connection.execute(insert(schema).values(version=SCHEMA_VERSION))
    connection.execute(insert(tally).values(name="admitted", count=0))


def _prepare_connection(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says, not where sqlite3 guesses
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")  # what was committed before a message went out survives a power cut
    _write_ahead(cursor)
    cursor.close()


@retry(
    # SQLite does not wait by itself while two processes change to this mode at once
    retry=retry_if_exception_type(sqlite3.OperationalError),
    wait=wait_random(0.01, 0.1),
    stop=stop_after_delay(_BUSY_SECONDS),
    reraise=True,
)
def _write_ahead(cursor: Any) -> None:
    cursor.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    # a writer takes its lock at once: taken later, it could find that what it read has changed
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(READS) else "BEGIN IMMEDIATE")
