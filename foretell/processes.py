"""Child processes of which none is left behind, however the parent ends."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self, TypeVar

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

T = TypeVar("T")

_POLL_SECONDS = 0.02

# Runs between fork and the command proper: asks Linux to kill this process when its parent dies, even by kill -9.
# A program of its own, because Python code between fork and exec (preexec_fn) can deadlock in a threaded parent.
# The parent may have died before prctl was called; then nobody would send the signal, hence the look at getppid.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

# Linux sends that signal when the *thread* that started the child ends. A child wanted by a passing thread is therefore
# started by this one, which lasts as long as the interpreter.
_lasting_thread = ThreadPoolExecutor(1, "foretell-children")


class ChildProcess:
    """A running command in a process group of its own, its output in a file or in a pipe.

    The group shields it from the terminal's Ctrl-C: its parent decides when it
    ends. On Linux it also dies when its parent is killed; what it starts itself
    dies then too if it used this class. Elsewhere `kill -9` of the parent
    leaves it running.

    Args:
        command: program and arguments; the program is looked up on `PATH`.
        name: what to call it in errors.
        log_path: file to which standard output and standard error are added; `None` for a pipe,
            `output`, from which the parent must read or the child stands still some day.
        environment: all its environment variables; `None` for ours.
        folder: its working folder; `None` for ours.

    Raises:
        FileNotFoundError: there is no such program.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        log_path: Path | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise FileNotFoundError(
                f"{name} cannot start: no program {str(command[0])!r} on PATH; install it or give its full path"
            )
        self.name = name
        self._log_path = log_path
        arguments = [program, *map(str, command[1:])]
        if sys.platform == "linux":
            arguments = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments]
        with log_path.open("ab") if log_path else nullcontext(subprocess.PIPE) as log:

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    arguments,
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )

            lasts = threading.current_thread() is threading.main_thread()
            self._process = start() if lasts else _lasting_thread.submit(start).result()

    @property
    def pid(self) -> int:
        """The process's id, which is its group's too."""
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """The file with its output.

        Raises:
            ValueError: its output goes into a pipe.
        """
        if self._log_path is None:
            raise ValueError(f"{self.name} has no log file; its parent reads `output`")
        return self._log_path

    @property
    def output(self) -> IO[bytes]:
        """The pipe from which its standard output and standard error are read; closing it is up to the reader.

        Raises:
            ValueError: its output goes into a file.
        """
        if self._process.stdout is None:
            raise ValueError(f"{self.name} writes to {self._log_path}; read that")
        return self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """What it ended with, minus the signal's number if by a signal; `None` while it runs."""
        if self._process.returncode is None and self._process.poll() is not None:
            self._signal(signal.SIGKILL)  # what it may have started and not ended
        return self._process.returncode

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet; a paused one counts as running."""
        return self.exit_code is None

    def wait(self, timeout_seconds: float) -> int | None:
        """Return the exit code, or `None` if it still runs after `timeout_seconds`."""
        patience = Retrying(
            retry=retry_if_result(lambda exit_code: exit_code is None),
            wait=wait_fixed(_POLL_SECONDS),
            stop=stop_after_delay(timeout_seconds),
            retry_error_callback=lambda _: None,
        )
        return patience(lambda: self.exit_code)

    def terminate(self, grace_seconds: float = 10.0) -> None:
        """Ask the whole group to end (SIGTERM), and kill what has not after `grace_seconds`."""
        self.ask_to_end()
        self.wait(grace_seconds)
        self.kill()

    def ask_to_end(self) -> None:
        """Send the whole group SIGTERM and return at once."""
        if self.is_running:
            self.resume()  # a paused one would not hear it, and of a paused Python the wrong thread might
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once (SIGKILL)."""
        if self.is_running:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def pause(self) -> None:
        """Stop the whole group where it stands (SIGSTOP) until `resume`; return when the child has stopped."""
        if self.is_running:
            self._signal(signal.SIGSTOP)
            if hasattr(os, "waitid"):  # macOS has it from Python 3.13; a program of many threads stops them one by one
                os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused group go on (SIGCONT)."""
        if self.is_running:
            self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last `lines` of its output."""
        with self.log_path.open(errors="replace") as log:
            return "".join(deque(log, maxlen=lines)).strip()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS answers so for a group of zombies
            os.killpg(self.pid, number)


class Children:
    """Processes, and whatever else must be ended, ended together in reverse order.

    While open it turns SIGTERM and SIGHUP into `SystemExit` and SIGINT into
    `KeyboardInterrupt`, once, so that `with` blocks unwind; while ending it
    ignores them, so that an impatient second Ctrl-C leaves nothing behind.
    Open it in the main thread to have the signals; a SIGHUP that `nohup` had
    ignored stays ignored.

    Args:
        grace_seconds: how long each process may take to end by itself.
    """

    def __init__(self, grace_seconds: float = 10.0) -> None:
        self._grace_seconds = grace_seconds
        self._stack = ExitStack()
        self._is_ending = False

    def __enter__(self) -> Self:
        atexit.register(self._stack.close)  # a signal in the instant before `__exit__` begins would skip it
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                earlier = signal.getsignal(number)
                if earlier is not signal.SIG_IGN:
                    signal.signal(number, self._unwind)
                    self._stack.callback(signal.signal, number, earlier)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._is_ending = True
        atexit.unregister(self._stack.close)
        return self._stack.__exit__(kind, error, traceback)

    def start(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> ChildProcess:
        """Start a `ChildProcess` that ends with this block."""
        child = ChildProcess(command, name=name, log_path=log_path, environment=environment, folder=folder)
        self._stack.callback(child.terminate, self._grace_seconds)
        return child

    def enter(self, resource: AbstractContextManager[T]) -> T:
        """Enter another context manager, such as a `LocalBroker`, that ends with this block."""
        return self._stack.enter_context(resource)

    def _unwind(self, number: int, _: FrameType | None) -> None:
        if self._is_ending:
            return
        self._is_ending = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
