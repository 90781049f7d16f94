"""Events in, messages to people: both commands as processes on a real Kafka."""

import asyncio
import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from foretell.broker import LocalBroker
from streams.checkpoints import restore

Eventually = Callable[..., Any]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)

MALFORMED = [
    ("usage", b"not json at all", "not_json"),
    ("usage", b"", "empty"),
    ("usage", b"[1, 2]", "not_an_object"),
    (
        "usage",
        b'{"id": "1", "account": "a1", "time": "2026-03-01T00:00:00Z", "meter": "data", "unit": "GB"}',
        "invalid",
    ),
    (
        "usage",
        b'{"id": "2", "account": "a1", "time": "yesterday", "meter": "data", "unit": "GB", "quantity": 1}',
        "invalid",
    ),
    (
        "usage",
        b'{"id": "3", "account": "a1", "time": "2026-03-01T00:00:00Z", "meter": "data", "unit": "MB", "quantity": 1}',
        "unit_mismatch",
    ),
    ("charges", b'{"id": "4", "type": "usage.recorded", "account": "a1"}', "unknown_type"),
    (
        "charges",
        b'{"id": "5", "account": "a1", "time": "2026-03-01T00:00:00Z", "amount": "ten", "currency": "EUR", "merchant": {"id": "m"}}',
        "invalid",
    ),
    ("accounts", b'{"id": "6", "account": "a1", "time": "2026-03-01T00:00:00Z"}', "no_type"),
    (
        "accounts",
        b'{"id": "7", "type": "account.updated", "account": "a1", "time": "2026-03-01T00:00:00Z", "timezone": "Mars/Olympus"}',
        "invalid",
    ),
]


def usage(number: int, quantity: str, at: datetime) -> dict[str, Any]:
    return {"id": f"u{number}", "time": at.isoformat(), "meter": "data", "unit": "GB", "quantity": quantity}


def on_plan(account: str) -> dict[str, Any]:
    return {"id": f"on-plan-{account}", "type": "account.updated", "time": NOON.isoformat(), "plan": "basic"}


def pass_the_limit(pipeline: Any, account: str) -> None:
    """Make one alert: from nothing to 8.5 of 10 GB."""
    pipeline.send_event("accounts", account, on_plan(account))
    pipeline.send_event("usage", account, usage(1, "8.5", NOON + timedelta(hours=1)))


def test_an_event_becomes_a_message_that_a_person_can_read(pipeline: Any, eventually: Eventually) -> None:
    pipeline.start("stream")
    pipeline.start("deliver")

    pass_the_limit(pipeline, "acct-000000001234")

    message = eventually(pipeline.messages)[0]
    assert message["account"] == "acct-000000001234"
    assert "80" in json.dumps(message)
    assert "1234" in message["body"]
    assert "000000001234" not in message["body"]
    receipt = eventually(lambda: pipeline.values("receipts"))[0]
    assert receipt["type"] == "notification.delivered"
    assert receipt["subject"] == "acct-000000001234"


def test_malformed_events_are_kept_with_why_and_stop_nothing(pipeline: Any, eventually: Eventually) -> None:
    pipeline.start("stream")
    pipeline.start("deliver")

    for role, value, _ in MALFORMED:
        pipeline.send(role, value, "a1", headers=[("trace", b"t1")])
    pass_the_limit(pipeline, "a1")

    eventually(pipeline.messages)
    names = {role: pipeline.config.topics.named(role) for role in ("usage", "charges", "accounts")}
    letters = eventually(
        lambda: (
            (found := [letter for name in names.values() for letter in pipeline.read(f"{name}-dlt")])
            and len(found) == len(MALFORMED)
            and found
        )
    )
    kept = sorted((letter.value or b"", dict(letter.headers)["foretell_reason"].decode()) for letter in letters)
    assert kept == sorted((value, reason) for _, value, reason in MALFORMED)
    for letter in letters:
        headers = dict(letter.headers)
        original = headers["foretell_original_topic"].decode()
        assert original in names.values()
        assert int(headers["foretell_original_partition"]) == letter.partition
        assert int(headers["foretell_original_offset"]) >= 0
        assert len(headers["foretell_detail"].decode()) > 20
        assert headers["trace"] == b"t1"
        assert letter.key == b"a1"


def test_the_counters_add_up_to_what_was_sent(pipeline: Any, eventually: Eventually) -> None:
    pipeline.start("stream")
    pipeline.start("deliver")
    eventually(lambda: pipeline.probe("stream", "/readyz") == 200)
    eventually(lambda: pipeline.probe("deliver", "/readyz") == 200)
    assert pipeline.probe("stream", "/healthz") == 200

    for role, value, _ in MALFORMED:
        pipeline.send(role, value, "a1")
    for account in ("a1", "a2", "a3"):
        pass_the_limit(pipeline, account)
    pipeline.send_event("usage", "a1", usage(1, "8.5", NOON + timedelta(hours=1)))  # the same id again
    sent = len(MALFORMED) + 3 * 2 + 1

    eventually(lambda: pipeline.scrape("stream").get("foretell_events_received_total") == sent)
    seen = pipeline.scrape("stream")
    assert seen["foretell_dead_letters_total"] == len(MALFORMED)
    assert seen["foretell_events_repeated_total"] == 1
    assert seen["foretell_events_applied_total"] == 6
    assert seen["foretell_alerts_total"] == 3
    told = eventually(lambda: (found := pipeline.scrape("deliver")).get("foretell_dispositions_total") == 3 and found)
    assert told["foretell_alerts_received_total"] == 3
    assert told["foretell_pending_alerts"] == 0
    assert len(pipeline.messages()) == 3
    eventually(lambda: pipeline.scrape("stream").get("foretell_consumer_lag_records") == 0)
    eventually(lambda: pipeline.scrape("deliver").get("foretell_consumer_lag_records") == 0)


