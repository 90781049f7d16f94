"""JSON Schemas of the messages, made from their models, and what a change to one may not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from detectors.alerts import Alert, AnswerGiven, LabelGiven, Receipt
from detectors.bulletins import REPORTED
from detectors.events import AccountClosed, AccountUpdated, AllowanceAdded, ChargePosted, UsageRecorded
from detectors.message import ENVELOPE_FIELDS, Envelope

INCOMING: tuple[type[Envelope], ...] = (
    UsageRecorded,
    ChargePosted,
    AccountUpdated,
    AccountClosed,
    AllowanceAdded,
    AnswerGiven,
    LabelGiven,
    *REPORTED,
)
OUTGOING: tuple[type[Envelope], ...] = (Alert, Receipt)
DIRECTORY = Path("docs/schemas")
_NAMES: dict[type[Envelope], str] = {Alert: "alert", Receipt: "receipt"}


def schema_of(message: type[Envelope]) -> dict[str, Any]:
    """Return the JSON Schema of the message's CloudEvents `data`; the envelope is CloudEvents' own."""
    mode: Any = "serialization" if message in OUTGOING else "validation"
    schema = message.model_json_schema(mode=mode, by_alias=True)
    for name in ENVELOPE_FIELDS:
        schema["properties"].pop(name)
    by_envelope = ENVELOPE_FIELDS | {message.subject_field}  # the subject says what it is about
    required = [name for name in schema.get("required", []) if name not in by_envelope]
    schema["required"] = required
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def files() -> dict[str, bytes]:
    """Return every schema file's name and text."""
    return {
        f"{_NAMES.get(message, message.type_name)}.json": orjson.dumps(
            schema_of(message), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        )
        for message in INCOMING + OUTGOING
    }


def write(directory: Path) -> list[Path]:
    """Write the schema files and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in files().items():
        path = directory / name
        path.write_bytes(text)
        written.append(path)
    return written


def breaks(old: dict[str, Any], new: dict[str, Any], *, incoming: bool) -> list[str]:
    """Return what a change from `old` to `new` breaks, a sentence each.

    A sender that knows only the old schema must still be understood (`incoming`); a reader that knows only the old one
    must still find what it reads. Fields may be added, not renamed or taken away.
    """
    return list(_breaks(old, new, old, new, "data", incoming=incoming))


def _breaks(
    old: dict[str, Any],
    new: dict[str, Any],
    old_root: dict[str, Any],
    new_root: dict[str, Any],
    place: str,
    *,
    incoming: bool,
) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for name in old_fields.keys() - new_fields.keys():
        yield f"{place}.{name} is gone"
    old_required, new_required = set(old.get("required", ())), set(new.get("required", ()))
    changed = new_required - old_required if incoming else (old_required - new_required) & new_fields.keys()
    for name in sorted(changed):
        yield f"{place}.{name} is {'newly required of senders' if incoming else 'no longer always there for readers'}"
    narrower, wider = (old, new) if incoming else (new, old)
    for kind in sorted(_kinds(narrower) - _kinds(wider)):
        yield f"{place} {'no longer takes' if incoming else 'newly gives'} {kind}"
    for name in sorted(old_fields.keys() & new_fields.keys()):
        yield from _breaks(old_fields[name], new_fields[name], old_root, new_root, f"{place}.{name}", incoming=incoming)
    if "items" in old and "items" in new:
        yield from _breaks(old["items"], new["items"], old_root, new_root, f"{place}[]", incoming=incoming)


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    options = [_resolved(option, root) for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:  # optional: what counts is what it is when it is there
        return {**options[0], "nullable": True}
    return schema


def _kinds(schema: dict[str, Any]) -> set[str]:
    if "const" in schema:
        return {repr(schema["const"])}
    if "enum" in schema:
        return {repr(value) for value in schema["enum"]}
    kinds = {str(option.get("type", option.get("$ref"))) for option in schema.get("anyOf", ())} or (
        {schema["type"]} if "type" in schema else set()
    )
    return kinds | ({"null"} if schema.get("nullable") else set())
