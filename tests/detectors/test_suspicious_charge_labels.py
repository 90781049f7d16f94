"""What labels and answers teach, and what the detector makes of what cannot be meant."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from detectors.alerts import LabelGiven
from detectors.bulletin_board import BulletinBoard
from detectors.bulletins import MerchantDenied
from detectors.evaluation.charge import ChargeAdapter
from detectors.events import ChargePosted, Merchant
from detectors.profile import AccountFacts
from detectors.suspicious_charge import IRREGULARITIES, SuspiciousCharge, SuspiciousChargeSettings
from detectors.suspicious_charge_memory import confirm
from detectors.suspicious_charge_waiting import SIZE

START = datetime(2026, 2, 2, tzinfo=UTC)
DAY = 86_400.0


class Shop:
    """A detector with its accounts and board, asked as the engine asks it."""

    def __init__(self, **settings: Any) -> None:
        self.board = BulletinBoard()
        self.detector = SuspiciousCharge(SuspiciousChargeSettings(**settings), self.board)
        self.memories: dict[str, Any] = {}
        self.count = 0

    def pay(self, account: str, days: float, amount: float, merchant: str = "grocer", **more: Any) -> str:
        self.count += 1
        event = ChargePosted(
            id=f"c{self.count}",
            source="/t",
            account=account,
            time=START + timedelta(days=days),
            amount=Decimal(str(round(amount, 2))),
            merchant=Merchant(id=merchant, category="food", country="SE"),
            **({"currency": "EUR"} | more),
        )
        self.findings = self.tell(event)
        return event.id

    def label(self, account: str, days: float, event_id: str, bad: bool) -> None:
        at = START + timedelta(days=days)
        event = LabelGiven(id=f"l{event_id}", source="/t", account=account, time=at, event_id=event_id, bad=bad)
        self.tell(event)

    def tell(self, event: Any) -> Any:
        facts = AccountFacts(event.account)
        memory = self.memories.setdefault(event.account, self.detector.begin())
        self.detector.settle(event.time, facts, memory)
        findings = self.detector.score(event, facts, memory)
        self.announced = self.detector.announce(event, facts, memory)
        self.detector.learn(event, facts, memory, [])
        for bulletin in self.announced:
            self.board.hear(bulletin)
        return findings


def trained(seed: int = 5) -> Shop:
    """A shop that knows enough labels for the model: one merchant's ordinary amounts were bad."""
    shop, random = Shop(labels_within_days=3), Random(seed)
    for number in range(2600):
        account, days = f"a{number % 20}", number / 100
        bad = number % 60 == 0
        charge = shop.pay(account, days, random.lognormvariate(3.4, 0.3), "bad" if bad else f"m{number % 9}")
        if bad:
            shop.label(account, days + 0.001, charge, bad=True)
    return shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return trained()


def test_labels_teach_which_merchant_is_bad(shop: Shop) -> None:
    assert shop.detector._pools.core.odds.is_ready
    shop.pay("a3", 26.0, 60.0, "bad")
    (finding,) = shop.findings

    assert "merchant" in finding.reasons[0].what or "called fraud" in " ".join(each.what for each in finding.reasons)
    assert sum(each.contribution or 0 for each in finding.reasons) == pytest.approx(finding.score)
    shop.pay("a3", 26.1, 60.0, "m1")
    assert shop.findings == ()


def test_pools_that_learned_labels_go_on_as_they_were(shop: Shop) -> None:
    parts = shop.detector.save_pools()
    other = SuspiciousCharge(SuspiciousChargeSettings(), shop.board)
    other.restore_pools(parts, other.version)
    event = ChargePosted(
        id="x",
        source="/t",
        account="a4",
        time=START + timedelta(days=27),
        amount=Decimal(90),
        currency="EUR",
        merchant=Merchant(id="bad"),
    )
    memory = other.restore(shop.detector.save(shop.memories["a4"]), other.version)

    assert other.save_pools() == parts
    assert max(map(len, parts.values())) < 900_000
    assert other.score(event, AccountFacts("a4"), memory) == shop.detector.score(
        event, AccountFacts("a4"), shop.memories["a4"]
    )


def test_a_bad_label_is_announced_with_the_time_of_the_charge() -> None:
    shop = Shop()
    charge = shop.pay("a1", 1.0, 30.0, "dealer")
    shop.label("a1", 3.0, charge, bad=True)
    (bulletin,) = shop.announced

    assert isinstance(bulletin, MerchantDenied)
    assert (bulletin.merchant, bulletin.charged_at) == ("dealer", START + timedelta(days=1))
    run = shop.board.run_of("dealer")
    assert run is not None
    assert run.bads == 1


def test_a_theft_from_the_card_does_not_open_a_run_at_the_merchant() -> None:
    shop = Shop()
    for day in range(20):
        shop.pay("a1", day, 30.0)
    charge = shop.pay("a1", 21.0, 900.0, "innocent")
    shop.label("a1", 22.0, charge, bad=True)

    assert shop.board.run_of("innocent") is None
    assert shop.board.denials("innocent") == 1


