"""Other settings, other detectors, another state format: what is taken up from old checkpoints, and what is refused."""

import asyncio
from typing import Any

import pytest
from kafka.partitioner import murmur2

from streams.checkpoints import StateWriter

from .field import PARTITIONS, Field
from .figures import say
from .patience import eventually
from .recomputation import Recomputation, recompute
from .records import Records
from .sabotage import NEWER_FORMAT
from .traffic import Traffic
from .worker_process import WorkerProcess

OTHERWISE_TUNED = {"warm_up_hours": 5, "alerts_a_month": 2}
UNREADABLE = 79


def after(inputs: Records, earlier: Records) -> Records:
    """Return what came after `earlier`."""
    return {place: records[len(earlier.get(place, [])) :] for place, records in inputs.items()}


def test_changed_and_disabled_and_new_detectors_go_on_from_old_checkpoints(field: Field) -> None:
    as_it_was: dict[str, Any] = {"usage_spike": {"warm_up_hours": 2, "alerts_a_month": 5}}
    steps: tuple[dict[str, Any], ...] = (
        as_it_was,
        {"usage_spike": OTHERWISE_TUNED, "suspicious_charge": {"enabled": False}},
        {**as_it_was, "usage_spike": OTHERWISE_TUNED, "plan_limit": {"enabled": False}},
        as_it_was,
    )
    right: Recomputation | None = None
    earlier: Records = {}

    for number, detectors in enumerate(steps):
        settings = field.configure(detectors=detectors).stream_settings()
        worker = field.start_worker()
        if number == 0:
            traffic = field.traffic(91)
            field.await_saved(field.read("accounts"))
        worker.await_ready()
        send(traffic, 1500)
        inputs = field.settle([worker])
        right = recompute(settings, after(inputs, earlier), earlier=right)
        earlier = inputs

    figures = field.prove(inputs, expected=right)
    assert figures.events > 6000


def send(traffic: Traffic, events: int) -> None:
    """Let traffic run until it has sent so many more."""
    until = traffic.sent + events
    with traffic:
        eventually(lambda: traffic.sent > until)


@pytest.mark.parametrize(
    ("saved", "came"), [(bytes([9]) + bytes(40), "format 9"), (b"", "an empty record")], ids=["newer", "empty"]
)
def test_a_state_that_this_version_does_not_read_ends_the_worker_with_a_sentence(
    field: Field, saved: bytes, came: str
) -> None:
    number = (murmur2(b"u001") & 0x7FFFFFFF) % PARTITIONS

    async def write() -> None:
        writer = StateWriter(field.config.kafka, field.topic("state"), number)
        await writer.start()
        await writer.write([(b"u001", saved)], {})
        await writer.close()

    asyncio.run(write())
    worker = field.start_worker()

    assert worker.process.wait(60) == UNREADABLE, worker.process.log_tail(20)
    said = str(worker.said("state_unreadable")[0]["error"])
    say(said)
    assert came in said
    assert "this version of Foretell reads format 1" in said
    assert field.saved()[number].states == {b"u001": saved}, "what was refused is still there for whoever can read it"


def test_in_a_rolling_upgrade_the_newer_version_takes_over_and_the_older_refuses(field: Field) -> None:
    traffic = field.traffic(92, per_second=800)
    older = field.start_worker()
    older.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        newer = field.start_worker(sabotage="write_newer_format")
        newer.await_ready()
        eventually(lambda: field_formats(field) == {1, NEWER_FORMAT})
        newer.process.kill()
        first_refusal = older.process.wait(30)
        said = older.said("state_unreadable")
        older = field.start_worker()
        second_refusal = older.process.wait(60)
        newer = field.start_worker(sabotage="write_newer_format")
        newer.await_ready()
        eventually(lambda: has_all(newer))
    inputs = field.settle([newer])

    say(str(said[0]["error"]))
    assert (first_refusal, second_refusal) == (UNREADABLE, UNREADABLE)
    assert f"format {NEWER_FORMAT}" in str(said[0]["error"])
    field.prove(inputs, bare=without_format)


def field_formats(field: Field) -> set[int]:
    return {saved[0] for restored in field.saved().values() for saved in restored.states.values()}


def has_all(worker: WorkerProcess) -> bool:
    said = worker.said("partitions_assigned")
    return bool(said) and said[-1]["partitions"] == list(range(PARTITIONS))


def without_format(saved: bytes) -> bytes:
    return saved[1:]
