"""What the channel consumer counts. Base units, few labels, never an account."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_KINDS = frozenset(
    {
        "usage_spike",
        "data_quality",
        "monitored_series",
        "plan_limit",
        "bill_shock",
        "suspicious_charge",
        "mistaken_charge",
        "outage",
        "delay",
        "notice",
        "reminder",
        "expiry",
        "advantage",
        "first_bill",
        "gone_silent",
    }
)
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600)


def kind_label(kind: str) -> str:
    """Return the label of an alert's kind; kinds that we have not heard of share one, so that labels stay few.

    >>> kind_label("outage"), kind_label("x9f2")
    ('outage', 'other')
    """
    return kind if kind in _KINDS else "other"


class DeliveryMetrics:
    """The consumer's metrics, in a registry.

    received = repeated + admitted + changes of known alerts; admitted = dispositions + pending.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.received = Counter("foretell_alerts_received", "Alerts read.", ["kind"], registry=registry)
        self.repeated = Counter("foretell_alerts_repeated", "Alerts read that were known already.", registry=registry)
        self.dispositions = Counter(
            "foretell_dispositions", "Alerts that ended, by how.", ["disposition", "kind"], registry=registry
        )
        self.deliveries = Counter(
            "foretell_deliveries", "Times that a provider was asked.", ["channel", "outcome"], registry=registry
        )
        self.delivery_seconds = Histogram(
            "foretell_delivery_seconds",
            "From the alert's detection to its delivery.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.receipts_published = Counter(
            "foretell_receipts_published", "Receipts that Kafka has taken.", registry=registry
        )
        self.dead_letters = Counter(
            "foretell_dead_letters", "Records kept on a dead-letter topic.", ["topic", "reason"], registry=registry
        )
        self.pending = Gauge("foretell_pending_alerts", "Alerts that wait to be told.", registry=registry)
        self.lag = Gauge(
            "foretell_consumer_lag_records", "Records not yet read.", ["topic", "partition"], registry=registry
        )
