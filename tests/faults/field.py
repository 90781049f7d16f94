"""A field to do harm on: topics of its own, workers, traffic, and the proof afterwards that nothing was lost or doubled."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from aiokafka import ConsumerRecord

from detectors.dead_letter import dead_letter_topic
from detectors.profile_codec import _HEADER
from foretell.config import Config, load_config
from foretell.processes import Children
from streams.checkpoints import POSITIONS_KEY, Restored, restore
from streams.shard import STARTS_KEY
from streams.topics import INPUTS, admin, create

from .figures import say
from .patience import eventually
from .recomputation import Position, Recomputation, recompute
from .records import Records, read_topics
from .traffic import Traffic
from .worker_process import WorkerProcess

PARTITIONS = 4


def _allowance(quantity: int) -> dict[str, Any]:
    return {"currency": "EUR", "allowances": {"data": {"quantity": quantity, "unit": "GB", "overage": "1.00"}}}


@dataclass(frozen=True)
class Figures:
    """What the proof has seen."""

    events: int
    accounts: int
    alerts: int
    alerts_published: int
    dead_letters: int
    kinds: Counter[str]


class Field:
    """Topics with four partitions, a configuration, and what is done with them.

    Args:
        bootstrap: Kafka.
        folder: for the configuration and logs.
        children: what ends the workers.
        stream: settings of the `stream` section.
    """

    def __init__(self, bootstrap: str, folder: Path, children: Children, **stream: Any) -> None:
        self.prefix = f"f{uuid.uuid4().hex[:8]}"
        self.bootstrap = bootstrap
        self._folder = folder
        self._children = children
        self._config_path = folder / "foretell.yaml"
        self._traffic: list[Traffic] = []
        self.workers: list[WorkerProcess] = []
        self._settings: dict[str, Any] = {
            "kafka": {"bootstrap": bootstrap, "group": self.prefix},
            "topics": {"prefix": self.prefix, "partitions": PARTITIONS},
            "http": {"stream": 0},
            "stream": {"checkpoint_seconds": 0.4, "session_timeout_seconds": 6, **stream},
            "meters": {"data": {"unit": "GB"}},
            "plans": {"small": _allowance(8), "middle": _allowance(20), "large": _allowance(60)},
            "detectors": {"usage_spike": {"warm_up_hours": 2, "alerts_a_month": 5}},
        }
        self.config: Config = self.configure()

    def configure(self, **sections: Any) -> Config:
        """Write the configuration, with some sections replaced; workers that start from now on read it."""
        self._settings |= sections
        self._config_path.write_text(yaml.safe_dump(self._settings))
        self.config = load_config(self._config_path, {})
        return self.config

    def create_topics(self) -> None:
        """Create all topics that are not there."""
        with admin(self.config.kafka) as client:
            create(client, self.config.topics)

    def topic(self, role: str) -> str:
        """Return the name of the topic with this role."""
        return self.config.topics.named(role)

    # workers and traffic ----------------------------------------------------------------------------------------

    def start_worker(self, seat: str | None = None, sabotage: str | None = None) -> WorkerProcess:
        """Start a worker; with a seat as a static member of the group."""
        log_path = self._folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(self._children, self._config_path, log_path, seat=seat, sabotage=sabotage)
        self.workers.append(worker)
        return worker

    def traffic(self, seed: int, **options: Any) -> Traffic:
        """Return traffic of which the accounts are introduced already."""
        say(f"seed {seed}")
        traffic = Traffic(self.bootstrap, self.config.topics, seed=seed, **options)
        self._traffic.append(traffic)
        traffic.introduce()
        return traffic

    def close(self) -> None:
        """Disconnect what sends."""
        for traffic in self._traffic:
            traffic.close()

    # what is on the topics --------------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of all inputs."""
        return tuple(self.topic(each.role) for each in INPUTS)

    def read(self, *roles: str) -> Records:
        """Return every committed record of the topics with these roles."""
        return read_topics(self.config.kafka, [self.topic(role) for role in roles])

    def read_inputs(self) -> Records:
        """Return every committed record of every input."""
        return read_topics(self.config.kafka, self.inputs)

    def saved(self) -> dict[int, Restored]:
        """Return what the state topic holds."""
        found = asyncio.run(restore(self.config.kafka, self.topic("state"), self.inputs, range(PARTITIONS)))
        assert found is not None
        return found

    def await_saved(self, inputs: Records, seconds: float = 60) -> dict[int, Restored]:
        """Return what the state topic holds once it includes all of `inputs`."""
        wanted = {place: records[-1].offset + 1 for place, records in inputs.items() if records}

        behind: list[str] = []

        def look() -> dict[int, Restored] | None:
            for worker in self.workers[-1:]:
                code = worker.process.exit_code
                assert code is None, f"the worker ended with {code}:\n{worker.process.log_tail(30)}"
            saved = self.saved()
            behind[:] = [
                f"{name}-{number} at {at} of {end}"
                for (name, number), end in wanted.items()
                if (at := saved[number].positions[name]) < end
            ]
            return None if behind else saved

        try:
            return eventually(look, seconds, every=0.3)
        except AssertionError as error:
            log = self.workers[-1].process.log_tail(5)
            raise AssertionError(f"not in the state after {seconds} s: {behind}\n{log}") from error

    def dead_letters(self) -> dict[Position, tuple[str, Any]]:
        """Return the reason and the record of each dead letter, by where it stood."""
        found: dict[Position, tuple[str, Any]] = {}
        names = [dead_letter_topic(name) for name in self.inputs]
        for records in read_topics(self.config.kafka, names).values():
            for record in records:
                headers = dict(record.headers)
                topic, partition, offset = (
                    headers[f"foretell_original_{what}"].decode() for what in ("topic", "partition", "offset")
                )
                found[topic, int(partition), int(offset)] = (headers["foretell_reason"].decode(), record)
        return found

    # the proof --------------------------------------------------------------------------------------------------

    def settle(self, workers: Sequence[WorkerProcess] = (), seconds: float = 60) -> Records:
        """Wait until everything sent is in the state, look at the counters, end the workers; return the inputs."""
        inputs = self.read_inputs()
        self.await_saved(inputs, seconds)
        for worker in workers:
            counts = eventually(lambda worker=worker: _without_lag(worker))  # type: ignore[misc]
            received = counts.get("foretell_events_received_total", 0)
            parts = [
                counts.get(f"foretell_{name}_total", 0)
                for name in ("events_applied", "events_repeated", "dead_letters")
            ]
            say(f"{worker.log_path.stem}: received {received:.0f} = applied, repeated, dead {parts}")
            assert received == sum(parts)
        codes = [worker.end() for worker in workers]
        assert codes == [0] * len(workers), "\n".join(worker.process.log_tail(30) for worker in workers)
        return inputs

    def prove(
        self,
        inputs: Records,
        *,
        killers: Collection[Position] = (),
        now_ms: float | None = None,
        expected: Recomputation | None = None,
        bare: Callable[[bytes], bytes] = bytes,
    ) -> Figures:
        """Compare state, alerts and dead letters with an offline recomputation over the same records.

        Args:
            inputs: every record of every input.
            killers: as `recompute` wants to know.
            now_ms: as `recompute` wants to know.
            expected: what is right, where it takes more than one recomputation to know.
            bare: what of a saved account is compared.
        """
        settings = self.config.stream_settings()
        right = expected or recompute(settings, inputs, killers=killers, now_ms=now_ms)
        saved = self.saved()
        _compare_states(right, saved, bare)
        alerts = [record for records in self.read("notifications").values() for record in records]
        _compare_alerts(right, alerts)
        dead = {position: reason for position, (reason, _) in self.dead_letters().items()}
        assert dead == right.dead
        wanted = sum(map(len, right.alerts.values()))
        figures = Figures(
            right.records, sum(map(len, right.states.values())), wanted, len(alerts), len(dead), right.kinds
        )
        say(
            f"{figures.events} events, {right.repeated} of them repeated, {figures.accounts} accounts all exact; "
            f"{figures.alerts} alerts expected, all present, {len(alerts) - wanted} of them again; "
            f"{figures.dead_letters} dead letters; {dict(right.kinds)}"
        )
        return figures


