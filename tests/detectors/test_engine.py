"""The engine is a fold: the same records in order give the same alerts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alerts import Alert
from detectors.codec import Rejected
from detectors.engine import Engine, EngineSettings, Origin
from detectors.events import AccountClosed, AccountUpdated, ChargePosted, UsageRecorded
from detectors.message import Message
from detectors.plans import Allowance, Meter, Plan

START = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = EngineSettings(
    meters={"data": Meter(unit="GB")},
    plans={
        "basic": Plan(
            currency="EUR",
            allowances={"data": Allowance(quantity=Decimal(10), unit="GB", overage=Decimal("8.00"))},
        )
    },
)


def usage(number: int, quantity: str, account: str = "a1", **own: Any) -> UsageRecorded:
    fields = {"time": START + timedelta(hours=number), "meter": "data", "unit": "GB", "quantity": quantity}
    return UsageRecorded.model_validate({"id": f"u{number}", "source": "/test", "account": account} | fields | own)


def on_plan(account: str = "a1") -> AccountUpdated:
    return AccountUpdated(id=f"plan-{account}", source="/test", time=START, account=account, plan="basic")


def charge(number: int, amount: str, account: str = "a1") -> ChargePosted:
    return ChargePosted.model_validate(
        {
            "id": f"c{number}",
            "source": "/test",
            "account": account,
            "time": START + timedelta(hours=number),
            "amount": amount,
            "currency": "EUR",
            "merchant": {"id": "chairs"},
        }
    )


def run(engine: Engine, events: Sequence[Message], first_offset: int = 0) -> list[Alert]:
    return [
        alert
        for offset, event in enumerate(events, first_offset)
        for alert in engine.handle(event, Origin("usage", 0, offset, 1_780_000_000_000 + offset))
    ]


moves = st.one_of(
    st.builds(
        usage,
        st.integers(0, 24 * 60),
        st.decimals(0, 12, places=2).map(str),
        st.sampled_from(["a1", "a2"]),
        cumulative=st.booleans(),
    ),
    st.builds(
        usage,
        st.integers(0, 24 * 60),
        st.decimals(-12, 12, places=2).map(str),
        st.sampled_from(["a1", "a2"]),
        correction=st.just(value=True),
    ),
    st.builds(
        charge, st.integers(0, 24 * 60), st.decimals(-100, 5000, places=2).map(str), st.sampled_from(["a1", "a2"])
    ),
    st.builds(on_plan, st.sampled_from(["a1", "a2"])),
)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(moves, max_size=40))
def test_a_replay_gives_the_same_alerts(events: list[Message]) -> None:
    assert run(Engine(SETTINGS), events) == run(Engine(SETTINGS), events)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(moves, max_size=40))
def test_an_event_delivered_twice_changes_nothing(events: list[Message]) -> None:
    once, twice = Engine(SETTINGS), Engine(SETTINGS)
    doubled = [event for event in events for _ in range(2)]

    alerts = [(alert.alert_id, alert.state, alert.score) for alert in run(twice, doubled)]

    assert alerts == [(alert.alert_id, alert.state, alert.score) for alert in run(once, events)]
    assert twice.repeated >= len(events)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(moves, max_size=40))
def test_an_alert_of_one_state_is_raised_once(events: list[Message]) -> None:
    raised = [alert.id for alert in run(Engine(SETTINGS), events)]

    assert len(raised) == len(set(raised))


def test_a_repeated_event_is_dropped_and_counted() -> None:
    engine = Engine(SETTINGS)

    alerts = run(engine, [on_plan(), usage(1, "5"), usage(1, "5"), usage(1, "5")])

    assert alerts == []
    assert engine.repeated == 2


def test_an_id_is_told_apart_by_its_source() -> None:
    events = [on_plan(), usage(1, "5"), usage(1, "5", source="/other")]

    assert [alert.facts["threshold"] for alert in run(Engine(SETTINGS), events)] == ["100"]


def test_a_reading_in_the_wrong_unit_is_rejected_and_nothing_has_changed() -> None:
    engine = Engine(SETTINGS)

    with pytest.raises(Rejected) as caught:
        engine.handle(usage(1, "9", unit="MB"), Origin("usage", 0, 0))

    assert caught.value.reason == "unit_mismatch"
    assert len(engine) == 0
    assert [alert.facts["threshold"] for alert in run(engine, [on_plan(), usage(1, "8")])] == ["80"]


def test_ids_do_not_depend_on_where_an_event_stands() -> None:
    events: list[Message] = [on_plan(), usage(1, "8.5"), usage(2, "2")]

    first, later = run(Engine(SETTINGS), events), run(Engine(SETTINGS), events, first_offset=700)

    assert [alert.alert_id for alert in first] == [alert.alert_id for alert in later]
    assert [alert.facts["threshold"] for alert in first] == ["80", "100"]


def test_the_id_of_an_alert_is_the_same_in_every_release() -> None:
    (alert,) = run(Engine(SETTINGS), [on_plan(), usage(1, "8.5")])

    assert alert.alert_id == "bff2925cf0cf29467831869f15bec490"


def test_a_closed_account_is_forgotten() -> None:
    engine = Engine(SETTINGS)
    closed = AccountClosed(id="end", source="/test", time=START, account="a1")

    run(engine, [on_plan(), usage(1, "5"), closed])

    assert len(engine) == 0


def test_an_alert_names_the_event_it_derives_from() -> None:
    alert = run(Engine(SETTINGS), [on_plan(), usage(1, "8.5")], first_offset=40)[0]

    (evidence,) = alert.evidence
    assert (evidence.offset, evidence.event_id) == (41, "u1")
    assert alert.detected_at == datetime.fromtimestamp(1_780_000_000.041, UTC)
    assert alert.occurred_at == START + timedelta(hours=1)


def test_a_time_that_has_not_come_is_rejected_and_nothing_has_changed() -> None:
    engine = Engine(SETTINGS)
    sent_at = usage(1, "1").time.timestamp() * 1000

    with pytest.raises(Rejected, match="48 hours after it was sent"):
        engine.handle(usage(1, "1"), Origin("usage", 0, 0, int(sent_at - 48 * 3_600_000)))

    assert len(engine) == 0
    assert engine.handle(usage(1, "1"), Origin("usage", 0, 0, int(sent_at - 3_600_000))) == []
