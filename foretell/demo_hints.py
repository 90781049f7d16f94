"""What to try after the demo, and while it is kept running: commands that work as they are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from .demo_system import DemoSystem
from .scenarios import World

_SAMPLE = "sixty-gigabytes.csv"


def what_to_try_next() -> Iterator[str]:
    """Yield commands that work as they are printed."""
    ideas = {
        command("demo", "--keep"): "leave it running, and look inside",
        command("demo", "--seed 7"): "other customers",
        command("feed", "--help"): "your own file",
    }
    width = max(map(len, ideas))
    for called, why in ideas.items():
        yield f"  {called:{width}}  {why}"


def what_to_try_meanwhile(system: DemoSystem, world: World) -> Iterator[str]:
    """Yield commands for another terminal, and write the file that one of them reads."""
    customer = next(message.account for message in world.accounts if message.segment == "phone")
    sample = system.folder / _SAMPLE
    sample.write_text(f"account,time,quantity\n{customer},{(world.ends + timedelta(hours=1)).isoformat()},60\n")
    usage = system.config.topics.named("usage")
    ideas: Mapping[str, str] = {
        f"{customer} uses 60 GB more than usual; the messages follow": (
            f"{command('feed', str(sample))} --map meter:=data --map unit:=GB --config {system.config_path}"
        ),
        "read them": f"tail -n 1 {system.messages_path}",
        "send what is no event": (
            f"echo 'no event' | {_near(Path(sys.executable))} -m kafka.producer -b {system.config.kafka.bootstrap} -t {usage}"
        ),
        "see that nothing has stopped, and that it is counted": (
            f"curl -s {system.stream_url}/metrics | grep dead_letters_total"
        ),
    }
    for why, called in ideas.items():
        yield f"  # {why}"
        yield f"  {called}"


def command(name: str, arguments: str) -> str:
    """Return how one of our commands is called from here: as the user has called the demo."""
    if name == "demo" and "MAKELEVEL" in os.environ:
        return f'make demo ARGS="{arguments}"'
    script = Path(sys.prefix) / "bin" / "foretell"
    called = f"{_near(Path(sys.executable))} -m foretell"
    return f"{_near(script) if script.exists() else called} {name} {arguments}"


def _near(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
