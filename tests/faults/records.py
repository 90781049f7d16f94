"""What is on topics, read in bulk: the topics are the truth about what was sent."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.settings import KafkaSettings

Place = tuple[str, int]
Records = dict[Place, list[ConsumerRecord]]


def read_topics(kafka: KafkaSettings, topics: Iterable[str]) -> Records:
    """Return every committed record of these topics, by topic and partition, in order."""
    return asyncio.run(_read(kafka, list(topics)))


async def _read(kafka: KafkaSettings, topics: list[str]) -> Records:
    consumer = AIOKafkaConsumer(
        *topics,
        **kafka.client_options(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        parts = [TopicPartition(name, number) for name in topics for number in consumer.partitions_for_topic(name)]
        ends = await consumer.end_offsets(parts)
        consumer.unsubscribe()
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        found: Records = {(part.topic, part.partition): [] for part in parts}
        left = set(parts)
        while left:
            for part, records in (await consumer.getmany(*left, timeout_ms=200)).items():
                found[part.topic, part.partition] += [record for record in records if record.offset < ends[part]]
            left = {part for part in left if await consumer.position(part) < ends[part]}
        return found
    finally:
        await consumer.stop()
