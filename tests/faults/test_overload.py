"""A worker that cannot keep up, and one that does not move at all."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from .field import Field
from .figures import say
from .patience import eventually
from .worker_process import WorkerProcess

_BURST = 30_000
_ROOM_MB = 150  # for what is read and not yet applied: eight batches


@pytest.mark.parametrize("seed", [111])
def test_a_burst_lags_and_drains_and_memory_stays_bounded(field: Field, seed: int) -> None:
    """All of it is there before the worker looks: no rate is further beyond what it can take."""
    traffic = field.traffic(seed, accounts=300, per_second=100_000)
    first = field.start_worker(seat="one")
    first.await_ready()
    field.await_saved(field.read("accounts"))
    assert first.end() == 0
    with traffic:
        eventually(lambda: traffic.sent > _BURST, seconds=120)
    inputs = field.read_inputs()
    worker = field.start_worker(seat="one")
    worker.await_ready()
    empty_mb = memory_mb(worker)

    with ThreadPoolExecutor(1) as watching:
        is_drained = watching.submit(field.await_saved, inputs, 200)
        most_mb = empty_mb
        lags = [0.0]
        while not is_drained.done():
            most_mb = max(most_mb, memory_mb(worker))
            lags.append(worker.scrape().get("foretell_consumer_lag_records", 0.0))
        is_drained.result()
    field.settle([worker])

    field.prove(inputs)
    say(f"lag up to {max(lags):,.0f} records; {empty_mb} MB when ready, {most_mb} MB at most")
    assert max(lags) > _BURST / 10
    assert most_mb < empty_mb + _ROOM_MB


def memory_mb(worker: WorkerProcess) -> int:
    """Return what the worker has in memory."""
    return int(psutil.Process(worker.process.pid).memory_info().rss) >> 20


@pytest.mark.parametrize(
    ("sabotage", "exit_code", "says"),
    [("stand_still", 74, "stalled"), ("block_the_event_loop", 75, "event_loop_blocked")],
)
def test_a_worker_that_does_not_move_ends_so_that_it_can_be_started_again(
    make_field: Callable[..., Field], bootstrap: str, sabotage: str, exit_code: int, says: str
) -> None:
    field = make_field(bootstrap, stalled_after_seconds=3)
    traffic = field.traffic(112, accounts=20, per_second=200)
    first = field.start_worker()
    field.await_saved(field.read("accounts"))  # an account's facts before its charges, as the recomputation has them
    assert first.end() == 0
    stuck = field.start_worker(sabotage=sabotage)
    with traffic:
        eventually(lambda: traffic.sent > 500)

    assert stuck.process.wait(90) == exit_code
    assert stuck.said(says)
    worker = field.start_worker()
    worker.await_ready()
    inputs = field.settle([worker])
    field.prove(inputs)
