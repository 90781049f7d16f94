"""Accounts that nobody asks for: on disk, and waiting for a time that comes without an event."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer

from detectors.profile import NEVER
from detectors.profile_codec import timer_of

from .field import PARTITIONS, Field
from .figures import say
from .patience import eventually
from .traffic import BEGAN, account_event, usage_event
from .worker_process import WorkerProcess

IDLE = tuple(f"u{number:03}" for number in range(40))


@pytest.mark.parametrize("seed", [101])
def test_accounts_that_were_on_disk_return_exactly(make_field: Callable[..., Field], bootstrap: str, seed: int) -> None:
    field = make_field(bootstrap, memory_mb=1)
    traffic = field.traffic(seed, accounts=8000, per_second=2000)
    worker = field.start_worker(seat="one")
    worker.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        before = eventually(lambda: accounts_on_disk(worker))
        worker.process.kill()
        worker = field.start_worker(seat="one")
        worker.await_ready()
        until = traffic.sent + 8000
        eventually(lambda: traffic.sent > until)
    inputs = field.read_inputs()
    field.await_saved(inputs)
    after = eventually(lambda: accounts_on_disk(worker))
    field.settle([worker])

    figures = field.prove(inputs)
    say(f"{before} accounts on disk before kill -9, {after} in the end, of {figures.accounts}")
    assert figures.accounts == 8000


def accounts_on_disk(worker: WorkerProcess) -> int:
    """Return how many accounts the worker has on disk, 0 for too few to count."""
    found = int(worker.scrape(where="disk")["foretell_accounts"])
    return found if found > 100 else 0


def send(field: Field, role: str, events: Mapping[str, dict[str, Any]]) -> None:
    """Send each account's event and wait until Kafka has them."""
    producer = KafkaProducer(bootstrap_servers=field.bootstrap)
    for account, event in events.items():
        producer.send(field.topic(role), orjson.dumps(event), account.encode())
    producer.close()


def introduce(field: Field, cycle_ends: datetime) -> None:
    """Send the accounts' facts, of which the important one is when the billing cycle ends."""
    cycle = {"kind": "days", "length": 1, "anchor": (cycle_ends - timedelta(days=1)).isoformat()}
    send(field, "accounts", {name: {**account_event(name, 0), "cycle": cycle} for name in IDLE})
    field.start_worker(seat="one").await_ready()
    field.await_saved(field.read("accounts"))


def pass_the_limit(field: Field, at: datetime) -> None:
    """Let every account use all it has, and the worker die when it has saved that."""
    send(field, "usage", {name: usage_event(name, 1, "9", time=at.isoformat()) for name in IDLE})
    field.await_saved(field.read_inputs())
    assert states(field) == {"triggered": len(IDLE)}
    field.workers[-1].process.kill()


def states(field: Field) -> dict[str, int]:
    """Return how many alerts there are in each state, each counted once."""
    alerts = {record.value for records in field.read("notifications").values() for record in records}
    found: dict[str, int] = {}
    for alert in alerts:
        state = orjson.loads(alert)["type"].removeprefix("alert.")
        found[state] = found.get(state, 0) + 1
    return found


def test_a_cycle_that_ends_while_the_worker_is_away_is_told_once_when_it_is_back(field: Field) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=20)
    introduce(field, ends)
    pass_the_limit(field, datetime.now(UTC))
    assert datetime.now(UTC) < ends, "too slow to show anything; give the cycle more seconds"
    eventually(lambda: datetime.now(UTC) > ends)

    worker = field.start_worker(seat="one")
    began = time.monotonic()
    eventually(lambda: states(field) == {"triggered": len(IDLE), "resolved": len(IDLE)}, every=0.3)
    say(f"told {time.monotonic() - began:.1f} s after the start")
    worker.process.kill()
    worker = field.start_worker(seat="one")
    worker.await_ready()
    eventually(lambda: not any(saved_timers(field)))
    inputs = field.settle([worker])

    field.prove(inputs, now_ms=time.time() * 1000)


def saved_timers(field: Field) -> list[int]:
    """Return the timers that are saved with the accounts."""
    timers = (timer_of(saved) for restored in field.saved().values() for saved in restored.states.values())
    return [timer for timer in timers if timer != NEVER]


def test_in_a_replay_of_history_cycles_end_by_the_events_own_times(
    make_field: Callable[..., Field], bootstrap: str
) -> None:
    field = make_field(bootstrap, clock="events")
    ends = BEGAN + timedelta(hours=5)
    introduce(field, ends)
    pass_the_limit(field, BEGAN + timedelta(hours=1))
    worker = field.start_worker(seat="one")
    worker.await_ready()
    assert states(field) == {"triggered": len(IDLE)}, "its cycle ended days ago, but not yet by the events' times"

    after = ends + timedelta(hours=1)
    others = {f"other{number}": usage_event(f"other{number}", 1, "1", time=after.isoformat()) for number in range(40)}
    send(field, "usage", others)
    eventually(lambda: states(field) == {"triggered": len(IDLE), "resolved": len(IDLE)}, every=0.3)
    inputs = field.settle([worker])

    assert all(inputs[field.topic("usage"), number] for number in range(PARTITIONS))
    field.prove(inputs, now_ms=after.timestamp() * 1000)
