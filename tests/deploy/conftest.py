"""What Docker would read, read without it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


Instruction = tuple[int, str, str]
"""A line of the Dockerfile, continuations joined: number of its stage (before the first -1), name, value."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def dockerfile() -> tuple[Instruction, ...]:
    """The Dockerfile's instructions, in order."""
    return tuple(_instructions((ROOT / "Dockerfile").read_text()))


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yml, anchors and merges resolved, `${}` as written."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    """All services of docker-compose.yml."""
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture(scope="session")
def our_services(services: dict[str, Any]) -> dict[str, Any]:
    """Those that run our image."""
    return {name: service for name, service in services.items() if "build" in service}


def _instructions(text: str) -> Iterator[Instruction]:
    stage = -1
    lines = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        name, _, value = line.partition(" ")
        stage += name == "FROM"
        yield stage, name, value.strip()
