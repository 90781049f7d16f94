"""Topics as others leave them: compressed, compacted, transactional, truncated, unequal."""

import asyncio
from collections.abc import Callable

import orjson
from aiokafka import AIOKafkaProducer
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from foretell.broker import LocalBroker
from streams.topics import admin

from .field import PARTITIONS, Field
from .figures import say
from .patience import eventually
from .traffic import charge_event, usage_event

_ALIKE = 3  # reads in a row: a cleaning that was under way has ended
CODECS = ("gzip", "snappy", "lz4", "zstd")


def test_records_of_every_codec_are_read(field: Field) -> None:
    async def send(codec: str, number: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=field.bootstrap, compression_type=codec, linger_ms=20)
        await producer.start()
        for count in range(200):
            account = f"u-{codec}-{count % 5}"
            event = usage_event(account, count, f"0.{number + 3}")
            await producer.send(field.topic("usage"), orjson.dumps(event), account.encode())
        await producer.stop()

    async def send_all() -> None:
        for number, codec in enumerate(CODECS):
            await send(codec, number)

    field.traffic(81, accounts=10)
    asyncio.run(send_all())

    worker = field.start_worker()
    inputs = field.settle([worker])

    figures = field.prove(inputs)
    assert figures.events == 200 * len(CODECS) + 10
    assert figures.accounts == 5 * len(CODECS) + 10


def test_what_a_transaction_took_back_never_happened(field: Field) -> None:
    async def send() -> tuple[int, int]:
        producer = AIOKafkaProducer(bootstrap_servers=field.bootstrap, transactional_id=field.prefix)
        await producer.start()
        committed = aborted = 0
        for count in range(24):
            await producer.begin_transaction()
            for part in range(10):
                account = f"u{part:03}"
                event = usage_event(account, count, "1000" if count % 3 == 1 else "0.4")
                await producer.send_and_wait(field.topic("usage"), orjson.dumps(event), account.encode())
            if count % 3 == 1:
                await producer.abort_transaction()
                aborted += 10
            else:
                await producer.commit_transaction()
                committed += 10
        await producer.stop()
        return committed, aborted

    worker = field.start_worker(seat="one")
    worker.await_ready()
    committed, aborted = asyncio.run(send())
    worker.process.kill()
    worker = field.start_worker(seat="one")
    worker.await_ready()
    inputs = field.settle([worker])

    figures = field.prove(inputs)
    say(f"{committed} committed, {aborted} taken back")
    assert figures.events == committed


def test_a_compacted_input_with_gaps_in_its_offsets_is_read(make_field: Callable[..., Field], bootstrap: str) -> None:
    field = make_field(bootstrap, topics=False)
    tiny = {
        "cleanup.policy": "compact",
        "segment.ms": "50",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.01",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "100",
        "delete.retention.ms": "0",
    }
    with admin(field.config.kafka) as client:
        client.create_topics([NewTopic(field.topic("usage"), PARTITIONS, 1, topic_configs=tiny)])
    field.create_topics()
    producer = KafkaProducer(bootstrap_servers=bootstrap)

    def send(count: int) -> None:
        for account in (
            *(f"u{number:03}" for number in range(20)),
            f"once{count:03}",
        ):  # the cleaner leaves one of each
            producer.send(field.topic("usage"), orjson.dumps(usage_event(account, count, "0.4")), account.encode())
        producer.flush()

    sent = 0

    def has_gaps() -> bool:
        nonlocal sent
        send(sent)
        sent += 1
        return gaps(field) > 20

    eventually(has_gaps, 90, every=0.2)
    producer.close()
    stop_cleaning(field, "usage")
    worker = field.start_worker()
    inputs = field.settle([worker])

    found = gaps(field)
    say(f"{found} gaps in the offsets after {21 * sent} records")
    assert found > 0
    field.prove(inputs)


def stop_cleaning(field: Field, role: str) -> None:
    """Let a compacted topic be as it is from now on: the worker and the proof must read the same records."""
    kept = {"cleanup.policy": "delete", "retention.ms": "-1"}
    with admin(field.config.kafka) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, field.topic(role), kept)])
    reads: list[list[int]] = []

    def is_still() -> bool:
        reads.append([record.offset for records in field.read(role).values() for record in records])
        return len(reads) > _ALIKE and reads[-1 - _ALIKE :] == [reads[-1]] * (_ALIKE + 1)

    eventually(is_still, 90, every=0.5)


