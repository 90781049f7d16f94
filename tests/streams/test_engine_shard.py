"""A batch through a shard, without Kafka."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import murmur2
from faust.types import TP

from detectors.bulletins import BULLETINS
from detectors.codec import Reader, Rejected
from detectors.engine import EngineSettings
from detectors.usage_spike import UsageSpike
from streams import engine_shard
from streams.checkpoints import Restored
from streams.engine_shard import EngineShard, Surroundings
from streams.shard import ChainBrokenError, TruncatedError
from streams.transport import Batch

TOPIC = "foretell.usage"
ACCOUNTS, ANSWERS, CHARGES, BOARD = "foretell.accounts", "foretell.answers", "foretell.charges", "foretell.bulletins"
PLANS = {"basic": {"currency": "EUR", "allowances": {"data": {"quantity": 10, "unit": "GB"}}}}
SENT_MS = 1_780_000_000_000  # 28 May 2026
AROUND = Surroundings(
    engine=EngineSettings.model_validate({"plans": PLANS}),
    readers={
        TOPIC: Reader(("usage.recorded",)),
        ACCOUNTS: Reader(("account.updated", "account.closed")),
        CHARGES: Reader(("charge.posted",)),
        ANSWERS: Reader(("answer.given",)),
        BOARD: Reader(tuple(bulletin.type_name for bulletin in BULLETINS)),
    },
    notifications="foretell.notifications",
    bulletins=BOARD,
    partitions=1,
    memory_bytes=1 << 24,
    clock="records",
)


def record(
    offset: int, value: bytes | None, key: bytes | None = b"a1", topic: str = TOPIC, at_ms: int = SENT_MS
) -> ConsumerRecord:
    return ConsumerRecord(topic, 0, offset, at_ms, 0, key, value, None, 0, 0, [("trace", b"t")])


def event(offset: int, topic: str, at_ms: int = SENT_MS, **fields: Any) -> ConsumerRecord:
    whole = {"id": f"{topic}-{offset}", "account": "a1", "time": "2026-03-10T12:00:00Z", **fields}
    return record(offset, orjson.dumps(whole), topic=topic, at_ms=at_ms)


def usage(offset: int, quantity: str) -> ConsumerRecord:
    event = {"id": f"u{offset}", "account": "a1", "time": "2026-03-10T12:00:00Z", "meter": "data", "unit": "GB"}
    return record(offset, orjson.dumps({**event, "quantity": quantity}))


def batch(start: int | None, records: Sequence[ConsumerRecord], topic: str = TOPIC) -> Batch:
    return Batch(TP(topic, 0), start, records, 1)


def restored(**more: Any) -> Restored:
    return Restored(positions=dict.fromkeys(AROUND.readers, 0), **more)


def make(around: Surroundings = AROUND, found: Restored | None = None) -> EngineShard:
    return EngineShard(0, found or restored(), around)


@pytest.fixture
def shard() -> EngineShard:
    made = make()
    made.take(batch(0, [event(0, ACCOUNTS, type="account.updated", plan="basic")], ACCOUNTS))
    return made


def test_alerts_go_out_keyed_by_account_and_positions_move(shard: EngineShard) -> None:
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
def test_what_cannot_be_read_is_kept_as_it_was(shard: EngineShard, value: bytes | None, reason: str) -> None:
    outcome = shard.take(batch(0, [record(0, value), usage(1, "1")]))

    (letter,) = outcome.outgoing
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value, letter.partition) == (f"{TOPIC}-dlt", b"a1", value, 0)
    assert headers["foretell_reason"].decode() == reason
    assert headers["foretell_original_offset"] == b"0"
    assert headers["trace"] == b"t"
    assert (outcome.rejects, outcome.applied) == ({reason: 1}, 1)


def test_a_detector_that_raises_costs_one_event_and_tells_where(
    shard: EngineShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other detectors have their say about that very event."""
    score = UsageSpike.score

    def fail_once(self: UsageSpike, event: Any, facts: Any, memory: Any) -> Any:
        if event.id == "u0":
            raise ZeroDivisionError("in the model")
        return score(self, event, facts, memory)

    monkeypatch.setattr(UsageSpike, "score", fail_once)

    outcome = shard.take(batch(0, [usage(0, "9"), usage(1, "1")]))

    letter, *alerts = outcome.outgoing
    assert dict(letter.headers)["foretell_reason"] == b"detector_failed"
    assert b"ZeroDivisionError: in the model" in dict(letter.headers)["foretell_detail"]
    assert [(alert.kind, alert.facts["threshold"]) for alert in outcome.alerts] == [
        ("plan_limit", "80"),
        ("plan_limit", "100"),
    ]
    assert len(alerts) == 2
    assert (outcome.applied, outcome.rejects) == (1, {"detector_failed": 1})


