"""Records that cannot be used, and detectors that cannot bear some: each costs one dead letter and nothing else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource

from detectors.plan_limit import PlanLimit
from detectors.usage_spike import UsageSpike
from streams.topics import admin

from . import sabotage
from .field import Field
from .figures import say
from .patience import eventually
from .traffic import charge_event, usage_event

FIVE_MEGABYTES = 5 << 20
MOST_RESTARTS = 20  # four at the record itself; on a busy machine lives before it end after a checkpoint or two


def with_changes(event: dict[str, Any], **changes: Any) -> bytes:
    return orjson.dumps({name: value for name, value in {**event, **changes}.items() if value is not None})


def poison() -> list[tuple[str, str, bytes | None, list[tuple[str, Any]]]]:
    """Return what to send: the topic's role, the reason that is due, the value, the headers."""
    usage, charge = usage_event("u001", 1, "1"), charge_event("c001", 1, "10.00", "m1")
    whole = orjson.dumps(usage)
    return [
        ("usage", "not_json", b"{'single': 'quotes'}", []),
        ("usage", "not_json", whole[:-5], []),
        ("usage", "not_json", b"\xff\xfe\x00", []),
        ("usage", "not_json", b"[" * 100_000, []),
        ("usage", "empty", None, []),
        ("charges", "empty", None, []),
        ("accounts", "empty", None, []),
        ("usage", "empty", b"", []),
        ("usage", "too_large", orjson.dumps({**usage, "note": "x" * FIVE_MEGABYTES}), []),
        ("usage", "not_an_object", b"[1, 2, 3]", []),
        ("usage", "not_an_object", b"null", []),
        ("usage", "invalid", with_changes(usage, quantity="a lot"), []),
        ("usage", "invalid", with_changes(usage, quantity=True, account=["u001"]), []),
        ("usage", "invalid", with_changes(usage, quantity="-1"), []),
        ("usage", "invalid", with_changes(usage, time="yesterday"), []),
        ("usage", "invalid", with_changes(usage, time="2026-03-01T00:00:00"), []),
        ("usage", "invalid", with_changes(usage, quantity="1e400"), []),
        ("usage", "invalid", with_changes(usage, quantity="NaN"), []),
        ("usage", "invalid", b'{"specversion": "1.0", "type": "usage.recorded", "data": 7}', []),
        ("usage", "unknown_type", with_changes(usage, type="usage.forgotten"), []),
        ("usage", "unknown_type", with_changes(usage, type="charge.posted"), []),
        ("usage", "unknown_type", whole, [("ce_type", b"\xff"), ("ce_id", b"1")]),
        ("accounts", "no_type", with_changes(usage, type=None), []),
        ("charges", "invalid", with_changes(charge, amount="1.23456"), []),
        ("charges", "invalid", with_changes(charge, merchant="m1"), []),
        ("usage", "unit_mismatch", with_changes(usage, unit="MB"), []),
        ("usage", "from_the_future", with_changes(usage, time="2999-01-01T00:00:00Z"), []),
        ("usage", "invalid", with_changes(usage, account="\0positions", id="nul"), []),
    ]


