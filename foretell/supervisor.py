"""Several workers on one machine: kept running, ended together, and one address for what they count and how they are."""

from __future__ import annotations

import http.client
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TypeVar

import structlog
from prometheus_client import ProcessCollector

from .processes import ChildProcess
from .restarts import Restarts
from .supervised import HOST, Supervised
from .worker_metrics import MergedRegistry, SupervisorMetrics

T = TypeVar("T")

EXIT_MISUSED = 2
EXIT_NOT_DRAINED = 1
MEANINGS = {
    0: "it ended without being asked to",
    1: "an error that nobody expected; its last lines say which",
    EXIT_MISUSED: "misconfigured, or Kafka is not as needed; its last line says what to do",
    70: "a batch did not begin where the one before it had ended",
    72: "a checkpoint failed, or another worker has its partitions by now",
    74: "stalled: there was something to read and no offset moved",
    75: "its event loop was blocked for too long",
    76: "a surprise; its last lines say which",
    77: "a topic was made anew or cut short",
    78: "the inputs are not co-partitioned; `foretell topics check` says which",
    79: "saved state of a format that this version does not read",
}
_LOOK_SECONDS = 0.1
_ASKED_WITHIN_SECONDS = 1.5  # a scrape and a probe each wait so long for a worker that stands still, and Docker's 4 s
_LAST_LINES_SECONDS = 2.0

log = structlog.get_logger(__name__)


def meaning(exit_code: int) -> str:
    """Return what a worker's exit code says.

    >>> meaning(77), meaning(3)
    ('a topic was made anew or cut short', 'no code of ours; its last lines may say more')
    >>> meaning(-9)
    'killed by SIGKILL: by hand, or by Linux for want of memory'
    """
    if exit_code == -signal.SIGKILL:
        return "killed by SIGKILL: by hand, or by Linux for want of memory"
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return MEANINGS.get(exit_code, "no code of ours; its last lines may say more")


