"""Workers that are killed, replaced and asked to end, while events keep coming."""

import random
import threading
import time

import pytest

from .field import Field
from .figures import say
from .worker_process import WorkerProcess

ROUNDS = 10


def lived(seconds: float) -> None:
    """Let the processes run for a while: it is the moment of the fault that is random."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize("seed", [41])
def test_a_worker_killed_at_random_again_and_again_loses_and_doubles_nothing(field: Field, seed: int) -> None:
    draw, back = random.Random(seed), []
    traffic = field.traffic(seed)
    worker = field.start_worker(seat="one")
    worker.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        for _ in range(ROUNDS):
            lived(draw.uniform(0.3, 2.5))
            worker.process.kill()
            began = time.monotonic()
            worker = field.start_worker(seat="one")
            worker.await_ready()
            back.append(time.monotonic() - began)
        lived(1)
    inputs = field.settle([worker])

    figures = field.prove(inputs)
    say(f"{ROUNDS} kills, ready again after {min(back):.1f} to {max(back):.1f} s")
    assert figures.events > 10_000
    assert figures.accounts == 300
    assert {"plan_limit triggered", "suspicious_charge triggered", "usage_spike triggered"} <= figures.kinds.keys()


@pytest.mark.parametrize("seed", [42])
def test_workers_that_come_and_go_hand_over_exactly(field: Field, seed: int) -> None:
    traffic = field.traffic(seed)
    first = field.start_worker()
    first.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        second = field.start_worker()
        second.await_ready()
        lived(2)
        first.process.kill()
        third = field.start_worker()
        began = time.monotonic()
        third.await_ready()
        say(f"taken over {time.monotonic() - began:.1f} s after kill -9")
        lived(1.5)
        assert second.end() == 0
        lived(1.5)
        fourth = field.start_worker()
        fourth.await_ready()
        lived(1)
    inputs = field.settle([third, fourth])

    figures = field.prove(inputs)
    assert figures.events > 10_000
    assert all(said_partitions(worker) for worker in (second, third, fourth))


def said_partitions(worker: WorkerProcess) -> bool:
    """Return whether the worker was given any."""
    return any(line["partitions"] for line in worker.said("partitions_assigned"))


@pytest.mark.parametrize("seed", [43])
def test_a_worker_that_was_asked_to_end_leaves_nothing_to_replay(field: Field, seed: int) -> None:
    traffic = field.traffic(seed)
    first = field.start_worker()
    first.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        lived(2)
        began = time.monotonic()
        code = first.end()
        say(f"drained in {time.monotonic() - began:.1f} s")
        done = {
            (topic, number): position
            for number, restored in field.saved().items()
            for topic, position in restored.positions.items()
        }
        second = field.start_worker()
        second.await_ready()
        lived(1)
    inputs = field.read_inputs()
    field.await_saved(inputs)
    left = sum(record.offset >= done[place] for place, records in inputs.items() for record in records)
    received = second.scrape()["foretell_events_received_total"]
    field.settle([second])

    assert code == 0
    assert received == left > 0
    figures = field.prove(inputs)
    assert figures.alerts_published == figures.alerts
