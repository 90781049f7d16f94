"""What a user did wrong: one clear message, exit code 2, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def foretell(
    *arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "foretell", *arguments],
        env={**os.environ, **(environment or {})},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "foretell.yaml"


@pytest.mark.parametrize(
    "command", [["stream", "--config"], ["deliver", "--config"], ["topics", "check", "--config"], ["check"]]
)
def test_an_unknown_key_names_file_and_line(config: Path, command: list[str]) -> None:
    config.write_text("meters: {}\nkafkaa: {}\n")

    assert f"{config}:2: unknown key 'kafkaa'" in refused(foretell(*command, str(config)))


def test_a_missing_configuration_is_named(config: Path) -> None:
    assert f"cannot read the configuration '{config}'" in refused(foretell("check", str(config)))


@pytest.mark.parametrize("command", [["stream"], ["deliver"], ["topics", "create"], ["topics", "check"]])
def test_an_unreachable_broker_is_said(command: list[str]) -> None:
    said = refused(foretell(*command, environment={"FORETELL_KAFKA__BOOTSTRAP": "127.0.0.1:1"}))

    assert "no Kafka broker answers at 127.0.0.1:1" in said


@pytest.mark.parametrize("command", ["stream", "deliver"])
def test_missing_topics_are_said_with_what_to_do(bootstrap: str, command: str, tmp_path: Path) -> None:
    environment = {"FORETELL_KAFKA__BOOTSTRAP": bootstrap, "FORETELL_TOPICS__PREFIX": "absent"}

    said = refused(foretell(command, environment=environment, folder=tmp_path))

    assert "topic 'absent.usage' is missing; `foretell topics create` makes it" in said


def test_topics_check_finds_and_create_mends(bootstrap: str) -> None:
    environment = {
        "FORETELL_KAFKA__BOOTSTRAP": bootstrap,
        "FORETELL_TOPICS__PREFIX": "mended",
        "FORETELL_TOPICS__PARTITIONS": "1",
    }

    assert foretell("topics", "check", environment=environment).returncode == 1
    assert foretell("topics", "create", environment=environment).returncode == 0
    assert foretell("topics", "check", "-o", "json", environment=environment).returncode == 0


def test_an_unwritable_ledger_is_said(bootstrap: str, config: Path) -> None:
    config.write_text(
        "topics: {prefix: ledgerless, partitions: 1}\nchannels: {ledger: sqlite:////proc/none/ledger.sqlite}\n"
    )
    environment = {"FORETELL_KAFKA__BOOTSTRAP": bootstrap}
    assert foretell("topics", "create", "--config", str(config), environment=environment).returncode == 0

    said = refused(foretell("deliver", "--config", str(config), environment=environment))

    assert "/proc/none/ledger.sqlite" in said


def test_an_unknown_apprise_scheme_is_said_without_its_secret(config: Path) -> None:
    config.write_text(
        'channels:\n  senders:\n    sms: {kind: apprise, url: "carrierpigeon://user:hunter2@coop"}\n  deliver_to: [sms]\n'
    )

    said = refused(foretell("check", str(config)))

    assert f"{config}:3" in said
    assert "carrierpigeon" in said
    assert "hunter2" not in said


def test_a_port_that_is_taken_is_said(bootstrap: str, config: Path) -> None:
    port = bootstrap.rpartition(":")[2]
    config.write_text("topics: {prefix: portless, partitions: 1}\n")
    environment = {"FORETELL_KAFKA__BOOTSTRAP": bootstrap, "FORETELL_HTTP__STREAM": port}
    assert foretell("topics", "create", "--config", str(config), environment=environment).returncode == 0

    said = refused(foretell("stream", "--config", str(config), environment=environment))

    assert f"cannot serve metrics on 127.0.0.1:{port}" in said


def test_a_missing_codec_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "lz4").mkdir()
    (tmp_path / "lz4" / "__init__.py").write_text("raise ImportError")
    (tmp_path / "foretell.yaml").write_text("meters: {}\n")

    said = refused(foretell("check", "foretell.yaml", environment={"PYTHONPATH": str(tmp_path)}, folder=tmp_path))

    assert "kafka-python cannot read topics compressed with lz4" in said
    assert "pip install lz4" in said


def test_every_command_has_help_with_an_example() -> None:
    for command in (
        ["demo"],
        ["broker"],
        ["stream"],
        ["deliver"],
        ["feed"],
        ["topics", "create"],
        ["topics", "check"],
        ["check"],
    ):
        done = foretell(*command, "--help")

        assert done.returncode == 0
        assert "Example:" in done.stdout, command