def test_an_alert_that_no_topic_takes_is_refused_where_it_is_made(
    shard: EngineShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_shard, "_LARGEST_ALERT_BYTES", 100)

    outcome = shard.take(batch(0, [usage(0, "9")]))

    (letter,) = outcome.outgoing
    assert dict(letter.headers)["foretell_reason"] == b"alert_too_large"
    assert b"at most 100 fit" in dict(letter.headers)["foretell_detail"]
    assert (outcome.applied, outcome.faults, outcome.rejects) == (1, {"alert_too_large": 1}, {})


def test_a_record_that_no_topic_takes_is_kept_in_part(shard: EngineShard) -> None:
    outcome = shard.take(batch(0, [record(0, b"x" * 5_000_000)]))

    (letter,) = outcome.outgoing
    assert letter.value is not None
    assert len(letter.value) < 1_000_000
    assert dict(letter.headers)["foretell_truncated"] == b"5000000"


def test_a_record_is_skipped_with_a_reason(shard: EngineShard) -> None:
    outcome = shard.skip(batch(0, [usage(0, "9")]), Rejected("killed_the_worker", "it died"))

    (letter,) = outcome.outgoing
    assert dict(letter.headers)["foretell_reason"] == b"killed_the_worker"
    assert (shard.positions[TOPIC], outcome.applied) == (1, 0)


@pytest.mark.parametrize("key", [None, b"someone-else", b"a1"])
def test_events_away_from_their_partition_are_found_out(key: bytes | None) -> None:
    here = int(murmur2(b"a1") & 0x7FFFFFFF) % 4
    made = make(replace(AROUND, partitions=4 if here else 5))
    body = usage(0, "1").value

    outcome = made.take(batch(0, [record(0, body, key=key)]))

    why = "no_key" if key is None else "other_key" if key != b"a1" else "other_hash"
    assert outcome.misplaced == {why: 1}
    assert outcome.applied == 1


def reopened(shard: EngineShard, around: Surroundings = AROUND) -> EngineShard:
    """Return a shard made of what a checkpoint of this one holds."""
    shard.begin_cut()
    while shard.cut_some(1):
        pass
    records, positions = shard.end_cut()
    found = Restored(positions=positions)
    for key, saved in records:
        assert saved is not None
        (found.shared if key.startswith(b"\0") else found.states)[key] = saved
    return make(around, found)


def test_a_restored_shard_goes_on_where_the_saved_one_was(shard: EngineShard) -> None:
    shard.take(batch(0, [usage(0, "7.9")]))

    heir = reopened(shard)

    assert heir.positions == shard.positions
    assert [alert.facts["threshold"] for alert in heir.take(batch(1, [usage(1, "0.1")])).alerts] == ["80"]
    assert heir.take(batch(2, [record(2, usage(0, "9").value)])).repeated == 1


def test_only_what_changed_is_in_the_next_checkpoint(shard: EngineShard) -> None:
    reopened(shard)
    assert not shard.is_changed

    shard.take(batch(0, [usage(0, "1")]))
    shard.begin_cut()
    shard.cut_some(10)
    records, _ = shard.end_cut()

    assert [key for key, _ in records if not key.startswith(b"\0")] == [b"a1"]


def test_a_closed_account_leaves_the_state_topic(shard: EngineShard) -> None:
    reopened(shard)
    shard.take(batch(1, [event(1, ACCOUNTS, type="account.closed")], ACCOUNTS))

    shard.begin_cut()
    shard.cut_some(10)

    assert (b"a1", None) in shard.end_cut()[0]


# timers: a limit that was passed is over when the billing cycle ends

MARCH_10, APRIL_1 = 1_773_144_000_000, 1_775_001_600_000


def with_a_passed_limit(around: Surroundings) -> EngineShard:
    made = make(around)
    made.take(batch(0, [event(0, ACCOUNTS, MARCH_10, type="account.updated", plan="basic")], ACCOUNTS))
    outcome = made.take(batch(0, [event(0, TOPIC, MARCH_10, meter="data", unit="GB", quantity="8.5")]))
    assert [alert.state for alert in outcome.alerts] == ["triggered"]
    return made


def one_more(offset: int, at_ms: int, time: str) -> ConsumerRecord:
    return event(offset, TOPIC, at_ms, account="a2", time=time, meter="data", unit="GB", quantity="1")


@pytest.mark.parametrize("through", [lambda shard: shard, reopened], ids=["live", "restored"])
def test_an_idle_account_is_woken_by_the_clock_once(through: Callable[[EngineShard], EngineShard]) -> None:
    shard = through(with_a_passed_limit(AROUND))

    assert shard.pending_timers == 1
    assert shard.tick(APRIL_1 - 1).alerts == []
    (alert,) = shard.tick(APRIL_1 + 5000).alerts
    assert (alert.state, alert.account) == ("resolved", "a1")
    assert alert.detected_at.timestamp() * 1000 == APRIL_1
    assert shard.tick(APRIL_1 + 10_000).alerts == []


