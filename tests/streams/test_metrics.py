"""What the worker counts of its outcomes."""

from prometheus_client import CollectorRegistry

from detectors.detector import Settled
from streams.metrics import StreamMetrics
from streams.shard import Outcome


def forecasts(registry: CollectorRegistry, what: str, chance: str) -> float | None:
    labels = {"detector": "plan_limit", "chance": chance}
    return registry.get_sample_value(f"foretell_forecasts_{what}_total", labels)


def test_forecasts_that_came_true_or_not_are_counted_by_the_chance_they_were_given() -> None:
    registry = CollectorRegistry()
    metrics = StreamMetrics(registry)
    metrics.count_outcome(Outcome(settled={("plan_limit", 9): Settled(20, 19.0, 18, 1.9)}))
    metrics.count_outcome(Outcome(settled={("plan_limit", 9): Settled(1, 0.9, 1, 0.01), ("plan_limit", 0): Settled(5)}))

    assert forecasts(registry, "settled", "0.9-1.0") == 21
    assert forecasts(registry, "promised", "0.9-1.0") == 19.9
    assert forecasts(registry, "happened", "0.9-1.0") == 19
    assert forecasts(registry, "squared_error", "0.9-1.0") == 1.91
    assert forecasts(registry, "settled", "0.0-0.1") == 5


def test_each_chance_is_there_before_anything_is_settled_so_that_the_first_months_end_is_an_increase() -> None:
    registry = CollectorRegistry()
    StreamMetrics(registry)

    chances = [f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}" for tenth in range(10)]
    assert [forecasts(registry, "happened", chance) for chance in chances] == [0.0] * 10
