"""A worker that is stopped for longer than its session lasts, and continued."""

import threading
import time

import pytest

from .field import Field
from .figures import say
from .patience import eventually
from .worker_process import WorkerProcess

ASLEEP_SECONDS = 9
REPLACED = {70, 72, 76}


def owns_everything(worker: WorkerProcess) -> bool:
    said = worker.said("partitions_assigned")
    return bool(said) and said[-1]["partitions"] == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", [61])
def test_nothing_of_a_worker_that_was_replaced_in_its_sleep_becomes_visible(field: Field, seed: int) -> None:
    traffic = field.traffic(seed, per_second=1000)
    sleeper = field.start_worker()
    sleeper.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        threading.Event().wait(2)
        sleeper.process.pause()
        began = time.monotonic()
        other = field.start_worker()
        eventually(lambda: owns_everything(other))
        say(f"taken over after {time.monotonic() - began:.1f} s")
        threading.Event().wait(1)
        sleeper.process.resume()

        def noticed() -> str | None:
            code = sleeper.process.exit_code
            if code is not None:
                return f"ended with {code}"
            return "rejoined" if len(sleeper.said("partitions_assigned")) > 1 else None

        say(f"woken, the sleeper {eventually(noticed)}")
        threading.Event().wait(1.5)
    left = [worker for worker in (sleeper, other) if worker.process.exit_code is None]
    inputs = field.settle(left)

    assert sleeper.process.exit_code in {0, *REPLACED}
    assert "Traceback" not in other.log_path.read_text()
    field.prove(inputs)


@pytest.mark.parametrize("seed", [62])
def test_a_worker_that_slept_alone_goes_on_exactly(field: Field, seed: int) -> None:
    traffic = field.traffic(seed, per_second=1000)
    worker = field.start_worker(seat="one")
    worker.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        threading.Event().wait(2)
        worker.process.pause()
        threading.Event().wait(ASLEEP_SECONDS)
        worker.process.resume()
        began, saved = time.monotonic(), field.saved()
        ahead = sum(at for each in saved.values() for at in each.positions.values())
        restarts = 0

        def goes_on() -> bool:
            nonlocal worker, restarts
            if worker.process.exit_code is not None:
                assert worker.process.exit_code in REPLACED, worker.process.log_tail(30)
                restarts += 1
                worker = field.start_worker(seat="one")
            return sum(at for each in field.saved().values() for at in each.positions.values()) > ahead

        eventually(goes_on, every=0.3)
        say(f"goes on {time.monotonic() - began:.1f} s after SIGCONT, {restarts} restarts")
        threading.Event().wait(1)
    inputs = field.settle([worker])

    assert restarts <= 1
    field.prove(inputs)
