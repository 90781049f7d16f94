"""What every fault test needs: a field with topics of its own, on the suite's Kafka or on one that may be harmed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foretell.processes import Children

from .field import Field


@pytest.fixture
def make_field(tmp_path: Path) -> Iterator[Callable[..., Field]]:
    """Return what makes a field on any Kafka; its arguments are settings of the `stream` section."""
    made: list[Field] = []
    with Children(grace_seconds=3) as children:

        def make(bootstrap: str, *, topics: bool = True, **stream: Any) -> Field:
            field = Field(bootstrap, tmp_path, children, **stream)
            made.append(field)
            if topics:
                field.create_topics()
            return field

        yield make
    for field in made:
        field.close()


@pytest.fixture
def field(make_field: Callable[..., Field], bootstrap: str) -> Field:
    """A field on the suite's Kafka; nothing is started."""
    return make_field(bootstrap)