def test_a_timer_goes_off_between_the_records_before_and_after_it() -> None:
    shard = with_a_passed_limit(AROUND)

    outcome = shard.take(
        batch(
            1,
            [
                one_more(1, APRIL_1 - 1000, "2026-03-31T00:00:00Z"),
                one_more(2, APRIL_1 + 1000, "2026-04-01T00:00:01Z"),
            ],
        )
    )

    assert [alert.state for alert in outcome.alerts] == ["resolved"]


def test_an_account_in_a_replay_of_history_is_not_hurried_by_the_clock() -> None:
    """Its events are months old: the cycle that it is in has not ended for it, whatever the clock on the wall says."""
    shard = make()
    shard.take(batch(0, [event(0, ACCOUNTS, type="account.updated", plan="basic")], ACCOUNTS))
    outcome = shard.take(batch(0, [usage(0, "8.5")]))
    assert [alert.state for alert in outcome.alerts] == ["triggered"]

    assert shard.tick(SENT_MS + 3_600_000).alerts == []
    assert [alert.facts["threshold"] for alert in shard.take(batch(1, [usage(1, "1.5")])).alerts] == ["100"]
    later = event(2, TOPIC, time="2026-04-01T00:00:01Z", meter="data", unit="GB", quantity="0.1")
    assert [alert.state for alert in shard.take(batch(2, [later])).alerts] == ["resolved", "resolved"]


def test_a_timer_waits_for_an_input_that_is_behind() -> None:
    shard = with_a_passed_limit(AROUND)

    outcome = shard.take(batch(1, [one_more(1, APRIL_1 + 1000, "2026-04-01T00:00:01Z")]), clock_ms=APRIL_1 - 1)

    assert outcome.alerts == []


def test_in_a_replay_of_history_the_events_times_are_the_clock() -> None:
    shard = with_a_passed_limit(replace(AROUND, clock="events"))

    early = shard.take(batch(1, [one_more(1, SENT_MS, "2026-03-31T00:00:00Z")]))
    late = shard.take(batch(2, [one_more(2, SENT_MS, "2026-04-01T00:00:00Z")]))

    assert early.alerts == []
    assert [alert.state for alert in late.alerts] == ["resolved"]


def test_an_account_that_goes_on_is_woken_before_its_next_event() -> None:
    shard = with_a_passed_limit(AROUND)

    outcome = shard.take(
        batch(1, [event(1, TOPIC, APRIL_1 + 1000, time="2026-04-01T00:00:01Z", meter="data", unit="GB", quantity="8")]),
        clock_ms=0,
    )

    assert [alert.state for alert in outcome.alerts] == ["resolved", "triggered"]
    assert outcome.alerts[0].alert_id != outcome.alerts[1].alert_id


# facts about many accounts


def test_a_denied_charge_is_announced_to_every_partition() -> None:
    made = make(replace(AROUND, partitions=3))
    charge: dict[str, Any] = {"amount": "2500", "currency": "EUR", "merchant": {"id": "massage-chairs"}}
    (question,) = made.take(batch(0, [event(0, CHARGES, **charge)], CHARGES)).alerts
    answer: dict[str, Any] = {
        "alert_id": question.alert_id,
        "choice": "2",
        "means": "denied",
        "at": "2026-03-10T12:05:00Z",
    }

    outcome = made.take(batch(0, [event(1, ANSWERS, **answer)], ANSWERS))

    assert [(sent.topic, sent.partition, sent.key) for sent in outcome.outgoing] == [
        (BOARD, 0, b"0"),
        (BOARD, 1, b"1"),
        (BOARD, 2, b"2"),
    ]
    heard = make()
    body = outcome.outgoing[0].value
    assert heard.take(batch(0, [record(0, body, b"0", BOARD), record(1, body, b"0", BOARD)], BOARD)).repeated == 1
    for place in (heard, reopened(heard)):
        (known,) = place.take(batch(0, [event(0, CHARGES, **charge)], CHARGES)).alerts
        assert any("not theirs" in reason.what for reason in known.reasons)


def test_a_batch_that_does_not_follow_the_last_is_not_taken(shard: EngineShard) -> None:
    shard.take(batch(0, [usage(0, "1")]))

    with pytest.raises(ChainBrokenError, match=r"foretell.usage-0: batch starts at 2, the engine is at 1"):
        shard.take(batch(2, [usage(2, "1")]))


def test_gaps_inside_a_batch_are_what_compaction_leaves(shard: EngineShard) -> None:
    shard.take(batch(0, [usage(0, "1"), usage(7, "1")]))

    assert shard.positions[TOPIC] == 8


def test_records_from_before_the_position_are_of_another_topic_of_that_name(shard: EngineShard) -> None:
    shard.positions[TOPIC] = 5

    with pytest.raises(TruncatedError, match=r"was read up to 5 and now gives offset 0.*new kafka.group"):
        shard.take(batch(5, [usage(0, "9")]))
