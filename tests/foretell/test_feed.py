import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import DefaultPartitioner, murmur2

from detectors.codec import Reader
from detectors.events import AccountUpdated, ChargePosted, UsageRecorded
from foretell.event_producer import EventProducer
from foretell.feed import FeedError, FeedOptions, FeedSummary, Pace, feed
from foretell.feed_files import open_file
from foretell.feed_mapping import RowMapping
from streams.keys import partition_of
from streams.settings import KafkaSettings, TopicsSettings
from streams.topics import TopicError, admin, create

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS = [
    {"account": "a1", "time": "2026-03-01T10:00:00+01:00", "wh": 1500},
    {"account": "a2", "time": "2026-03-01T11:00:00+01:00", "wh": 250},
]
SPOKEN = ("quantity=wh*0.001", "meter:=electricity", "unit:=kWh")


def options(file: Path, *mapping: str, **others: Any) -> FeedOptions:
    return FeedOptions(file=file, mapping=mapping or SPOKEN, **{"dry_run": True, **others})


def fed(chosen: FeedOptions) -> FeedSummary:
    return feed(chosen, KafkaSettings(), TopicsSettings())


def complaint(chosen: FeedOptions) -> str:
    with pytest.raises(FeedError) as caught:
        fed(chosen)
    return str(caught.value)


