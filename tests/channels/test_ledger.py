from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from channels import Ledger
from channels.ledger import Claim, Position
from channels.senders import Outcome
from detectors.codec import decode_receipt

LEASE = timedelta(seconds=60)
ACCEPTED = Outcome("accepted")


def here(offset: int, partition: int = 0) -> list[Position]:
    return [Position("n", partition, offset, "id-1")]


def claim(ledger: Ledger, clock: Any) -> Claim:
    claimed = ledger.claim(clock(), LEASE)
    assert claimed is not None
    return claimed


def start(ledger: Ledger, clock: Any, claimed: Claim, channel: str = "sms") -> tuple[Claim, int]:
    started = ledger.start_attempt(claimed, channel, clock(), LEASE)
    assert started is not None
    return started


def look(url: str, query: str) -> list[tuple[Any, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return rows


def test_alerts_and_offsets_come_in_together(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    admission = ledger.admit([make_alert("x1"), make_alert("x2")], here(7), clock())

    assert (admission.admitted, admission.repeated) == (2, 0)
    assert ledger.positions("n") == {0: Position("n", 0, 7, "id-1")}
    assert ledger.waiting() == 2


def test_nothing_comes_in_where_a_part_fails(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    with pytest.raises(AttributeError):
        ledger.admit([make_alert("x1"), None], here(7), clock())  # type: ignore[list-item]

    assert ledger.waiting() == 0
    assert ledger.positions("n") == {}
    assert ledger.conservation().holds


def test_a_redelivered_alert_is_counted_and_not_told_again(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())
    claimed, number = start(ledger, clock, claim(ledger, clock))
    ledger.settle(claimed, "delivered", clock(), channel="sms", last=(number, ACCEPTED))

    admission = ledger.admit([make_alert()], here(2), clock())

    assert (admission.admitted, admission.repeated) == (0, 1)
    assert ledger.claim(clock(), LEASE) is None


def test_an_offset_never_goes_back(ledger: Ledger, clock: Any) -> None:
    ledger.admit([], here(9), clock())
    ledger.admit([], here(4), clock())
    ledger.admit([], here(3, partition=1), clock())

    assert {number: each.next_offset for number, each in ledger.positions("n").items()} == {0: 9, 1: 3}


def test_the_alert_that_waits_longest_comes_first_and_nobody_else_gets_it(
    ledger: Ledger, ledger_url: str, make_alert: Any, clock: Any
) -> None:
    other = Ledger(ledger_url)
    ledger.admit([make_alert("x1"), make_alert("x2")], here(2), clock())

    mine, theirs, nobodys = claim(ledger, clock), claim(other, clock), ledger.claim(clock(), LEASE)

    assert (mine.alert.alert_id, theirs.alert.alert_id, nobodys) == ("x1", "x2", None)
    other.close()


def test_what_is_released_can_be_claimed_at_once(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())

    ledger.release(claim(ledger, clock))

    assert claim(ledger, clock).alert.alert_id == "x1"


def test_a_dead_holders_alert_is_free_after_its_lease_and_in_doubt_if_it_was_sending(
    ledger: Ledger, make_alert: Any, clock: Any
) -> None:
    ledger.admit([make_alert("x1"), make_alert("x2")], here(2), clock())
    start(ledger, clock, claim(ledger, clock))
    claim(ledger, clock)
    clock.pass_seconds(61)

    first, second = claim(ledger, clock), claim(ledger, clock)

    assert (first.alert.alert_id, first.in_doubt) == ("x1", "sms")
    assert (second.alert.alert_id, second.in_doubt) == ("x2", None)


def test_who_was_too_slow_can_neither_start_nor_settle(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())
    slow, number = start(ledger, clock, claim(ledger, clock))
    clock.pass_seconds(61)
    quick = claim(ledger, clock)

    assert ledger.start_attempt(slow, "sms", clock(), LEASE) is None
    assert ledger.settle(slow, "delivered", clock(), last=(number, ACCEPTED)) is None
    assert ledger.settle(quick, "unknown", clock(), reason="provider_lost") is not None
    assert ledger.conservation().dispositions == {"unknown": 1}


def test_channels_that_refused_are_remembered(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())
    claimed, number = start(ledger, clock, claim(ledger, clock), "sms")
    ledger.end_attempt(number, Outcome("refused", "HTTP 400"), clock())
    ledger.release(claimed)

    again = claim(ledger, clock)

    assert (again.refused, again.attempts) == (frozenset({"sms"}), 1)


def test_an_alert_that_ended_leaves_one_receipt(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())
    claimed, number = start(ledger, clock, claim(ledger, clock))

    receipt = ledger.settle(claimed, "delivered", clock(), channel="sms", last=(number, ACCEPTED))

    assert receipt is not None
    pending = ledger.unpublished(10)
    assert [decode_receipt(each.body) for each in pending] == [receipt]
    assert (receipt.id, receipt.disposition, receipt.channel, receipt.attempts) == (
        "x1:delivered",
        "delivered",
        "sms",
        1,
    )
    assert json.loads(pending[0].body)["type"] == "notification.delivered"
    ledger.mark_published([pending[0].receipt_id], clock())
    assert ledger.unpublished(10) == []


def test_an_update_changes_what_will_be_told(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert(score=1.2)], here(1), clock())

    ledger.admit([make_alert(state="updated", score=1.9)], here(2), clock())
    ledger.admit([make_alert(state="updated", score=1.1, at=clock() - timedelta(hours=1))], here(3), clock())

    assert claim(ledger, clock).alert.score == 1.9
    assert ledger.conservation().admitted == 1


def test_an_update_of_an_alert_that_was_told_is_noted_only(
    ledger: Ledger, ledger_url: str, make_alert: Any, clock: Any
) -> None:
    ledger.admit([make_alert()], here(1), clock())
    ledger.settle(claim(ledger, clock), "delivered", clock())

    ledger.admit([make_alert(state="updated")], here(2), clock())

    assert look(ledger_url, "SELECT state, disposition FROM alert") == [("updated", "delivered")]
    assert ledger.claim(clock(), LEASE) is None


def test_an_update_of_an_alert_never_heard_of_is_told(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert(state="updated")], here(1), clock())

    assert claim(ledger, clock).alert.state == "updated"


def test_what_is_over_before_it_was_told_is_not_told(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())

    admission = ledger.admit([make_alert(state="resolved")], here(2), clock())

    assert [(each.disposition, each.reason) for each in admission.settled] == [("resolved_first", "not_true_any_more")]
    assert ledger.claim(clock(), LEASE) is None
    assert ledger.conservation().dispositions == {"resolved_first": 1}
    assert ledger.conservation().holds


def test_what_is_over_while_it_is_being_told_is_noted_only(
    ledger: Ledger, ledger_url: str, make_alert: Any, clock: Any
) -> None:
    ledger.admit([make_alert()], here(1), clock())
    claimed, number = start(ledger, clock, claim(ledger, clock))

    admission = ledger.admit([make_alert(state="resolved")], here(2), clock())
    ledger.settle(claimed, "delivered", clock(), channel="sms", last=(number, ACCEPTED))

    assert admission.settled == []
    assert look(ledger_url, "SELECT state, disposition FROM alert") == [("resolved", "delivered")]


def test_what_is_over_after_its_teller_died_stays_in_doubt(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert()], here(1), clock())
    start(ledger, clock, claim(ledger, clock))
    clock.pass_seconds(61)

    admission = ledger.admit([make_alert(state="resolved")], here(2), clock())

    assert admission.settled == []
    assert claim(ledger, clock).in_doubt == "sms"


def test_the_end_of_an_alert_never_heard_of_is_on_record(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    admission = ledger.admit([make_alert(state="resolved"), make_alert()], here(2), clock())

    assert (admission.admitted, admission.repeated) == (1, 1)
    assert ledger.conservation().dispositions == {"resolved_first": 1}
    assert ledger.conservation().holds


def test_the_longest_names_fit(ledger: Ledger, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert("x" * 256, id="1", account="a" * 256, state="resolved")], here(1), clock())

    assert len(ledger.unpublished(10)[0].receipt_id) <= 256


def test_the_law_notices_a_lost_alert(ledger: Ledger, ledger_url: str, make_alert: Any, clock: Any) -> None:
    ledger.admit([make_alert("x1"), make_alert("x2")], here(2), clock())
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alert WHERE alert_id = 'x1'"))
    engine.dispose()

    assert not ledger.conservation().holds