def saved_events(pipeline: Any) -> int:
    """Return how many events are in the state that a worker would restore."""
    topics = pipeline.config.topics
    inputs = [topics.named(role) for role in ("accounts", "usage")]
    found = asyncio.run(restore(pipeline.config.kafka, topics.named("state"), inputs, range(3)))
    assert found is not None
    return sum(restored.positions[name] for restored in found.values() for name in inputs)


def test_a_worker_that_starts_again_knows_what_it_knew(pipeline: Any, eventually: Eventually) -> None:
    """7.9 of 10 GB before, 0.2 after: only whoever remembers the first sees the limit pass."""
    first = pipeline.start("stream")
    pipeline.start("deliver")
    pipeline.send_event("accounts", "a1", on_plan("a1"))
    pipeline.send_event("usage", "a1", usage(1, "7.9", NOON + timedelta(hours=1)))
    eventually(lambda: saved_events(pipeline) == 2)

    first.kill()
    pipeline.start("stream")
    pipeline.send_event("usage", "a1", usage(3, "0.2", NOON + timedelta(hours=3)))

    (message,) = eventually(pipeline.messages)
    assert "80" in json.dumps(message)
    assert pipeline.scrape("stream")["foretell_events_applied_total"] == 1


def test_an_alert_that_a_replay_repeats_is_told_once(pipeline: Any, eventually: Eventually) -> None:
    """The worker is killed before a checkpoint covers the event."""
    config = yaml.safe_load(pipeline.config_path.read_text())
    pipeline.config_path.write_text(yaml.safe_dump({**config, "stream": {"checkpoint_seconds": 60}}))
    first = pipeline.start("stream")
    pipeline.start("deliver")
    pass_the_limit(pipeline, "a1")
    eventually(pipeline.messages)

    first.kill()
    pipeline.start("stream")

    alerts = eventually(lambda: (found := pipeline.values("notifications")) and len(found) == 2 and found)
    assert alerts[0]["id"] == alerts[1]["id"]
    eventually(lambda: pipeline.scrape("deliver").get("foretell_alerts_repeated_total") == 1)
    assert len(pipeline.messages()) == 1
    assert pipeline.scrape("stream")["foretell_events_applied_total"] == 2


def test_a_second_worker_takes_over_from_one_that_is_killed(pipeline: Any, eventually: Eventually) -> None:
    first, _ = pipeline.start("stream"), pipeline.start("stream")
    pipeline.start("deliver")
    before, after = {f"a{number}" for number in range(12)}, {f"b{number}" for number in range(12)}
    for account in sorted(before):
        pass_the_limit(pipeline, account)
    eventually(lambda: {message["account"] for message in pipeline.messages()} == before)

    first.kill()
    for account in sorted(after):
        pass_the_limit(pipeline, account)

    eventually(lambda: {message["account"] for message in pipeline.messages()} == before | after, seconds=120)
    assert len(pipeline.messages()) == 24


def test_both_processes_end_on_sigterm_without_complaint(pipeline: Any, eventually: Eventually) -> None:
    processes = [pipeline.start(command) for command in ("stream", "deliver")]
    for command in ("stream", "deliver"):
        eventually(lambda command=command: pipeline.probe(command, "/readyz") == 200)

    for process in processes:
        process.terminate(grace_seconds=30)

    assert [process.exit_code for process in processes] == [0, 0], [process.log_tail() for process in processes]
    assert "Traceback" not in "".join(process.log_tail(1000) for process in processes)


def test_processes_wait_for_a_broker_that_went_away_and_resume(
    isolated_broker: LocalBroker, make_pipeline: Callable[[str], Any], eventually: Eventually
) -> None:
    pipeline = make_pipeline(isolated_broker.bootstrap)
    processes = [pipeline.start(command) for command in ("stream", "deliver")]
    pass_the_limit(pipeline, "a1")
    eventually(pipeline.messages)

    isolated_broker.kill()
    eventually(lambda: "kafka" in processes[1].log_tail(50).lower())
    isolated_broker.start()
    pass_the_limit(pipeline, "a2")

    eventually(lambda: {message["account"] for message in pipeline.messages()} == {"a1", "a2"}, seconds=120)
    assert all(process.is_running for process in processes)
    assert len(pipeline.messages()) == 2


@pytest.mark.parametrize("command", ["stream", "deliver"])
def test_an_interrupt_ends_a_process_quietly(pipeline: Any, eventually: Eventually, command: str) -> None:
    process = pipeline.start(command)
    eventually(lambda: pipeline.probe(command, "/readyz") == 200)

    process._signal(signal.SIGINT)

    assert process.wait(30) == 0, process.log_tail()
    assert "Traceback" not in process.log_tail(1000)