def test_what_nobody_disputed_teaches_as_good_once() -> None:
    shop = Shop(labels_within_days=14)
    for day in range(30):
        shop.pay("a1", day, 30.0)

    assert shop.detector._pools.core.odds.goods == 15
    assert len(shop.memories["a1"].waiting) == 15 * SIZE


def test_a_yes_is_for_similar_amounts_only() -> None:
    shop = Shop()
    for day in range(20):
        shop.pay("a1", day, 30.0)
    shop.pay("a1", 21.0, 2500.0, "chairs")
    (finding,) = shop.findings
    memory = shop.memories["a1"]
    assert finding.score >= 1.0
    confirm(memory, "chairs", 2500.0)
    shop.pay("a1", 22.0, 2600.0, "chairs")
    assert shop.findings == ()
    shop.pay("a1", 23.0, 9000.0, "chairs")
    assert len(shop.findings) == 1


@pytest.mark.parametrize(
    ("what", "does"),
    [
        ("not_above_zero", lambda shop: shop.pay("a1", 1.0, -30.0)),
        ("refused_charge", lambda shop: shop.pay("a1", 1.0, 30.0, approved=False)),
        ("absurd_amount", lambda shop: shop.pay("a1", 1.0, 9e14)),
        ("unknown_label", lambda shop: shop.label("a1", 1.0, "nothing", bad=True)),
        ("late_charge", lambda shop: (shop.pay("a1", 5.0, 30.0), shop.pay("a1", 1.0, 30.0))),
        ("waited_too_long", lambda shop: [shop.pay("a1", number / 1000, 30.0) for number in range(121)]),
        ("older_memory", lambda shop: shop.detector.restore(b"\x90", 1)),
        ("older_pools", lambda shop: shop.detector.restore_pools({}, 1)),
    ],
)
def test_what_cannot_be_used_is_counted(what: str, does: Callable[[Shop], object]) -> None:
    shop = Shop()
    does(shop)

    assert shop.detector.irregularities[what] == 1
    assert set(shop.detector.irregularities) <= set(IRREGULARITIES)


def test_an_ordinary_account_is_small_when_saved() -> None:
    shop, random = Shop(), Random(1)
    for number in range(60):
        shop.pay("a1", number / 2, random.lognormvariate(3.3, 0.4), f"shop-{number % 9}", card_last4="4321")
    memory = shop.memories["a1"]
    count, whole = len(memory.waiting) // SIZE, len(shop.detector.save(memory))
    memory.waiting = memory.merchants = b""
    digests = 5 * (9 + 1 + 1)  # nine merchants, a category, a country

    assert len(shop.detector.save(memory)) <= 60 + digests
    assert whole - len(shop.detector.save(memory)) <= 36 * count


def test_amounts_that_creep_up_are_asked_about_at_the_latest_when_they_are_large() -> None:
    shop, amount, asked = Shop(), 30.0, []
    random = Random(8)
    for number in range(600):
        shop.pay(f"b{number % 9}", number / 9, random.lognormvariate(3.4, 0.3))
    for number in range(500):
        amount *= 1.01
        shop.pay("a1", number / 5, amount)
        asked += [amount] if shop.findings else []

    assert asked


# the adapter -------------------------------------------------------------------------------------------------------


def scores(*, factor: float = 1.0, shift: float = 0.0, name: str = "m", labels: bool = True) -> list[float]:
    adapter, random, found = ChargeAdapter(), Random(6), []
    for number in range(3000):
        bad = number % 70 == 0
        event: dict[str, Any] = {
            "id": f"{name}{number}",
            "account": f"{name}{random.randrange(30)}",
            "merchant": f"{name}bad" if bad else f"{name}{random.randrange(40)}",
            "t": shift + number * 900.0,
            "amount": factor * random.lognormvariate(3.3, 0.4) * (1 + 5 * (number % 140 == 0)),
        }
        found.append(adapter.score(event))
        adapter.learn(event)
        if labels:
            adapter.feedback(event | {"now": event["t"] + 60.0}, bad)
    return found


def test_neither_unit_nor_ids_nor_the_day_matter() -> None:
    plain = scores()

    assert scores(name="other") == plain
    assert scores(shift=100 * DAY) == plain
    assert scores(factor=64.0) == pytest.approx(plain, abs=0.02)


def test_the_adapter_learns_the_bad_merchant() -> None:
    found = scores()
    bad = [score for number, score in enumerate(found) if number % 70 == 0 and number > 2500]
    good = [score for number, score in enumerate(found) if number % 70 and number > 2500]

    assert min(bad) > sorted(good)[int(0.98 * len(good))]


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -float("inf"), 0.0, -5.0])
def test_the_adapter_ignores_and_counts_what_is_no_amount(amount: float) -> None:
    adapter = ChargeAdapter()
    event = {"id": 1, "account": "a", "merchant": "m", "t": 0.0, "amount": amount}

    assert adapter.score(event) == 0.0
    adapter.learn(event)
    adapter.feedback(event | {"now": 1.0}, True)
    assert adapter.irregularities == {"unusable_amount": 1, "unknown_label": 1}
