"""What the worker says of itself before it has anything; the rest is in tests/end_to_end and tests/faults."""

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.metrics import StreamMetrics
from streams.settings import StreamSettings
from streams.worker import StreamWorker


@pytest.fixture
def worker() -> StreamWorker:
    return StreamWorker(StreamSettings(), StreamMetrics(CollectorRegistry()))


def test_it_is_not_ready_before_its_partitions_are_restored(worker: StreamWorker) -> None:
    assert not worker.is_ready()
    assert worker.is_healthy()


def test_nothing_is_read_or_committed_of_a_partition_that_is_not_restored(worker: StreamWorker) -> None:
    partition = TP("foretell.usage", 0)

    assert worker.committable(partition) is None
    assert worker.starts_of({partition}) == {}
