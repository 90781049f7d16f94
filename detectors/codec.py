"""Bytes to message and back: CloudEvents in structured and binary mode, and plain JSON through a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, TypeVar

import orjson
from pydantic import ConfigDict, ValidationError

from .alerts import Alert, AnswerGiven, LabelGiven, Receipt
from .bulletins import BULLETINS, Bulletin
from .events import AccountClosed, AccountUpdated, AllowanceAdded, ChargePosted, UsageRecorded
from .message import ENVELOPE_FIELDS, Envelope, Message, Payload

M = TypeVar("M", bound=Envelope)
Event: TypeAlias = Message | Bulletin
Headers = Sequence[tuple[str, bytes]]
RejectReason = Literal[
    "empty",
    "too_large",
    "not_json",
    "not_an_object",
    "no_type",
    "unknown_type",
    "invalid",
    "unit_mismatch",
    "from_the_future",
    "detector_failed",
    "alert_too_large",
    "killed_the_worker",
]

LARGEST_EVENT_BYTES = 1 << 20
EVENT_TYPES: dict[str, type[Message]] = {
    message.type_name: message
    for message in (
        UsageRecorded,
        ChargePosted,
        AccountUpdated,
        AccountClosed,
        AllowanceAdded,
        AnswerGiven,
        LabelGiven,
    )
}
BULLETIN_TYPES: dict[str, type[Bulletin]] = {bulletin.type_name: bulletin for bulletin in BULLETINS}

_STRUCTURED = "application/cloudevents+json"
_EXCERPT = 80
_ENVELOPE = {"id": "id", "source": "source", "time": "time"}
_ATTRIBUTES = _ENVELOPE | {"subject": Message.subject_field}
_READABLE: dict[str, tuple[type[Event], dict[str, str]]] = {
    name: (model, _ATTRIBUTES if issubclass(model, Message) else _ENVELOPE | {"subject": model.subject_field})
    for name, model in (EVENT_TYPES | BULLETIN_TYPES).items()
}
_LARGEST_ENVELOPE_BYTES = 4096
LARGEST_SENT_BYTES = LARGEST_EVENT_BYTES - _LARGEST_ENVELOPE_BYTES
"""A broker's default limit is that of the largest event with its headers and batch."""

_MOST_AHEAD_SECONDS = 24 * 3600.0  # clocks differ, and some meters name the end of their period


class Rejected(Exception):  # noqa: N818 - it names what becomes of the event, as the dead-letter topic does
    """The event cannot be used.

    Args:
        reason: one word from a closed set, for counting.
        detail: a sentence for a person: what came, what was expected.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RejectReason = reason
        self.detail = detail


class Source(Payload):
    """Where a field of ours comes from in a foreign event: a dotted path, times a factor; or a fixed value.

    >>> Source(path="$.used.bytes", times="0.001").take({"used": {"bytes": 1500}})
    Decimal('1.500')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = None
    value: Any = None
    times: Decimal | None = None

    def take(self, body: Mapping[str, Any]) -> Any:
        """Return the field's value, or None where the path leads nowhere.

        Raises:
            Rejected: a factor is to be applied to what is no number.
        """
        if self.path is None:
            return self.value
        found: Any = body
        for step in self.path.removeprefix("$.").split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        if self.times is None or found is None:
            return found
        try:
            return Decimal(str(found)) * self.times
        except InvalidOperation:
            raise Rejected("invalid", f"{self.path}: expected a number, got {_excerpt(found)}") from None


@dataclass(frozen=True, slots=True)
class Reader:
    """Read the records of one topic.

    Args:
        types: the CloudEvents types that the topic carries; with one, plain JSON may leave its type out.
        fields: for plain JSON, where each of our fields comes from. A dotted name on our side (`merchant.id`) is nested.
        source: the `source` of plain JSON that names none.

    >>> reader = Reader(("usage.recorded",), {"account": Source(path="who"), "quantity": Source(path="gb")})
    >>> event = reader.read(b'{"id": "1", "who": "a1", "time": "2026-03-01T00:00:00Z", "meter": "data", "unit": "GB", "gb": 2}')
    >>> event.account, event.quantity
    ('a1', Decimal('2'))
    """

    types: tuple[str, ...]
    fields: Mapping[str, Source] = field(default_factory=dict)
    source: str = "plain"

    def read(self, value: bytes | None, headers: Headers = (), position: str | None = None) -> Event:
        """Return the event in a record.

        Args:
            value: the record's value.
            headers: the record's headers.
            position: the record's place, which becomes the id of an event whose mapping names no id.

        Raises:
            Rejected: the record cannot be used, and why.
        """
        body = _parse(value)
        texts = (
            {name[3:]: text.decode("utf-8", "replace") for name, text in headers if name.startswith("ce_") and text}
            if headers
            else None
        )
        if texts:
            model, attributes = self._known(texts.get("type"))
            fields = body | {ours: texts[name] for name, ours in attributes.items() if name in texts}
        elif "specversion" in body or _content_type(headers).startswith(_STRUCTURED):
            data = body.get("data")
            if not isinstance(data, dict):
                raise Rejected("invalid", f"data: expected a JSON object, got {_excerpt(data)}")
            model, attributes = self._known(body.get("type"))
            fields = data | {ours: body[name] for name, ours in attributes.items() if name in body}
        else:
            fields = self._plain(body, position)
            only = self.types[0] if len(self.types) == 1 else None
            model, _ = self._known(fields.get("type", only))
        return build(model, fields)

    def _known(self, type_name: Any) -> tuple[type[Event], dict[str, str]]:
        if type_name is None:
            raise Rejected("no_type", f"the event names no type; this topic carries {_either(self.types)}")
        if type_name in self.types:
            found = _READABLE.get(type_name)
            if found is not None:
                return found
        raise Rejected("unknown_type", f"type {_excerpt(type_name)} is not read here; expected {_either(self.types)}")

    def _plain(self, body: dict[str, Any], position: str | None) -> dict[str, Any]:
        fields = {"source": self.source} | body
        for name, source in self.fields.items():
            _put(fields, name, source.take(body))
        if self.fields and "id" not in fields and position is not None:
            fields["id"] = position
        return fields


