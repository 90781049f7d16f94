"""What every detector keeps. A new one joins by an entry in `CASES`."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alerts import Alert, AnswerGiven, DetectorVersion, derive_alert_id
from detectors.bulletin_board import BulletinBoard
from detectors.catalogue import CatalogueSettings, build_detectors
from detectors.detector import Announcing, Detector, Finding, Pooling, Timed
from detectors.engine import Engine, EngineSettings, Origin
from detectors.events import AccountUpdated, AllowanceAdded, ChargePosted, Cycle, Merchant, UsageRecorded
from detectors.message import Message
from detectors.monitored_series import MonitoredSeriesSettings, WatchedMeter
from detectors.plans import Allowance, Meter, Plan
from detectors.profile import AccountFacts
from detectors.state import StateError
from detectors.suspicious_charge import SuspiciousChargeSettings
from detectors.usage_spike import UsageSpikeSettings

START = datetime(2026, 1, 5, tzinfo=UTC)
PLANS = {
    "basic": Plan(currency="EUR", allowances={"data": Allowance(quantity=Decimal(200), unit="GB", overage=Decimal(8))})
}
WATCHING = MonitoredSeriesSettings(meters={"data": WatchedMeter()})
ALL = CatalogueSettings(monitored_series=WATCHING)
SETTINGS = EngineSettings(meters={"data": Meter(unit="GB")}, plans=PLANS, detectors=ALL)


def usage(
    number: int, quantity: str, *, account: str = "a1", hours: float | None = None, **more: object
) -> UsageRecorded:
    at = START + timedelta(hours=number if hours is None else hours)
    fields = {"id": f"u{number}", "source": "/t", "time": at, "account": account, "meter": "data", "unit": "GB"}
    return UsageRecorded.model_validate({**fields, "quantity": quantity, **more})


def charge(
    number: int, amount: str, *, account: str = "a1", merchant: str = "grocer", hours: float | None = None
) -> ChargePosted:
    return ChargePosted(
        id=f"c{number}",
        source="/t",
        time=START + timedelta(hours=6 * number if hours is None else hours),
        account=account,
        amount=Decimal(amount),
        currency="EUR",
        merchant=Merchant(id=merchant, category="food", country="SE"),
        channel="card_present",
    )


def usual_usage(seed: int, account: str, days: int) -> list[Message]:
    """Usage by day and little by night, 3 GB a day."""
    random = Random(seed)
    weights = [0.2 if hour < 6 else 1.0 for hour in range(24)]
    return [
        usage(hour, f"{3 / 19.2 * weights[hour % 24] * random.uniform(0.7, 1.3):.3f}", account=account)
        for hour in range(24 * days)
    ]


def usual_charges(seed: int, account: str, days: int) -> list[Message]:
    random = Random(seed)
    merchants = ["grocer", "bakery", "bus"]
    return [
        charge(n, f"{random.uniform(20, 60):.2f}", account=account, merchant=random.choice(merchants))
        for n in range(4 * days)
    ]


@dataclass(frozen=True)
class Case:
    """How to make a detector's ordinary and extraordinary input."""

    kind: str
    usual: Callable[[int, str, int], list[Message]]
    unusual: Callable[[str, int], Message]


CASES = [
    Case("usage_spike", usual_usage, lambda account, day: usage(24 * day, "9", account=account)),
    Case("data_quality", usual_usage, lambda account, day: usage(24 * day, "9001", account=account)),
    Case("monitored_series", usual_usage, lambda account, day: usage(24 * day, "9", account=account)),
    Case("plan_limit", usual_usage, lambda account, day: usage(24 * day, "190", account=account)),
    Case(
        "suspicious_charge",
        usual_charges,
        lambda account, day: charge(4 * day, "2500", account=account, merchant="massage-chairs"),
    ),
]
by_kind = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)


def detector_of(case: Case) -> Detector:
    (found,) = (each for each in build_detectors(ALL, PLANS, BulletinBoard()) if each.kind == case.kind)
    return found


