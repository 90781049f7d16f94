"""Bytewax: a keyed, stateful dataflow with recovery on, as its documentation has it ("Kafka", "Recovery").

Snapshots go to recovery partitions, SQLite files, at the end of every epoch; an epoch is 10 s, which is its default.
State is handed to its snapshots as bytes that we pack, which is quicker than letting it copy and pickle the objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, cluster_main

from bench.contestant import PARTITIONS, Stopwatch, Task
from bench.light_work import LightState
from bench.product_work import Hand
from detectors.codec import encode, encode_key
from detectors.engine import Origin


class Light(StatefulBatchLogic[float, Any, bytes]):
    """The light work of one account."""

    def __init__(self, packed: bytes | None, watch: Stopwatch) -> None:
        self._state = LightState() if packed is None else LightState.unpack(packed)
        self._watch = watch

    def on_batch(self, batch: list[float]) -> tuple[Iterable[Any], bool]:
        """Learn."""
        for quantity in batch:
            self._state.learn(quantity)
        self._watch.count(len(batch))
        return (), StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """Return the state."""
        return self._state.pack()


class Product(StatefulBatchLogic[KafkaSourceMessage[Any, Any], KafkaSinkMessage[Any, Any], bytes]):
    """The product's work for one account, whose profile is restored at its first event."""

    def __init__(self, saved: bytes | None, hand: Hand, watch: Stopwatch) -> None:
        self._saved = saved
        self._profile: Any = None
        self._hand = hand
        self._watch = watch

    def on_batch(self, batch: list[KafkaSourceMessage[Any, Any]]) -> tuple[Iterable[KafkaSinkMessage[Any, Any]], bool]:
        """Detect and learn."""
        found: list[KafkaSinkMessage[Any, Any]] = []
        for message in batch:
            if self._profile is None:
                self._profile = self._hand.restore(message.key, self._saved)
            origin = Origin(
                message.topic or "", message.partition or 0, message.offset or 0, (message.timestamp or (0, 0))[1]
            )
            alerts = self._hand.handle(self._profile, message.value, origin)
            found += [KafkaSinkMessage(encode_key(alert.account), encode(alert)[0]) for alert in alerts]
        self._watch.count(len(batch))
        return found, StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """Return the profile."""
        return self._hand.save(self._profile)


def light(task: Task, watch: Stopwatch) -> Dataflow:
    """Return the dataflow of the light work."""

    def parse(message: KafkaSourceMessage[Any, Any]) -> tuple[str, float]:
        watch.begin()
        return message.key.decode(), orjson.loads(message.value)["quantity"]

    flow = Dataflow("light")
    read = op.input("read", flow, KafkaSource([task.bootstrap], [task.topic], tail=False))
    keyed = op.map("parse", read, parse)
    learned = op.stateful_batch("learn", keyed, lambda packed: Light(packed, watch))
    op.output("nothing", learned, TestingSink([]))
    return flow


def product(task: Task, watch: Stopwatch) -> Dataflow:
    """Return the dataflow of the product's work."""
    hand = Hand()
    flow = Dataflow("product")
    read = op.input("read", flow, KafkaSource([task.bootstrap], [task.topic], tail=False))
    keyed = op.key_on("key", read, lambda message: message.key.decode())
    found = op.stateful_batch("detect", keyed, lambda saved: Product(saved, hand, watch))
    alerts = op.map("alert", found, lambda pair: pair[1])
    kop.output("publish", alerts, brokers=[task.bootstrap], topic=task.alerts)
    return flow


def main(task: Task) -> None:
    """Run until the topic's end, which closes with a snapshot."""
    watch = Stopwatch(task.events)
    flow = (light if task.work == "light" else product)(task, watch)
    recovery = Path(task.folder) / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, PARTITIONS)
    cluster_main(flow, [], 0, recovery_config=RecoveryConfig(recovery))
    watch.stop()
    watch.report()


if __name__ == "__main__":
    main(Task.from_command_line())
