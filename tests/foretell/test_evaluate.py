"""`foretell evaluate`, as it is typed: what it prints, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from typer.testing import CliRunner

from foretell.cli import app
from foretell.evaluation_data import COLUMNS

KINDS = tuple(COLUMNS)
every_kind = pytest.mark.parametrize("kind", KINDS)


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output if code == 0 else result.output + str(result.exception)


def measured(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "-o", "json"))
    return found


def figures(found: dict[str, Any]) -> dict[str, float]:
    return {figure["name"]: figure["value"] for figure in found["figures"]}


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("examples")

    def path(kind: str) -> Path:
        file = folder / f"{kind}.csv"
        if not file.exists():
            file.write_text(run(kind, "--example"))
        return file

    return path


@every_kind
def test_the_example_is_read_and_measured(kind: str, example: Any) -> None:
    file = example(kind)

    found = measured(kind, file)

    assert found["rows"] == len(file.read_text().splitlines()) - 1
    assert 0 < found["measured"] <= found["rows"]
    assert found["positives"] > 0
    values = figures(found)
    assert values
    for name, value in values.items():
        if name.startswith(("average precision", "recall", "Brier", "calibration", "breaches")):
            assert 0 <= value <= 1, name


@every_kind
def test_the_same_rows_in_parquet_and_under_other_names_give_the_same(kind: str, example: Any, tmp_path: Path) -> None:
    file = example(kind)
    table = arrow_csv.read_csv(file, convert_options=arrow_csv.ConvertOptions(column_types={"account": pa.string()}))
    renamed = tmp_path / "renamed.parquet"
    parquet.write_table(
        table.rename_columns(["konto" if name == "account" else name for name in table.column_names]), renamed
    )

    assert measured(kind, renamed, "--map", "account=konto") == measured(kind, file)


def test_charges_at_merchants_with_known_frauds_are_found_better_than_by_chance(example: Any) -> None:
    found = measured("charge", example("charge"), "--from", "2026-02-02")

    share = found["positives"] / found["measured"]
    assert figures(found)["average precision"] > 3 * share


def test_labels_that_are_never_known_cannot_help(example: Any, tmp_path: Path) -> None:
    """The column `label` is for measuring: what the scorer hears is decided by when it was known."""
    header, *lines = example("charge").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    never, swapped = tmp_path / "never.csv", tmp_path / "swapped.csv"
    for path, label_of in ((never, int), (swapped, lambda label: 1 - int(label))):
        told = [",".join([*row[:-2], str(label_of(row[-2])), "2099-01-01T00:00:00Z"]) for row in rows]
        path.write_text("\n".join([header, *told]))
    scores, others = tmp_path / "scores.csv", tmp_path / "others.csv"
    run("charge", never, "--scores", scores)
    run("charge", swapped, "--scores", others)

    def without_label(path: Path) -> list[str]:
        return [line.rpartition(",")[0] for line in path.read_text().splitlines()]

    assert without_label(scores) == without_label(others)


def test_what_counts_is_chosen_by_account_and_by_time(example: Any) -> None:
    file = example("series")
    every, held, rest, late = (
        measured("series", file, *words)
        for words in ((), ("--held-out", 0.5), ("--held-out", 0.5, "--rest"), ("--from", "2026-02-02"))
    )

    assert held["accounts"] + rest["accounts"] == every["accounts"] == late["accounts"]
    assert held["measured"] + rest["measured"] == every["measured"]
    assert late["measured"] == every["measured"] * 42 // 70


def test_the_table_says_what_the_figures_stand_on(example: Any) -> None:
    printed = run("series", example("series"))

    assert "20,160 rows read, 20,160 count, of 12 accounts" in printed
    assert "(seed 1)" in printed
    assert "too few to choose a setting by" in printed
    assert "recall at 0.25 false alerts an account-month" in printed


def test_each_score_can_be_had(example: Any, tmp_path: Path) -> None:
    run("series", example("series"), "--scores", tmp_path / "scores.csv")

    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "account,time,score,label"
    assert len(lines) == 20_161


READING = "account,time,value\n"
CHARGE = "account,merchant,time,amount,label\n"


@pytest.mark.parametrize(
    ("kind", "text", "words", "said"),
    [
        ("series", "account,time\na,0\n", (), ["has no column value", "it has account, time", "--map amount=betrag"]),
        ("series", READING + "a,0,1\na,1,abc\n", (), ["row 2, column 'value'", "came 'abc'", "a finite number"]),
        ("series", READING + "a,0,nan\n", (), ["row 1, column 'value'", "a finite number"]),
        ("series", READING + "a,0,\n", (), ["row 1, column 'value'", "is empty"]),
        ("series", READING + "a,2026-01-01T00:00:00,1\n", (), ["it names no time zone", "--timezone Europe/Stockholm"]),
        ("series", READING + "a,yesterday,1\n", (), ["column 'time'", "came 'yesterday'", "seconds since 1970"]),
        ("series", READING + "a,10,1\na,5,1\n", (), ["row 2 is 5 s before the row above it", "sort the rows by time"]),
        ("series", READING + "a,0,1,7\n", (), ["row 1", "4 cells"]),
        ("charge", CHARGE + "a,m,0,5,perhaps\n", (), ["column 'label'", "came 'perhaps'", "1 or 0"]),
        ("series", READING, ("--map", "speed=v"), ["--map names speed", "it reads account, time, value, label"]),
        ("series", READING, ("--map", "speed"), ["expected OURS=YOURS"]),
        ("series", READING, ("--timezone", "Moon/Base"), ["no IANA time zone"]),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_place_and_what_to_do(
    kind: str, text: str, words: tuple[str, ...], said: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)

    result = CliRunner().invoke(app, ["evaluate", kind, str(file), *words])

    assert result.exit_code != 0
    complaint = " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output + str(result.exception)).split())
    for part in said:
        assert part in complaint


def test_a_zone_can_be_given(tmp_path: Path) -> None:
    named, local = tmp_path / "named.csv", tmp_path / "local.csv"
    named.write_text(READING + "".join(f"a,2026-01-{day:02}T00:00:00+01:00,{day % 3}\n" for day in range(1, 30)))
    local.write_text(READING + "".join(f"a,2026-01-{day:02}T00:00:00,{day % 3}\n" for day in range(1, 30)))

    assert measured("series", local, "--timezone", "Europe/Stockholm") == measured("series", named)


def test_without_a_file_it_says_how_to_see_one() -> None:
    assert "--example" in run("spike", code=2)