def on_plan(account: str) -> AccountUpdated:
    return AccountUpdated(
        id=f"plan-{account}", source="/t", time=START - timedelta(hours=1), account=account, plan="basic"
    )


def alerts_of(case: Case, events: list[Message], engine: Engine | None = None) -> list[Alert]:
    engine = Engine(SETTINGS) if engine is None else engine  # an empty one is falsy
    found = []
    for account in sorted({event.account for event in events}):
        found += engine.handle(on_plan(account), Origin("accounts", 0, 0))
    for number, event in enumerate(events):
        found += engine.handle(event, Origin("t", 0, number))
    return [alert for alert in found if alert.kind == case.kind]


def test_every_detector_keeps_the_contract() -> None:
    assert {each.kind for each in build_detectors(ALL, PLANS, BulletinBoard())} == {case.kind for case in CASES}


@by_kind
@pytest.mark.parametrize("seed", range(3))
def test_ordinary_input_rings_nothing(case: Case, seed: int) -> None:
    assert alerts_of(case, case.usual(seed, "a1", 25)) == []


@by_kind
def test_the_extraordinary_rings_once_and_says_why(case: Case) -> None:
    (alert,) = alerts_of(case, [*case.usual(1, "a1", 25), case.unusual("a1", 25)])

    assert alert.score >= 1.0
    assert alert.state == "triggered"
    assert alert.reasons
    assert all(reason.what.endswith(".") for reason in alert.reasons)
    assert sum(reason.contribution or 0 for reason in alert.reasons) == pytest.approx(alert.score)
    assert alert.useful_until > alert.occurred_at
    assert alert.facts["account_ending"] == "a1"


@by_kind
def test_scoring_changes_nothing(case: Case) -> None:
    detector, facts = detector_of(case), AccountFacts("a1", plan="basic")
    memory = detector.begin()
    for event in case.usual(1, "a1", 10):
        detector.settle(event.time, facts, memory)
        detector.learn(event, facts, memory, [])
    unusual = case.unusual("a1", 10)
    detector.settle(unusual.time, facts, memory)
    before = pickle.dumps(vars(detector)), detector.save(memory)

    first, second = detector.score(unusual, facts, memory), detector.score(unusual, facts, memory)

    assert first
    assert list(first) == list(second)
    assert (pickle.dumps(vars(detector)), detector.save(memory)) == before


@by_kind
def test_the_same_events_give_the_same_alerts(case: Case) -> None:
    events = [*case.usual(1, "a1", 25), case.unusual("a1", 25), *case.usual(2, "a2", 25)]

    assert alerts_of(case, events) == alerts_of(case, events)


@by_kind
def test_accounts_do_not_share_what_is_theirs(case: Case) -> None:
    """A newcomer beside a heavy user is judged as a newcomer."""
    engine = Engine(SETTINGS)
    alerts_of(case, [*case.usual(1, "a1", 25), case.unusual("a1", 25)], engine)

    assert alerts_of(case, case.usual(2, "a2", 25), engine) == []


@by_kind
def test_memory_stays_bounded(case: Case) -> None:
    detector, facts = detector_of(case), AccountFacts("a1", plan="basic")
    memory = detector.begin()
    sizes = []
    for days in (10, 60):
        for event in case.usual(days, "a1", days):
            detector.settle(event.time, facts, memory)
            detector.learn(event, facts, memory, [])
        sizes.append(len(pickle.dumps(memory)))

    assert sizes[1] < 1.5 * sizes[0] + 2000


