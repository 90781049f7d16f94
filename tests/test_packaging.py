"""The four rooms keep plain names at the root: nobody else may claim them."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("detectors", "streams", "channels", "foretell")


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_distribution_claims_the_name(room: str) -> None:
    assert set(packages_distributions().get(room, ["foretell"])) == {"foretell"}


def test_it_cannot_be_uploaded_by_mistake() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert "Private :: Do Not Upload" in project["classifiers"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-runtime.lock"])
def test_each_locked_package_has_a_hash_and_the_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = re.findall(r"^[a-z0-9].*", text, re.MULTILINE)

    assert "://" not in text
    assert packages
    assert all(package.endswith("\\") for package in packages), "a line without a hash"


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]

    assert {re.split(r"[<>=]", each)[0].lower() for each in wanted} <= locked
