"""The offline recomputation: what the state and the alerts must be, whatever happened to the workers."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from aiokafka import ConsumerRecord

from detectors.alerts import Alert
from detectors.bulletins import Bulletin
from detectors.codec import Reader, Rejected, encode
from detectors.engine import DetectorFailedError, Engine, Origin
from detectors.message import Message
from detectors.profile import Profile
from streams.settings import StreamSettings
from streams.topics import INPUTS, readers

from .records import Records

Position = tuple[str, int, int]


class Everyone:
    """All profiles, as an engine wants to ask for them.

    Attributes:
        profiles: by account.
        touched: accounts that were asked for; a worker saves these anew.
    """

    def __init__(self) -> None:
        self.profiles: dict[bytes, Profile] = {}
        self.touched: set[bytes] = set()

    def get(self, key: bytes) -> Profile | None:
        """Return the account's profile, None for an account never seen."""
        self.touched.add(key)
        return self.profiles.get(key)

    def add(self, key: bytes, cell: Profile) -> None:
        """Keep the profile of an account that was not there."""
        self.profiles[key] = cell

    def remove(self, key: bytes) -> None:
        """Forget the account, if it is there."""
        self.profiles.pop(key, None)

    def __len__(self) -> int:
        return len(self.profiles)


@dataclass
class Recomputation:
    """What the inputs amount to.

    Attributes:
        states: by partition, the saved profile of each account.
        shared: by partition, what is saved beside the accounts.
        alerts: by id, state included, the records' values: two spikes of a day are one alert to the customer.
        dead: where the records stand that are to become dead letters, with the reason.
    """

    states: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    shared: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    alerts: dict[str, set[bytes]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    dead: dict[Position, str] = field(default_factory=dict)
    records: int = 0
    repeated: int = 0

    def keep(self, alerts: list[Alert]) -> None:
        """Take in what was raised."""
        for alert in alerts:
            self.alerts.setdefault(alert.id, set()).add(encode(alert)[0])
            self.kinds[f"{alert.kind} {alert.state}"] += 1


def recompute(
    settings: StreamSettings,
    inputs: Records,
    *,
    killers: Collection[Position] = (),
    now_ms: float | None = None,
    earlier: Recomputation | None = None,
) -> Recomputation:
    """Run every input through a fresh engine per partition: the accounts topic first, then the others.

    Args:
        settings: the workers'.
        inputs: every record of every input.
        killers: records that no process survives; they change nothing.
        now_ms: when all timers up to then have gone off; None where none was due.
        earlier: what it goes on from, made with settings of that time; `inputs` is then what came after it. Its alerts
            and dead letters are taken over.
    """
    found = Recomputation()
    if earlier is not None:
        found = replace(
            earlier,
            states=dict(earlier.states),
            shared=dict(earlier.shared),
            alerts={alert_id: set(values) for alert_id, values in earlier.alerts.items()},
            kinds=Counter(earlier.kinds),
            dead=dict(earlier.dead),
        )
    for number in range(settings.topics.partitions):
        _recompute_partition(settings, inputs, number, killers, now_ms, found)
    return found


def _recompute_partition(
    settings: StreamSettings,
    inputs: Records,
    number: int,
    killers: Collection[Position],
    now_ms: float | None,
    found: Recomputation,
) -> None:
    everyone = Everyone()
    engine = Engine(settings.engine, everyone)
    before = found.states.get(number, {})
    engine.restore(found.shared.get(number, {}), before.items())
    for key, saved in before.items():
        everyone.profiles[key] = engine.codec.restore(key.decode(), saved)
    known = readers(settings.topics)

    for topic in (settings.topics.named(each.role) for each in INPUTS):
        for record in inputs.get((topic, number), ()):
            found.records += 1
            position = (topic, number, record.offset)
            if position in killers:
                found.dead[position] = "killed_the_worker"
                continue
            try:
                found.keep(_alerts(engine, known[topic], record, settings.worker.clock))
            except Rejected as rejected:
                found.dead[position] = rejected.reason
            except DetectorFailedError as failed:
                found.dead[position] = "detector_failed"
                found.keep(failed.alerts)
    if now_ms is not None:
        found.keep(engine.tick(now_ms))
    found.repeated += engine.repeated
    found.states[number] = {
        key: engine.codec.save(profile) if key in everyone.touched else before[key]
        for key, profile in everyone.profiles.items()
    }
    found.shared[number] = engine.save_shared()


def _alerts(engine: Engine, reader: Reader, record: ConsumerRecord, clock: str) -> list[Alert]:
    event = reader.read(record.value, record.headers, f"{record.topic}-{record.partition}-{record.offset}")
    if isinstance(event, Bulletin):
        engine.hear(event)
        return []
    assert isinstance(event, Message)
    origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
    now_ms = record.timestamp if clock == "records" else min(record.timestamp, event.time.timestamp() * 1000)
    return engine.handle(event, origin, now_ms)
