"""How many bytes each detector saves of an account that has been there for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from detectors.bulletin_board import BulletinBoard
from detectors.catalogue import CatalogueSettings, build_detectors
from detectors.detector import Detector
from detectors.events import ChargePosted, Merchant, UsageRecorded
from detectors.message import Message
from detectors.plans import Allowance, Plan
from detectors.profile import AccountFacts
from detectors.suspicious_charge_waiting import SIZE

from .rows import Row

_BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
_DAYS = 60
_METERS = ("power", "water")
_PLAN = {
    "p": Plan(
        currency="EUR",
        allowances={meter: Allowance(quantity=Decimal(5000), unit="kWh", overage=Decimal(1)) for meter in _METERS},
    )
}
_DIGEST_BYTES = 5
_FLOORS = {"usage_spike": 450, "plan_limit": 410, "monitored_series": 2048}


def rows() -> Iterator[Row]:
    """Yield the bytes of one more meter; of a charge account: what it keeps, and what waits there for labels, apart."""
    settings = CatalogueSettings.model_validate({"monitored_series": {"meters": {meter: {} for meter in _METERS}}})
    detectors = build_detectors(settings, _PLAN, BulletinBoard())
    for detector in detectors:
        if detector.kind in _FLOORS:
            one, two = (len(_saved(detector, list(_readings(_METERS[:number])))) for number in (1, 2))
            yield Row(f"{detector.kind}_state", two - one, "bytes", _FLOORS[detector.kind], is_ceiling=True)
        elif detector.kind == "suspicious_charge":
            yield from _charge_rows(detector)


def _charge_rows(detector: Detector) -> Iterator[Row]:
    """Yield what is saved of an account with one card: before anything waits, apart from digests, and a charge that waits."""
    events = list(_charges())
    memory: Any = _memory(detector, events)
    whole, digests, waiting = (
        len(detector.save(memory)),
        _DIGEST_BYTES * _different(events),
        len(memory.waiting) // SIZE,
    )
    memory.waiting = memory.merchants = b""
    bare = len(detector.save(memory))
    yield Row("suspicious_charge_state", bare - digests, "bytes", 60, is_ceiling=True)
    yield Row("suspicious_charge_digests_of_what_is_known", digests, "bytes")
    yield Row("suspicious_charge_waiting_charge", (whole - bare) / waiting, "bytes", 36, is_ceiling=True)


def _different(events: Sequence[ChargePosted]) -> int:
    """Return how many merchants, categories, countries and channels there are."""
    sides = [(event.merchant.id, event.merchant.category, event.merchant.country, event.channel) for event in events]
    return sum(len(set(side)) for side in zip(*sides, strict=True))


def _saved(detector: Detector, events: Sequence[Message]) -> bytes:
    return detector.save(_memory(detector, events))


def _memory(detector: Detector, events: Sequence[Message]) -> Any:
    facts = AccountFacts("a", plan="p")
    memory: Any = detector.begin()
    for event in events:
        detector.settle(event.time, facts, memory)
        detector.score(event, facts, memory)
        detector.learn(event, facts, memory, ())
    return memory


def _readings(meters: Sequence[str]) -> Iterator[UsageRecorded]:
    random = Random(3)  # noqa: S311 - the same in every run
    for hour in range(24 * _DAYS):
        for meter in meters:
            yield UsageRecorded(
                id=f"{meter}{hour}",
                source="/bench",
                account="a",
                time=_BEGAN + timedelta(hours=hour),
                meter=meter,
                unit="kWh",
                quantity=Decimal(f"{random.lognormvariate(0, 0.5):.3f}"),
            )


def _charges() -> Iterator[ChargePosted]:
    random = Random(4)  # noqa: S311 - the same in every run
    for number in range(2 * _DAYS):
        yield ChargePosted(
            id=f"c{number}",
            source="/bench",
            account="a",
            time=_BEGAN + timedelta(hours=12 * number),
            amount=Decimal(f"{random.lognormvariate(3.5, 0.5):.2f}"),
            currency="EUR",
            merchant=Merchant(id=f"m{random.randrange(30)}", category="5411", country="SE"),
            channel="card_present",
        )
