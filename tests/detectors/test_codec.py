"""Bytes to message and back, and what cannot be read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.alerts import (
    Alert,
    AnswerGiven,
    DetectorVersion,
    Evidence,
    Harm,
    LabelGiven,
    Option,
    Question,
    Reason,
    Receipt,
)
from detectors.bulletins import (
    Bulletin,
    IncidentReported,
    IncidentResolved,
    IncidentUpdated,
    MerchantDenied,
    NoticePublished,
)
from detectors.codec import (
    BULLETIN_TYPES,
    EVENT_TYPES,
    LARGEST_EVENT_BYTES,
    Headers,
    Reader,
    Rejected,
    Source,
    decode_alert,
    decode_receipt,
    encode,
    encode_key,
    refuse_future,
)
from detectors.events import AccountClosed, AccountUpdated, ChargePosted, UsageRecorded
from detectors.message import Envelope, Message

USAGE = Reader(("usage.recorded",))
EVERYTHING = Reader((*EVENT_TYPES, *BULLETIN_TYPES))
NOON_MS = 1_772_366_400_000
PLAIN = {
    "id": "u1",
    "source": "/meters",
    "time": "2026-03-01T12:00:00+01:00",
    "account": "a1",
    "meter": "data",
    "quantity": "1.25",
    "unit": "GB",
}

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
quantities = st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**12, places=6)
amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2)
currencies = st.sampled_from(["EUR", "USD", "JPY"])
countries = st.none() | st.sampled_from(["SE", "US", "LV"])
shares = st.floats(0, 1)


def fields(**own: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"id": names, "source": names, "time": times, "account": names, **own})


def made(model: type[Message], **own: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return fields(**own).map(model.model_validate)


def bulletin(model: type[Bulletin], **own: st.SearchStrategy[Any]) -> st.SearchStrategy[Bulletin]:
    envelope = {"id": names, "source": names, "time": times}
    return st.fixed_dictionaries(envelope | own).map(model.model_validate)


usages = made(
    UsageRecorded,
    meter=names,
    quantity=quantities,
    unit=names,
    cumulative=st.booleans(),
    correction=st.booleans(),
    component=st.none() | names,
)
charges = made(
    ChargePosted,
    amount=amounts,
    currency=currencies,
    merchant=st.fixed_dictionaries(
        {"id": names, "name": st.none() | names, "category": st.none() | names, "country": countries}
    ),
    channel=st.sampled_from([None, "card_present", "online", "recurring", "withdrawal"]),
    card_last4=st.none() | st.from_regex(r"\A[0-9]{4}\Z"),
    approved=st.booleans(),
    invoice=st.none() | names,
)
updates = made(
    AccountUpdated,
    plan=st.none() | names,
    cycle=st.none()
    | st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["month", "week", "days", "prepaid"]),
            "anchor": st.none() | times,
            "length": st.integers(1, 366),
        }
    ),
    timezone=st.sampled_from([None, "Europe/Stockholm", "UTC"]),
    quiet_hours=st.none() | st.just({"from": "21:00", "to": "08:00"}),
    contacts=st.none()
    | st.lists(st.fixed_dictionaries({"channel": names, "address": names, "verified": st.booleans()}), max_size=2),
    preferences=st.none() | st.dictionaries(names, st.just("off") | st.lists(names, max_size=2), max_size=2),
    consent=st.none()
    | st.dictionaries(
        names, st.fixed_dictionaries({"state": st.sampled_from(["given", "withdrawn"]), "at": times}), max_size=2
    ),
    vulnerable=st.none() | st.booleans(),
    components=st.none() | st.lists(names, max_size=2),
)
closings = made(AccountClosed, why=st.none() | texts)
answers = made(
    AnswerGiven,
    alert_id=names,
    choice=names,
    means=st.sampled_from(["confirmed", "denied", "accepted", "declined"]),
    channel=st.none() | names,
    at=times,
)
labels = made(LabelGiven, event_id=names, alert_id=st.none() | names, bad=st.booleans(), by=st.none() | names) | made(
    LabelGiven, alert_id=names, bad=st.booleans()
)
incident_facts: dict[str, st.SearchStrategy[Any]] = {
    "incident": names,
    "accounts": st.none() | st.lists(names, max_size=2),
    "component": st.none() | names,
    "started_at": st.none() | times,
    "expected_end": st.none() | times,
    "planned": st.none() | st.booleans(),
}
reports = bulletin(IncidentReported, **incident_facts, service=names, areas=st.lists(names, min_size=1, max_size=2))
changes = st.one_of(
    [
        bulletin(model, **incident_facts, service=st.none() | names, areas=st.none() | st.lists(names, max_size=2))
        for model in (IncidentUpdated, IncidentResolved)
    ]
)
notices = bulletin(
    NoticePublished,
    notice=names,
    audience=st.dictionaries(st.sampled_from(["segment", "did"]), st.lists(names, max_size=2), max_size=2),
    template=names,
    facts=st.dictionaries(names, texts | st.integers(-(2**53), 2**53) | st.booleans() | shares, max_size=3),
    spread_over=st.none() | st.timedeltas(timedelta(), timedelta(days=30)),
    legal=st.booleans(),
    places=st.lists(
        st.fixed_dictionaries({"name": names, "lat": st.floats(-90, 90), "lon": shares, "within_m": st.floats(1, 1e6)}),
        max_size=2,
    ),
)
denials = bulletin(MerchantDenied, merchant=names)
events = st.one_of(usages, charges, updates, closings, answers, labels, reports, changes, notices, denials)
alerts = st.builds(
    Alert,
    id=names,
    source=names,
    time=times,
    account=names,
    alert_id=names,
    kind=names,
    subject=names,
    state=st.sampled_from(["triggered", "updated", "resolved"]),
    score=st.floats(0, 1e6),
    severity=st.sampled_from(["info", "critical"]),
    alert_class=st.sampled_from(["fraud", "limit"]),
    occurred_at=times,
    detected_at=times,
    useful_until=times,
    harm=st.none() | st.builds(Harm, amount=amounts, currency=currencies, probability=shares),
    reasons=st.lists(st.builds(Reason, what=texts, contribution=st.none() | shares), max_size=2).map(tuple),
    question=st.none()
    | st.just(Question(text_key="did_you_make_this_charge", options=(Option(means="confirmed", label="Yes"),))),
    facts=st.dictionaries(names, texts | st.integers(-(2**53), 2**53) | st.booleans(), max_size=3),
    detector=st.just(DetectorVersion(name="usage_spike", version=1)),
    config=texts,
    evidence=st.lists(
        st.builds(Evidence, topic=names, partition=st.integers(0, 9), offset=st.integers(0, 2**50), event_id=names),
        max_size=2,
    ).map(tuple),
)
receipts = st.builds(
    Receipt,
    id=names,
    source=names,
    time=times,
    account=names,
    alert_id=names,
    kind=names,
    disposition=st.sampled_from(["delivered", "capped", "unknown"]),
    reason=st.none() | names,
    channel=st.none() | names,
    attempts=st.integers(0, 9),
)


def outcome(read: Callable[..., Envelope], *record: Any) -> Envelope | Rejected:
    try:
        return read(*record)
    except Rejected as rejected:
        return rejected


def rejection(reader: Reader, value: bytes | None, headers: Headers = ()) -> Rejected:
    with pytest.raises(Rejected) as caught:
        reader.read(value, headers)
    return caught.value


@given(event=events)
def test_every_event_survives_the_wire(event: Message | Bulletin) -> None:
    value, headers = encode(event)

    assert EVERYTHING.read(value, headers) == event


@given(alert=alerts)
def test_every_alert_survives_the_wire(alert: Alert) -> None:
    assert decode_alert(encode(alert)[0]) == alert


@given(receipt=receipts)
def test_every_receipt_survives_the_wire(receipt: Receipt) -> None:
    assert decode_receipt(encode(receipt)[0]) == receipt


@given(value=st.binary(max_size=200))
def test_arbitrary_bytes_give_a_message_or_a_reject(value: bytes) -> None:
    for read in (EVERYTHING.read, USAGE.read, decode_alert, decode_receipt):
        assert isinstance(outcome(read, value), Envelope | Rejected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    body=st.dictionaries(
        st.sampled_from([*PLAIN, "specversion", "type", "subject", "data", "merchant", "amount"]), json_values
    ),
    kept=st.sets(st.sampled_from(sorted(PLAIN))),
    headers=st.lists(
        st.tuples(st.sampled_from(["ce_type", "ce_id", "ce_time", "content-type"]), st.binary(max_size=9))
    ),
)
def test_arbitrary_fields_give_a_message_or_a_reject(body: dict[str, Any], kept: set[str], headers: Headers) -> None:
    value = orjson.dumps({name: PLAIN[name] for name in sorted(kept)} | body)

    for reader in (EVERYTHING, Reader(("usage.recorded",), {"meter": Source(path="$.data.meter", times=Decimal(2))})):
        assert isinstance(outcome(reader.read, value, headers, "usage-0-1"), Envelope | Rejected)


def test_a_structured_cloud_event_is_read() -> None:
    data = {name: PLAIN[name] for name in ("meter", "quantity", "unit")}
    body = {
        "specversion": "1.0",
        "type": "usage.recorded",
        "id": "u1",
        "source": "/meters",
        "time": PLAIN["time"],
        "subject": "a1",
        "data": data,
    }

    event = USAGE.read(orjson.dumps(body))

    assert event == UsageRecorded.model_validate(PLAIN)


def test_a_binary_cloud_event_is_read() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"usage.recorded"),
        ("ce_id", b"u1"),
        ("ce_source", b"/meters"),
        ("ce_time", PLAIN["time"].encode()),
        ("ce_subject", b"a1"),
    ]

    event = USAGE.read(orjson.dumps({name: PLAIN[name] for name in ("meter", "quantity", "unit")}), headers)

    assert event == UsageRecorded.model_validate(PLAIN)


def test_headers_without_a_value_say_nothing() -> None:
    headers: Any = [("ce_type", None), ("content-type", None), ("Content-Type", b"application/json")]

    assert USAGE.read(orjson.dumps(PLAIN), headers) == UsageRecorded.model_validate(PLAIN)


def test_plain_json_needs_no_type_on_a_topic_that_carries_one() -> None:
    assert USAGE.read(orjson.dumps(PLAIN)) == UsageRecorded.model_validate(PLAIN)
    assert rejection(EVERYTHING, orjson.dumps(PLAIN)).reason == "no_type"
    assert EVERYTHING.read(orjson.dumps(PLAIN | {"type": "usage.recorded"})).type_name == "usage.recorded"


def test_plain_json_is_read_through_a_mapping() -> None:
    mapping = {
        "account": Source(path="$.customer.number"),
        "time": Source(path="at"),
        "meter": Source(value="data"),
        "unit": Source(value="GB"),
        "quantity": Source(path="bytes", times=Decimal("0.000000001")),
    }
    body = {"customer": {"number": "a1"}, "at": PLAIN["time"], "bytes": 1_250_000_000}

    event = Reader(("usage.recorded",), mapping, source="/meters").read(orjson.dumps(body), (), "usage-0-7")

    assert event == UsageRecorded.model_validate(PLAIN | {"id": "usage-0-7"})


@pytest.mark.parametrize(
    ("type_name", "field", "data"),
    [
        ("incident.reported", "incident", {"service": "water", "areas": ["north"]}),
        ("notice.published", "notice", {"template": "works"}),
        ("merchant.denied", "merchant", {}),
        ("usage.recorded", "account", {"meter": "data", "quantity": 1, "unit": "GB"}),
    ],
)
def test_the_subject_is_what_the_type_says_it_is_about(type_name: str, field: str, data: dict[str, Any]) -> None:
    envelope = {"type": type_name, "id": "1", "source": "/ops", "time": PLAIN["time"], "subject": "s-1"}
    headers = [("ce_specversion", b"1.0"), *((f"ce_{name}", text.encode()) for name, text in envelope.items())]

    structured = EVERYTHING.read(orjson.dumps({"specversion": "1.0", **envelope, "data": data}))
    binary = EVERYTHING.read(orjson.dumps(data), headers)
    plain = EVERYTHING.read(orjson.dumps(envelope | data | {field: "s-1"}))

    assert structured == binary == plain
    assert getattr(structured, field) == structured.about == "s-1"
    written = orjson.loads(encode(structured)[0])
    assert written["subject"] == written["data"][field] == "s-1"


@pytest.mark.parametrize(("hours_ahead", "timestamp_ms"), [(23, NOON_MS), (-9000, NOON_MS), (9000, -1)])
def test_a_time_that_may_have_come_is_let_pass(hours_ahead: float, timestamp_ms: int) -> None:
    refuse_future(datetime.fromtimestamp(NOON_MS / 1000, UTC) + timedelta(hours=hours_ahead), timestamp_ms)


def test_a_time_far_ahead_of_its_record_is_refused() -> None:
    with pytest.raises(Rejected, match=r"from_the_future: .*, 25 hours after it was sent; .* check the sender's clock"):
        refuse_future(datetime.fromtimestamp(NOON_MS / 1000, UTC) + timedelta(hours=25), NOON_MS)


def test_unknown_fields_are_ignored() -> None:
    assert USAGE.read(orjson.dumps(PLAIN | {"firmware": 7})) == UsageRecorded.model_validate(PLAIN)


def test_quantities_stay_exact() -> None:
    event = USAGE.read(orjson.dumps(PLAIN | {"quantity": "0.1"}))

    assert isinstance(event, UsageRecorded)
    assert sum([event.quantity] * 10) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b" " * (LARGEST_EVENT_BYTES + 1), "too_large"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"NaN", "not_json"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (orjson.dumps(PLAIN | {"type": "charge.posted"}), "unknown_type"),
        (orjson.dumps(PLAIN | {"type": ["usage.recorded"]}), "unknown_type"),
        (orjson.dumps(PLAIN | {"quantity": "much"}), "invalid"),
        (orjson.dumps(PLAIN | {"quantity": -1}), "invalid"),
        (orjson.dumps(PLAIN | {"time": "2026-03-01T12:00:00"}), "invalid"),
        (orjson.dumps(PLAIN | {"account": ""}), "invalid"),
        (orjson.dumps({"specversion": "1.0", "type": "usage.recorded", "data": 1}), "invalid"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_why(value: bytes | None, reason: str) -> None:
    rejected = rejection(USAGE, value)

    assert rejected.reason == reason
    assert rejected.detail
    assert len(rejected.detail) < 1000


def test_a_mapping_times_what_is_no_number_is_rejected() -> None:
    reader = Reader(("usage.recorded",), {"quantity": Source(path="quantity", times=Decimal(2))})

    assert rejection(reader, orjson.dumps(PLAIN | {"quantity": "much"})).reason == "invalid"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"bad": True}, "names neither event_id nor alert_id"),
        ({"event_id": "c1"}, "bad"),
        ({"event_id": "c1", "bad": "perhaps"}, "bad"),
        ({"event_id": "", "bad": False}, "event_id"),
    ],
)
def test_a_label_that_says_not_of_what_or_not_which_is_rejected(given: dict[str, Any], wrong: str) -> None:
    envelope = {name: PLAIN[name] for name in ("id", "source", "time", "account")}
    rejected = rejection(Reader(("label.given",)), orjson.dumps(envelope | given))

    assert rejected.reason == "invalid"
    assert wrong in rejected.detail


def test_the_schema_of_a_label_is_what_is_written_and_read() -> None:
    schema = orjson.loads((Path(__file__).parents[2] / "docs" / "schemas" / "label.given.json").read_bytes())
    envelope = {name: PLAIN[name] for name in ("id", "source", "time", "account")}
    given = {"event_id": "c1", "alert_id": "x1", "bad": True, "by": "bank"}
    label = Reader(("label.given",)).read(orjson.dumps(envelope | given))
    written = orjson.loads(encode(label)[0])["data"]

    assert {name: getattr(label, name) for name in given} == given
    assert written.items() >= given.items()
    assert {"event_id", "alert_id", "bad", "by"} <= set(schema["properties"])
    assert "bad" in schema["required"]


def test_a_reject_names_each_wrong_field() -> None:
    detail = rejection(USAGE, orjson.dumps(PLAIN | {"quantity": "much", "unit": ""})).detail

    assert "quantity" in detail
    assert "unit" in detail


def test_a_message_of_another_kind_is_no_alert() -> None:
    usage, _ = encode(UsageRecorded.model_validate(PLAIN))

    for decode in (decode_alert, decode_receipt):
        with pytest.raises(Rejected, match="unknown_type"):
            decode(usage)


def test_the_key_is_the_account_in_utf_8() -> None:
    assert encode_key("Ström-1") == "Ström-1".encode()
