from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from foretell.worker_metrics import MergedRegistry, SupervisorMetrics


def worker(applied: int, seconds: float) -> str:
    """Return what a worker says about itself."""
    registry = CollectorRegistry()
    Counter("foretell_events_applied", "Events.", ["topic"], registry=registry).labels("usage").inc(applied)
    Histogram("foretell_batch_seconds", "Time.", buckets=(0.1, 1), registry=registry).observe(seconds)
    Gauge("foretell_ready", "Ready.", registry=registry).set(1)
    return generate_latest(registry).decode()


def series(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands twice"
    return found


def test_every_series_of_every_worker_is_there_with_its_label() -> None:
    texts = {"0": worker(3, 0.05), "1": worker(5, 0.5)}
    registry = MergedRegistry(lambda: texts)

    merged = series(generate_latest(registry).decode())

    expected = {
        (name, labels | {("worker", number)}): value
        for number, text in texts.items()
        for (name, labels), value in series(text).items()
    }
    assert merged == expected
    assert merged["foretell_events_applied_total", frozenset({("topic", "usage"), ("worker", "1")})] == 5


def test_a_family_has_one_heading_however_many_name_it() -> None:
    registry = MergedRegistry(lambda: {"0": worker(3, 0.05), "1": worker(5, 0.5)})
    Gauge("foretell_ready", "Ready, all of it.", registry=registry).set(0)

    text = generate_latest(registry).decode()

    headings = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(headings) == len(set(headings))
    assert series(text)["foretell_ready", frozenset()] == 0
    assert series(text)["foretell_ready", frozenset({("worker", "1")})] == 1


def test_a_worker_that_does_not_answer_leaves_the_others_alone() -> None:
    texts = {"0": worker(3, 0.05), "1": worker(5, 0.5)}
    registry = MergedRegistry(lambda: texts)

    del texts["0"]

    assert all(("worker", "1") in labels for _, labels in series(generate_latest(registry).decode()))


def test_a_scrape_for_some_names_finds_those_of_the_workers_too() -> None:
    registry = MergedRegistry(lambda: {"7": worker(3, 0.05)})
    SupervisorMetrics(registry, workers=1)
    names = ["foretell_ready", "foretell_workers_wanted"]

    some = series(generate_latest(registry.restricted_registry(names)).decode())

    assert some == {
        ("foretell_ready", frozenset({("worker", "7")})): 1,
        ("foretell_workers_wanted", frozenset()): 1,
    }


def test_restarts_count_from_zero_for_each_worker() -> None:
    registry = CollectorRegistry()
    metrics = SupervisorMetrics(registry, workers=2)

    metrics.restarts.labels(1).inc()

    assert registry.get_sample_value("foretell_worker_restarts_total", {"worker": "0"}) == 0
    assert registry.get_sample_value("foretell_worker_restarts_total", {"worker": "1"}) == 1
