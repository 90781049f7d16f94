"""Quix Streams: a stateful dataframe, as its documentation has it ("Stateful Applications").

State is in RocksDB and every change of it goes to a changelog topic; both are its defaults. The state is packed by us and
set as bytes, which the documentation offers and which is quicker than its JSON of several values.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State, message_context

from bench.contestant import Stopwatch, Task
from bench.light_work import LightState
from bench.product_work import Hand
from detectors.codec import encode
from detectors.engine import Origin


def light(app: Application, task: Task) -> Any:
    """Return the dataframe of the light work."""

    def learn(event: dict[str, Any], state: State) -> None:
        packed = state.get_bytes("statistics")
        statistics = LightState() if packed is None else LightState.unpack(packed)
        statistics.learn(event["quantity"])
        state.set_bytes("statistics", statistics.pack())

    events = app.topic(task.topic, key_deserializer="string", value_deserializer="json")
    return app.dataframe(events).update(learn, stateful=True)


def product(app: Application, task: Task) -> Any:
    """Return the dataframe of the product's work."""
    hand = Hand()

    def detect(value: bytes, key: bytes, timestamp: int, _: Any, state: State) -> list[bytes]:
        context = message_context()
        profile = hand.restore(key, state.get_bytes("profile"))
        origin = Origin(context.topic, context.partition, context.offset, timestamp)
        alerts = hand.handle(profile, value, origin)
        state.set_bytes("profile", hand.save(profile))
        return [encode(alert)[0] for alert in alerts]

    events = app.topic(task.topic, key_deserializer="bytes", value_deserializer="bytes")
    alerts = app.topic(task.alerts, value_serializer="bytes")
    found = app.dataframe(events).apply(detect, stateful=True, metadata=True, expand=True)
    return found.to_topic(alerts)


def main(task: Task) -> None:
    """Run until all events are done and committed."""
    watch = Stopwatch(task.events)

    def count(_topic: str, _partition: int, _offset: int) -> None:
        if watch.count():
            app.stop()

    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.run,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        on_message_processed=count,
        loglevel="WARNING",
    )
    (light if task.work == "light" else product)(app, task)
    app.run()
    watch.stop()
    watch.report()


if __name__ == "__main__":
    main(Task.from_command_line())
