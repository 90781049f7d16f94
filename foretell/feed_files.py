"""Rows of a file of the user's: CSV, JSON Lines or Parquet, a little at a time however large the file is."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

import orjson
from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile

from detectors.codec import LARGEST_EVENT_BYTES

_BATCH_ROWS = 4096
_ROWS_LOOKED_AT = 100
_DELIMITERS = ",;\t|"
_TABLES = (".csv", ".tsv")
_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")


class FeedError(Exception):
    """The file cannot be fed as asked; the sentence says what to do."""


class Row(NamedTuple):
    """One row.

    Attributes:
        number: the first row of data is 1; a header is none.
        values: by column; None where the row cannot be read.
        fault: why it cannot be read.
    """

    number: int
    values: dict[str, Any] | None
    fault: str = ""


class RowFile(Protocol):
    """A file of rows.

    Attributes:
        columns: of JSON Lines those of the first hundred rows.
    """

    columns: Sequence[str]

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield every row, with at least those columns.

        Raises:
            FeedError: the file cannot be read any further.
        """


def open_file(path: Path) -> RowFile:
    """Return the file's rows by its suffix: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, each also `.gz`; `.parquet`.

    Raises:
        FeedError: there is no such file, it is of another kind, or its beginning cannot be read.
    """
    if not path.is_file():
        raise FeedError(f"{str(path)!r} is no file; give a CSV, JSON Lines or Parquet file")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    kind = suffixes[0] if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])
    if kind in _TABLES:
        return _CsvFile(path)
    if kind in _LINES:
        return _JsonLinesFile(path)
    if kind in _PARQUET and suffixes[-1] != ".gz":
        return _ParquetFile(path)
    raise FeedError(
        f"{path.name}: expected a name that ends in {', '.join(_TABLES + _LINES)} (or those with .gz) or .parquet; "
        "save it as one of these"
    )


class _CsvFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as file:
            first = _guarded(path, file.readline)
            self._delimiter = max(_DELIMITERS, key=first.count)
            self.columns: Sequence[str] = next(csv.reader([first], delimiter=self._delimiter), [])
        if not self.columns:
            raise FeedError(f"{path.name} is empty; expected a first line with the names of the columns")
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise FeedError(f"{path.name}: column {twice[0]!r} stands twice in the first line; rename one")

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:  # noqa: ARG002 - all columns are read anyway
        width = len(self.columns)
        with _opened(self._path) as file:
            reader = csv.reader(file, delimiter=self._delimiter)
            next(reader)
            number = 0
            while True:
                cells = _guarded(self._path, lambda: next(reader, None), after=number)
                if cells is None:
                    return
                if not cells:
                    continue  # an empty line
                number += 1
                if len(cells) == width:
                    yield Row(number, dict(zip(self.columns, cells, strict=True)))
                else:
                    yield Row(number, None, f"{len(cells)} cells where the first line names {width} columns")


class _JsonLinesFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        names: dict[str, None] = {}
        for row in islice(self.rows(()), _ROWS_LOOKED_AT):
            names.update(dict.fromkeys(_paths(row.values or {})))
        self.columns: Sequence[str] = list(names)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:  # noqa: ARG002 - a line is read as a whole
        with _opened(self._path) as file:
            number = 0
            while True:
                line = _guarded(self._path, lambda: file.readline(LARGEST_EVENT_BYTES), after=number)
                if not line:
                    return
                if not line.strip():
                    continue
                number += 1
                if len(line) == LARGEST_EVENT_BYTES and not line.endswith("\n"):
                    yield Row(number, None, f"the line has more than {LARGEST_EVENT_BYTES} characters")
                    while line and not line.endswith("\n"):
                        line = _guarded(self._path, lambda: file.readline(LARGEST_EVENT_BYTES), after=number)
                    continue
                try:
                    values = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    yield Row(number, None, f"not JSON: {error}; the line begins {line.strip()[:60]!r}")
                    continue
                if isinstance(values, dict):
                    yield Row(number, values)
                else:
                    yield Row(number, None, f"expected a JSON object, got {line.strip()[:60]}")


class _ParquetFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with ParquetFile(path) as file:
                self.columns: Sequence[str] = list(file.schema_arrow.names)
        except (ArrowException, OSError) as error:
            raise FeedError(f"{path.name} is no Parquet file that can be read: {error}") from error

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        wanted = [name for name in self.columns if name in columns]
        number = 0
        try:
            with ParquetFile(self._path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                    for values in batch.to_pylist():
                        number += 1
                        yield Row(number, values)
        except (ArrowException, OSError) as error:
            raise FeedError(f"{self._path.name}: cannot be read after row {number}: {error}") from error


def _opened(path: Path) -> IO[str]:
    opening = gzip.open if path.suffix.lower() == ".gz" else open
    return cast("IO[str]", opening(path, "rt", encoding="utf-8-sig", newline=""))


def _guarded(path: Path, read: Any, after: int = 0) -> Any:
    try:
        return read()
    except UnicodeDecodeError as error:
        raise FeedError(f"{path.name}: no UTF-8 text after row {after}; save it as UTF-8") from error
    except (csv.Error, zlib.error, EOFError, OSError) as error:
        raise FeedError(f"{path.name}: cannot be read after row {after}: {error}") from error


def _paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.")
