"""What the demo shows while it runs: figures from both processes' `/metrics`, messages and latencies from their file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families

LATENCY_MEANS = (
    "from the Kafka timestamp of the event that shows it (set by whoever sends the event) to the message being handed "
    "to its channel"
)


class Metrics:
    r"""One answer of `/metrics`.

    >>> text = 'foretell_alerts_total{kind="plan_limit"} 2.0\nforetell_alerts_total{kind="usage_spike"} 1.0\n'
    >>> metrics = Metrics("# TYPE foretell_alerts counter\n" + text)
    >>> metrics.total("foretell_alerts_total"), metrics.by("foretell_alerts_total", "kind")
    (3, {'plan_limit': 2, 'usage_spike': 1})
    """

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def total(self, name: str, **labels: str) -> int:
        """Return the sum over all label values, or over those that match `labels`."""
        return round(sum(value for found, value in self._samples.get(name, ()) if labels.items() <= found.items()))

    def by(self, name: str, label: str, **labels: str) -> dict[str, int]:
        """Return the sum for each value of one label, sorted by it, over those that match `labels`."""
        totals: dict[str, float] = {}
        for found, value in self._samples.get(name, ()):
            if labels.items() <= found.items():
                totals[found.get(label, "")] = totals.get(found.get(label, ""), 0) + value
        return {name: round(total) for name, total in sorted(totals.items())}


@dataclass(frozen=True, slots=True)
class Told:
    """One message as a customer got it.

    Attributes:
        seconds: its latency, as `LATENCY_MEANS` says.
    """

    account: str
    kind: str
    severity: str
    subject: str
    body: str
    seconds: float


class MessageFile:
    """Read what the console sender adds to its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def added(self) -> list[Told]:
        """Return the messages since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        return [_told(orjson.loads(line)) for line in whole.splitlines()]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the demo at one moment.

    Attributes:
        clock: how far the simulated time has come.
        alerts: as first triggered, by kind.
        lag: events that the stream worker has not read yet.
        waiting: alerts that are published and have not ended.
        delivered: alerts that ended so.
        otherwise: alerts that ended in any other way.
    """

    clock: datetime | None = None
    sent: int = 0
    total: int = 0
    read: int = 0
    lag: int = 0
    rejected: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)
    delivered: int = 0
    otherwise: int = 0
    waiting: int = 0
    latencies: Sequence[float] = ()
    seconds: float = 0.0


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed; None of nothing.

    >>> quantile([3.0, 1.0, 2.0, 4.0], 0.5), quantile([3.0, 1.0, 2.0, 4.0], 0.99), quantile([], 0.5)
    (2.0, 4.0, None)
    """
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def _told(line: dict[str, Any]) -> Told:
    detected, sent = datetime.fromisoformat(line["detected_at"]), datetime.fromisoformat(line["sent_at"])
    return Told(
        account=_printable(line["account"]),
        kind=line["kind"],
        severity=line["severity"],
        subject=_printable(line["subject"]),
        body=_printable(line["body"]),
        seconds=(sent - detected).total_seconds(),
    )


def _printable(text: str) -> str:
    """Return `text` without what could command a terminal: parts of it may come from whoever sends events."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
