"""`foretell evaluate`: how good a detector is on one's own data."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import typer
from rich.console import Console

_DAY_SECONDS = 86400.0

screen = Console(highlight=False, soft_wrap=True)


class Kind(StrEnum):
    """What is evaluated."""

    SPIKE = "spike"
    CHARGE = "charge"
    LIMIT = "limit"
    SERIES = "series"


def evaluate(  # noqa: PLR0913 - what may be asked of a file
    kind: Annotated[Kind, typer.Argument(help="What is evaluated.")],
    file: Annotated[
        Path | None, typer.Argument(help="CSV, JSON Lines or Parquet; rows in the order of time.", dir_okay=False)
    ] = None,
    *,
    example: Annotated[bool, typer.Option("--example", help="Write a small example file to standard output.")] = False,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OURS=YOURS", help="Your name of a column, as `amount=betrag`; again for each."),
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="The zone of times that name no offset.")] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", help="Rows before it are learned and do not count.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0, max=1, help="Share of accounts whose rows count; the others are learned only.")
    ] = 1.0,
    rest: Annotated[bool, typer.Option("--rest", help="Count the other accounts instead.")] = False,
    label_delay_days: Annotated[
        float, typer.Option(min=0, help="Charges: days until a label is known, where there is no column `known_at`.")
    ] = 7.0,
    questions: Annotated[int, typer.Option(min=1, help="Charges: questions a day.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the draws of accounts.")] = 1,
    scores: Annotated[Path | None, typer.Option(help="Write each counted row's score to this CSV.")] = None,
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="How to print.")] = "text",
) -> None:
    """Score each row before learning it, with the production detector's core, and measure against the column `label`."""
    from detectors.evaluation import adapter

    from .evaluation import Plan
    from .evaluation import evaluate as measure
    from .evaluation_data import Table
    from .evaluation_example import write_example
    from .evaluation_report import show
    from .evaluation_split import Split

    if example:
        write_example(kind.value, sys.stdout)
        return
    if file is None:
        raise typer.BadParameter(f"name a file, or see what one looks like: foretell evaluate {kind} --example")
    zone = _zone(timezone)
    if start is not None and start.tzinfo is None:
        start = start.replace(tzinfo=zone or ZoneInfo("UTC"))
    split = Split(held_out, rest, float("-inf") if start is None else start.timestamp())
    plan = Plan(split, seed, label_delay_days * _DAY_SECONDS, questions_a_day=questions)
    table = Table(file, kind.value, _names(mapping or []), zone)
    with ExitStack() as stack:
        note = None if scores is None else stack.enter_context(_writing(scores))
        result = measure(adapter(kind.value), table, plan, note)
    if output == "json":
        sys.stdout.write(orjson.dumps(result.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show(result, screen)


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise typer.BadParameter(f"{name!r} is no IANA time zone; expected one like Europe/Stockholm") from error


def _names(given: list[str]) -> dict[str, str]:
    names = {}
    for each in given:
        ours, sign, yours = each.partition("=")
        if not (ours and sign and yours):
            raise typer.BadParameter(f"--map {each!r}: expected OURS=YOURS, as amount=betrag")
        names[ours] = yours
    return names


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[str, float, float, bool], None]]:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("account", "time", "score", "label"))

        def note(account: str, at: float, score: float, label: bool) -> None:
            writer.writerow((account, at, f"{score:.6g}", int(label)))

        yield note
