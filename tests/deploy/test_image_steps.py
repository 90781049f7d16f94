"""The image's install steps, run as the Dockerfile runs them, into a folder. Takes a minute: it installs every package."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)  # PyPI on a slow day

PREFIX = "/opt/foretell"
ROOMS = ("detectors", "streams", "channels", "foretell")
_PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Image:
    """What the image would hold below `/opt/foretell`."""

    prefix: Path

    @property
    def site_packages(self) -> Path:
        (found,) = self.prefix.glob("lib/python3.*/site-packages")
        return found

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.prefix / "bin" / command[0], *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.prefix,  # not the project's folder: its packages would be imported in place of the installed ones
            env={"PATH": f"{self.prefix}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        )


@pytest.fixture(scope="module")
def image(root: Path, dockerfile: tuple[tuple[int, str, str], ...], tmp_path_factory: pytest.TempPathFactory) -> Image:
    context, prefix = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("image") / "foretell"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    for stage, name, value in dockerfile:
        if stage == 0 and name == "COPY":
            *sources, destination = shlex.split(value)
            for source in sources:
                _copy(root / source, context, destination)
        if stage == 0 and name == "RUN":
            ended = subprocess.run(
                shlex.split(value.replace(PREFIX, shlex.quote(str(prefix)))),
                cwd=context,
                env={**environment, "PYTHON": sys.executable},
                umask=0o022,  # as in the builder
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stdout[-4000:]
    return Image(prefix)


def test_the_command_runs(image: Image) -> None:
    ended = image.run("foretell", "--help")

    assert ended.returncode == 0, ended.stderr
    assert "stream" in ended.stdout


def test_it_reads_the_configuration_of_compose(root: Path, image: Image) -> None:
    ended = image.run("foretell", "check", str(root / "deploy/foretell.yaml"))

    assert ended.returncode == 0, ended.stderr


def test_misuse_ends_in_one_sentence_though_nothing_for_development_is_there(image: Image) -> None:
    ended = image.run("foretell", "check", "nosuch.yaml")

    assert ended.returncode == 2, ended.stderr
    assert "nosuch.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_is_installed_but_the_runtime_lock_and_foretell(root: Path, image: Image) -> None:
    locked = {_normal(name) for name in _PIN.findall((root / "requirements-runtime.lock").read_text())}
    ended = image.run(
        "python",
        "-c",
        "import importlib.metadata as m, json; print(json.dumps([d.metadata['Name'] for d in m.distributions()]))",
    )
    installed = {_normal(name) for name in json.loads(ended.stdout)}

    assert installed - locked == {"foretell"}
    assert installed.isdisjoint({"pip", "pytest", "ruff", "hatchling"})
    assert not list(image.prefix.glob("bin/pip*"))


def test_what_the_rooms_keep_beside_their_code_is_inside(root: Path, image: Image) -> None:
    wanted = {
        path.relative_to(root)
        for room in ROOMS
        for path in (root / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert any(path.suffix != ".py" for path in wanted)
    assert {path for path in wanted if not (image.site_packages / path).is_file()} == set()


def test_another_user_can_read_all_of_it_and_needs_to_write_none(image: Image) -> None:
    modes = {path: path.lstat().st_mode for path in image.prefix.rglob("*") if not path.is_symlink()}
    closed = {
        path
        for path, mode in modes.items()
        if not mode & stat.S_IROTH or (stat.S_ISDIR(mode) and not mode & stat.S_IXOTH) or mode & stat.S_IWOTH
    }
    uncompiled = {
        path
        for room in ROOMS
        for path in (image.site_packages / room).rglob("*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    }

    assert closed == set()
    assert uncompiled == set()  # else every start compiles it again, for it cannot be kept


def test_it_stands_by_itself(root: Path, image: Image) -> None:
    ended = image.run("python", "-c", "import foretell, sys; print(foretell.__file__, *sys.path)")

    assert str(image.site_packages) in ended.stdout
    assert str(root) not in ended.stdout
    assert ".build" not in (image.prefix / "bin/foretell").read_text()


def _copy(source: Path, context: Path, destination: str) -> None:
    target = context / destination
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