def write(path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    kind = path.suffixes[0]
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    if kind == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


# formats


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.ndjson", "a.jsonl.gz", "a.parquet"])
def test_every_format_gives_the_same_events(tmp_path: Path, name: str) -> None:
    file = open_file(write(tmp_path / name))
    mapping = RowMapping(UsageRecorded, SPOKEN, file.columns)

    events = [mapping.event(row.values or {}, {"id": "1", "source": "s"}) for row in file.rows(mapping.columns)]

    assert [(event.account, event.time, event.quantity, event.unit) for event in events] == [  # type: ignore[attr-defined]
        ("a1", datetime(2026, 3, 1, 9, tzinfo=UTC), Decimal("1.5"), "kWh"),
        ("a2", datetime(2026, 3, 1, 10, tzinfo=UTC), Decimal("0.25"), "kWh"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_may_use_any_usual_delimiter_and_begin_with_a_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(delimiter.join(["account", "time", "wh"]) + "\n", encoding="utf-8-sig")

    assert open_file(path).columns == ["account", "time", "wh"]


def test_a_parquet_file_of_many_batches_is_read_to_its_end(tmp_path: Path) -> None:
    rows = [{"account": f"a{number}", "wh": number} for number in range(10_000)]
    file = open_file(write(tmp_path / "a.parquet", rows))

    numbers = [row.number for row in file.rows(["account"])]

    assert numbers == list(range(1, 10_001))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"account,account\n", "column 'account' stands twice"),
        ("a.csv", b"caf\xe9,time\n", "no UTF-8 text"),
        ("a.csv.gz", b"not gzip", "cannot be read"),
        ("a.csv.gz", gzip.compress(b"account,time,wh\n" * 99, mtime=0)[:-9], "cannot be read"),
        ("a.parquet", b"PAR1 not", "no Parquet file"),
        ("a.xlsx", b"x", "expected a name that ends in .csv"),
        ("a.parquet.gz", b"x", "expected a name that ends in .csv"),
        ("a", b"x", "expected a name that ends in .csv"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert said in complaint(options(path))


def test_a_file_that_is_not_there_is_said_to_be_none(tmp_path: Path) -> None:
    assert "is no file; give a CSV" in complaint(options(tmp_path / "none.csv"))
    assert "is no file" in complaint(options(tmp_path))


def test_text_that_turns_bad_late_says_after_which_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    path.write_bytes(path.read_bytes() + b"a3,2026-03-01T00:00:00Z,caf\xe9\n")

    assert "no UTF-8 text after row" in complaint(options(path))


# mapping


def test_a_column_that_carries_our_name_needs_no_mapping_and_a_number_may_be_an_account() -> None:
    mapping = RowMapping(UsageRecorded, ["meter:=m", "unit:=GB"], ["account", "time", "quantity"])

    event = mapping.event(
        {"account": 7, "time": datetime(2026, 3, 1, tzinfo=UTC), "quantity": 2}, {"id": "1", "source": "s"}
    )

    assert event.about == "7"


def test_minor_units_become_money_exactly_and_dots_lead_into_a_merchant() -> None:
    spoken = ["account=card", "amount=cents*0.01", "currency:=EUR", "merchant.id=shop", "merchant.name=title"]
    mapping = RowMapping(ChargePosted, spoken, ["card", "cents", "shop", "title", "time"])
    row = {"card": 12, "cents": 1999, "shop": 33, "title": None, "time": datetime(2026, 3, 1, tzinfo=UTC)}

    event = mapping.event(row, {"id": "1", "source": "s"})

    assert isinstance(event, ChargePosted)
    assert (event.amount, event.merchant.id, event.merchant.name) == (Decimal("19.99"), "33", None)


@pytest.mark.parametrize("row", [{"paid": {"to": "m1"}}, {"paid.to": "m1"}])
def test_a_dotted_column_is_found_whole_or_nested(row: dict[str, Any]) -> None:
    spoken = ["account:=a", "amount:=1", "currency:=EUR", "merchant.id=paid.to", "time:=2026-03-01T00:00:00Z"]
    mapping = RowMapping(ChargePosted, spoken, list(row))

    event = mapping.event(row, {"id": "1", "source": "s"})

    assert isinstance(event, ChargePosted)
    assert event.merchant.id == "m1"


def test_a_constant_may_be_json_where_the_field_is_no_text() -> None:
    spoken = ["account=who", "time:=2026-03-01T00:00:00Z", 'contacts:=[{"channel": "sms", "address": "+1"}]']

    event = RowMapping(AccountUpdated, spoken, ["who"]).event({"who": "a"}, {"id": "1", "source": "s"})

    assert isinstance(event, AccountUpdated)
    assert event.contacts is not None
    assert event.contacts[0].address == "+1"


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        ("quantity=wat", "the file has no column 'wat'; it has account, time, wh"),
        ("quantty=wh", "usage.recorded has no field 'quantty'; it has id, source, time"),
        ("quantity=wh*x", "expected a number after '*', got 'x'"),
        ("quantity=wh*nan", "expected a number after '*'"),
        ("quantity", "expected ours=column, ours=column*factor or ours:=text"),
        ("=wh", "expected ours=column"),
        ('unit:={"a"', "looks like JSON but is none"),
    ],
)
def test_a_mapping_that_cannot_be_used_says_what_there_is(tmp_path: Path, spoken: str, said: str) -> None:
    path = write(tmp_path / "a.csv")

    assert said in complaint(options(path, spoken, "meter:=m"))


def test_a_needed_field_that_nothing_gives_is_asked_for_before_anything_is_sent(tmp_path: Path) -> None:
    said = complaint(options(write(tmp_path / "a.csv"), "quantity=wh", "meter:=m"))

    assert said.startswith("nothing says what 'unit' of usage.recorded is; add --map unit=COLUMN or --map unit:=TEXT")


def test_a_field_is_mapped_once(tmp_path: Path) -> None:
    said = complaint(options(write(tmp_path / "a.csv"), *SPOKEN, "unit:=Wh"))

    assert said == "--map unit is given twice; keep one"


# times


def test_times_without_offset_are_refused_until_their_zone_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [{**ROWS[0], "time": "2026-07-01 10:00"}])

    assert "say their zone: --timezone Europe/Stockholm" in complaint(options(path))
    assert fed(options(path, timezone="Europe/Rome")).first == datetime(2026, 7, 1, 8, tzinfo=UTC)


