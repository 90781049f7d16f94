"""The metrics of several processes in one scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.parser import text_string_to_metric_families

LABEL = "worker"


class SupervisorMetrics:
    """What the supervisor itself counts."""

    def __init__(self, registry: CollectorRegistry, workers: int) -> None:
        self.wanted = Gauge("foretell_workers_wanted", "Workers that the supervisor keeps running.", registry=registry)
        self.running = Gauge("foretell_workers_running", "Workers that run now.", registry=registry)
        self.restarts = Counter(
            "foretell_worker_restarts", "Times that a worker was started again.", [LABEL], registry=registry
        )
        self.wanted.set(workers)
        for number in range(workers):
            self.restarts.labels(number)  # from 0, so that a rate shows the first one


class MergedRegistry(CollectorRegistry):
    """Metrics of this process as they are, and those of each worker with its name in the label `worker`.

    A series is never summed with another, so nothing that a worker says is lost:
    PromQL sums over `worker` where a sum is wanted.

    Args:
        scrape: returns each worker's metrics in Prometheus' text format; one that does not answer is left out.
    """

    def __init__(self, scrape: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._scrape = scrape

    def collect(self) -> Iterable[Metric]:
        """Return the families of all processes, each family once."""
        families: dict[str, Metric] = {}
        for family in super().collect():
            _add(families, family, {})
        for worker, text in self._scrape().items():
            for family in text_string_to_metric_families(text):
                _add(families, family, {LABEL: worker})
        return families.values()

    def restricted_registry(self, names: Iterable[str]) -> CollectorRegistry:  # type: ignore[override]
        """Return what collects only the named series (`/metrics?name[]=`), of workers too."""
        every = CollectorRegistry(auto_describe=True)  # learns the names by asking once
        every.register(self)
        return every.restricted_registry(names)  # type: ignore[return-value]


def _add(families: dict[str, Metric], found: Metric, labels: Mapping[str, str]) -> None:
    """A family's type and help are those of whoever named it first; Prometheus refuses a second heading."""
    family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
    family.samples += [sample._replace(labels={**sample.labels, **labels}) for sample in found.samples]
