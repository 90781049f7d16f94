"""A batch through a shard, without Kafka."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord
from faust.types import TP

from detectors.codec import Reader
from detectors.engine import Engine, EngineSettings
from streams.shard import ChainBrokenError, Shard
from streams.transport import Batch

TOPIC = "foretell.usage"
PLANS = {"basic": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "GB"}}}}


def record(offset: int, value: bytes | None, key: bytes | None = b"a1", topic: str = TOPIC) -> ConsumerRecord:
    return ConsumerRecord(topic, 0, offset, 1_780_000_000_000, 0, key, value, None, 0, 0, [("trace", b"t")])


def usage(offset: int, quantity: str) -> ConsumerRecord:
    event = {"id": f"u{offset}", "account": "a1", "time": "2026-03-10T12:00:00Z", "meter": "data", "unit": "GB"}
    return record(offset, orjson.dumps({**event, "quantity": quantity}))


def batch(start: int | None, records: Sequence[ConsumerRecord], topic: str = TOPIC) -> Batch:
    return Batch(TP(topic, 0), start, records, 1)


@pytest.fixture
def shard() -> Shard:
    readers = {TOPIC: Reader(("usage.recorded",)), "foretell.accounts": Reader(("account.updated",))}
    engine = Engine(EngineSettings.model_validate({"plans": PLANS}))
    made = Shard(engine, readers, "foretell.notifications", {TOPIC: 0, "foretell.accounts": 0})
    plan = {"id": "p", "account": "a1", "time": "2026-03-10T00:00:00Z", "plan": "basic"}
    made.take(batch(0, [record(0, orjson.dumps(plan), topic="foretell.accounts")], "foretell.accounts"))
    return made


def test_alerts_go_out_keyed_by_account_and_positions_move(shard: Shard) -> None:
    outcome = shard.take(batch(0, [usage(0, "8"), usage(1, "1")]))

    (sent,) = outcome.outgoing
    body = orjson.loads(sent.value or b"")
    assert (sent.topic, sent.key, sent.partition) == ("foretell.notifications", b"a1", None)
    assert body["type"] == "alert.triggered"
    assert body["data"]["evidence"] == [{"topic": TOPIC, "partition": 0, "offset": 0, "event_id": "u0"}]
    assert body["data"]["detected_at"].startswith("2026-05-28")
    assert (outcome.applied, outcome.repeated, shard.positions[TOPIC]) == (2, 0, 2)


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "empty"), (b"\xff", "not_json"), (b"{}", "invalid"), (b"[]", "not_an_object")]
)
def test_what_cannot_be_read_is_kept_as_it_was(shard: Shard, value: bytes | None, reason: str) -> None:
    outcome = shard.take(batch(0, [record(0, value), usage(1, "1")]))

    (letter,) = outcome.outgoing
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value, letter.partition) == (f"{TOPIC}-dlt", b"a1", value, 0)
    assert headers["foretell_reason"].decode() == reason
    assert headers["foretell_original_offset"] == b"0"
    assert headers["trace"] == b"t"
    assert (outcome.rejects, outcome.applied) == ({reason: 1}, 1)


def test_a_detector_that_raises_costs_one_event_and_tells_where(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = shard.engine.handle

    def fail_once(event: Any, origin: Any) -> Any:
        if event.id == "u0":
            raise ZeroDivisionError("in the model")
        return handle(event, origin)

    monkeypatch.setattr(shard.engine, "handle", fail_once)

    outcome = shard.take(batch(0, [usage(0, "1"), usage(1, "9")]))

    letter, alert = outcome.outgoing
    assert dict(letter.headers)["foretell_reason"] == b"detector_failed"
    assert b"ZeroDivisionError: in the model" in dict(letter.headers)["foretell_detail"]
    assert alert.topic == "foretell.notifications"


def test_a_batch_that_does_not_follow_the_last_is_not_taken(shard: Shard) -> None:
    shard.take(batch(0, [usage(0, "1")]))

    with pytest.raises(ChainBrokenError, match=r"foretell.usage-0: batch starts at 2, the engine is at 1"):
        shard.take(batch(2, [usage(2, "1")]))


def test_gaps_inside_a_batch_are_what_compaction_leaves(shard: Shard) -> None:
    shard.take(batch(0, [usage(0, "1"), usage(7, "1")]))

    assert shard.positions[TOPIC] == 8


def test_what_was_processed_is_not_processed_again(shard: Shard) -> None:
    shard.positions[TOPIC] = 1

    outcome = shard.take(batch(1, [usage(0, "9"), usage(1, "1")]))

    assert (outcome.applied, outcome.alerts) == (1, [])