def test_poison_becomes_dead_letters_and_the_stream_goes_on(field: Field) -> None:
    with admin(field.config.kafka) as client:
        client.alter_configs([ConfigResource("topic", field.topic("usage"), {"max.message.bytes": str(8 << 20)})])
    traffic = field.traffic(71, accounts=40, per_second=500)
    worker = field.start_worker()
    worker.await_ready()
    field.await_saved(field.read("accounts"))
    producer = KafkaProducer(bootstrap_servers=field.bootstrap, max_request_size=8 << 20)
    sent: dict[tuple[str, int, int], str] = {}

    with traffic:
        for role, reason, value, headers in poison():
            placed = producer.send(field.topic(role), value, b"u001", headers=headers).get(30)
            sent[placed.topic, placed.partition, placed.offset] = reason
        keyless = [orjson.dumps(usage_event("keyless", number, "1")) for number in range(3)]
        for value in keyless:
            producer.send(field.topic("usage"), value, partition=2).get(30)
        producer.send(
            field.topic("usage"), orjson.dumps(usage_event("old", 1, "1", time="0001-01-01T00:00:00Z")), b"old"
        )
        eventually(lambda: traffic.sent > 500)
    producer.close()
    inputs = field.read_inputs()
    field.await_saved(inputs)
    counts = worker.scrape()
    field.settle([worker])

    dead = field.dead_letters()
    assert {position: dead[position][0] for position in sent if position in dead} == sent
    assert counts["foretell_dead_letters_total"] == len(dead)
    assert counts["foretell_events_misplaced_total"] >= len(keyless)
    for position, (_, letter) in dead.items():
        marks = dict(letter.headers)
        original = next(each for each in inputs[position[:2]] if each.offset == position[2])
        kept = b"" if original.value is None else original.value
        assert (letter.value or b"") == kept[: len(letter.value or b"")]
        assert ("foretell_truncated" in marks) == (len(kept) > FIVE_MEGABYTES)
        assert letter.key == original.key
        assert marks["foretell_detail"]
    say(f"{len(sent)} poisoned records, {len(dead)} dead letters")
    field.prove(inputs)


def test_a_detector_that_raises_for_one_account_costs_that_event(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = field.traffic(72)
    worker = field.start_worker(seat="one", sabotage="raise_for_one_account")
    worker.await_ready()
    field.await_saved(field.read("accounts"))

    with traffic:
        eventually(lambda: traffic.sent > 5000)
        worker.process.kill()
        worker = field.start_worker(seat="one", sabotage="raise_for_one_account")
        worker.await_ready()
    inputs = field.settle([worker])

    dead = field.dead_letters()
    assert dead
    for reason, letter in dead.values():
        detail = dict(letter.headers)["foretell_detail"].decode()
        assert reason == "detector_failed"
        assert letter.key.decode() == sabotage.RAISING_ACCOUNT
        assert "RuntimeError: an agent's model has a fault" in detail
        assert "Traceback" in detail
    with broken_here(monkeypatch, sabotage.raise_for_one_account):
        field.prove(inputs)


@contextmanager
def broken_here(monkeypatch: pytest.MonkeyPatch, breaks: Callable[[], None]) -> Iterator[None]:
    """Break the detectors of this process too, inside a block."""
    with monkeypatch.context() as context:
        for owner in (UsageSpike, PlanLimit):
            context.setattr(owner, "learn", owner.learn)  # to be put back afterwards
        breaks()
        yield


def test_a_record_that_kills_the_process_is_found_and_skipped(field: Field) -> None:
    traffic = field.traffic(73, accounts=100, per_second=400)
    worker = field.start_worker(seat="one", sabotage="die_of_one_event")
    worker.await_ready()
    field.await_saved(field.read("accounts"))
    killer = usage_event("u003", 1, "0.4", id=sabotage.KILLING_EVENT)

    codes = []
    began = time.monotonic()
    with traffic:
        eventually(lambda: traffic.sent > 400)
        producer = KafkaProducer(bootstrap_servers=field.bootstrap)
        placed = producer.send(field.topic("usage"), orjson.dumps(killer), b"u003").get(30)
        producer.close()
        position = (placed.topic, placed.partition, placed.offset)

        def is_skipped() -> bool:
            nonlocal worker
            if worker.process.exit_code is not None:
                codes.append(worker.process.exit_code)
                assert len(codes) <= MOST_RESTARTS, codes
                worker = field.start_worker(seat="one", sabotage="die_of_one_event")
            return position in field.dead_letters()

        eventually(is_skipped, 120, every=0.2)
    say(f"skipped after {len(codes)} deaths {codes}, {time.monotonic() - began:.1f} s")
    inputs = field.settle([worker])

    assert field.dead_letters()[position][0] == "killed_the_worker"
    field.prove(inputs, killers={position})
