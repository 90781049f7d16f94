"""The jars of Apache Kafka: fetched once from Maven Central, checked on every start."""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tenacity import Retrying, stop_after_attempt, wait_exponential

if TYPE_CHECKING:
    from jgo.maven import MavenContext

ROOTS = ("org.apache.kafka:kafka_2.13:4.1.1", "org.slf4j:slf4j-simple:1.7.36")  # slf4j-simple: or Kafka logs nothing
"""What the pinned list was resolved from."""

_PINS = Path(__file__).with_suffix(".sha256")
_PARALLEL_FETCHES = 4
_FETCH_TIMEOUT_SECONDS = 30
_INCOMING = ".incoming-"


class KafkaJarsError(RuntimeError):
    """A jar of Kafka is missing, cannot be fetched, or is not the one that was pinned."""


@dataclass(frozen=True)
class Pin:
    """One jar of the class path and what its content must be.

    Args:
        path: where a Maven repository keeps it: `group/artifact/version/artifact-version.jar`.
        sha256: its hash, in hexadecimal.
    """

    path: PurePosixPath
    sha256: str

    @classmethod
    def of(cls, path: Path, repository: Path) -> Self:
        """Return the pin of an existing jar below `repository`."""
        return cls(PurePosixPath(path.relative_to(repository).as_posix()), _sha256(path))


def read_pins(path: Path = _PINS) -> tuple[Pin, ...]:
    """Return the pinned jars; the file is one that `sha256sum --check` reads too."""
    lines = (line.split() for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Pin(PurePosixPath(jar), sha256) for sha256, jar in lines)


def cache_path() -> Path:
    """Return the folder that keeps the jars, laid out like a Maven repository: `$FORETELL_CACHE` or the user's cache."""
    chosen = os.environ.get("FORETELL_CACHE")
    if chosen:
        return Path(chosen) / "maven"
    try:
        import platformdirs  # noqa: PLC0415 - of the `local` extra, which the image does without
    except ImportError as error:
        raise KafkaJarsError(
            "a Kafka of our own needs Foretell's `local` extra; install it, or point at a Kafka of yours"
        ) from error
    return platformdirs.user_cache_path("foretell") / "maven"


def class_path(pins: Sequence[Pin] | None = None, cache: Path | None = None) -> tuple[Path, ...]:
    """Return the jars that Java needs to run Kafka, fetching those that the cache lacks.

    With a full cache nothing touches the network. Every jar is hashed on every
    call: 44 MB take 0.06 s.

    Args:
        pins: the jars wanted; `None` for Kafka's.
        cache: where they are kept; `None` for `cache_path()`.

    Raises:
        KafkaJarsError: a jar is not the pinned one or cannot be fetched.
    """
    pins = read_pins() if pins is None else pins
    cache = cache_path() if cache is None else cache
    if any(not (cache / pin.path).exists() for pin in pins):
        with _sole_writer(cache):
            _fetch_all([pin for pin in pins if not (cache / pin.path).exists()], cache)
    for pin in pins:
        _check(cache / pin.path, pin, "delete it and start again to fetch it anew")
    return tuple(cache / pin.path for pin in pins)


def resolve_pins(roots: Sequence[str] = ROOTS) -> tuple[Pin, ...]:
    """Ask Maven Central what `roots` need today, to write `kafka_jars.sha256` anew after changing `ROOTS`.

    The jars' compile and runtime dependencies, not the optional ones.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = _maven(Path(folder))
        given, needed = context.resolver.resolve([context.create_dependency(root) for root in roots])
        jars = [dependency.artifact.resolve() for dependency in (*given, *needed)]
        return tuple(sorted((Pin.of(jar, Path(folder)) for jar in jars), key=lambda pin: pin.path))


def _fetch_all(pins: Sequence[Pin], cache: Path) -> None:
    if not pins:  # another process was quicker
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"Fetching {len(pins)} jars of Apache Kafka from Maven Central, once", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(_PARALLEL_FETCHES) as threads,
    ):
        task = progress.add_task("Fetching Apache Kafka from Maven Central", total=len(pins))
        try:
            for _ in threads.map(lambda pin: _fetch(pin, cache), pins):
                progress.advance(task)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)  # do not fetch the others before telling
            raise
    if not console.is_terminal:
        console.print(f"Fetched {len(pins)} jars into {cache}", highlight=False, soft_wrap=True)


def _fetch(pin: Pin, cache: Path) -> None:
    """Bring one jar into `cache`; it appears there whole and checked, or not at all."""
    group, artifact, version = pin.path.parent.parent.parent, pin.path.parent.parent.name, pin.path.parent.name

    def download(folder: str) -> Path:
        # A folder per jar: jgo writes in place and refuses to go on with what an earlier attempt left.
        context = _maven(Path(tempfile.mkdtemp(dir=folder)))
        project = context.project(".".join(group.parts), artifact)
        return Path(project.at_version(version).artifact().resolve())

    with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=cache) as folder:
        try:
            patience = Retrying(stop=stop_after_attempt(3), wait=wait_exponential(multiplier=0.5), reraise=True)
            fetched = patience(download, folder)
        except Exception as error:  # jgo lets requests' errors through and raises RuntimeError for the rest
            raise KafkaJarsError(
                f"{pin.path.name} is not in {cache} and Maven Central did not give it ({type(error).__name__}: {error});"
                f" expected SHA-256 {pin.sha256}; check the network, the proxy (HTTPS_PROXY) or the mirror (jgo.conf) and"
                " start again"
            ) from error
        _check(fetched, pin, "it was not kept; find out who changes what Maven Central sends, then start again")
        target = cache / pin.path
        target.parent.mkdir(parents=True, exist_ok=True)
        fetched.replace(target)


def _maven(repository: Path) -> "MavenContext":
    from jgo.config import GlobalSettings  # noqa: PLC0415  # 0.4 s, and not needed once the cache is full
    from jgo.maven import MavenContext  # noqa: PLC0415

    logging.getLogger("jgo").setLevel(logging.ERROR)  # it warns of what we check ourselves, more strictly
    context = MavenContext(repo_cache=repository, timeout=_FETCH_TIMEOUT_SECONDS)
    mirrors = (
        GlobalSettings.load().repositories
    )  # by jgo's own configuration file; asked first, may replace Maven Central
    context.remote_repos = mirrors | context.remote_repos | mirrors
    return context


def _check(jar: Path, pin: Pin, remedy: str) -> None:
    found = _sha256(jar)
    if found != pin.sha256:
        raise KafkaJarsError(f"{jar} has SHA-256 {found}, expected {pin.sha256}; {remedy}")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def _sole_writer(cache: Path) -> Iterator[None]:
    """Let one process at a time fetch; the others wait, then find the jars there."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # released by the kernel, also when we are killed
        for left_behind in cache.glob(f"{_INCOMING}*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        yield
    finally:
        os.close(folder)
