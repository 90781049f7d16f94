"""From a row of somebody's file to an event of ours: which column is which field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from detectors.codec import Rejected, build
from detectors.message import Envelope

from .feed_files import FeedError

_SPOKEN = re.compile(r"^(?P<ours>[A-Za-z_][\w.]*)(?P<how>:?=)(?P<theirs>.*)$", re.DOTALL)
_GIVEN = frozenset({"id", "source"})  # made of the file's name and the row's number where nothing maps to them


@dataclass(frozen=True, slots=True)
class _Assignment:
    """Where one field of ours comes from: a column, times a factor; or a constant."""

    ours: tuple[str, ...]
    column: str = ""
    constant: Any = None
    times: Decimal | None = None
    is_text: bool = False

    def take(self, row: Mapping[str, Any]) -> Any:
        if not self.column:
            return self.constant
        found = row.get(self.column)
        if found is None and "." in self.column:
            found = _walk(row, self.column)
        if found is None or found == "":
            return None
        if self.times is not None:
            return self._multiplied(found)
        if self.is_text and type(found) is int:
            return str(found)  # tables number their accounts
        return found

    def _multiplied(self, found: Any) -> Decimal:
        try:
            return Decimal(str(found)) * (self.times or 1)
        except InvalidOperation:
            raise Rejected("invalid", f"{self.column}: expected a number, got {found!r:.80}") from None


class RowMapping:
    """Turn rows into events of one type.

    A column that carries the name of a field of ours is that field, unless something else is said.

    Args:
        model: the events' model.
        spoken: what a user says: `ours=column`, `ours=column*factor`, `ours:=constant`; dots lead into nested fields.
        columns: the file's.
        zone: of times that name no offset; None refuses them.

    Raises:
        FeedError: it cannot be understood, names a field or column that there is not, or leaves a needed field open.

    >>> from detectors.events import UsageRecorded
    >>> mapping = RowMapping(UsageRecorded, ["quantity=wh*0.001", "meter:=power", "unit:=kWh"], ["account", "time", "wh"])
    >>> row = {"account": 7, "time": "2026-03-01T00:00:00Z", "wh": "1500"}
    >>> event = mapping.event(row, {"id": "1", "source": "/file/x"})
    >>> event.account, event.quantity
    ('7', Decimal('1.500'))
    """

    def __init__(
        self, model: type[Envelope], spoken: Sequence[str], columns: Sequence[str], zone: ZoneInfo | None = None
    ) -> None:
        self._model = model
        self._zone = zone
        self._fields = dict(_fields(model))
        said = [self._parse(each, columns) for each in spoken]
        names = [".".join(each.ours) for each in said]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise FeedError(f"--map {twice} is given twice; keep one")
        unsaid = [name for name in columns if name in self._fields and name not in names]
        self._assignments = [*(self._assignment(name, name) for name in unsaid), *said]
        self._require_all(columns)

    @property
    def columns(self) -> list[str]:
        """The columns that are read; a dotted one may be a column within another."""
        return [name for each in self._assignments for name in (each.column, each.column.partition(".")[0])]

    def event(self, row: Mapping[str, Any], otherwise: Mapping[str, str]) -> Envelope:
        """Return the event in a row.

        Args:
            row: values by column.
            otherwise: fields for which nothing in the row speaks.

        Raises:
            Rejected: it makes no valid event, and why.
        """
        fields: dict[str, Any] = dict(otherwise)
        for assignment in self._assignments:
            value = assignment.take(row)
            if value is not None:
                _put(fields, assignment.ours, value)
        if "time" in fields:
            fields["time"] = self._aware(fields["time"])
        return build(self._model, fields)

    def naive_time(self, row: Mapping[str, Any]) -> datetime | None:
        """Return the row's time if it names no offset."""
        given = next((each.take(row) for each in self._assignments if each.ours == ("time",)), None)
        moment = _as_datetime(given)
        return moment if moment is not None and moment.tzinfo is None else None

    def _aware(self, time: Any) -> Any:
        """Give a time without offset its zone; leave what is no time for the model to refuse."""
        moment = _as_datetime(time)
        if moment is None or moment.tzinfo is not None:
            return time if moment is None else moment
        if self._zone is None:
            raise Rejected("invalid", f"time: {moment.isoformat(' ')} names no offset; say its zone with --timezone")
        return moment.replace(tzinfo=self._zone)

    def _parse(self, spoken: str, columns: Sequence[str]) -> _Assignment:
        parts = _SPOKEN.match(spoken)
        if parts is None:
            raise FeedError(
                f"--map {spoken!r} is not understood; expected ours=column, ours=column*factor or ours:=text"
            )
        ours, theirs = parts["ours"], parts["theirs"]
        if not self._is_known(ours):
            known = ", ".join(self._fields)
            raise FeedError(f"--map {spoken}: {self._model.type_name} has no field {ours!r}; it has {known}")
        if parts["how"] == ":=":
            return _Assignment(tuple(ours.split(".")), constant=_constant(theirs))
        column, star, factor = theirs.rpartition("*")
        if theirs in columns or not star:
            column, times = theirs, None
        else:
            times = _factor(spoken, factor)
        if column not in columns and column.partition(".")[0] not in columns:
            raise FeedError(f"--map {spoken}: the file has no column {column!r}; it has {', '.join(columns)}")
        return self._assignment(ours, column, times)

    def _assignment(self, ours: str, column: str, times: Decimal | None = None) -> _Assignment:
        return _Assignment(tuple(ours.split(".")), column, times=times, is_text=self._fields.get(ours, False))

    def _is_known(self, ours: str) -> bool:
        """Return whether it is a field, or lies within one that takes any key."""
        return ours in self._fields or any(
            ours.startswith(f"{name}.") and not any(other.startswith(f"{name}.") for other in self._fields)
            for name in self._fields
        )

    def _require_all(self, columns: Sequence[str]) -> None:
        given = {each.ours[0] for each in self._assignments} | _GIVEN
        missing = [
            name for name, field in self._model.model_fields.items() if field.is_required() and name not in given
        ]
        if missing:
            raise FeedError(
                f"nothing says what {missing[0]!r} of {self._model.type_name} is; add --map {missing[0]}=COLUMN or "
                f"--map {missing[0]}:=TEXT (the file has {', '.join(columns)})"
            )