def test_one_time_without_offset_among_others_is_refused_alone(tmp_path: Path) -> None:
    summary = fed(options(write(tmp_path / "a.csv", [*ROWS, {**ROWS[0], "time": "2026-03-01 12:00"}])))

    assert (summary.sent, summary.refused) == (2, 1)
    assert "names no offset" in summary.refusals[0].why


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc", "Europe", ""])
def test_a_zone_that_is_none_is_refused(tmp_path: Path, zone: str) -> None:
    assert "is no IANA time zone" in complaint(options(write(tmp_path / "a.csv"), timezone=zone))


def test_rows_that_go_back_in_time_are_sent_and_counted(tmp_path: Path) -> None:
    summary = fed(options(write(tmp_path / "a.jsonl", [ROWS[1], ROWS[0], ROWS[1]])))

    assert (summary.sent, summary.backwards) == (3, 1)
    assert any("1 rows go back in time" in line for line in summary.lines())


# bad rows


def test_bad_rows_are_counted_and_the_first_few_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    bad = [b"not json", b"[1]", b'{"account": "a1"}', json.dumps({**ROWS[0], "wh": "many"}).encode()]
    path.write_bytes(b"\n".join([json.dumps(ROWS[0]).encode(), *bad, *bad, b"", json.dumps(ROWS[1]).encode()]))

    summary = fed(options(path))

    assert (summary.read, summary.sent, summary.refused) == (10, 2, 8)
    assert [refusal.row for refusal in summary.refusals] == [2, 3, 4, 5, 6]
    assert summary.refusals[0].why.startswith("not JSON")
    assert summary.refusals[3].why == "wh: expected a number, got 'many'"
    assert list(summary.lines())[-1] == "... and 3 more"


def test_a_row_with_too_many_cells_is_refused_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    path.write_text(path.read_text() + "a3,2026-03-01T12:00:00Z,1,2\n\n")

    summary = fed(options(path))

    assert (summary.read, summary.refused) == (3, 1)
    assert summary.refusals[0].why == "4 cells where the first line names 3 columns"


def test_a_line_without_end_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(ROWS[0]), "x" * (3 << 20), json.dumps(ROWS[1])]))

    summary = fed(options(path))

    assert (summary.sent, [refusal.row for refusal in summary.refusals]) == (2, [2])


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line and b"\r" not in line), max_size=20))
def test_read_is_always_sent_and_refused_together(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("feed") / "a.jsonl"
    path.write_bytes(b"\n".join([json.dumps(ROWS[0]).encode(), *lines]))

    try:
        summary = fed(options(path))
    except FeedError as error:
        assert "UTF-8" in str(error)  # noqa: PT017 - either is well
    else:
        assert summary.read == summary.sent + summary.refused


# options


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"type": "usage.recordet"}, "no input carries type 'usage.recordet'; expected one of account.updated"),
        ({"speed": 0.0}, "--speed 0: expected seconds"),
        ({"speed": float("nan")}, "--speed nan: expected seconds"),
        ({"limit": 0}, "count rows from 1"),
        ({"start": 0}, "count rows from 1"),
    ],
)
def test_an_option_out_of_range_says_what_is_expected(tmp_path: Path, others: dict[str, Any], said: str) -> None:
    assert said in complaint(options(write(tmp_path / "a.csv"), **others))


def test_start_and_limit_choose_rows(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "time": f"2026-03-01T{hour:02d}:00:00Z"} for hour in range(10)]
    summary = fed(options(write(tmp_path / "a.csv", rows), start=4, limit=3))

    assert summary.read == 3
    assert (summary.first, summary.last) == (datetime(2026, 3, 1, 3, tzinfo=UTC), datetime(2026, 3, 1, 5, tzinfo=UTC))


def test_the_pace_follows_the_events_clock() -> None:
    pace, noon = Pace(speed=3600), datetime(2026, 3, 28, 12, tzinfo=UTC)

    assert pace.ahead(noon) == 0
    assert pace.ahead(noon + timedelta(hours=2)) == pytest.approx(2, abs=0.5)
    assert pace.ahead(noon - timedelta(hours=2)) == 0
    assert Pace(speed=None).ahead(noon) == 0


