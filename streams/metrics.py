"""What the stream worker counts. Base units, few labels, never an account."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class StreamMetrics:
    """The worker's metrics, in a registry.

    received = applied + repeated + dead letters, at all times between two batches.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.received = Counter(
            "foretell_events_received", "Records read from an input topic.", ["topic"], registry=registry
        )
        self.applied = Counter("foretell_events_applied", "Events that changed a model.", ["topic"], registry=registry)
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
        self.accounts = Gauge("foretell_accounts", "Accounts with a model in memory.", registry=registry)
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
