"""Monitored series: an area's load, a component's errors does what it never did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from sys import intern
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from .alerts import Alert, AlertClass
from .detector import DetectorSettings, Finding
from .events import UsageRecorded
from .message import Message, Name
from .meter_reading import NO_COUNTER
from .meter_reading import Counter as MeterCounter
from .monitored_series_memory import KIND, VERSION, Memory, Watched, of_meter, restore_memory, save_memory
from .monitored_series_words import anomaly, end_of_anomaly, moment_of
from .online.series_watch import GATE, LEAST_GATE, SeriesWatch
from .profile import AccountFacts

_DIRECTIONS = {"up": 1, "down": -1, "both": 0}
_MOST_METERS = 32  # of one account
_MOST_CALM = 1_000_000  # readings; from there it is long ago


class WatchedMeter(BaseModel):
    """How one meter is watched.

    Attributes:
        direction: whether what is unusually high is worth an alert, unusually low, or both.
        decades: how odd a reading must be: 2 is about one reading in a hundred of such a series, by five tests together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: Literal["up", "down", "both"] = "both"
    decades: Annotated[float, Field(ge=LEAST_GATE, le=6)] = GATE


class MonitoredSeriesSettings(DetectorSettings):
    """How the monitored-series detector is tuned.

    Attributes:
        meters: which meters are monitored series, of whatever account; none by default.
        calm_readings: after so many usual readings an anomaly is over.
    """

    meters: dict[Name, WatchedMeter] = Field(default_factory=dict)
    calm_readings: Annotated[int, Field(ge=1, le=10_000)] = 24


class MonitoredSeries:
    """Compare each reading of a single long series with all that the series has done.

    Not for customers' habits, of which many are alike: `UsageSpike` pools those. A monitored series is one of its kind, such
    as an area's usage or a component's errors, and is judged by its own past alone (`SeriesWatch`). One alert an episode:
    what grows odder by half updates it, and it is resolved when readings have been usual for a while. Each alert raises the
    series' own bar.

    Readings are taken in the order in which they come. A counter's step is spread over the hours it took; its first value
    says nothing. Corrections teach nothing. `irregularities` counts `correction`, `first_of_counter`, `late_of_counter`,
    `too_many_meters`, and of `online.series_watch.IRREGULARITIES` those that can pass the door: `time_went_back`.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = VERSION
    alert_class: ClassVar[AlertClass] = "staff"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded,)

    def __init__(self, settings: MonitoredSeriesSettings) -> None:
        self.irregularities: Counter[str] = Counter()
        self._calm_readings = settings.calm_readings
        self._rules = {name: (meter.decades, _DIRECTIONS[meter.direction]) for name, meter in settings.meters.items()}

    def begin(self) -> Memory:
        """Return the memory of an account never seen: no meter yet."""
        return []

    def settle(self, now: object, facts: AccountFacts, memory: Memory) -> None:
        """Nothing ends but by a reading."""

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return an anomaly that `event` shows, that it has grown, or that it is over."""
        if not isinstance(event, UsageRecorded) or event.meter not in self._rules:
            return ()
        watched = of_meter(event.meter, memory)
        if watched is None:
            return ()
        findings = []
        period = watched.episode
        if period and watched.calm >= self._calm_readings:
            findings.append(end_of_anomaly(event, facts, period, watched.calm))
            period = ""
        value = _value_of(event, watched.counter)
        if value is not None:
            t = event.time.timestamp()
            alarm = watched.watch.score(t, value)
            if alarm > 0:
                since = moment_of(watched.odd_since if self._is_in_a_run(watched) else t)
                state: Literal["updated", "triggered"] = "updated" if period else "triggered"
                why, score = watched.watch.why(t, value), alarm / watched.watch.gate
                findings.append(anomaly(event, facts, why, since, period or _period_of(event), score, state))
        return findings

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:  # noqa: ARG002 - the protocol
        """Take in the reading, and note what was told."""
        if not isinstance(event, UsageRecorded) or event.meter not in self._rules:
            return
        watched = of_meter(event.meter, memory)
        if watched is None:
            if len(memory) >= _MOST_METERS:
                self.irregularities["too_many_meters"] += 1
                return
            watch = SeriesWatch(*self._rules[event.meter])
            watched = Watched(intern(event.meter), intern(event.unit), watch, calm=self._calm_readings)
            memory.append(watched)
        self._learn_reading(event, watched)
        for alert in raised:
            watched.episode = _period_of(event) if alert.state == "triggered" else watched.episode
            watched.episode = "" if alert.state == "resolved" else watched.episode

    def strength(self, event: UsageRecorded, memory: Memory) -> float:
        """Return how odd the reading is beside the series' gate, told or not: 1.0 is the line. Changes nothing.

        For whoever weighs several series, as to find an outage: the alerts keep silent while one is told already.
        """
        watched = of_meter(event.meter, memory)
        value = None if watched is None else _value_of(event, watched.counter)
        if watched is None or value is None:
            return 0.0
        return watched.watch.oddness(event.time.timestamp(), value) / watched.watch.gate

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return save_memory(memory)

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote."""
        return restore_memory(saved, version, lambda meter: self._rules.get(meter, (GATE, 0)))

    def _learn_reading(self, event: UsageRecorded, watched: Watched) -> None:
        value, counter = _value_of(event, watched.counter), watched.counter
        if value is None:
            self.irregularities[_why_no_value(event, counter)] += 1
        else:
            t, watch = event.time.timestamp(), watched.watch
            what = watch.irregularity(t, value)
            if what:
                self.irregularities[what] += 1
            if watch.is_odd(t, value):
                if not self._is_in_a_run(watched):
                    watched.odd_since = t
                watched.calm = 0
            else:
                watched.calm = min(watched.calm + 1, _MOST_CALM)
            watch.learn(t, value)
        watched.counter = counter.after(event)

    def _is_in_a_run(self, watched: Watched) -> bool:
        return watched.calm < self._calm_readings


def _value_of(event: UsageRecorded, counter: MeterCounter) -> float | None:
    """Return what is watched of a reading: its quantity, or a counter's step an hour; None when it says nothing."""
    if event.correction:
        return None
    if not event.cumulative:
        return float(event.quantity)
    if counter.at is None or event.time < counter.at:
        return None
    return float(counter.used(event)) / counter.hours_since(event)


def _why_no_value(event: UsageRecorded, counter: MeterCounter) -> str:
    if event.correction:
        return "correction"
    return "first_of_counter" if counter is NO_COUNTER else "late_of_counter"


def _period_of(event: UsageRecorded) -> str:
    return event.time.astimezone(UTC).isoformat()
