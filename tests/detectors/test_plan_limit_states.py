"""Thresholds against a simple model, whatever comes in whatever order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from detectors.alerts import Alert
from detectors.codec import EVENT_TYPES
from detectors.engine import Engine, EngineSettings, Origin

ROOMS = {"basic": Decimal(10), "large": Decimal(50)}
THRESHOLDS = (50, 80, 100, 120)
SETTINGS = EngineSettings.model_validate(
    {
        "plans": {
            name: {"currency": "EUR", "allowances": {"data": {"quantity": room, "unit": "GB"}}}
            for name, room in ROOMS.items()
        },
        "detectors": {
            "usage_spike": {"enabled": False},
            "suspicious_charge": {"enabled": False},
            "plan_limit": {"thresholds": THRESHOLDS, "forecast_after_days": 60},
        },
    }
)
# few and round, so that lines are met exactly and often; a tenth is what floats get wrong
amounts = st.sampled_from(["0.1", "0.4", "1", "2", "3", "4.5", "5", "8", "20"]).map(Decimal)


class Thresholds(RuleBasedStateMachine):
    """The model knows what is used, what may be, up to where it was told, and which alerts are open."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(SETTINGS)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.count = 0
        self.ids: dict[str, str] = {}
        self.plan, self.added, self.total = "basic", Decimal(0), Decimal(0)
        self.told = 0
        self.open: set[int] = set()
        self.tell("account.updated", plan="basic", timezone="UTC")

    @property
    def room(self) -> Decimal:
        return ROOMS[self.plan] + self.added

    def reached(self) -> int:
        return max((each for each in THRESHOLDS if self.total * 100 >= each * self.room), default=0)

    def tell(self, type_name: str, **fields: Any) -> list[Alert]:
        self.count += 1
        self.now += timedelta(minutes=1)
        fields |= {"id": f"e{self.count}", "source": "/t", "time": self.now, "account": "a1"}
        alerts = self.engine.handle(EVENT_TYPES[type_name].model_validate(fields), Origin("t", 0, self.count))
        return [alert for alert in alerts if alert.facts["threshold"] != "forecast"]

    def expect(self, alerts: list[Alert], because: str | None = None, *, ends: bool = False) -> None:
        """Compare with what the model says; the ids of alerts are told once, and resolved by the same."""
        top = self.reached()
        gone = self.open if ends else {each for each in self.open if each > top}
        new = {top} if top > self.told else set()
        self.told, self.open = max(self.told, top), (self.open - gone) | new

        found = [(alert.state, int(str(alert.facts["threshold"]))) for alert in alerts]
        assert sorted(found) == sorted([("resolved", each) for each in gone] + [("triggered", each) for each in new])
        for alert in alerts:
            if alert.state == "triggered":
                assert alert.alert_id not in self.ids
                self.ids[alert.alert_id] = "open"
                assert alert.facts["used"] == self.total
                assert alert.facts["allowance"] == self.room
            else:
                assert self.ids[alert.alert_id] == "open"
                self.ids[alert.alert_id] = "resolved"
                assert alert.facts["because"] == because

    @rule(quantity=amounts)
    def use(self, quantity: Decimal) -> None:
        self.total += quantity
        self.expect(self.tell("usage.recorded", meter="data", unit="GB", quantity=str(quantity)))

    @rule(quantity=amounts)
    def correct(self, quantity: Decimal) -> None:
        self.total -= quantity
        found = self.tell("usage.recorded", meter="data", unit="GB", quantity=str(-quantity), correction=True)
        self.expect(found, "correction")

    @rule(plan=st.sampled_from(sorted(ROOMS)))
    def change(self, plan: str) -> None:
        before, self.plan = self.room, plan
        if self.room > before:
            self.told = min(self.told, self.reached())
        self.expect(self.tell("account.updated", plan=plan), "larger_plan")

    @rule(quantity=amounts)
    def top_up(self, quantity: Decimal) -> None:
        self.added += quantity
        self.told = min(self.told, self.reached())
        self.expect(self.tell("allowance.added", meter="data", unit="GB", quantity=str(quantity)), "top_up")

    @precondition(lambda self: self.count % 5 == 0)  # else a cycle is over before much has happened in it
    @rule()
    def renew(self) -> None:
        self.now = (self.now.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1)
        self.told, self.total, self.added = 0, Decimal(0), Decimal(0)
        alerts = self.engine.tick(self.now.timestamp() * 1000)
        self.expect(alerts, "cycle_end", ends=True)

    @rule()
    def restart(self) -> None:
        profile = self.engine._accounts.get(b"a1")
        assert profile is not None
        codec = self.engine.codec
        self.engine._accounts.add(b"a1", codec.restore("a1", codec.save(profile)))

    @invariant()
    def what_is_open_is_open(self) -> None:
        assert sum(state == "open" for state in self.ids.values()) == len(self.open)


TestThresholds = Thresholds.TestCase
TestThresholds.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
