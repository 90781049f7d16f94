"""What the worker says of itself."""

import time

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.metrics import StreamMetrics
from streams.settings import StreamSettings
from streams.worker import StreamWorker


@pytest.fixture
def worker() -> StreamWorker:
    return StreamWorker(StreamSettings(), StreamMetrics(CollectorRegistry()))


def test_it_is_ready_once_it_has_caught_up_with_what_was_there(worker: StreamWorker) -> None:
    assert not worker.is_ready()

    worker._is_assigned, worker._catching_up = True, {TP("foretell.usage", 0): 10}
    assert not worker.is_ready()

    worker._catching_up.clear()
    assert worker.is_ready()


def test_it_is_unhealthy_when_there_is_lag_and_nothing_moves(worker: StreamWorker) -> None:
    worker._progress = time.monotonic() - 3600
    assert worker.is_healthy()

    worker._lag = 1
    assert not worker.is_healthy()

    worker._progress = time.monotonic()
    assert worker.is_healthy()


def test_nothing_is_committed_before_something_was_processed(worker: StreamWorker) -> None:
    assert worker.committable(TP("foretell.usage", 0)) is None
