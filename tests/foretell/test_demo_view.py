import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from foretell.demo_figures import MessageFile, Metrics, Snapshot, Told, quantile
from foretell.demo_hints import command, what_to_try_next
from foretell.demo_summary import DemoSummary
from foretell.demo_view import LiveView, PlainView, choose_view, status_line
from foretell.verdict import Case, judge

NOON = datetime(2022, 4, 1, 12, tzinfo=UTC)
TOLD = Told("a1", "plan_limit", "warning", "You have used 80 % of your data", "8 of 10 GB.", 0.031)
SNAPSHOT = Snapshot(
    clock=NOON,
    sent=1200,
    total=5000,
    read=1190,
    lag=10,
    alerts={"plan_limit": 3, "usage_spike": 1},
    delivered=3,
    waiting=1,
    latencies=[0.02, 0.03, 0.5],
    seconds=12,
)


def console(*, is_terminal: bool, width: int = 120) -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(
        file=screen, force_terminal=is_terminal, width=width, height=30, highlight=False, _environ={}
    ), screen


def summary(**others: Any) -> DemoSummary:
    case = Case(account="a1", kind="plan_limit", starts=NOON, ends=NOON, what="80 % used")
    fields: dict[str, Any] = {
        "seed": 1,
        "customers": 2,
        "simulated_days": 57.5,
        "replay_seconds": 45.0,
        "seconds": 60.0,
        "sent": {"accounts": 3, "usage": 100},
        "read": 103,
        "applied": 103,
        "repeated": 0,
        "rejected": 0,
        "published": 3,
        "admitted": {"plan_limit": 2},
        "dispositions": {"delivered": 2},
        "latencies": [0.01, 0.02],
        "verdict": judge([case], []),
    }
    return DemoSummary(**(fields | others))


# the view


def test_without_a_terminal_there_are_lines_and_no_control_codes() -> None:
    plain, screen = console(is_terminal=False)

    with choose_view(plain) as view:
        view.show(SNAPSHOT, [TOLD])

    assert isinstance(view, PlainView)
    message, figures = screen.getvalue().splitlines()
    assert message == "to a1: You have used 80 % of your data"
    assert figures == status_line(SNAPSHOT)
    assert figures.startswith(
        "[12 s] 1,200 of 5,000 events sent, 1,190 read, lag 10; alerts: plan_limit 3, usage_spike 1"
    )
    assert figures.endswith("delivered 3; event to message p50 30 ms, p99 500 ms")


def test_without_a_terminal_figures_come_every_few_seconds_only() -> None:
    plain, screen = console(is_terminal=False)

    with choose_view(plain) as view:
        for quarter in range(4 * 12):
            view.show(Snapshot(seconds=quarter / 4), [])

    assert len(screen.getvalue().splitlines()) == 2


def test_square_brackets_in_a_message_are_no_markup() -> None:
    plain, screen = console(is_terminal=False)

    with choose_view(plain) as view:
        view.show(Snapshot(), [Told("a1", "k", "info", "[red]not markup[/red]", "", 0)])

    assert screen.getvalue() == "to a1: [red]not markup[/red]\n"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_on_a_terminal_messages_stand_beside_the_figures_and_nothing_is_left_of_them(width: int) -> None:
    terminal, screen = console(is_terminal=True, width=width)

    with choose_view(terminal) as view:
        view.show(SNAPSHOT, [TOLD])
        view.show(SNAPSHOT, [])
    shown = screen.getvalue()

    assert isinstance(view, LiveView)
    assert "8 of 10 GB." in shown
    assert "31 ms after the event" in shown
    assert "500 ms" in shown
    assert shown.endswith("\x1b[2K")  # the last that was drawn is erased
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is given back


def test_a_status_line_without_anything_yet_is_readable() -> None:
    assert status_line(Snapshot()) == (
        "[0 s] 0 of 0 events sent, 0 read, lag 0; alerts: none; delivered 0; event to message p50 -, p99 -"
    )


# the figures


def test_metrics_are_summed_over_the_labels_that_are_not_asked_for() -> None:
    metrics = Metrics(
        '# TYPE a counter\na_total{x="1",y="1"} 2.0\na_total{x="1",y="2"} 3.0\na_total{x="2",y="1"} 4.0\n# TYPE b gauge\nb 7\n'
    )

    assert metrics.total("a_total") == 9
    assert metrics.total("a_total", x="1") == 5
    assert metrics.by("a_total", "x") == {"1": 5, "2": 4}
    assert metrics.by("a_total", "x", y="1") == {"1": 2, "2": 4}
    assert metrics.total("b") == 7
    assert metrics.total("none") == 0


def test_only_whole_lines_of_the_message_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    line = {
        "account": "a1",
        "kind": "k",
        "severity": "info",
        "subject": "s",
        "body": "b",
        "detected_at": "2022-04-01T12:00:00Z",
        "sent_at": "2022-04-01T12:00:00.250Z",
    }
    whole = json.dumps(line).encode() + b"\n"
    messages = MessageFile(path)

    assert messages.added() == []
    path.write_bytes(whole + whole[:20])
    assert [told.seconds for told in messages.added()] == [0.25]
    assert messages.added() == []
    path.write_bytes(whole + whole)
    assert len(messages.added()) == 1


def test_a_message_that_would_command_a_terminal_loses_its_power(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    times = dict.fromkeys(("detected_at", "sent_at"), "2022-04-01T12:00:00Z")
    line = {"account": "a", "kind": "k", "severity": "info", "subject": "\x1b[2J", "body": "one\n\x9b31mtwo", **times}
    path.write_text(json.dumps(line) + "\n")

    (told,) = MessageFile(path).added()

    assert (told.subject, told.body) == ("?[2J", "one\n?31mtwo")


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_quantile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


# the summary


def test_the_summary_names_what_was_missed_and_what_is_measured() -> None:
    plain, screen = console(is_terminal=False)

    summary().print(plain)
    said = screen.getvalue()

    assert "103 sent (3 accounts, 100 usage); 103 read, 0 rejected" in said
    assert "plan_limit, a1, 1 April 12:00: 80 % used" in said
    assert "from the Kafka timestamp of the event" in said
    assert "\x1b" not in said


def test_the_summary_as_json_adds_up() -> None:
    found = summary().as_dict()

    assert found["events"]["sent"] == found["events"]["read"] == 103
    assert found["verdict"]["kinds"]["plan_limit"] == {
        "cases": 1,
        "hit": 0,
        "missed": 1,
        "alerts": 0,
        "right": 0,
        "stray": 0,
        "recall": 0.0,
        "precision": None,
    }
    assert found["latency"]["p50_seconds"] == 0.01
    assert found["latency"]["means"].startswith("from the Kafka timestamp")


def test_what_to_try_next_is_said_the_way_the_demo_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAKELEVEL", raising=False)
    direct = command("demo", "--keep")
    monkeypatch.setitem(os.environ, "MAKELEVEL", "1")

    assert direct.endswith("foretell demo --keep")
    assert command("demo", "--keep") == 'make demo ARGS="--keep"'
    assert command("feed", "--help").endswith("foretell feed --help")
    assert len(list(what_to_try_next())) == 3
