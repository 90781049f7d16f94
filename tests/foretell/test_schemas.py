from pathlib import Path
from typing import Any

import orjson
import pytest

from foretell import schemas

CHECKED_IN = Path(__file__).parents[2] / "docs" / "schemas"
RELEASED = CHECKED_IN / "released"


def test_the_schemas_that_are_checked_in_are_current() -> None:
    current = schemas.files()

    assert {path.name: path.read_bytes() for path in CHECKED_IN.glob("*.json")} == current, "run `make schemas`"


@pytest.mark.parametrize("released", sorted(RELEASED.glob("*.json")), ids=lambda path: path.name)
def test_a_change_breaks_neither_senders_nor_readers(released: Path) -> None:
    incoming = released.name not in {"alert.json", "receipt.json"}

    broken = schemas.breaks(
        orjson.loads(released.read_bytes()), orjson.loads(schemas.files()[released.name]), incoming=incoming
    )

    assert broken == []


def test_every_schema_has_been_released() -> None:
    assert {path.name for path in RELEASED.glob("*.json")} == set(schemas.files())


OLD: dict[str, Any] = {
    "properties": {
        "a": {"type": "string"},
        "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "c": {"enum": ["x", "y"]},
    },
    "required": ["a"],
}


@pytest.mark.parametrize(
    ("change", "incoming", "said"),
    [
        ({"properties": {"a": {"type": "string"}}}, True, "data.b is gone"),
        ({"required": ["a", "b"]}, True, "data.b is newly required of senders"),
        ({"required": []}, False, "data.a is no longer always there for readers"),
        ({"properties": {**OLD["properties"], "a": {"type": "integer"}}}, True, "data.a no longer takes string"),
        ({"properties": {**OLD["properties"], "c": {"enum": ["x"]}}}, True, "data.c no longer takes 'y'"),
        ({"properties": {**OLD["properties"], "c": {"enum": ["x", "y", "z"]}}}, False, "data.c newly gives 'z'"),
        ({"properties": {**OLD["properties"], "b": {"type": "integer"}}}, True, "data.b no longer takes null"),
    ],
)
def test_a_breaking_change_is_named(change: dict[str, Any], incoming: bool, said: str) -> None:
    assert said in schemas.breaks(OLD, OLD | change, incoming=incoming)


def test_a_new_optional_field_breaks_nothing() -> None:
    new = OLD | {"properties": {**OLD["properties"], "d": {"type": "string"}}}

    assert schemas.breaks(OLD, new, incoming=True) == []
    assert schemas.breaks(OLD, new, incoming=False) == []
