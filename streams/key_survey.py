"""What `foretell topics check` says about keys: a look at the last records of each input."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from detectors.codec import Rejected, encode_key

from .keys import KeyCheck, Misplaced
from .settings import KafkaSettings, TopicsSettings
from .topics import INPUTS, Topic, TopicError, reader

_MOST_RECORDS = 1000
_PATIENCE_SECONDS = 5.0
_WORDS: dict[Misplaced, str] = {
    "no_key": "have no key",
    "other_key": "have a key that is not their account",
    "other_hash": "lie on another partition than Kafka's own hash of the account (murmur2) gives",
}


def misplaced_keys(kafka_settings: KafkaSettings, settings: TopicsSettings) -> list[str]:
    """Return a sentence for each input whose last events are not all where their account's engine reads them.

    Records that cannot be read say nothing of their account and are left to the stream workers.

    Raises:
        TopicError: Kafka does not let us read.
    """
    fed = [topic for topic in INPUTS if not topic.is_ours]
    options = kafka_settings.client_options()
    try:
        with closing(KafkaConsumer(**options, isolation_level="read_committed", enable_auto_commit=False)) as consumer:
            return [said for topic in fed if (said := _survey(consumer, settings, topic))]
    except kafka.errors.KafkaError as error:
        raise TopicError(f"cannot read the last records of the inputs: {type(error).__name__}: {error}") from error


def _survey(consumer: KafkaConsumer, settings: TopicsSettings, topic: Topic) -> str | None:
    name = settings.named(topic.role)
    partitions = sorted(consumer.partitions_for_topic(name) or ())
    check, read = KeyCheck(len(partitions)), reader(settings, topic.role).read
    seen, found = 0, Counter[Misplaced]()
    for record in _last_records(consumer, [TopicPartition(name, number) for number in partitions]):
        try:
            event = read(record.value, record.headers, f"{name}-{record.partition}-{record.offset}")
        except Rejected:
            continue
        seen += 1
        why = check.misplaced(record.key, encode_key(event.about), record.partition)
        if why is not None:
            found[why] += 1
    return _sentence(name, topic.role, seen, found) if found else None


def _last_records(consumer: KafkaConsumer, places: list[TopicPartition]) -> Iterator[Any]:
    if not places:
        return
    consumer.assign(places)
    starts, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
    each = -(-_MOST_RECORDS // len(places))
    for place in places:
        consumer.seek(place, max(starts[place], ends[place] - each))
    heard = time.monotonic()
    while any(consumer.position(place) < ends[place] for place in places):
        for place, records in consumer.poll(timeout_ms=200).items():
            heard = time.monotonic()
            yield from (record for record in records if record.offset < ends[place])
        if time.monotonic() - heard > _PATIENCE_SECONDS:  # such as behind a transaction that nobody ends
            return


def _sentence(name: str, role: str, seen: int, found: Counter[Misplaced]) -> str:
    counted = ", ".join(f"{found[why]} {words}" for why, words in _WORDS.items() if found[why])
    remedies = []
    if found["other_hash"]:
        remedies.append(
            "let their producer choose partitions as Kafka's own clients do "
            "(librdkafka and all that stands on it: partitioner=murmur2_random)"
        )
    if found["no_key"] or found["other_key"]:
        remedies.append("let their producer send the account as the key")
    return (
        f"topic {name!r}: of the last {seen} events {counted}, so that an account's events may meet different engines; "
        f"{' and '.join(remedies)}, or give `topics.{role}` another name and write the events there anew with "
        f"`repartition: [{{from: {name}, to: {role}}}]`"
    )
