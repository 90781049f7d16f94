"""What the channels' tests share: alerts, ledgers, a clock that is set by hand."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import tenacity

from channels import Ledger
from channels.senders.apprise_url import check_url
from detectors.alerts import Alert, AlertState, DetectorVersion

with warnings.catch_warnings():  # some of Apprise's services, all of them read at once, use what Python 3.11 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    check_url("json://localhost")

T = TypeVar("T")
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
ACCOUNT = "acct-000000001234"
FACTS: dict[str, Any] = {
    "account_ending": "1234",
    "meter": "data",
    "unit": "GB",
    "used": "8.5",
    "allowance": "10",
    "remaining": "1.5",
    "percent": "85",
    "threshold": 80,
    "cycle_end": "2026-04-01T00:00:00+02:00",
    "days_left": 4,
}


class MakeAlert(Protocol):
    def __call__(
        self, alert_id: str = "x1", state: AlertState = "triggered", *, at: datetime = NOON, **changes: Any
    ) -> Alert: ...


@pytest.fixture(scope="session")
def make_alert() -> MakeAlert:
    """Make a plan_limit alert, with what is named changed."""

    def make(alert_id: str = "x1", state: AlertState = "triggered", *, at: datetime = NOON, **changes: Any) -> Alert:
        fields: dict[str, Any] = {
            "id": f"{alert_id}:{state}",
            "source": "/tests",
            "time": at,
            "account": ACCOUNT,
            "alert_id": alert_id,
            "kind": "plan_limit",
            "class": "limit",
            "subject": "data",
            "state": state,
            "score": 1.2,
            "severity": "notice",
            "occurred_at": at,
            "detected_at": at,
            "useful_until": at + timedelta(days=4),
            "facts": FACTS,
            "detector": DetectorVersion(name="plan_limit", version=1),
            "config": "0",
        }
        return Alert.model_validate(fields | changes)

    return make


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def unique() -> str:
    """A name that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def soon() -> Callable[[Callable[[], T]], T]:
    """Ask until the answer is true, for at most half a minute, and return it."""

    def ask(look: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda answer: not answer),
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(30),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer: T = retrying(look)
        assert answer
        return answer

    return ask
