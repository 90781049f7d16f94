from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from channels import DeliveryMetrics, Ledger
from channels.delivery import Channel, Delivery
from channels.senders import Outcome, OutgoingMessage, RecordingSender
from channels.settings import ConsoleSettings
from channels.wording import Wording
from detectors.codec import decode_receipt

QUICK = ConsoleSettings(attempts=3, first_wait_seconds=0, longest_wait_seconds=0)
Deliver = Callable[..., Delivery]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def deliver(ledger: Ledger, registry: CollectorRegistry, clock: Any, make_alert: Any) -> Deliver:
    """Make a delivery over these senders, called c1, c2, ..., with one alert waiting."""

    def make(*senders: Any, settings: ConsoleSettings = QUICK, stop: Event | None = None, **alert: Any) -> Delivery:
        ledger.admit([make_alert(**alert)], [], clock())
        channels = [Channel(f"c{number}", sender, settings) for number, sender in enumerate(senders, 1)]
        return Delivery(ledger, Wording(), channels, DeliveryMetrics(registry), stop or Event(), clock)

    return make


def ends(ledger: Ledger) -> list[tuple[str, str | None, str | None, int]]:
    receipts = [decode_receipt(each.body) for each in ledger.unpublished(100)]
    return [(each.disposition, each.reason, each.channel, each.attempts) for each in receipts]


def test_a_waiting_alert_is_told_once(ledger: Ledger, deliver: Deliver) -> None:
    sender = RecordingSender()
    delivery = deliver(sender)

    assert delivery.deliver_next()
    assert not delivery.deliver_next()

    assert [message.subject for message in sender.accepted] == ["You have used 80 % of your data"]
    assert ends(ledger) == [("delivered", None, "c1", 1)]


def test_a_provider_that_is_away_is_asked_again(ledger: Ledger, deliver: Deliver) -> None:
    sender = RecordingSender(["unavailable", "unavailable"])

    deliver(sender).deliver_next()

    assert len(sender.tried) == 3
    assert ends(ledger) == [("delivered", None, "c1", 3)]


def test_what_is_refused_goes_to_the_next_channel(ledger: Ledger, deliver: Deliver) -> None:
    first, second = RecordingSender(["refused"]), RecordingSender()

    deliver(first, second).deliver_next()

    assert (len(first.tried), len(second.accepted)) == (1, 1)
    assert ends(ledger) == [("delivered", None, "c2", 2)]


def test_a_provider_that_stays_away_gives_way_to_the_next_channel(ledger: Ledger, deliver: Deliver) -> None:
    first, second = RecordingSender(["unavailable"] * 9), RecordingSender()

    deliver(first, second).deliver_next()

    assert (len(first.tried), len(second.accepted)) == (3, 1)
    assert ends(ledger) == [("delivered", None, "c2", 4)]


@pytest.mark.parametrize("verdict", ["lost", "raises"])
def test_what_may_have_arrived_is_sent_nowhere_else(verdict: Any, ledger: Ledger, deliver: Deliver) -> None:
    class Broken:
        def send(self, message: OutgoingMessage) -> Outcome:
            raise RuntimeError(message.account)

    first, second = Broken() if verdict == "raises" else RecordingSender([verdict]), RecordingSender()

    with capture_logs() as logged:
        deliver(first, second).deliver_next()

    assert second.tried == []
    assert ends(ledger) == [("unknown", "provider_lost", "c1", 1)]
    assert "acct-000000001234" not in str(logged)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (["refused"], ["refused"], "provider_refused"),
        (["unavailable"] * 3, ["refused"], "gave_up"),
        (["refused"], ["unavailable"] * 3, "gave_up"),
    ],
)
def test_when_every_channel_fails_that_is_on_record(
    first: Any, second: Any, reason: str, ledger: Ledger, deliver: Deliver
) -> None:
    deliver(RecordingSender(first), RecordingSender(second)).deliver_next()

    assert ends(ledger) == [("failed", reason, "c2", len(first) + len(second))]


