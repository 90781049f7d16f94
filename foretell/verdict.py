"""What ought to have been noticed, and a judgement of the alerts by it: hits, misses and alerts that hit nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from detectors.alerts import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that happened to an account, with what a right alert about it looks like.

    Attributes:
        kind: the alert's kind.
        starts: an alert about something that occurred before is about something else.
        ends: an alert about something that occurred later comes too late.
        what: the case in words.
        subject: the alert's subject; None where any will do.
        threshold: the alert's `threshold` fact; None where any will do.
        events: ids of the events it consists of; then an alert must derive from one of them.
        is_asked_for: False for what a customer needs no word about; an alert there is counted as hitting no case.
    """

    account: str
    kind: str
    starts: datetime
    ends: datetime
    what: str
    subject: str | None = None
    threshold: str | None = None
    events: frozenset[str] = frozenset()
    is_asked_for: bool = True

    def is_hit_by(self, alert: Alert) -> bool:
        """Return whether the alert is about this case, and in time."""
        return (
            alert.account == self.account
            and alert.kind == self.kind
            and self.subject in (None, alert.subject)
            and (self.threshold is None or str(alert.facts.get("threshold")) == self.threshold)
            and self.starts <= alert.occurred_at <= self.ends
            and (not self.events or any(evidence.event_id in self.events for evidence in alert.evidence))
        )


@dataclass(frozen=True, slots=True)
class KindFigures:
    """The judgement in figures, for one kind.

    Attributes:
        cases: labelled cases that were asked for.
        hit: of these, noticed.
        alerts: alerts raised.
        right: of these, about a case that was asked for.
    """

    kind: str
    cases: int
    hit: int
    alerts: int
    right: int

    @property
    def missed(self) -> int:
        """Cases of which nothing was said."""
        return self.cases - self.hit

    @property
    def stray(self) -> int:
        """Alerts that hit no case."""
        return self.alerts - self.right

    @property
    def recall(self) -> float | None:
        """The share of the cases that were noticed; None without cases."""
        return self.hit / self.cases if self.cases else None

    @property
    def precision(self) -> float | None:
        """The share of the alerts that were right; None without alerts."""
        return self.right / self.alerts if self.alerts else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which alerts hit which cases.

    Attributes:
        hits: the cases that were asked for and noticed, with the alerts about each.
        missed: the cases that were asked for and not noticed.
        stray: the alerts that hit no case that was asked for.
        quiet: cases not asked for in which nothing was said.
        disturbed: cases not asked for in which something was said; those alerts are among the stray ones.
    """

    hits: tuple[tuple[Case, tuple[Alert, ...]], ...]
    missed: tuple[Case, ...]
    stray: tuple[Alert, ...]
    quiet: tuple[Case, ...]
    disturbed: tuple[Case, ...]

    def by_kind(self) -> tuple[KindFigures, ...]:
        """Return the figures for each kind that has a case or an alert."""
        right = {alert.alert_id: alert for _, alerts in self.hits for alert in alerts}
        kinds = [case.kind for case, _ in self.hits] + [case.kind for case in self.missed]
        raised = [*right.values(), *self.stray]
        return tuple(
            KindFigures(
                kind,
                cases=kinds.count(kind),
                hit=sum(case.kind == kind for case, _ in self.hits),
                alerts=sum(alert.kind == kind for alert in raised),
                right=sum(alert.kind == kind for alert in right.values()),
            )
            for kind in sorted({*kinds, *(alert.kind for alert in raised)})
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "kinds": {
                figures.kind: {
                    "cases": figures.cases,
                    "hit": figures.hit,
                    "missed": figures.missed,
                    "alerts": figures.alerts,
                    "right": figures.right,
                    "stray": figures.stray,
                    "recall": figures.recall,
                    "precision": figures.precision,
                }
                for figures in self.by_kind()
            },
            "missed": [_case_as_dict(case) for case in self.missed],
            "stray": [
                {"account": alert.account, "kind": alert.kind, "subject": alert.subject, "at": alert.occurred_at}
                for alert in self.stray
            ],
            "not_asked_for": {"quiet": len(self.quiet), "disturbed": [_case_as_dict(case) for case in self.disturbed]},
        }


def judge(cases: Sequence[Case], alerts: Iterable[Alert]) -> Verdict:
    """Return which alerts hit which cases.

    An alert that is raised again, updated or resolved is the alert that it was: it counts once, as first triggered.
    """
    first: dict[str, Alert] = {}
    for alert in alerts:
        if alert.state == "triggered":
            first.setdefault(alert.alert_id, alert)
    by_account: dict[str, list[Alert]] = {}
    for alert in first.values():
        by_account.setdefault(alert.account, []).append(alert)

    found = [(case, tuple(filter(case.is_hit_by, by_account.get(case.account, ())))) for case in cases]
    hits = tuple((case, about) for case, about in found if case.is_asked_for and about)
    right = {alert.alert_id for _, about in hits for alert in about}
    return Verdict(
        hits=hits,
        missed=tuple(case for case, about in found if case.is_asked_for and not about),
        stray=tuple(alert for alert in first.values() if alert.alert_id not in right),
        quiet=tuple(case for case, about in found if not case.is_asked_for and not about),
        disturbed=tuple(case for case, about in found if not case.is_asked_for and about),
    )


def _case_as_dict(case: Case) -> dict[str, Any]:
    return {"account": case.account, "kind": case.kind, "what": case.what, "starts": case.starts, "ends": case.ends}
