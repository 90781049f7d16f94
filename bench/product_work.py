"""The product's work: the usage-spike and plan-limit detectors over accounts whose plan is known."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from detectors.accounts import AccountsInMemory
from detectors.alerts import Alert
from detectors.catalogue import CatalogueSettings
from detectors.codec import Reader
from detectors.engine import Engine, EngineSettings, Origin
from detectors.events import AccountUpdated
from detectors.message import Message
from detectors.plan_limit import PlanLimitSettings
from detectors.plans import Allowance, Plan
from detectors.profile import Profile
from detectors.suspicious_charge import SuspiciousChargeSettings
from detectors.usage_spike import UsageSpikeSettings

_TIGHT_EVERY = 100
"""One account in so many passes its allowance while it is measured, so that there are alerts."""

READER = Reader(("usage.recorded",))


def _plan(allowance: int) -> Plan:
    return Plan(currency="EUR", allowances={"data": Allowance(quantity=Decimal(allowance), unit="MB")})


PLANS = {"wide": _plan(10_000_000), "tight": _plan(20_000)}
THREE_DETECTORS = EngineSettings(plans=PLANS)
SETTINGS = EngineSettings(
    plans=PLANS,
    detectors=CatalogueSettings(
        usage_spike=UsageSpikeSettings(warm_up_hours=12),  # so that most of what is measured is past it
        plan_limit=PlanLimitSettings(forecast_after_days=2),
        suspicious_charge=SuspiciousChargeSettings(enabled=False),
    ),
)


def plan_of(key: bytes) -> str:
    """Return the plan of an account: its number decides."""
    return "tight" if int(key[-8:]) % _TIGHT_EVERY == 0 else "wide"


def seed(key: bytes) -> bytes:
    """Return the saved profile of an account of which only the plan is known."""
    return _seed_on(plan_of(key))


@cache
def _seed_on(plan: str) -> bytes:
    accounts = AccountsInMemory()
    engine = Engine(SETTINGS, accounts)
    facts = AccountUpdated(id="facts", source="/bench", account="any", time=datetime(2026, 1, 1, tzinfo=UTC), plan=plan)
    engine.handle(facts, Origin("accounts", 0, 0))
    profile = accounts.get(b"any")
    assert profile is not None
    return engine.codec.save(profile)


class InHand:
    """Accounts for an engine that is given each account's profile from elsewhere, one at a time.

    What Faust, Quix and Bytewax keep is by key and outside of the engine; the engine asks here.
    """

    def __init__(self) -> None:
        self.profile: Profile | None = None

    def get(self, _: bytes) -> Profile | None:
        """Return the profile in hand."""
        return self.profile

    def add(self, _: bytes, cell: Profile) -> None:
        """Take a new profile in hand."""
        self.profile = cell

    def remove(self, _: bytes) -> None:
        """Forget it."""
        self.profile = None

    def __len__(self) -> int:
        return int(self.profile is not None)


class Hand:
    """The engine for one event and the profile it concerns."""

    def __init__(self) -> None:
        self._in_hand = InHand()
        self._engine = Engine(SETTINGS, self._in_hand)

    def restore(self, key: bytes, saved: bytes | None) -> Profile:
        """Return the profile that was saved, or the one that every account begins with."""
        return self._engine.codec.restore(key.decode(), seed(key) if saved is None else saved)

    def save(self, profile: Profile) -> bytes:
        """Return a profile's bytes."""
        return self._engine.codec.save(profile)

    def handle(self, profile: Profile, value: bytes, origin: Origin) -> list[Alert]:
        """Return the alerts that an event raises; the profile has learned from it."""
        self._in_hand.profile = profile
        event: Any = READER.read(value)
        assert isinstance(event, Message)
        return self._engine.handle(event, origin)