def test_an_alert_without_words_fails_on_record_and_the_next_is_told(
    ledger: Ledger, deliver: Deliver, make_alert: Any, clock: Any
) -> None:
    sender = RecordingSender()
    delivery = deliver(sender, kind="unheard_of")
    ledger.admit([make_alert("x2")], [], clock())

    with capture_logs() as logged:
        delivery.deliver_next()
        delivery.deliver_next()

    assert ends(ledger) == [("failed", "gave_up", None, 0), ("delivered", None, "c1", 1)]
    assert logged[0]["event"] == "alert_without_words"
    assert "unheard_of" in logged[0]["error"]


def test_an_attempt_that_a_crash_cut_off_is_unknown_and_not_sent_again(
    ledger: Ledger, deliver: Deliver, clock: Any
) -> None:
    class Crash(BaseException):
        pass

    class Dies:
        def send(self, message: OutgoingMessage) -> Outcome:
            raise Crash(message.alert_id)

    with pytest.raises(Crash):
        deliver(Dies()).deliver_next()
    sender = RecordingSender()
    after = Delivery(
        ledger, Wording(), [Channel("c1", sender, QUICK)], DeliveryMetrics(CollectorRegistry()), Event(), clock
    )

    assert not after.deliver_next()  # the dead holder might still live
    clock.pass_seconds(600)
    assert after.deliver_next()

    assert sender.tried == []
    assert ends(ledger) == [("unknown", "provider_lost", "c1", 1)]


def test_a_stop_does_not_wait_for_a_provider_that_is_away(ledger: Ledger, deliver: Deliver, soon: Any) -> None:
    stop, sender = Event(), RecordingSender(["unavailable"] * 9)
    patient = ConsoleSettings(attempts=9, first_wait_seconds=60, longest_wait_seconds=60)
    delivery = deliver(sender, settings=patient, stop=stop)
    thread = Thread(target=delivery.deliver_next)

    thread.start()
    soon(lambda: sender.tried)
    stop.set()
    thread.join(10)

    assert not thread.is_alive()
    assert ends(ledger) == []
    assert ledger.waiting() == 1


def test_what_happens_is_counted(deliver: Deliver, registry: CollectorRegistry, clock: Any) -> None:
    delivery = deliver(RecordingSender(["unavailable"]))
    clock.pass_seconds(3)

    delivery.deliver_next()

    def count(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert count("foretell_deliveries_total", channel="c1", outcome="unavailable") == 1
    assert count("foretell_deliveries_total", channel="c1", outcome="accepted") == 1
    assert count("foretell_dispositions_total", disposition="delivered", kind="plan_limit") == 1
    assert count("foretell_delivery_seconds_sum") == 3


def test_no_fact_and_no_account_is_logged(deliver: Deliver) -> None:
    with capture_logs() as logged:
        deliver(RecordingSender(["unavailable", "refused"]), RecordingSender()).deliver_next()

    assert {line["event"] for line in logged} == {"provider_unavailable", "alert_ended"}
    assert "1234" not in str(logged)
    assert "8.5" not in str(logged)


STAFF = {
    "kind": "data_quality",
    "class": "staff",
    "facts": {"account_ending": "1234", "meter": "data", "unit": "GB", "seen": 5000, "most": 600, "event_id": "r-17"},
}


def test_what_is_for_staff_never_goes_to_a_customer(ledger: Ledger, deliver: Deliver) -> None:
    customers = RecordingSender()

    deliver(customers, **STAFF).deliver_next()

    assert customers.tried == []
    assert ends(ledger) == [("unreachable", "no_address", None, 0)]


def test_what_is_for_staff_goes_to_staff(
    ledger: Ledger, registry: CollectorRegistry, clock: Any, make_alert: Any
) -> None:
    customers, staff = RecordingSender(), RecordingSender()
    ledger.admit([make_alert(**STAFF)], [], clock())
    delivery = Delivery(
        ledger,
        Wording(),
        [Channel("sms", customers, QUICK)],
        DeliveryMetrics(registry),
        Event(),
        clock,
        staff_channels=[Channel("desk", staff, QUICK)],
    )

    delivery.deliver_next()

    assert customers.tried == []
    assert [message.subject for message in staff.accepted] == ["A reading of data is not believed"]
    assert "5,000 GB" in staff.accepted[0].body
    assert "r-17" in staff.accepted[0].body
    assert ends(ledger) == [("delivered", None, "desk", 1)]