@by_kind
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(lambda: [usage(0, "0")], id="zero"),
        pytest.param(lambda: [usage(n, "0") for n in range(24 * 20)], id="always-zero"),
        pytest.param(lambda: [usage(n, "0.1") for n in range(24 * 20)], id="flat"),
        pytest.param(lambda: [usage(50, "1"), usage(1, "1"), usage(30, "1")], id="out-of-order"),
        pytest.param(lambda: [usage(1, "5"), usage(2, "-9", correction=True), usage(3, "1")], id="negative-correction"),
        pytest.param(
            lambda: [usage(n, str(v), cumulative=True) for n, v in enumerate([5, 9, 2, 3])], id="counter-reset"
        ),
        pytest.param(lambda: [usage(1, "1"), usage(90_000, "1")], id="ten-years-later"),
        pytest.param(lambda: [charge(1, "-30"), charge(2, "0"), charge(3, "-2500")], id="refunds"),
        pytest.param(lambda: [charge(n, "19.99") for n in range(60)], id="always-the-same-charge"),
        pytest.param(lambda: [charge(9, "30"), charge(1, "30")], id="charges-out-of-order"),
    ],
)
def test_odd_input_rings_nothing_and_breaks_nothing(case: Case, odd: Callable[[], list[Message]]) -> None:
    assert alerts_of(case, odd()) == []


@by_kind
def test_an_event_that_comes_twice_counts_once(case: Case) -> None:
    events = [*case.usual(1, "a1", 25), case.unusual("a1", 25)]
    doubled = [event for event in events for _ in range(2)]

    assert [alert.alert_id for alert in alerts_of(case, doubled)] == [
        alert.alert_id for alert in alerts_of(case, events)
    ]


# what is saved -----------------------------------------------------------------------------------------------------

QUICK = CatalogueSettings(
    usage_spike=UsageSpikeSettings(warm_up_hours=3, alerts_a_month=100),
    suspicious_charge=SuspiciousChargeSettings(
        questions_a_day_per_thousand_accounts=1000, questions_an_account_a_day=9
    ),
    monitored_series=MonitoredSeriesSettings(
        meters={"data": WatchedMeter(decades=0.5), "water": WatchedMeter(direction="up")}, calm_readings=2
    ),
)
LARGE = {"large": Plan(currency="EUR", allowances={"data": Allowance(quantity=Decimal(900), unit="GB")})}


def quick_detector(kind: str) -> Detector:
    """A detector that rings for little, so that few events show much."""
    (found,) = (each for each in build_detectors(QUICK, PLANS | LARGE, BulletinBoard()) if each.kind == kind)
    return found


