"""Stock Faust: an agent and a table, as its user guide has them ("Agents", "Tables and Windowing", "Codecs").

The table is in memory and every change of it goes to its changelog topic. It holds the objects themselves and a codec of
our own packs them, which the guide offers and which is quicker than its JSON or pickle.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import faust
from faust.serializers import codecs

from bench.contestant import PARTITIONS, Stopwatch, Task
from bench.light_work import LightState
from bench.product_work import Hand
from detectors.codec import encode, encode_key
from detectors.engine import Origin


class LightCodec(codecs.Codec):
    """The light work's state as a table's value."""

    def _dumps(self, obj: LightState) -> bytes:
        return obj.pack()

    def _loads(self, s: bytes) -> LightState:
        return LightState.unpack(s)


class ProfileCodec(codecs.Codec):
    """The product's profiles as a table's values."""

    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self._hand = hand

    def _dumps(self, obj: Any) -> bytes:
        return self._hand.save(obj)

    def _loads(self, s: bytes) -> Any:
        return self._hand.restore(b"0", s)


def light_app(task: Task, app: faust.App, watch: Stopwatch) -> None:
    """Define the light work."""
    codecs.register("light", LightCodec())
    events = app.topic(task.topic, key_type=bytes, value_serializer="json")
    states: Any = app.Table("states", partitions=PARTITIONS, key_type=bytes)
    states.value_serializer = "light"

    @app.agent(events)
    async def learn(stream: Any) -> None:
        async for account, event in stream.items():
            state = states.get(account)
            if state is None:
                state = LightState()
            state.learn(event["quantity"])
            states[account] = state
            if watch.count():
                stop()


def product_app(task: Task, app: faust.App, watch: Stopwatch) -> None:
    """Define the product's work."""
    hand = Hand()
    codecs.register("profile", ProfileCodec(hand))
    events = app.topic(task.topic, key_type=bytes, value_type=bytes, value_serializer="raw")
    alerts = app.topic(task.alerts, partitions=PARTITIONS, value_type=bytes, value_serializer="raw")
    profiles: Any = app.Table("profiles", partitions=PARTITIONS, key_type=bytes)
    profiles.value_serializer = "profile"

    @app.agent(events)
    async def detect(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            profile = profiles.get(event.key)
            if profile is None:
                profile = hand.restore(event.key, None)
            origin = Origin(message.topic, message.partition, message.offset, int(message.timestamp * 1000))
            for alert in hand.handle(profile, event.value, origin):
                value, headers = encode(alert)
                await alerts.send(key=encode_key(alert.account), value=value, headers=dict(headers))
            profiles[event.key] = profile
            if watch.count():
                stop()


def stop() -> None:
    """Let the worker finish, as SIGTERM does."""
    os.kill(os.getpid(), signal.SIGTERM)


def main(task: Task) -> None:
    """Run the worker until all events are done."""
    app = faust.App(
        task.run,
        broker=f"kafka://{task.bootstrap}",
        store="memory://",
        topic_partitions=PARTITIONS,
        datadir=task.folder,
        web_enabled=False,
    )
    watch = Stopwatch(task.events)
    (light_app if task.work == "light" else product_app)(task, app, watch)
    worker = faust.Worker(app, loglevel="WARNING", redirect_stdouts=False)
    worker.spinner = None
    with suppress(SystemExit):  # a worker ends so
        worker.execute_from_commandline()
    watch.stop()
    watch.report()


if __name__ == "__main__":
    asyncio.set_event_loop(asyncio.new_event_loop())
    main(Task.from_command_line())