def _fields(model: type[Envelope]) -> Iterator[tuple[str, bool]]:
    """Yield the dotted name of each field, and whether it is text that a table may hold as a number."""
    schema = model.model_json_schema(mode="validation")
    yield from _flattened(schema, schema.get("$defs", {}), "")


def _flattened(schema: Mapping[str, Any], shared: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, bool]]:
    for name, found in schema.get("properties", {}).items():
        kinds = [_resolved(kind, shared) for kind in found.get("anyOf", [found])]
        numbers = any(kind.get("type") in ("number", "integer") for kind in kinds)
        texts = any(kind.get("type") == "string" and "format" not in kind for kind in kinds)
        yield prefix + name, texts and not numbers
        for kind in kinds:
            yield from _flattened(kind, shared, f"{prefix}{name}.")


def _resolved(kind: Mapping[str, Any], shared: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = shared[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind
    return found


def _as_datetime(time: Any) -> datetime | None:
    if isinstance(time, datetime):
        return time
    try:
        return datetime.fromisoformat(str(time).strip()) if isinstance(time, str | date) else None
    except ValueError:
        return None


def _constant(text: str) -> Any:
    """Read lists and mappings as JSON; everything else is text, which the model reads."""
    if text[:1] in ("{", "["):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise FeedError(f"--map: {text[:60]!r} looks like JSON but is none: {error}") from error
    return text


def _factor(spoken: str, factor: str) -> Decimal:
    try:
        number = Decimal(factor)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise FeedError(f"--map {spoken}: expected a number after '*', got {factor!r}, and no column is called so")
    return number


def _walk(row: Mapping[str, Any], path: str) -> Any:
    found: Any = row
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _put(fields: dict[str, Any], ours: tuple[str, ...], value: Any) -> None:
    *parents, last = ours
    for parent in parents:
        nested = fields.get(parent)
        fields[parent] = nested = dict(nested) if isinstance(nested, dict) else {}
        fields = nested
    fields[last] = value