def _without_lag(worker: WorkerProcess) -> dict[str, float] | None:
    counts = worker.scrape()
    return None if counts.get("foretell_consumer_lag_records", 0) else counts


def _compare_states(right: Recomputation, saved: dict[int, Restored], bare: Callable[[bytes], bytes]) -> None:
    for number, expected in right.states.items():
        found = saved[number].states
        assert sorted(found) == sorted(expected)
        wrong = [key for key in sorted(expected) if bare(found[key]) != bare(expected[key])]
        assert not wrong, f"partition {number}: {len(wrong)} of {len(expected)} states are wrong, as {wrong[0]!r}:" + (
            _explain(found[wrong[0]], expected[wrong[0]])
        )
        shared = {key: part for key, part in saved[number].shared.items() if key not in (POSITIONS_KEY, STARTS_KEY)}
        assert sorted(shared) == sorted(right.shared[number])
        differ = [key for key in sorted(shared) if shared[key] != right.shared[number][key]]
        assert not differ, f"partition {number}: pools differ: {differ}"


def _compare_alerts(right: Recomputation, alerts: list[ConsumerRecord]) -> None:
    """Each alert is there, none is that should not be, and one that is there twice says the same twice."""
    published: dict[str, set[bytes]] = {}
    for record in alerts:
        published.setdefault(json.loads(record.value)["id"], set()).add(record.value)
    missing, surplus = right.alerts.keys() - published.keys(), published.keys() - right.alerts.keys()
    assert not missing, f"{len(missing)} of {len(right.alerts)} alerts are missing, as {right.alerts[min(missing)]}"
    assert not surplus, f"{len(surplus)} alerts should not be, as {published[min(surplus)]}"
    other = [alert_id for alert_id, values in published.items() if values != right.alerts[alert_id]]
    assert not other, (
        f"{len(other)} alerts say something else, as {published[other[0]]}, expected {right.alerts[other[0]]}"
    )


def _explain(found: bytes, expected: bytes) -> str:
    """Return where two saved profiles differ, in a few lines."""
    size = _HEADER.size
    lines = [f"header: {_HEADER.unpack(found[:size])}, expected {_HEADER.unpack(expected[:size])}"]
    (facts, recent, memories), (right_facts, right_recent, right_memories) = (
        msgspec.msgpack.decode(saved[size:]) for saved in (found, expected)
    )
    lines.append(f"facts: {facts}, expected {right_facts}")
    lines.append(
        f"events remembered: {len(recent) // 8}, expected {len(right_recent) // 8}, equal: {recent == right_recent}"
    )
    lines += [
        f"{kind}: {memories.get(kind)}\n expected {right_memories.get(kind)}"
        for kind in sorted(memories.keys() | right_memories.keys())
        if memories.get(kind) != right_memories.get(kind)
    ]
    return "\n".join(["", *lines])
