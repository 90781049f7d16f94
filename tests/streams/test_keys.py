"""Where an account's events belong, and who is found out to send them elsewhere."""

import uuid
from collections.abc import Callable
from contextlib import closing
from zlib import crc32

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer
from kafka.partitioner.default import murmur2

from streams.key_survey import misplaced_keys
from streams.keys import KeyCheck, partition_of
from streams.settings import KafkaSettings, TopicsSettings
from streams.topics import admin, create

Place = Callable[[bytes, int], int]
names = st.text(st.characters(codec="utf-8"), min_size=1).map(str.encode)


@given(key=names, partitions=st.integers(2, 1000))
def test_only_the_partition_of_kafkas_own_clients_is_right(key: bytes, partitions: int) -> None:
    right = (murmur2(key) & 0x7FFFFFFF) % partitions
    check = KeyCheck(partitions)

    assert partition_of(key, partitions) == right
    for _ in range(2):  # the second answer comes from memory
        assert check.misplaced(key, key, right) is None
        assert check.misplaced(key, key, (right + 1) % partitions) == "other_hash"


@given(key=names, other=names, partition=st.integers(0, 5))
def test_a_key_that_is_missing_or_not_the_account_is_found_out(key: bytes, other: bytes, partition: int) -> None:
    check = KeyCheck(6)

    assert check.misplaced(None, key, partition) == "no_key"
    assert check.misplaced(key + other, key, partition) == "other_key"


@pytest.mark.parametrize("record_key", [None, b"a1", b"other"])
def test_on_a_single_partition_all_is_well(record_key: bytes | None) -> None:
    assert KeyCheck(1).misplaced(record_key, b"a1", 0) is None


def test_of_very_many_accounts_in_their_place_none_is_accused() -> None:
    check = KeyCheck(3)
    mine = [key for key in (b"account-%d" % number for number in range(150_000)) if partition_of(key, 3) == 1]

    assert not any(check.misplaced(key, key, 1) for key in mine)
    assert not any(check.misplaced(key, key, 1) for key in mine)


@pytest.fixture
def settings() -> TopicsSettings:
    return TopicsSettings(prefix=f"k{uuid.uuid4().hex[:8]}", partitions=4)


def crc_of(key: bytes, partitions: int) -> int:
    """Choose as librdkafka does unless it is told otherwise."""
    return crc32(key) % partitions


def send(
    bootstrap: str, settings: TopicsSettings, place: Place, key: Callable[[str], bytes | None] = str.encode
) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        create(client, settings)
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        for number in range(300):
            account = f"a{number % 60}"
            event = {"id": str(number), "source": "/x", "account": account, "meter": "m", "quantity": 1, "unit": "GB"}
            value = orjson.dumps(event | {"time": "2026-03-01T12:00:00Z"})
            partition = place(account.encode(), settings.partitions)
            producer.send(settings.named("usage"), value, key(account), partition=partition)
        producer.send(settings.named("usage"), b"no event", b"a1", partition=0)


def test_a_producer_that_hashes_otherwise_is_found_out_with_what_to_do(
    bootstrap: str, settings: TopicsSettings
) -> None:
    send(bootstrap, settings, crc_of)
    accounts = [f"a{number % 60}".encode() for number in range(300)]
    misplaced = sum(crc_of(key, 4) != partition_of(key, 4) for key in accounts)

    (said,) = misplaced_keys(KafkaSettings(bootstrap=bootstrap), settings)

    assert misplaced > 100
    assert said.startswith(
        f"topic '{settings.prefix}.usage': of the last 300 events {misplaced} lie on another partition"
    )
    assert "partitioner=murmur2_random" in said
    assert f"`repartition: [{{from: {settings.prefix}.usage, to: usage}}]`" in said


@pytest.mark.parametrize(
    ("key", "said"),
    [(lambda _: None, "300 have no key"), (lambda account: b'"%s"' % account.encode(), "300 have a key that is not")],
    ids=["no key", "quoted key"],
)
def test_a_key_that_is_not_the_account_is_found_out_with_what_to_do(
    bootstrap: str, settings: TopicsSettings, key: Callable[[str], bytes | None], said: str
) -> None:
    send(bootstrap, settings, partition_of, key)

    (problem,) = misplaced_keys(KafkaSettings(bootstrap=bootstrap), settings)

    assert said in problem
    assert "send the account as the key" in problem


def test_a_producer_that_hashes_like_kafka_is_fine(bootstrap: str, settings: TopicsSettings) -> None:
    send(bootstrap, settings, partition_of)

    assert misplaced_keys(KafkaSettings(bootstrap=bootstrap), settings) == []


def test_with_a_single_partition_every_producer_is_fine(bootstrap: str, settings: TopicsSettings) -> None:
    single = settings.model_copy(update={"partitions": 1})
    send(bootstrap, single, crc_of, lambda _: None)

    assert misplaced_keys(KafkaSettings(bootstrap=bootstrap), single) == []


def test_topics_that_are_missing_say_nothing_of_keys(bootstrap: str, settings: TopicsSettings) -> None:
    assert misplaced_keys(KafkaSettings(bootstrap=bootstrap), settings) == []