# Kafka


@pytest.fixture
def topics(bootstrap: str) -> TopicsSettings:
    settings = TopicsSettings(prefix=f"feed-{uuid4().hex[:8]}", partitions=4)
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        create(client, settings)
    return settings


def records(bootstrap: str, topic: str, partitions: int = 4) -> Iterator[Any]:
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")) as consumer:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < end for place, end in ends.items()):
            for found in consumer.poll(timeout_ms=200).values():
                yield from found


def test_what_is_sent_is_read_back_as_it_was_by_the_stream_workers_own_reader(
    tmp_path: Path, bootstrap: str, topics: TopicsSettings
) -> None:
    rows = [{**ROWS[0], "account": f"a{number % 50}", "wh": number} for number in range(5000)]
    path = write(tmp_path / "a.parquet", rows)

    summary = feed(options(path, dry_run=False), KafkaSettings(bootstrap=bootstrap), topics)

    found = list(records(bootstrap, topics.named("usage")))
    events = [Reader(("usage.recorded",)).read(record.value, record.headers) for record in found]
    assert summary.sent == len(found) == 5000
    assert {event.id for event in events} == {f"a.parquet:{row}" for row in range(1, 5001)}
    assert all(record.key.decode() == event.about for record, event in zip(found, events, strict=True))
    assert all(record.partition == partition_of(record.key, 4) for record in found)
    assert Counter(record.partition for record in found).keys() == {0, 1, 2, 3}
    by_account: dict[str, list[int]] = {}
    for event in events:
        by_account.setdefault(event.about, []).append(int(event.id.partition(":")[2]))
    assert all(rows == sorted(rows) for rows in by_account.values())


def test_feeding_a_file_again_sends_the_same_ids(tmp_path: Path, bootstrap: str, topics: TopicsSettings) -> None:
    path = write(tmp_path / "a.csv")

    for _ in range(2):
        feed(options(path, dry_run=False), KafkaSettings(bootstrap=bootstrap), topics)

    ids = [json.loads(record.value)["id"] for record in records(bootstrap, topics.named("usage"))]
    assert sorted(ids) == ["a.csv:1", "a.csv:1", "a.csv:2", "a.csv:2"]


def test_the_type_picks_the_topic(tmp_path: Path, bootstrap: str, topics: TopicsSettings) -> None:
    path = write(tmp_path / "a.jsonl", [{"account": "a1", "time": "2026-03-01T00:00:00Z", "plan": "basic"}])
    chosen = FeedOptions(file=path, type="account.updated")

    summary = feed(chosen, KafkaSettings(bootstrap=bootstrap), topics)

    assert summary.topic == topics.named("accounts")
    assert len(list(records(bootstrap, summary.topic))) == 1


def test_incidents_are_fed_with_the_incident_as_key(tmp_path: Path, bootstrap: str, topics: TopicsSettings) -> None:
    rows = [{"incident": f"i{number}", "time": "2026-03-01T00:00:00Z", "areas": ["north"]} for number in range(20)]
    chosen = FeedOptions(file=write(tmp_path / "a.jsonl", rows), type="incident.reported", mapping=("service:=water",))

    summary = feed(chosen, KafkaSettings(bootstrap=bootstrap), topics)

    found = list(records(bootstrap, summary.topic))
    assert summary.topic == topics.named("incidents")
    assert {record.key for record in found} == {f"i{number}".encode() for number in range(20)}
    assert all(record.partition == partition_of(record.key, 4) for record in found)


