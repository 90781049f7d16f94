"""The README's commands, in its order, as printed, on the suite's Kafka."""

import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foretell.processes import ChildProcess, Children

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
STAYS = {"stream", "deliver", "broker"}


def commands() -> list[str]:
    """Return what the README's console blocks type."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_each_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README))

    assert {"demo", "test", "check"} <= named <= targets


def test_each_link_of_the_readme_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_commands_work_in_order_and_the_customer_is_told(
    bootstrap: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {
        **os.environ,
        "FORETELL_KAFKA__BOOTSTRAP": bootstrap,
        "FORETELL_KAFKA__GROUP": f"readme-{uuid.uuid4().hex[:8]}",
        "FORETELL_TOPICS__PREFIX": f"readme-{uuid.uuid4().hex[:8]}",
        "FORETELL_HTTP__STREAM": "0",
        "FORETELL_HTTP__DELIVER": "0",
        "PYTHONUNBUFFERED": "1",
    }
    typed = [command for command in commands() if command.startswith(".venv/bin/foretell ")]
    assert {shlex.split(command)[1] for command in typed} == {"check", "topics", "stream", "deliver", "broker", "feed"}
    running: dict[str, ChildProcess] = {}
    with Children() as children:
        for command in typed:
            _, *arguments = shlex.split(command.replace("--port 9092", ""))
            call = [sys.executable, "-m", "foretell", *arguments]
            if arguments[0] in STAYS:
                log = tmp_path / f"{arguments[0]}.log"
                running[arguments[0]] = children.start(
                    call, name=arguments[0], log_path=log, environment=environment, folder=tmp_path
                )
                eventually(lambda log=log: re.search(r"serving|answers at", log.read_text()))
            else:
                done = subprocess.run(
                    call, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
                )
                assert done.returncode == 0, (command, done.stderr)

        told = eventually(lambda: "You have used all of your data" in (tmp_path / "deliver.log").read_text())
        assert told
        assert "account ending 1234" in (tmp_path / "deliver.log").read_text()
        assert all(process.is_running for process in running.values())
