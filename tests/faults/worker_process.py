"""One stream worker as a process: how it is watched, killed, put to sleep and asked to end."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from foretell.processes import ChildProcess, Children

from .patience import eventually

_GRACE_SECONDS = 25


class WorkerProcess:
    """`foretell stream` with its own log; with `sabotage` in a Python that has something broken in it.

    Args:
        children: what ends it at the latest.
        config_path: its configuration.
        log_path: its log.
        seat: its lasting name, for a restart without waiting for the session of the one that was killed.
        sabotage: a name in `sabotage.py`.
    """

    def __init__(
        self,
        children: Children,
        config_path: Path,
        log_path: Path,
        *,
        seat: str | None = None,
        sabotage: str | None = None,
    ) -> None:
        program = (
            ["-m", "foretell"] if sabotage is None else [str(Path(__file__).with_name("sabotaged_worker.py")), sabotage]
        )
        environment: Mapping[str, str] = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if seat is not None:
            environment = {**environment, "FORETELL_STREAM__INSTANCE_ID": seat}
        self.log_path = log_path
        self.process: ChildProcess = children.start(
            [sys.executable, *program, "stream", "--config", config_path, "--log-format", "json"],
            name=log_path.stem,
            log_path=log_path,
            environment=environment,
        )

    def is_ready(self) -> bool:
        """Return what `/readyz` says."""
        address = self._address()
        if address is None:
            return False
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
                return int(answer.status) == 200
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def await_ready(self, seconds: float = 60) -> None:
        """Return when it is ready; fail if it ends instead."""

        def look() -> bool:
            assert self.process.is_running, f"ended with {self.process.exit_code}:\n{self.process.log_tail(30)}"
            return self.is_ready()

        eventually(look, seconds)

    def scrape(self, **labels: str) -> dict[str, float]:
        """Return each metric's sum over its samples with these labels."""
        with urllib.request.urlopen(f"{self._address()}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if labels.items() <= sample.labels.items():
                    sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return sums

    def end(self) -> int | None:
        """Ask it to end and return its exit code, None if it would not end."""
        self.process.ask_to_end()
        return self.process.wait(_GRACE_SECONDS)

    def said(self, event: str) -> list[dict[str, object]]:
        """Return the lines of this event in its log."""
        return [line for line in self._lines() if line.get("event") == event]

    def _address(self) -> str | None:
        served = self.said("serving")
        return str(served[-1]["metrics"]).removesuffix("/metrics") if served else None

    def _lines(self) -> Iterator[dict[str, object]]:
        for line in self.log_path.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield json.loads(line)