def test_an_event_as_large_as_kafka_takes_is_sent_and_a_larger_one_is_refused(
    tmp_path: Path, bootstrap: str, topics: TopicsSettings
) -> None:
    rows = [{"account": "a", "time": "2026-03-01T00:00:00Z", "why": "x" * size} for size in (900_000, 1_045_000)]
    chosen = FeedOptions(file=write(tmp_path / "a.parquet", rows), type="account.closed")

    summary = feed(chosen, KafkaSettings(bootstrap=bootstrap), topics)

    assert (summary.sent, summary.refused) == (1, 1)
    assert len(list(records(bootstrap, summary.topic))) == 1


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TopicError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 "):
        feed(
            options(write(tmp_path / "a.csv"), dry_run=False), KafkaSettings(bootstrap="127.0.0.1:1"), TopicsSettings()
        )


def test_a_topic_that_is_missing_is_named(tmp_path: Path, bootstrap: str) -> None:
    with pytest.raises(TopicError, match=r"topic 'nowhere\.usage' is missing .*`foretell topics create` makes it"):
        feed(
            options(write(tmp_path / "a.csv"), dry_run=False),
            KafkaSettings(bootstrap=bootstrap),
            TopicsSettings(prefix="nowhere"),
        )


def test_a_broker_that_goes_silent_ends_the_feed_and_says_where_to_go_on(isolated_broker: Any) -> None:
    kafka, topics = KafkaSettings(bootstrap=isolated_broker.bootstrap), TopicsSettings(partitions=1)
    with admin(kafka) as client:
        create(client, topics)
    event = RowMapping(UsageRecorded, ["meter:=m", "unit:=GB"], ["account", "time", "quantity"]).event(
        {"account": "a", "time": "2026-03-01T00:00:00Z", "quantity": 1}, {"id": "1", "source": "s"}
    )
    with EventProducer(kafka, topics, ["usage"], acknowledged_within_seconds=2) as producer:
        producer.send(event, called=41)
        producer.flush()
        isolated_broker.pause()
        producer.send(event, called=42)

        with pytest.raises(Exception, match="does not acknowledge events any more") as caught:
            producer.flush()
        isolated_broker.resume()

    assert caught.value.last == 41  # type: ignore[attr-defined]


@given(st.binary(min_size=1, max_size=60), st.integers(min_value=1, max_value=200))
def test_the_partition_is_that_of_kafkas_own_clients(key: bytes, partitions: int) -> None:
    class Cluster:
        def topics(self) -> set[str]:
            return {"t"}

        def partitions_for_topic(self, _: str) -> set[int]:
            return set(range(partitions))

        available_partitions_for_topic = partitions_for_topic

    theirs = DefaultPartitioner().partition("t", None, key, None, None, Cluster())

    assert partition_of(key, partitions) == theirs


def test_the_hash_is_the_one_of_the_java_client() -> None:
    # from UtilsTest.testMurmur2 of Apache Kafka
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}

    assert {key: partition_of(key, 2**31) for key in known} == {key: found & 0x7FFFFFFF for key, found in known.items()}
    assert all(murmur2(key) & 0xFFFFFFFF == found & 0xFFFFFFFF for key, found in known.items())


# the data we develop with


@pytest.mark.parametrize(
    ("name", "type_name", "spoken", "rows"),
    [
        ("homes_hourly", "usage.recorded", ("quantity=watt_hours", "meter:=electricity", "unit:=Wh"), 70_080),
        (
            "charges",
            "charge.posted",
            ("account=card", "amount=cents*0.01", "merchant.id=merchant", "currency:=EUR"),
            20_000,
        ),
    ],
)
def test_the_public_data_feeds_without_a_refusal(
    name: str, type_name: str, spoken: tuple[str, ...], rows: int, bootstrap: str, topics: TopicsSettings
) -> None:
    file = SHARED / f"{name}.parquet"
    if not file.exists():
        pytest.skip(f"{file} is only there for developing")
    chosen = FeedOptions(file=file, type=type_name, mapping=spoken, limit=rows)

    summary = feed(chosen, KafkaSettings(bootstrap=bootstrap), topics)

    assert (summary.sent, summary.refused) == (rows, 0)