def gaps(field: Field) -> int:
    """Return how many offsets are missing between a partition's first record and its last."""
    return sum(
        records[-1].offset + 1 - records[0].offset - len(records) for records in field.read("usage").values() if records
    )


def is_there(field: Field, role: str) -> bool:
    with admin(field.config.kafka) as client:
        return field.topic(role) in client.list_topics()


def test_an_input_that_was_made_anew_is_said_and_not_read(field: Field) -> None:
    producer = KafkaProducer(bootstrap_servers=field.bootstrap)
    for number in range(40):
        account = f"c{number:03}"
        producer.send(
            field.topic("charges"), orjson.dumps(charge_event(account, 1, "9.00", "m1")), account.encode()
        ).get(30)
    worker = field.start_worker()
    field.settle([worker])
    with admin(field.config.kafka) as client:
        client.delete_topics([field.topic("charges")])
    eventually(lambda: not is_there(field, "charges"))
    field.create_topics()

    worker = field.start_worker()

    assert worker.process.wait(60) == 77, worker.process.log_tail(20)
    said = str(worker.said("input_truncated")[0]["error"])
    say(said)
    assert field.topic("charges") in said
    assert "made anew or lost records" in said
    producer.close()


def test_an_input_made_anew_under_a_running_worker_ends_it(field: Field) -> None:
    producer = KafkaProducer(bootstrap_servers=field.bootstrap)

    def send(count: int) -> None:
        for number in range(count):
            event = charge_event("c001", number, "9.00", "m1")
            producer.send(field.topic("charges"), orjson.dumps(event), b"c001").get(30)

    send(40)
    worker = field.start_worker()
    worker.await_ready()
    field.await_saved(field.read_inputs())
    with admin(field.config.kafka) as client:
        client.delete_topics([field.topic("charges")])
    eventually(lambda: not is_there(field, "charges"))
    field.create_topics()
    producer.close()
    producer = KafkaProducer(bootstrap_servers=field.bootstrap)
    send(5)
    producer.close()

    assert worker.process.wait(60) in (77, 78), worker.process.log_tail(20)  # 78 if it looked while there was none
    worker = field.start_worker()
    assert worker.process.wait(60) == 77, worker.process.log_tail(20)


def test_events_lost_to_retention_are_said_and_reading_goes_on(field: Field) -> None:
    producer = KafkaProducer(bootstrap_servers=field.bootstrap)
    sent = [
        producer.send(field.topic("usage"), orjson.dumps(usage_event("u001", number, "0.4")), b"u001").get(30)
        for number in range(30)
    ]
    producer.close()
    place = TopicPartition(sent[0].topic, sent[0].partition)
    worker = field.start_worker()
    field.settle([worker])
    with admin(field.config.kafka) as client:
        client.delete_records({place: 30})
    producer = KafkaProducer(bootstrap_servers=field.bootstrap)
    for number in range(30, 40):
        producer.send(field.topic("usage"), orjson.dumps(usage_event("u001", number, "0.4")), b"u001").get(30)
    producer.close()
    with admin(field.config.kafka) as client:
        client.delete_records({place: 35})

    worker = field.start_worker()
    field.settle([worker])

    said = worker.said("events_lost_to_retention")
    assert [(line["position"], line["first"]) for line in said] == [(30, 35)]


def test_inputs_with_unequal_partitions_are_refused_with_a_sentence(
    make_field: Callable[..., Field], broker: LocalBroker
) -> None:
    field = make_field(broker.bootstrap, topics=False)
    with admin(field.config.kafka) as client:
        client.create_topics([NewTopic(field.topic("charges"), PARTITIONS - 1, 1)])
    field.create_topics()

    worker = field.start_worker()

    assert worker.process.wait(60) == 2
    said = worker.process.log_tail(5)
    say(said)
    assert f"'{field.topic('charges')}' has 3 partitions" in said
    assert "Traceback" not in said
