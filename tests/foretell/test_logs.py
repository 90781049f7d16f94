"""What a line of a process's log is."""

import json
import os
import subprocess
import sys

import pytest


def lines_of(script: str) -> list[str]:
    """Return what a process says on standard error; logging is set up once a process, so each has its own."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    return done.stderr.splitlines()


@pytest.mark.parametrize("named", ["structlog.get_logger('streams.x').info", "logging.getLogger('aiokafka').error"])
def test_every_line_carries_the_fields_of_the_process_from_any_thread(named: str) -> None:
    script = f"""
import logging, threading, structlog
from foretell.logs import configure_logs
configure_logs("json", worker=2)
say = {named}
thread = threading.Thread(target=lambda: say("said"))
thread.start()
thread.join()
"""

    (line,) = lines_of(script)

    assert json.loads(line)["worker"] == 2
    assert json.loads(line)["event"] == "said"


def test_without_fields_a_line_has_none() -> None:
    script = """
import structlog
from foretell.logs import configure_logs
configure_logs("json")
structlog.get_logger("streams.x").info("said")
"""

    (line,) = lines_of(script)

    assert set(json.loads(line)) == {"event", "logger", "level", "timestamp"}
