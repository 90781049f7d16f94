"""The Dockerfile's promises, and its health check run as it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from foretell.serve import serve

Dockerfile = tuple[tuple[int, str, str], ...]
_FINAL = 1  # the stage that becomes the image


def _only(dockerfile: Dockerfile, wanted: str) -> str:
    (value,) = (value for stage, name, value in dockerfile if name == wanted and stage == _FINAL)
    return value


def test_both_stages_stand_on_one_pinned_python(dockerfile: Dockerfile) -> None:
    image = next(value for _, name, value in dockerfile if name == "ARG")

    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+", image)
    assert [value for _, name, value in dockerfile if name == "FROM"] == [
        "${PYTHON_IMAGE} AS builder",
        "${PYTHON_IMAGE}",
    ]


def test_it_runs_as_the_user_that_compose_names(dockerfile: Dockerfile, our_services: dict[str, Any]) -> None:
    user = _only(dockerfile, "USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert {service["user"] for service in our_services.values()} == {user}


def test_the_process_itself_hears_when_it_is_to_end(dockerfile: Dockerfile) -> None:
    assert _only(dockerfile, "ENTRYPOINT") == '["foretell"]'
    assert _only(dockerfile, "STOPSIGNAL") == "SIGTERM"


def test_the_builder_is_sent_what_is_copied_and_nothing_else(root: Path, dockerfile: Dockerfile) -> None:
    copied = {
        source
        for stage, name, value in dockerfile
        if name == "COPY" and stage < _FINAL
        for source in shlex.split(value)[:-1]
    }
    lines = (root / ".dockerignore").read_text().splitlines()

    assert [line for line in lines if not line.startswith(("#", "!"))] == ["*", "**/__pycache__/"]
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


@pytest.mark.parametrize("is_healthy", [True, False])
def test_the_health_check_says_what_healthz_says(dockerfile: Dockerfile, *, is_healthy: bool) -> None:
    command = _health_check(dockerfile)
    with serve("127.0.0.1", 0, lambda: is_healthy, lambda: True, CollectorRegistry()) as port:
        # a proxy in the environment is none of its business
        ended = subprocess.run(
            command,
            env={"FORETELL_HEALTH_PORT": str(port), "http_proxy": "http://127.0.0.1:9"},
            check=False,
            capture_output=True,
        )

    assert (ended.returncode == 0) is is_healthy


def test_the_health_check_fails_where_nothing_answers(dockerfile: Dockerfile) -> None:
    with serve("127.0.0.1", 0, lambda: True, lambda: True, CollectorRegistry()) as port:
        pass
    ended = subprocess.run(
        _health_check(dockerfile), env={"FORETELL_HEALTH_PORT": str(port)}, check=False, capture_output=True
    )

    assert ended.returncode == 1


def _health_check(dockerfile: Dockerfile) -> list[str]:
    program, *arguments = json.loads(_only(dockerfile, "HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"
    return [sys.executable, *arguments]
