"""Data quality: a reading that no customer can have caused is kept from the models, and staff are told."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from sys import intern
from typing import Annotated, ClassVar

import msgspec
from pydantic import Field

from .alerts import Alert, AlertClass, Reason
from .detector import DetectorSettings, Finding
from .events import UsageRecorded
from .message import Message, Name
from .meter_reading import NO_COUNTER, Counter, readable
from .plans import Plan
from .profile import AccountFacts
from .saved_memory import Format

KIND = "data_quality"
_VERSION = 1
_USEFUL = timedelta(days=7)


class Memory(msgspec.Struct, gc=False):
    """What is kept of one account; mostly nothing.

    Attributes:
        counters: by meter, the last value that was believed; nothing of meters that send amounts.
        told: by meter, the local day of the last alert.
    """

    counters: dict[str, Counter] | None = None
    told: dict[str, str] | None = None


class DataQualitySettings(DetectorSettings):
    """When a reading is taken for a fault.

    Attributes:
        times_largest_allowance: one reading of more than so many times the largest allowance that any plan has of its meter;
            a counter's step counts as a reading. Meters without an allowance are not judged.
    """

    times_largest_allowance: Annotated[Decimal, Field(gt=1)] = Decimal(10)


class DataQuality:
    """Keep from the other detectors what cannot be: a decimal point that moved, a counter that jumped, a unit mixed up.

    A reading that is withheld joins no total and teaches no habit. Where it was right after all it is sent again as a
    `correction`, with a new id: corrections are not judged. Staff are told once per account, meter and day.
    """

    kind: ClassVar[str] = KIND
    version: ClassVar[int] = _VERSION
    alert_class: ClassVar[AlertClass] = "staff"
    reads: ClassVar[tuple[type[Message], ...]] = (UsageRecorded,)

    def __init__(self, settings: DataQualitySettings, plans: Mapping[Name, Plan]) -> None:
        self.irregularities: Counts[str] = Counts()
        self._most: dict[tuple[str, str], Decimal] = {}  # by meter and unit
        for plan in plans.values():
            for meter, allowance in plan.allowances.items():
                most = settings.times_largest_allowance * allowance.quantity
                key = (meter, allowance.unit)
                self._most[key] = max(most, self._most.get(key, most))

    def begin(self) -> Memory:
        """Return the memory of an account never seen."""
        return Memory()

    def settle(self, now: datetime, facts: AccountFacts, memory: Memory) -> None:
        """Do nothing: no hour or day ends here."""

    def withholds(self, event: Message, memory: Memory) -> bool:
        """Return whether `event` is to be kept from the other detectors."""
        if not isinstance(event, UsageRecorded):
            return False
        most = self._most.get((event.meter, event.unit))
        return most is not None and not event.correction and _used(event, memory) > most > 0

    def score(self, event: Message, facts: AccountFacts, memory: Memory) -> Sequence[Finding]:
        """Return what is wrong with `event`."""
        if not isinstance(event, UsageRecorded) or not self.withholds(event, memory):
            return ()
        day = event.time.astimezone(facts.zone).date().isoformat()
        if memory.told is not None and memory.told.get(event.meter) == day:
            return ()
        used, most = _used(event, memory), self._most[event.meter, event.unit]
        what = (
            f"One reading says that {readable(used)} {event.unit} of {event.meter} were used. "
            f"More than {readable(most)} {event.unit} is not believed: the reading is withheld. "
            "If it is right, send it again as a correction, with a new id."
        )
        score = float(used / most)
        return (
            Finding(
                subject=event.meter,
                period=day,
                score=score,
                severity="warning",
                occurred_at=event.time,
                useful_until=event.time + _USEFUL,
                reasons=(Reason(what=what, usual=readable(most), seen=readable(used), contribution=score),),
                facts={
                    "account_ending": event.account[-4:],
                    "meter": event.meter,
                    "unit": event.unit,
                    "seen": used,
                    "most": most,
                    "event_id": event.id,
                },
            ),
        )

    def learn(self, event: Message, facts: AccountFacts, memory: Memory, raised: Sequence[Alert]) -> None:
        """Remember the counter's value, unless it is not believed: the next one is compared with the last good one."""
        if not isinstance(event, UsageRecorded):
            return
        if self.withholds(event, memory):
            self.irregularities["implausible_reading"] += 1
            if raised:
                memory.told = memory.told or {}
                memory.told[intern(event.meter)] = event.time.astimezone(facts.zone).date().isoformat()
        elif event.cumulative and (event.meter, event.unit) in self._most:
            memory.counters = memory.counters or {}
            memory.counters[intern(event.meter)] = _counter(event, memory).after(event)

    def save(self, memory: Memory) -> bytes:
        """Return the memory in the format of `version`."""
        return _FORMAT.encode((memory.counters, memory.told))

    def restore(self, saved: bytes, version: int) -> Memory:
        """Return the memory that `save` of that version wrote."""
        return Memory(*_FORMAT.decode(saved, version))


def _counter(event: UsageRecorded, memory: Memory) -> Counter:
    return NO_COUNTER if memory.counters is None else memory.counters.get(event.meter, NO_COUNTER)


def _used(event: UsageRecorded, memory: Memory) -> Decimal:
    return _counter(event, memory).used(event) if event.cumulative else event.quantity


_FORMAT = Format(KIND, _VERSION, tuple[dict[str, Counter] | None, dict[str, str] | None])