class Run:
    """One detector, asked as the engine asks it; a swap puts what was saved in the place of what is there."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.detector = quick_detector(kind)
        self.facts = {account: AccountFacts(account, plan="basic") for account in ("a1", "a2")}
        self.memories = {account: self.detector.begin() for account in self.facts}
        self.found: list[Finding] = []
        self.announced: list[object] = []
        self.asked = ""

    def take(self, event: Message) -> None:
        """Ask the detector about an event; an answer is to the question asked last."""
        if isinstance(event, AnswerGiven):
            event = event.model_copy(update={"alert_id": self.asked or "none"})
        if type(event) not in self.detector.reads:
            return
        self._wake(event.account, event.time)
        if isinstance(event, AccountUpdated):
            self.facts[event.account] = self.facts[event.account].updated(event)
        facts, memory = self.facts[event.account], self.memories[event.account]
        self.detector.settle(event.time, facts, memory)
        findings = self.detector.score(event, facts, memory)
        if isinstance(self.detector, Announcing):
            self.announced += self.detector.announce(event, facts, memory)
        self.detector.learn(event, facts, memory, [self._alert(finding, event.account) for finding in findings])
        self.found += findings

    def _wake(self, account: str, now: datetime) -> None:
        while isinstance(self.detector, Timed):
            due = self.detector.due(self.facts[account], self.memories[account])
            if due is None or due > now:
                return
            self.found += self.detector.wake(due, self.facts[account], self.memories[account])

    def _alert(self, finding: Finding, account: str) -> Alert:
        self.asked = derive_alert_id(account, self.kind, finding.subject, finding.period, finding.threshold)
        return Alert(
            id=f"{self.asked}:{finding.state}",
            source="/t",
            time=finding.occurred_at,
            account=account,
            alert_id=self.asked,
            kind=self.kind,
            subject=finding.subject,
            state=finding.state,
            score=finding.score,
            severity=finding.severity,
            alert_class=self.detector.alert_class,
            occurred_at=finding.occurred_at,
            detected_at=finding.occurred_at,
            useful_until=finding.useful_until,
            facts=finding.facts,
            detector=DetectorVersion(name=self.kind, version=self.detector.version),
            config="",
        )

    def swap(self) -> None:
        """Go on with another detector that has only what was saved."""
        saved, pools = self.saved(), self.pools()
        self.detector = quick_detector(self.kind)
        if isinstance(self.detector, Pooling) and pools:
            self.detector.restore_pools(pools, self.detector.version)
        self.memories = {
            account: self.detector.restore(memory, self.detector.version) for account, memory in saved.items()
        }

    def saved(self) -> dict[str, bytes]:
        return {account: self.detector.save(memory) for account, memory in self.memories.items()}

    def pools(self) -> Mapping[str, bytes]:
        return self.detector.save_pools() if isinstance(self.detector, Pooling) else {}


def moved(moves: list[tuple[str, str, float, str]]) -> list[Message]:
    """Return events, each so many hours after the one before."""
    events: list[Message] = []
    at = START
    for number, (what, account, hours, quantity) in enumerate(moves):
        at += timedelta(hours=hours)
        fields: dict[str, Any] = {"id": f"m{number}", "source": "/t", "time": at, "account": account}
        if what in {"usage", "counter", "correction"}:
            fields |= {"cumulative": what == "counter", "correction": what == "correction", "unit": "GB"}
            meter = "water" if quantity == "7" else "data"
            events.append(UsageRecorded(**fields, meter=meter, quantity=Decimal(quantity)))
        elif what == "charge":
            merchant = Merchant(id=f"m{len(quantity)}", category="food" if hours else None, country="SE")
            events.append(ChargePosted(**fields, amount=Decimal(quantity) * 20, currency="EUR", merchant=merchant))
        elif what in {"confirmed", "denied"}:
            events.append(AnswerGiven(**fields, alert_id="last", choice="1", means=what, at=at))
        elif what == "top-up":
            events.append(AllowanceAdded(**fields, meter="data", unit="GB", quantity=Decimal(quantity) + 1))
        elif what in {"prepaid", "week", "month", "rolling"}:
            cycle = {"kind": what, "anchor": at if what == "prepaid" else None}
            events.append(AccountUpdated(**fields, cycle=Cycle.model_validate(cycle)))
        else:
            events.append(AccountUpdated(**fields, plan=what))
    return events


moves = st.lists(
    st.tuples(
        st.sampled_from(
            ["usage"] * 6
            + ["counter", "correction", *["charge"] * 5, "confirmed", "denied"]
            + ["prepaid", "week", "month", "rolling", "top-up", "basic", "large"]
        ),
        st.sampled_from(["a1", "a1", "a2"]),
        st.sampled_from([0.0, 0.25, 1.0, 1.0, 1.0, 5.0, 24.0, 200.0, -3.0]),
        st.sampled_from(["0", "0.1", "1", "1.000", "2.5", "7", "170.25", "250"]),
    ),
    max_size=60,
)


@by_kind
@settings(max_examples=60, deadline=None)
@given(moves=moves, swaps=st.sets(st.integers(0, 59)))
def test_a_run_that_was_saved_and_restored_goes_on_as_one_that_never_was(
    case: Case, moves: list[tuple[str, str, float, str]], swaps: set[int]
) -> None:
    straight, swapped = Run(case.kind), Run(case.kind)
    for number, event in enumerate(moved(moves)):
        straight.take(event)
        swapped.take(event)
        if number in swaps:
            swapped.swap()

    assert swapped.found == straight.found
    assert swapped.announced == straight.announced
    assert swapped.saved() == straight.saved()
    assert swapped.pools() == straight.pools()


def weeks_of(case: Case, swap_at: Collection[int] = ()) -> Run:
    """Return a run over four weeks of two accounts, with something odd in the third."""
    run = Run(case.kind)
    events = [*case.usual(1, "a1", 28), *case.usual(2, "a2", 28), case.unusual("a1", 20), case.unusual("a2", 24)]
    for number, event in enumerate(sorted(events, key=lambda event: event.time)):
        run.take(event)
        if number in swap_at:
            run.swap()
    return run


@by_kind
def test_weeks_with_a_restart_after_every_event_are_as_weeks_without(case: Case) -> None:
    straight, swapped = weeks_of(case), weeks_of(case, range(100_000))

    assert straight.found
    assert swapped.found == straight.found
    assert swapped.saved() == straight.saved()
    assert swapped.pools() == straight.pools()


@by_kind
def test_what_is_restored_is_saved_as_it_was(case: Case) -> None:
    run = weeks_of(case)
    before = run.saved(), run.pools()
    run.swap()

    assert (run.saved(), run.pools()) == before


@by_kind
def test_a_version_that_nobody_reads_is_refused(case: Case) -> None:
    run = weeks_of(case)
    detector, later = run.detector, run.detector.version + 1

    with pytest.raises(StateError, match=rf"{case.kind} is in version {later}, .* reads version {later - 1}; run"):
        detector.restore(run.saved()["a1"], later)
    if isinstance(detector, Pooling):
        with pytest.raises(StateError, match=f"version {later}"):
            detector.restore_pools(run.pools(), later)


@by_kind
@settings(max_examples=200, deadline=None)
@given(garbage=st.binary(max_size=80))
def test_garbage_is_refused(case: Case, garbage: bytes) -> None:
    """A few bytes may be a memory by chance, an empty one; then they are that memory."""
    detector = quick_detector(case.kind)
    with suppress(StateError):
        memory = detector.restore(garbage, detector.version)
        assert detector.save(detector.restore(detector.save(memory), detector.version)) == detector.save(memory)


@by_kind
@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"garbage", b"\x80", b"\x91\xc0", b"\xd9\x02\xff\xff"], ids=repr)
def test_what_no_detector_saved_is_refused_with_a_sentence(case: Case, garbage: bytes) -> None:
    detector = quick_detector(case.kind)

    with pytest.raises(StateError, match=f"what is saved of {case.kind} is damaged .*; expected .*; restore"):
        detector.restore(garbage, detector.version)


@by_kind
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_part_of_what_was_saved_is_refused(case: Case, data: st.DataObject) -> None:
    detector = quick_detector(case.kind)
    memory = detector.begin()
    for event in case.usual(1, "a1", 3):
        detector.settle(event.time, AccountFacts("a1"), memory)
        detector.learn(event, AccountFacts("a1"), memory, [])
    saved = detector.save(memory)
    length = data.draw(st.integers(0, len(saved) - 1))

    with pytest.raises(StateError, match="damaged"):
        detector.restore(saved[:length], detector.version)


@by_kind
def test_pools_of_which_a_part_is_missing_are_refused(case: Case) -> None:
    run = weeks_of(case)
    for name in run.pools():
        rest = {other: part for other, part in run.pools().items() if other != name}

        assert isinstance(run.detector, Pooling)
        with pytest.raises(StateError, match="damaged"):
            run.detector.restore_pools(rest, run.detector.version)


def digest_of_weeks() -> str:
    """Return what stands for all that is saved after some weeks."""
    runs = [weeks_of(case) for case in CASES]
    saved = [sorted(part.items()) for run in runs for part in (run.saved(), run.pools())]
    return blake2b(repr(saved).encode()).hexdigest()


def test_another_process_saves_the_same_bytes() -> None:
    here = Path(__file__)
    program = (
        f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as it; print(it.digest_of_weeks())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(here.parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert found == {digest_of_weeks()}


@by_kind
def test_who_is_woken_says_it_once_and_is_next_due_later_or_never(case: Case) -> None:
    run = weeks_of(case)
    detector = run.detector
    for account, memory in run.memories.items():
        due = detector.due(run.facts[account], memory) if isinstance(detector, Timed) else None
        if not isinstance(detector, Timed) or due is None:
            continue
        found = detector.wake(due, run.facts[account], memory)
        again = detector.due(run.facts[account], memory)

        assert found
        assert again is None or again > due
        assert detector.wake(due, run.facts[account], memory) == []
