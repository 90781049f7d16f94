from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from channels import Ledger, LedgerError
from channels.ledger import Position
from detectors.codec import encode

ADMIT_MANY = """
import sys, warnings
warnings.simplefilter("ignore")
from datetime import datetime
from channels import Ledger
from channels.ledger import Position
from detectors.codec import decode_alert
url, name, template = sys.argv[1:]
ledger = Ledger(url)
for number in range(50):
    alert = decode_alert(template.replace("TEMPLATE", f"{name}-{number}").encode())
    shared = decode_alert(template.replace("TEMPLATE", f"shared-{number}").encode())
    ledger.admit([alert, shared], [Position("n", int(name), number + 1)], datetime.fromisoformat("2026-03-28T12:00:00Z"))
ledger.close()
"""


def test_the_file_is_this_users_only(tmp_path: Path, make_alert: Any, clock: Any) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.admit([make_alert()], [], clock())

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    ledger.close()

    assert modes["ledger.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}


def test_what_was_written_is_there_after_opening_again(ledger_url: str, make_alert: Any, clock: Any) -> None:
    first = Ledger(ledger_url)
    first.admit([make_alert()], [Position("n", 0, 1)], clock())
    first.close()

    second = Ledger(ledger_url)

    assert second.waiting() == 1
    assert second.positions("n")[0].next_offset == 1
    second.close()


def test_two_processes_write_to_one_ledger(ledger_url: str, make_alert: Any) -> None:
    template = encode(make_alert("TEMPLATE"))[0].decode()
    processes = [
        subprocess.Popen([sys.executable, "-c", ADMIT_MANY, ledger_url, name, template], stderr=subprocess.PIPE)
        for name in ("0", "1")
    ]
    errors = [process.communicate(timeout=60)[1].decode() for process in processes]

    assert errors == ["", ""]
    ledger = Ledger(ledger_url)
    law = ledger.conservation()
    assert (law.admitted, law.waiting, law.holds) == (150, 150, True)
    assert {each.next_offset for each in ledger.positions("n").values()} == {50}
    ledger.close()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "ledger.sqlite"

    with pytest.raises(LedgerError, match=r"No such file or directory.*channels\.ledger") as caught:
        Ledger(f"sqlite:///{path}")

    assert str(path) in str(caught.value)


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"the ledger {tmp_path} cannot be written: Is a directory"):
        Ledger(f"sqlite:///{tmp_path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(LedgerError, match=r"Permission denied.*let this user write there"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("dear diary, " * 100)

    with pytest.raises(LedgerError, match=r"file is not a database.*name another file"):
        Ledger(f"sqlite:///{path}")

    assert path.read_text() == "dear diary, " * 100


@pytest.mark.parametrize(("version", "said"), [(99, "run the newer Foretell that wrote it"), (0, "migrate it")])
def test_another_schema_is_refused(ledger_url: str, tmp_path: Path, version: int, said: str) -> None:
    Ledger(ledger_url).close()
    file = sqlite3.connect(tmp_path / "ledger.sqlite")
    with file:
        file.execute("UPDATE ledger_schema SET version = ?", (version,))
    file.close()

    with pytest.raises(LedgerError, match=f"has schema {version}, this program writes schema 1; {said}"):
        Ledger(ledger_url)


def test_a_ledger_that_breaks_while_in_use_says_so(ledger: Ledger, tmp_path: Path, make_alert: Any, clock: Any) -> None:
    file = sqlite3.connect(tmp_path / "ledger.sqlite")
    with file:
        file.execute("ALTER TABLE position RENAME TO elsewhere")
    file.close()

    with pytest.raises(LedgerError, match=r"ledger\.sqlite fails: no such table"):
        ledger.admit([make_alert()], [Position("n", 0, 1)], clock())

    assert ledger.waiting() == 0
