import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from foretell.kafka_jars import ROOTS, KafkaJarsError, Pin, cache_path, class_path, read_pins, resolve_pins

ROOT = Path(__file__).parents[2]

POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId><artifactId>{artifact}</artifactId><version>1.0</version>
  <dependencies>{dependencies}</dependencies>
</project>"""
DEPENDENCY = """<dependency>
  <groupId>org.example</groupId><artifactId>{artifact}</artifactId><version>1.0</version>
</dependency>"""

FETCH = """
import sys
from pathlib import Path
from foretell.kafka_jars import class_path, read_pins

class_path(read_pins(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@dataclass
class Mirror:
    """A small Maven repository in place of Maven Central: a mill that needs a wheel."""

    folder: Path
    asked_for: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for artifact, needs in (("mill", "wheel"), ("wheel", None)):
            folder = self.folder / "org/example" / artifact / "1.0"
            folder.mkdir(parents=True)
            (folder / f"{artifact}-1.0.jar").write_bytes(artifact.encode() * 1000)
            dependencies = DEPENDENCY.format(artifact=needs) if needs else ""
            (folder / f"{artifact}-1.0.pom").write_text(POM.format(artifact=artifact, dependencies=dependencies))

    @property
    def pins(self) -> tuple[Pin, Pin]:
        mill, wheel = sorted(self.folder.rglob("*.jar"))
        return Pin.of(mill, self.folder), Pin.of(wheel, self.folder)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path / "mirror")

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            mirror.asked_for[self.path.rpartition("/")[2]] += 1

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=mirror.folder)) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        (tmp_path / "jgo.conf").write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield mirror
        server.shutdown()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fetch_in_another_process(mirror: Mirror, cache: Path) -> subprocess.Popen[str]:
    pins = cache.with_name("pins.sha256")
    pins.write_text("".join(f"{pin.sha256}  {pin.path}\n" for pin in mirror.pins))
    return subprocess.Popen([sys.executable, "-c", FETCH, pins, cache], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_every_jar_is_pinned_and_those_that_were_asked_for_are_among_them() -> None:
    pins = read_pins()
    asked_for = {f"{artifact}-{version}.jar" for _, artifact, version in (root.split(":") for root in ROOTS)}

    assert all(re.fullmatch("[0-9a-f]{64}", pin.sha256) for pin in pins)
    assert asked_for <= {pin.path.name for pin in pins}


def test_jars_are_fetched_once_and_then_taken_from_the_cache(mirror: Mirror, cache: Path) -> None:
    first = class_path(mirror.pins, cache)
    again = class_path(mirror.pins, cache)

    assert first == again == tuple(cache / pin.path for pin in mirror.pins)
    assert contents(cache) == {"mill-1.0.jar", "wheel-1.0.jar"}
    assert mirror.asked_for["mill-1.0.jar"] == mirror.asked_for["wheel-1.0.jar"] == 1


def test_two_first_starts_at_once_fetch_every_jar_once(mirror: Mirror, cache: Path) -> None:
    both = [fetch_in_another_process(mirror, cache) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert contents(cache) == {"mill-1.0.jar", "wheel-1.0.jar"}
    assert mirror.asked_for["mill-1.0.jar"] == mirror.asked_for["wheel-1.0.jar"] == 1


def test_without_a_terminal_the_fetching_is_told_in_two_plain_lines(mirror: Mirror, cache: Path) -> None:
    _, said = fetch_in_another_process(mirror, cache).communicate(timeout=120)

    assert said.splitlines() == [
        "Fetching 2 jars of Apache Kafka from Maven Central, once",
        f"Fetched 2 jars into {cache}",
    ]


def test_a_full_cache_is_taken_without_a_word_and_without_loading_what_fetches(mirror: Mirror, cache: Path) -> None:
    fetch_in_another_process(mirror, cache).communicate(timeout=120)
    asked_for_before = mirror.asked_for.total()
    script = FETCH + "assert not {'jgo', 'requests'} & set(sys.modules)"
    command = [sys.executable, "-c", script, str(cache.with_name("pins.sha256")), str(cache)]

    assert subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.PIPE).stderr == b""
    assert mirror.asked_for.total() == asked_for_before


def test_a_jar_that_cannot_be_fetched_is_named(mirror: Mirror, cache: Path) -> None:
    mill, wheel = mirror.pins
    (mirror.folder / wheel.path).unlink()

    with pytest.raises(KafkaJarsError, match=r"wheel-1.0.jar is not in .* check the network, the proxy .* start again"):
        class_path([mill, wheel], cache)


def test_a_jar_that_arrives_with_another_content_is_refused_and_not_kept(mirror: Mirror, cache: Path) -> None:
    mill, wheel = mirror.pins
    wrong = replace(mill, sha256=wheel.sha256)

    with pytest.raises(
        KafkaJarsError, match=f"mill-1.0.jar has SHA-256 {mill.sha256}, expected {wheel.sha256}; it was"
    ):
        class_path([wrong], cache)

    assert contents(cache) == set()


def test_a_jar_that_changed_in_the_cache_is_refused_and_named(mirror: Mirror, cache: Path) -> None:
    jar, _ = class_path(mirror.pins, cache)
    jar.write_bytes(jar.read_bytes() + b"!")

    with pytest.raises(KafkaJarsError, match=f"{jar} has SHA-256 .*, expected .*; delete it and start again"):
        class_path(mirror.pins, cache)


def test_what_a_killed_fetch_left_behind_is_removed_by_the_next(mirror: Mirror, cache: Path) -> None:
    left_behind = cache / ".incoming-earlier"
    left_behind.mkdir(parents=True)
    (left_behind / "half.jar").write_bytes(b"PK")

    class_path(mirror.pins, cache)

    assert contents(cache) == {"mill-1.0.jar", "wheel-1.0.jar"}
    assert not left_behind.exists()


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path))

    assert cache_path() == tmp_path / "maven"


def test_resolving_anew_pins_what_the_root_needs_too(mirror: Mirror) -> None:
    assert resolve_pins(["org.example:mill:1.0"]) == mirror.pins
