"""What a worker and its supervisor agree on: the environment in which it starts, and how it says where it answers."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog
from kafka.errors import SaslAuthenticationFailedError
from tenacity import RetryCallState, retry, retry_if_exception, wait_exponential

from streams.topics import TopicError

from .config import Config
from .preflight import require_kafka

HOST = "127.0.0.1"
_NUMBER = "FORETELL_WORKER"
_FOLDER = "FORETELL_WORKER_FOLDER"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Supervised:
    """One worker of several, as both sides see it.

    Attributes:
        number: counts from 0; the label `worker` of its metrics and of its log lines.
        folder: its own, for temporary files and for the port on which it serves `/metrics`, `/healthz` and `/readyz`.
    """

    number: int
    folder: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Return what this process was started as; `None` if no supervisor started it."""
        number, folder = environment.get(_NUMBER), environment.get(_FOLDER)
        return cls(int(number), Path(folder)) if number and folder else None

    def prepare(self, instance_id: str | None) -> dict[str, str]:
        """Empty the folder of what an earlier worker left, and return what to add to the environment of the next.

        Its configuration is the supervisor's, but for what no two workers can share.

        Args:
            instance_id: the configured `stream.instance_id`, if any.

        Raises:
            OSError: the folder cannot be made.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        added = {
            _NUMBER: str(self.number),
            _FOLDER: str(self.folder),
            "TMPDIR": str(self.folder),  # who is killed cannot tidy up
            "FORETELL_HTTP__HOST": HOST,
            "FORETELL_HTTP__STREAM": "0",
        }
        if instance_id is not None:
            added["FORETELL_STREAM__INSTANCE_ID"] = f"{instance_id}-{self.number}"
        return added

    def tell_port(self, port: int) -> None:
        """Say where this worker answers; the supervisor reads all of it or nothing."""
        unfinished = self._port_file.with_suffix(".new")
        unfinished.write_text(str(port))
        unfinished.replace(self._port_file)

    def told_port(self) -> int | None:
        """Return where the worker answers, `None` while it has not said."""
        try:
            return int(self._port_file.read_text())
        except FileNotFoundError:
            return None

    @property
    def _port_file(self) -> Path:
        return self.folder / "port"


def is_absent(error: BaseException) -> bool:
    """Return whether an error says that no broker answers yet: to be waited for, while a wrong setting must be mended."""
    return (
        isinstance(error, TopicError)
        and error.__cause__ is not None  # a topic that is not as needed has no other error behind it
        and not isinstance(error.__cause__, SaslAuthenticationFailedError | ssl.SSLCertVerificationError)
    )


def _say_why(state: RetryCallState) -> None:
    why = state.outcome.exception() if state.outcome else None
    log.warning("waiting_for_kafka", tries=state.attempt_number, why=str(why))


@retry(
    retry=retry_if_exception(is_absent),
    wait=wait_exponential(multiplier=0.25, max=10),
    before_sleep=_say_why,
    reraise=True,
)
def await_kafka(config: Config) -> None:
    """Return when a broker answers and all topics are as needed, however long the broker takes.

    Raises:
        PreflightError: a codec is missing.
        streams.topics.TopicError: the broker does not let us in, or a topic is missing or has too few partitions.
    """
    require_kafka(config)
