"""How the demo looks while it runs: side by side on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .demo_figures import Snapshot, Told, quantile

_MESSAGES_KEPT = 30
_LEAST_WIDTH = 90  # narrower, a line of figures goes below the messages
_SUMMARY_WIDTH = 44
_LEAST_HEIGHT = 8
_GAP = ("", "")
_STATUS_EVERY_SECONDS = 5.0
_COLOURS = {"critical": "bold red", "warning": "bold yellow", "notice": "bold cyan", "info": "bold"}


class DemoView(Protocol):
    """What the demo tells whoever watches."""

    def __enter__(self) -> Self:
        """Begin to show snapshots."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, and leave the terminal as it was."""

    def show(self, snapshot: Snapshot, told: Iterable[Told]) -> None:
        """Show where things stand, and the messages since the last call."""


def choose_view(console: Console) -> DemoView:
    """Return the view that the console can show."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)


class LiveView:
    """Messages as customers get them, the newest first, beside a summary; both redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: deque[Told] = deque(maxlen=_MESSAGES_KEPT)
        self._live = Live(console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot, told: Iterable[Told]) -> None:
        """Redraw."""
        self._told.extend(told)
        self._live.update(self._side_by_side(snapshot))

    def _side_by_side(self, snapshot: Snapshot) -> RenderableType:
        width, height = self._console.size
        if width < _LEAST_WIDTH:
            below = Text(status_line(snapshot))
            taken = len(below.wrap(self._console, width))
            return Group(self._messages(max(_LEAST_HEIGHT, height - taken - 1)), below)
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1)
        grid.add_column(width=_SUMMARY_WIDTH)
        grid.add_row(self._messages(max(_LEAST_HEIGHT, height - 1)), Panel(summary_table(snapshot), title="So far"))
        return grid

    def _messages(self, height: int) -> Panel:
        cards = [line for told in reversed(self._told) for line in _card(told)]
        return Panel(Group(*cards), title="Messages, as each customer gets them", height=height)


class PlainView:
    """A line for each message, and every few seconds a line that says where things stand. No control codes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def show(self, snapshot: Snapshot, told: Iterable[Told]) -> None:
        """Print what is new."""
        for each in told:
            self._say(f"to {each.account}: {each.subject}")
        if snapshot.seconds - self._said >= _STATUS_EVERY_SECONDS:
            self._said = snapshot.seconds
            self._say(status_line(snapshot))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


def summary_table(snapshot: Snapshot) -> Table:
    """Return the figures of a snapshot, a row each."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    clock = f"{snapshot.clock:%a %-d %b %H:%M}" if snapshot.clock else "-"
    rows: list[tuple[str, str]] = [
        ("simulated time", clock),
        ("running", f"{snapshot.seconds:.0f} s"),
        _GAP,
        ("events sent", f"{snapshot.sent:,} of {snapshot.total:,}"),
        ("events read", f"{snapshot.read:,}"),
        ("lag", f"{snapshot.lag:,}"),
        ("rejected", f"{snapshot.rejected:,}"),
        _GAP,
        ("alerts", f"{sum(snapshot.alerts.values()):,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in snapshot.alerts.items()),
        _GAP,
        ("delivered", f"{snapshot.delivered:,}"),
        ("ended otherwise", f"{snapshot.otherwise:,}"),
        ("waiting", f"{snapshot.waiting:,}"),
        _GAP,
        ("event to message", ""),
        ("  p50", milliseconds(snapshot.latencies, 0.5)),
        ("  p99", milliseconds(snapshot.latencies, 0.99)),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def status_line(snapshot: Snapshot) -> str:
    """Return the figures of a snapshot on one line."""
    alerts = ", ".join(f"{kind} {count:,}" for kind, count in snapshot.alerts.items()) or "none"
    return (
        f"[{snapshot.seconds:.0f} s] {snapshot.sent:,} of {snapshot.total:,} events sent, {snapshot.read:,} read, "
        f"lag {snapshot.lag:,}; alerts: {alerts}; delivered {snapshot.delivered:,}; event to message "
        f"p50 {milliseconds(snapshot.latencies, 0.5)}, p99 {milliseconds(snapshot.latencies, 0.99)}"
    )


def milliseconds(latencies: Sequence[float], share: float) -> str:
    """Return a quantile in words.

    >>> milliseconds([0.012, 0.020, 1.5], 0.5), milliseconds([0.012, 0.020, 1.5], 0.99), milliseconds([], 0.5)
    ('20 ms', '1.5 s', '-')
    """
    value = quantile(latencies, share)
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _card(told: Told) -> Iterable[Text]:
    yield Text(f"to {told.account}, {told.seconds * 1000:.0f} ms after the event", style="dim")
    yield Text(told.subject, style=_COLOURS.get(told.severity, "bold"))
    yield Text(told.body)
    yield Text("")
