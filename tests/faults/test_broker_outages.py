"""A broker that is away: before the worker starts, and killed in the middle."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foretell.broker import LocalBroker

from .field import Field
from .figures import say
from .patience import eventually

OUTAGE_SECONDS = 15
LISTED = {70, 72, 74, 75, 76}
"""Exit codes with which a worker asks to be started again."""


@pytest.fixture(scope="module")
def harmed_broker() -> Iterator[LocalBroker]:
    """A Kafka for this module alone, to be killed."""
    with LocalBroker() as broker:
        yield broker


@pytest.mark.parametrize("seed", [51])
def test_a_broker_killed_and_restarted_costs_time_and_no_event(
    make_field: Callable[..., Field], harmed_broker: LocalBroker, seed: int
) -> None:
    field = make_field(harmed_broker.bootstrap)
    traffic = field.traffic(seed, per_second=1000)
    worker = field.start_worker(seat="one")
    worker.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        threading.Event().wait(2)
        harmed_broker.kill()
        threading.Event().wait(OUTAGE_SECONDS)
        harmed_broker.start()
        began = time.monotonic()
        code = worker.process.exit_code
        if code is not None:
            assert code in LISTED, worker.process.log_tail(30)
            worker = field.start_worker(seat="one")
        ahead = sum(position for restored in field.saved().values() for position in restored.positions.values())

        def goes_on() -> bool:
            return sum(at for each in field.saved().values() for at in each.positions.values()) > ahead

        eventually(goes_on, 90)
        say(f"goes on {time.monotonic() - began:.1f} s after the broker is back; exit code of the worker: {code}")
        threading.Event().wait(1)
    inputs = field.settle([worker], 90)

    figures = field.prove(inputs)
    assert figures.events > 10_000


def test_a_worker_without_a_broker_ends_with_a_sentence_and_works_once_there_is_one(
    make_field: Callable[..., Field], harmed_broker: LocalBroker, tmp_path: Path
) -> None:
    field = make_field(harmed_broker.bootstrap)
    traffic = field.traffic(52, accounts=20)
    harmed_broker.stop()

    began = time.monotonic()
    worker = field.start_worker()
    code = worker.process.wait(60)

    assert code == 2
    assert f"no Kafka broker answers at {harmed_broker.bootstrap}" in worker.process.log_tail(5)
    assert "Traceback" not in worker.log_path.read_text()
    say(f"ended after {time.monotonic() - began:.1f} s: {worker.process.log_tail(1)}; logs in {tmp_path}")

    harmed_broker.start()
    worker = field.start_worker()
    worker.await_ready()
    field.await_saved(field.read("accounts"))
    with traffic:
        eventually(lambda: traffic.sent > 1000)
    inputs = field.settle([worker])

    assert field.prove(inputs).accounts == 20
