"""One's own data for `foretell evaluate`: CSV or Parquet, read row by row, refused with the place and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from .feed_files import FeedError, open_file

_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": None}


class DataError(FeedError):
    """A file cannot be evaluated; the sentence says where, what came, what was expected and what to do."""


class Column(NamedTuple):
    """What a file says of each row.

    Attributes:
        kind: `text`, `time` (becomes seconds since 1970), `number` or `truth`.
    """

    name: str
    kind: str
    is_needed: bool = True


COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "spike": (
        Column("account", "text"),
        Column("time", "time"),
        Column("value", "number"),
        Column("label", "truth", is_needed=False),
    ),
    "charge": (
        Column("id", "text", is_needed=False),
        Column("account", "text"),
        Column("merchant", "text"),
        Column("time", "time"),
        Column("amount", "number"),
        Column("label", "truth", is_needed=False),
        Column("known_at", "time", is_needed=False),
    ),
    "limit": (
        Column("account", "text"),
        Column("time", "time"),
        Column("value", "number"),
        Column("allowance", "number"),
        Column("cycle_start", "time"),
        Column("cycle_end", "time"),
    ),
    "series": (
        Column("account", "text"),
        Column("time", "time"),
        Column("value", "number"),
        Column("label", "truth", is_needed=False),
    ),
}
"""What each kind reads. `label`: whether the row belongs to what should be found; `known_at`: when that became known."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file to evaluate.

    Attributes:
        path: whatever `foretell feed` reads.
        kind: a key of `COLUMNS`.
        names: our column name -> the file's, where they differ.
        zone: of times that name none; without it they are refused.
    """

    path: Path
    kind: str
    names: Mapping[str, str]
    zone: ZoneInfo | None = None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each row: our column names, times in seconds since 1970; columns that the file lacks are left out.

        Raises:
            FeedError: the file or a row cannot be used.
        """
        unknown = self.names.keys() - {column.name for column in COLUMNS[self.kind]}
        if unknown:
            known = ", ".join(column.name for column in COLUMNS[self.kind])
            raise DataError(
                f"--map names {', '.join(sorted(unknown))}, which {self.kind} does not read; it reads {known}"
            )
        file = open_file(self.path)
        columns = self._columns(file.columns)
        for row in file.rows([theirs for _, theirs, _ in columns]):
            if row.values is None:
                raise DataError(f"{self.path.name}, row {row.number}: {row.fault}")
            yield self._row(row.number, row.values, columns)

    def _columns(self, there: Sequence[str]) -> list[tuple[Column, str, Callable[[Any], Any]]]:
        wanted = [(column, self.names.get(column.name, column.name)) for column in COLUMNS[self.kind]]
        missing = [
            name for column, name in wanted if name not in there and (column.is_needed or column.name in self.names)
        ]
        if missing:
            raise DataError(
                f"{self.path.name}: has no column {', '.join(missing)}; it has {', '.join(there)}. "
                "Say which of yours it is with --map, as --map amount=betrag"
            )
        readers: dict[str, Callable[[Any], Any]] = {"text": str, "number": _number, "truth": _truth, "time": self._time}
        return [(column, name, readers[column.kind]) for column, name in wanted if name in there]

    def _row(
        self, number: int, row: Mapping[str, Any], columns: list[tuple[Column, str, Callable[[Any], Any]]]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for column, name, read in columns:
            came = row.get(name)
            if came is None or came == "":
                if column.is_needed:
                    raise DataError(
                        f"{self.path.name}, row {number}, column {name!r}: is empty; expected {_EXPECTED[column.kind]}"
                    )
                continue
            try:
                found[column.name] = read(came)
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{self.path.name}, row {number}, column {name!r}: came {came!r}, expected {_EXPECTED[column.kind]}"
                    + (f"; {error}" if isinstance(error, _NoZoneError) else "")
                ) from error
        return found

    def _time(self, came: Any) -> float:
        if isinstance(came, datetime):
            moment = came
        else:
            try:
                seconds = float(came)
            except ValueError:
                moment = datetime.fromisoformat(came)
            else:
                if not isfinite(seconds):
                    raise ValueError(came)
                return seconds
        if moment.tzinfo is None:
            if self.zone is None:
                raise _NoZoneError("it names no time zone: say which with --timezone, as --timezone Europe/Stockholm")
            moment = moment.replace(tzinfo=self.zone)
        return moment.timestamp()


class _NoZoneError(ValueError):
    pass


_EXPECTED = {
    "text": "a name",
    "number": "a finite number",
    "truth": "1 or 0, true or false, or nothing where it is not known",
    "time": "a time as 2026-03-28T21:00:00+01:00, or seconds since 1970",
}


def _number(came: Any) -> float:
    number = float(came)
    if not isfinite(number):
        raise ValueError(came)
    return number


def _truth(came: Any) -> bool:
    truth = _TRUTHS.get(str(came).strip().lower())
    if truth is None:
        raise ValueError(came)
    return truth