def refuse_future(moment: datetime, timestamp_ms: int) -> None:
    """Return if an event's time had come when its record was sent, a day more or less.

    A time ahead of that would end hours, days, cycles and incidents that are not over: whatever came after it would be late.

    Args:
        moment: the event's time.
        timestamp_ms: the record's; negative where it has none, as those of very old clients.

    Raises:
        Rejected: it is ahead.
    """
    ahead = moment.timestamp() - timestamp_ms / 1000
    if ahead > _MOST_AHEAD_SECONDS and timestamp_ms >= 0:
        raise Rejected(
            "from_the_future",
            f"the event's time is {moment.isoformat()}, {ahead / 3600:.0f} hours after it was sent; "
            "expected a time that has come; check the sender's clock and the unit of its times",
        )


def build(model: type[M], fields: Mapping[str, Any]) -> M:
    """Return the message made of `fields`.

    Raises:
        Rejected: a field is missing or has a wrong value; the detail names each.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise Rejected("invalid", _explain(error)) from None


def encode(message: Envelope) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return a record's value and headers: a CloudEvent in structured mode."""
    whole = message.model_dump(mode="json", by_alias=True, exclude_none=True)
    envelope = message.envelope() | {"time": whole["time"]}
    data = {name: value for name, value in whole.items() if name not in ENVELOPE_FIELDS}
    return orjson.dumps(envelope | {"data": data}), [("content-type", _STRUCTURED.encode())]


def encode_key(about: str) -> bytes:
    """Return the Kafka key of everything about an account, or an incident."""
    return about.encode()


def decode_alert(value: bytes | None) -> Alert:
    """Return the alert in a record of the notifications topic.

    Raises:
        Rejected: the record is no alert, and why.
    """
    return _decode_ours(Alert, value, "alert.")


def decode_receipt(value: bytes | None) -> Receipt:
    """Return the receipt in a record of the receipts topic.

    Raises:
        Rejected: the record is no receipt, and why.
    """
    return _decode_ours(Receipt, value, "notification.")


def _decode_ours(model: type[M], value: bytes | None, prefix: str) -> M:
    body = _parse(value)
    type_name, data = body.get("type"), body.get("data")
    if not isinstance(type_name, str) or not type_name.startswith(prefix):
        raise Rejected("unknown_type", f"type {_excerpt(type_name)} is not read here; expected {prefix}*")
    if not isinstance(data, dict):
        raise Rejected("invalid", f"data: expected a JSON object, got {_excerpt(data)}")
    return build(model, data | {ours: body[name] for name, ours in _ATTRIBUTES.items() if name in body})


def _parse(value: bytes | None) -> dict[str, Any]:
    if not value:
        raise Rejected("empty", "the record has no value; expected a JSON object")
    if len(value) > LARGEST_EVENT_BYTES:
        raise Rejected("too_large", f"the event has {len(value)} bytes; at most {LARGEST_EVENT_BYTES} are read")
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected("not_json", f"not JSON: {error}; the record begins {_excerpt(value)}") from None
    if not isinstance(body, dict):
        raise Rejected("not_an_object", f"expected a JSON object, got {_excerpt(body)}")
    return body


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        nested = fields.get(parent)
        fields[parent] = nested = dict(nested) if isinstance(nested, dict) else {}
        fields = nested
    if value is not None:
        fields[last] = value


def _content_type(headers: Headers) -> str:
    # a header's value may be null on the wire
    return next(
        (text.decode("latin-1").lower() for name, text in headers if text and name.lower() == "content-type"), ""
    )


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


def _excerpt(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "..."


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'event'}: {problem['msg']}"
        + ("" if problem["type"] == "missing" else f", got {_excerpt(problem['input'])}")
        for problem in error.errors(include_url=False)
    )