@dataclass(slots=True)
class _Seat:
    """One worker's place, which outlasts its processes."""

    terms: Supervised
    restarts: Restarts
    child: ChildProcess | None = None
    reader: threading.Thread | None = None
    starts: int = 0
    started_at: float = 0.0
    starts_again_at: float = 0.0

    @property
    def number(self) -> int:
        return self.terms.number


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the supervisor waits for what.

    Attributes:
        grace_seconds: for all workers to drain once it is asked to end; then they are killed.
        crash_loop_seconds: a worker may fail to run well for so long before `/healthz` says no.
        make_restarts: how long before each restart of a worker.
    """

    grace_seconds: float = 25.0
    crash_loop_seconds: float = 300.0
    make_restarts: Callable[[], Restarts] = field(default=Restarts)


class Supervisor:
    """Keep a number of workers running, each a process of its own.

    A worker that ends, with whatever code, is started again: soon the first
    time, ever later if it ends again and again. What it reads and knows is
    Kafka's business: meanwhile its partitions are worked on by the others, here
    and on other machines. Only a worker that at its very first start ends as
    misused (exit code 2) ends the supervisor, because a setting will not mend
    itself; a broker that does not answer is no such thing, workers wait for it.

    Workers' output comes out of the supervisor's standard error, whole lines,
    unchanged. If the supervisor is killed, Linux kills the workers.

    What `/healthz`, `/readyz` and `/metrics` say is for whoever watches the
    whole: see `is_healthy`, `is_ready` and `registry`.

    Args:
        command: starts one worker.
        workers: how many.
        environment: all environment variables of the workers, but for what tells them apart.
        instance_id: the configured `stream.instance_id`; each worker gets one of its own made from it.
        output: where the workers' lines go; `None` for standard error.
        patience: how long it waits for what.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        workers: int,
        *,
        environment: Mapping[str, str] = os.environ,
        instance_id: str | None = None,
        output: IO[bytes] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._instance_id = instance_id
        self._output = output or sys.stderr.buffer
        self._patience = patience or Patience()
        self._folder = TemporaryDirectory(prefix="foretell-workers-")
        self._seats = [
            _Seat(Supervised(number, Path(self._folder.name, str(number))), self._patience.make_restarts())
            for number in range(workers)
        ]
        self._asked_to_end: queue.SimpleQueue[str] = queue.SimpleQueue()  # the one queue that a signal handler may use
        self.registry = MergedRegistry(self._scrape)
        """The metrics of all workers, each with a label `worker`, and the supervisor's own."""
        self._metrics = SupervisorMetrics(self.registry, workers)
        ProcessCollector(registry=self.registry)

    def run(self) -> int:
        """Work until `stop`, SIGTERM, SIGINT or SIGHUP, and return the exit code.

        0: all workers that ran have drained. 1: some have not, and were killed or ended with an error; nothing is lost,
        what their last checkpoints did not cover is read again. 2: misused.
        """
        try:
            with self._signals():
                return self._keep_running()
        finally:
            for seat in self._seats:
                if seat.child:
                    seat.child.kill()
                    self._bury(seat)
            self._folder.cleanup()

    def stop(self, why: str = "asked") -> None:
        """Let `run` drain the workers and return; safe in a signal handler and in any thread."""
        self._asked_to_end.put(why)

    # what others ask ------------------------------------------------------------------------------------------------

    def is_healthy(self) -> bool:
        """Return whether nobody need do anything.

        Yes while each worker says so itself, is starting, or waits for its restart: that mends itself, and to restart
        all workers because of one would only cost the others their caches. No when a worker that runs says no or does
        not answer, and when one has not managed to run well for minutes: then a restart of everything, perhaps
        on another machine, is worth a try, and a person's look is worth more.
        """
        return all(self._of_each(self._is_seat_healthy))

    def is_ready(self) -> bool:
        """Return whether every worker runs, has its partitions, and has restored them."""
        return all(self._of_each(lambda seat: self._ask(seat, "/readyz") is not None))

    def _is_seat_healthy(self, seat: _Seat) -> bool:
        now = time.monotonic()
        if seat.restarts.unsettled_seconds(now) > self._patience.crash_loop_seconds:
            return False
        if seat.child is None:
            return True
        if seat.terms.told_port() is None:
            return now - seat.started_at < self._patience.crash_loop_seconds
        return self._ask(seat, "/healthz") is not None

    def _scrape(self) -> dict[str, str]:
        answers = self._of_each(lambda seat: self._ask(seat, "/metrics"))
        return {str(seat.number): text for seat, text in zip(self._seats, answers, strict=True) if text is not None}

    def _of_each(self, question: Callable[[_Seat], T]) -> list[T]:
        """Return what a question about each worker gives; together, so that it takes no longer than the slowest."""
        with ThreadPoolExecutor(len(self._seats), "foretell-ask") as askers:
            return list(askers.map(question, self._seats))

    def _ask(self, seat: _Seat, path: str) -> str | None:
        """Return the worker's answer, `None` if it is not 200 or there is none."""
        port = seat.terms.told_port() if seat.child else None
        if port is None:
            return None
        connection = http.client.HTTPConnection(HOST, port, timeout=_ASKED_WITHIN_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return text if answer.status == http.HTTPStatus.OK else None

    # the work -------------------------------------------------------------------------------------------------------

    def _keep_running(self) -> int:
        while (why := self._wait()) is None:
            for seat in self._seats:
                if seat.child and seat.child.exit_code is not None:
                    exit_code = self._bury(seat)
                    if exit_code == EXIT_MISUSED and seat.starts == 1:
                        log.critical("worker_misused", worker=seat.number, meaning=meaning(exit_code))
                        self._drain("misused")
                        return EXIT_MISUSED
                    self._plan_restart(seat, exit_code)
                if seat.child is None and time.monotonic() >= seat.starts_again_at:
                    self._start(seat)
            self._count()
        return 0 if self._drain(why) else EXIT_NOT_DRAINED

    def _wait(self) -> str | None:
        """Return why to end, `None` if it is time to look after the workers."""
        try:
            return self._asked_to_end.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            return None

    def _start(self, seat: _Seat) -> None:
        try:
            environment = {**self._environment, **seat.terms.prepare(self._instance_id)}
            child = ChildProcess(self._command, name=f"worker {seat.number}", environment=environment)
        except OSError as error:  # too many processes, too little memory, a full disk
            seat.starts_again_at = time.monotonic() + seat.restarts.ended(time.monotonic())
            log.error("worker_not_started", worker=seat.number, why=str(error))  # noqa: TRY400 - the sentence says it
            return
        seat.reader = threading.Thread(target=self._pass_on, args=[child.output], daemon=True, name=child.name)
        seat.reader.start()
        seat.started_at = time.monotonic()
        seat.restarts.started(seat.started_at)
        seat.child = child
        if seat.starts:
            self._metrics.restarts.labels(seat.number).inc()
        seat.starts += 1
        log.info("worker_started", worker=seat.number, pid=child.pid, starts=seat.starts)

    def _plan_restart(self, seat: _Seat, exit_code: int) -> None:
        now = time.monotonic()
        wait_seconds = seat.restarts.ended(now)
        seat.starts_again_at = now + wait_seconds
        log.warning(
            "worker_ended",
            worker=seat.number,
            exit_code=exit_code,
            meaning=meaning(exit_code),
            ran_seconds=round(now - seat.started_at, 1),
            starts_again_in_seconds=wait_seconds,
        )

    def _drain(self, why: str) -> bool:
        """End all workers, at once and in time; return whether each had finished what it had in hand."""
        running = [(seat, seat.child) for seat in self._seats if seat.child and seat.child.is_running]
        log.info("draining", why=why, workers=len(running), grace_seconds=self._patience.grace_seconds)
        ends_at = time.monotonic() + self._patience.grace_seconds
        for _, child in running:
            child.ask_to_end()
        has_drained = True
        for seat, child in running:
            if child.wait(max(0.0, ends_at - time.monotonic())) is None:
                log.error("worker_killed", worker=seat.number, why="it did not drain within the grace period")
                child.kill()
            exit_code = self._bury(seat)
            # one that had not come to handling SIGTERM had nothing in hand
            if exit_code not in (0, -signal.SIGTERM):
                has_drained = False
                log.error("worker_not_drained", worker=seat.number, exit_code=exit_code, meaning=meaning(exit_code))
        log.info("drained" if has_drained else "ended_undrained", workers=len(running))
        return has_drained

    def _bury(self, seat: _Seat) -> int:
        """Return the exit code of a worker that ended, once its last lines are out."""
        child, seat.child = seat.child, None
        if seat.reader:
            seat.reader.join(_LAST_LINES_SECONDS)
        self._count()
        return 0 if child is None or child.exit_code is None else child.exit_code

    def _count(self) -> None:
        self._metrics.running.set(sum(seat.child is not None for seat in self._seats))

    def _pass_on(self, lines: IO[bytes]) -> None:
        """Write a worker's lines to our output, each in one piece; read on if nobody takes them, or the worker stands still."""
        with lines:
            for line in lines:
                with suppress(OSError, ValueError):
                    self._output.write(line if line.endswith(b"\n") else line + b"\n")
                    self._output.flush()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let signals stop us while the block runs; in the main thread, which alone may ask for them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        wanted = [number for number, handler in earlier.items() if handler is not signal.SIG_IGN]  # nohup's, say
        for number in wanted:
            signal.signal(number, lambda received, _frame: self.stop(signal.Signals(received).name))
        try:
            yield
        finally:
            for number in wanted:
                signal.signal(number, earlier[number])
