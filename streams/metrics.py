"""What the stream worker counts. Base units, few labels, never an account."""

from __future__ import annotations

import time
from collections.abc import Collection

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from detectors.plan_limit import PlanLimit

from .possession import Checkpoint, Possession
from .shard import Outcome
from .transport import Batch

log = structlog.get_logger(__name__)

_CHANCES = tuple(f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}" for tenth in range(10))
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class StreamMetrics:
    """The worker's metrics, in a registry.

    received = applied + repeated + dead letters, at all times between two batches.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.received = Counter(
            "foretell_events_received", "Records read from an input topic.", ["topic"], registry=registry
        )
        self.applied = Counter(
            "foretell_events_applied",
            "Events that changed a model, or that the intake passed on.",
            ["topic"],
            registry=registry,
        )
        self.repeated = Counter(
            "foretell_events_repeated", "Events not applied: their id was seen lately.", ["topic"], registry=registry
        )
        self.dead_letters = Counter(
            "foretell_dead_letters", "Records kept on a dead-letter topic.", ["topic", "reason"], registry=registry
        )
        self.alerts = Counter(
            "foretell_alerts",
            "Alerts published, by kind, state and severity.",
            ["kind", "state", "severity"],
            registry=registry,
        )
        self.misplaced = Counter(
            "foretell_events_misplaced",
            "Events whose key does not lead to their account's partition: no_key, other_key, other_hash.",
            ["topic", "why"],
            registry=registry,
        )
        self.faults = Counter(
            "foretell_faults",
            "What went wrong beside the events: timer_failed, alert_too_large, state_too_large.",
            ["what"],
            registry=registry,
        )
        self.irregularities = Counter(
            "foretell_irregularities",
            "What detectors could make no use of, such as a reading that is late by more than its hour.",
            ["detector", "what"],
            registry=registry,
        )
        self.forecasts_settled = Counter(
            "foretell_forecasts_settled",
            "Probabilities given whose outcome is known by now, by what they were: 0.3-0.4 and so on.",
            ["detector", "chance"],
            registry=registry,
        )
        self.forecasts_promised = Counter(
            "foretell_forecasts_promised",
            "The sum of these probabilities: how many of them should have come true.",
            ["detector", "chance"],
            registry=registry,
        )
        self.forecasts_happened = Counter(
            "foretell_forecasts_happened", "How many of them came true.", ["detector", "chance"], registry=registry
        )
        self.forecasts_squared_error = Counter(
            "foretell_forecasts_squared_error",
            "The sum of squared differences between these probabilities and 0 or 1; over their number it is the Brier score.",
            ["detector", "chance"],
            registry=registry,
        )
        for counter in self._of_forecasts():
            for chance in _CHANCES:  # a counter's first value is no increase to Prometheus, and months end all at once
                counter.labels(PlanLimit.kind, chance)
        self.accounts = Gauge(
            "foretell_accounts",
            "Accounts by where their model is: in use (hot), saved in memory (idle), on disk.",
            ["where"],
            registry=registry,
        )
        self.timers = Gauge("foretell_timers", "Accounts that wait to be woken.", registry=registry)
        self.restored_accounts = Gauge(
            "foretell_restored_accounts", "Accounts restored at the last assignment.", registry=registry
        )
        self.restore_seconds = Gauge(
            "foretell_restore_seconds", "Time to take the partitions over at the last assignment.", registry=registry
        )
        self.checkpoint_seconds = Histogram(
            "foretell_checkpoint_seconds",
            "Time to write one partition's checkpoint.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.checkpoint_age = Gauge(
            "foretell_checkpoint_age_seconds",
            "Since the oldest checkpoint of an assigned partition.",
            registry=registry,
        )
        self.state_written = Counter("foretell_state_written_bytes", "State written in checkpoints.", registry=registry)
        self.lag = Gauge(
            "foretell_consumer_lag_records", "Records not yet read.", ["topic", "partition"], registry=registry
        )
        self.event_lag = Histogram(
            "foretell_event_lag_seconds",
            "From the record's timestamp to the end of its batch, the oldest record of each batch.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.batch_records = Histogram(
            "foretell_batch_records", "Records in a batch.", buckets=(1, 10, 100, 1000, 4000), registry=registry
        )
        self.batch_seconds = Histogram(
            "foretell_batch_seconds",
            "Time to think about a batch and publish its alerts.",
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._said: set[tuple[str, str]] = set()

    def count(self, batch: Batch, outcome: Outcome, seconds: float) -> None:
        """Count what became of a batch, which took so many seconds."""
        topic = batch.tp.topic
        self.received.labels(topic).inc(len(batch.records))
        self.applied.labels(topic).inc(outcome.applied)
        if outcome.repeated:
            self.repeated.labels(topic).inc(outcome.repeated)
        for reason, count in outcome.rejects.items():
            self.dead_letters.labels(topic, reason).inc(count)
            log.warning("events_rejected", topic=topic, partition=batch.tp.partition, reason=reason, count=count)
        for why, count in outcome.misplaced.items():
            self.misplaced.labels(topic, why).inc(count)
            self._say_misplaced(topic, why)
        self.count_outcome(outcome)
        self.batch_records.observe(len(batch.records))
        self.batch_seconds.observe(seconds)
        self.event_lag.observe(max(0.0, time.time() - batch.records[0].timestamp / 1000))

    def count_outcome(self, outcome: Outcome) -> None:
        """Count alerts and faults, which timers have, too."""
        for alert in outcome.alerts:
            self.alerts.labels(alert.kind, alert.state, alert.severity).inc()
        for what, count in outcome.faults.items():
            self.faults.labels(what).inc(count)
        for (detector, what), count in outcome.irregularities.items():
            self.irregularities.labels(detector, what).inc(count)

        for (detector, tenth), settled in outcome.settled.items():
            for counter, much in zip(self._of_forecasts(), settled, strict=True):
                counter.labels(detector, _CHANCES[tenth]).inc(max(0.0, much))

    def _of_forecasts(self) -> tuple[Counter, Counter, Counter, Counter]:
        """Return the counters of what is settled, in the order of `Settled`."""
        return self.forecasts_settled, self.forecasts_promised, self.forecasts_happened, self.forecasts_squared_error

    def count_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """Count a checkpoint, if there was something to write."""
        if checkpoint is not None:
            self.checkpoint_seconds.observe(checkpoint.seconds)
            self.state_written.inc(checkpoint.written_bytes)

    def show(self, owned: Collection[Possession]) -> None:
        """Show how things stand in the shards of this worker."""
        counts = [each.shard.accounts.counts() for each in owned]
        for where in ("hot", "idle", "disk"):
            self.accounts.labels(where).set(sum(getattr(count, where) for count in counts))
        self.timers.set(sum(each.shard.pending_timers for each in owned))
        now = time.monotonic()
        self.checkpoint_age.set(now - min((each.saved_at for each in owned), default=now))

    def _say_misplaced(self, topic: str, why: str) -> None:
        if (topic, why) not in self._said:
            self._said.add((topic, why))
            log.error(
                "keys_do_not_lead_to_their_partition",
                topic=topic,
                why=why,
                hint="an account's events may be split over engines; `foretell topics check` says what to do",
            )
