"""Faust's private surface, pinned: when a new version moves a name, this says which."""

import asyncio
import inspect
from importlib.metadata import version
from typing import Any, cast

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from faust.assignor.partition_assignor import PartitionAssignor
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.transport import BatchApp, BatchConsumer, BatchTransport, EvenAssignor, suit_waits


def test_faust_and_aiokafka_are_the_versions_whose_inside_was_read() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_drain_messages", ["self", "fetcher"]),
        ("_new_offset", ["self", "tp"]),
        ("perform_seek", ["self"]),
        ("_wait_next_records", ["self", "timeout"]),
        ("seek_wait", ["self", "partitions"]),
        ("assignment", ["self"]),
        ("position", ["self", "tp"]),
        ("highwater", ["self", "tp"]),
        ("_new_consumer_thread", ["self"]),
    ],
)
def test_the_consumer_still_has_the_method(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(Consumer, name)).parameters) == parameters


@pytest.mark.parametrize(
    "name",
    ["_acked", "_acked_index", "flow_active", "can_resume_flow", "suspend_flow", "callback"],
)
def test_the_consumer_still_has_the_attribute(name: str) -> None:
    source = "".join(inspect.getsource(base) for base in Consumer.__mro__ if base.__module__.startswith("faust"))

    assert f"self.{name}" in source


def test_the_thread_still_makes_the_consumer_where_we_mend_it() -> None:
    assert list(inspect.signature(AIOKafkaConsumerThread._create_worker_consumer).parameters) == ["self", "transport"]
    assert "self._create_worker_consumer(" in inspect.getsource(AIOKafkaConsumerThread._create_consumer)


def test_aiokafka_still_reads_the_setting_when_it_starts() -> None:
    assert "self._isolation_level" in inspect.getsource(AIOKafkaConsumer.start)


def test_a_fetch_still_reads_how_long_it_may_wait_when_it_is_made() -> None:
    assert "self._get_actions_per_node(" in inspect.getsource(Fetcher._fetch_requests_routine)
    made = inspect.getsource(Fetcher._get_actions_per_node)
    assert "self._fetch_max_wait_ms" in made
    assert "in self._records" in made


@pytest.mark.parametrize(("waiting", "milliseconds"), [({}, 250), ({TP("t", 0): object()}, 5)])
def test_a_fetch_is_short_while_it_leaves_partitions_out(waiting: dict[TP, object], milliseconds: int) -> None:
    class Played:
        _records, _fetch_max_wait_ms, heard = waiting, 1500, 0

        def _get_actions_per_node(self, _: object) -> str:
            self.heard = self._fetch_max_wait_ms
            return "actions"

    fetcher = Played()
    suit_waits(fetcher)

    assert fetcher._get_actions_per_node("assignment") == "actions"
    assert fetcher.heard == milliseconds


def test_the_app_asks_for_its_transport_where_we_answer() -> None:
    assert "self._new_transport()" in inspect.getsource(faust.App)
    assert isinstance(BatchApp("probe", broker="kafka://127.0.0.1:1").transport, BatchTransport)


def test_the_transport_makes_our_consumer() -> None:
    assert BatchTransport.Consumer is BatchConsumer
    assert "self.Consumer(" in "".join(inspect.getsource(base) for base in Transport.__mro__[:-1])


def test_a_message_still_takes_what_we_hand_it() -> None:
    fields = list(inspect.signature(ConsumerMessage).parameters)

    assert fields[:12] == [
        "topic",
        "partition",
        "offset",
        "timestamp",
        "timestamp_type",
        "headers",
        "key",
        "value",
        "checksum",
        "serialized_key_size",
        "serialized_value_size",
        "tp",
    ]
    assert "generation_id" in fields


def test_shards_are_taken_over_before_reading_goes_on() -> None:
    """The recovery awaits our signal first, then seeks, then lets the flow resume."""
    source = inspect.getsource(Recovery._resume_streams)

    assert "on_rebalance_complete.send()" in source
    assert source.index("on_rebalance_complete.send()") < source.index("resume_flow") < len(source)
    assert source.index("on_rebalance_complete.send()") < source.index("perform_seek")


def test_the_app_still_says_in_which_generation_it_is() -> None:
    app = BatchApp("probe", broker="kafka://127.0.0.1:1")

    assert app.consumer_generation_id == 0
    assert app.rebalancing is False


def test_every_worker_gets_its_share_and_partitions_stay_together() -> None:
    app = BatchApp("probe", broker="kafka://127.0.0.1:1")

    assert isinstance(app.assignor, EvenAssignor)
    assert isinstance(app.assignor, PartitionAssignor)
    assert app.assignor.replicas == 0


def test_a_worker_that_ends_while_the_group_rebalances_has_not_crashed() -> None:
    """Faust takes a fetcher that is cancelled in a rebalance for a crashed one, and raises after an orderly end."""

    async def end_in_a_rebalance() -> BaseException | None:
        app = BatchApp("probe", broker="kafka://127.0.0.1:1")
        app.rebalancing = True
        app.consumer.stop_flow()
        fetcher = app._fetcher
        await fetcher.start()
        await asyncio.sleep(0)  # the fetcher's task waits for the flow to be resumed
        await fetcher.stop()
        cast("Any", app.consumer)._thread.thread_loop.close()  # it was never started
        return fetcher.crash_reason

    assert asyncio.run(end_in_a_rebalance()) is None
