"""What the demo says at its end: the sums, and the labelled cases that were hit and missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.table import Table

from .demo_figures import LATENCY_MEANS, quantile
from .demo_view import milliseconds
from .verdict import Case, Verdict

_LINES_SHOWN = 6
_WIDTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSummary:
    """The demo in figures.

    Attributes:
        simulated_days: how much time was replayed.
        replay_seconds: in how much of ours.
        seconds: from the demo's start to its end.
        sent: events by the role of their topic; all of them were acknowledged.
        read: records that the stream worker took.
        applied: of these, that changed a model.
        repeated: of these, dropped for an id seen before.
        rejected: of these, now on a dead-letter topic.
        published: records on the notifications topic; an alert that changes is published again.
        admitted: the different alerts among them, by kind.
        dispositions: how these ended, from the receipts topic.
        latencies: of each message in seconds, as `LATENCY_MEANS` says.
    """

    seed: int
    customers: int
    simulated_days: float
    replay_seconds: float
    seconds: float
    sent: Mapping[str, int]
    read: int
    applied: int
    repeated: int
    rejected: int
    published: int
    admitted: Mapping[str, int]
    dispositions: Mapping[str, int]
    latencies: Sequence[float]
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "seed": self.seed,
            "customers": self.customers,
            "simulated_days": round(self.simulated_days, 1),
            "replay_seconds": round(self.replay_seconds, 2),
            "seconds": round(self.seconds, 2),
            "events": {
                "sent": sum(self.sent.values()),
                "sent_by_topic": dict(self.sent),
                "read": self.read,
                "applied": self.applied,
                "repeated": self.repeated,
                "rejected": self.rejected,
            },
            "alerts": {
                "published": self.published,
                "admitted": sum(self.admitted.values()),
                "admitted_by_kind": dict(self.admitted),
            },
            "dispositions": dict(self.dispositions),
            "latency": {
                "means": LATENCY_MEANS,
                "messages": len(self.latencies),
                "p50_seconds": quantile(self.latencies, 0.5),
                "p99_seconds": quantile(self.latencies, 0.99),
                "max_seconds": max(self.latencies, default=None),
            },
            "verdict": self.verdict.as_dict(),
        }

    def print(self, console: Console) -> None:
        """Say it in words."""
        for line in self._sums():
            console.print(line, markup=False, soft_wrap=True)
        console.print()
        console.print(self._judgement())
        for line in self._details():
            console.print(line, markup=False, soft_wrap=True)

    def _sums(self) -> Iterator[str]:
        sent = ", ".join(f"{count:,} {role}" for role, count in self.sent.items())
        yield f"{self.simulated_days:.0f} simulated days in {self.replay_seconds:.0f} s; the demo took {self.seconds:.0f} s."
        yield f"  events    {sum(self.sent.values()):,} sent ({sent}); {self.read:,} read, {self.rejected:,} rejected"
        alerts = ", ".join(f"{count:,} {kind}" for kind, count in self.admitted.items()) or "none"
        yield f"  alerts    {sum(self.admitted.values()):,} ({alerts}); {self.published:,} records with their changes"
        endings = ", ".join(f"{count:,} {name}" for name, count in self.dispositions.items()) or "none"
        yield f"  outcome   {endings}"
        yield (
            f"  latency   p50 {milliseconds(self.latencies, 0.5)}, p99 {milliseconds(self.latencies, 0.99)} "
            f"over {len(self.latencies):,} messages:"
        )
        for line in wrap(LATENCY_MEANS, _WIDTH):
            yield f"            {line}"

    def _judgement(self) -> Table:
        table = Table(title="Against the labels", title_justify="left", title_style="bold")
        for name in ("kind", "cases", "hit", "missed", "alerts", "right", "no case"):
            table.add_column(name, justify="left" if name == "kind" else "right")
        for figures in self.verdict.by_kind():
            counts = (figures.cases, figures.hit, figures.missed, figures.alerts, figures.right, figures.stray)
            table.add_row(figures.kind, *map(str, counts))
        return table

    def _details(self) -> Iterator[str]:
        yield from _listed("Missed:", [_words(case) for case in self.verdict.missed])
        stray = Counter((alert.kind, alert.account) for alert in self.verdict.stray)
        words = [
            f"{kind}, {account}" + (f" ({count} times)" if count > 1 else "")
            for (kind, account), count in stray.most_common()
        ]
        yield from _listed("Alerts that hit no case:", words)
        calm = len(self.verdict.quiet) + len(self.verdict.disturbed)
        if calm:
            yield (
                f"Not asked for: {calm} moments of the real water meter, too little flow; in {len(self.verdict.quiet)} "
                "of them nothing was said."
            )


def _listed(title: str, words: Sequence[str]) -> Iterator[str]:
    if not words:
        return
    yield title
    for each in words[:_LINES_SHOWN]:
        yield f"  {each}"
    if len(words) > _LINES_SHOWN:
        yield f"  ... and {len(words) - _LINES_SHOWN} more (all with -o json)"


def _words(case: Case) -> str:
    return f"{case.kind}, {case.account}, {case.starts:%-d %B %H:%M}: {case.what}"
