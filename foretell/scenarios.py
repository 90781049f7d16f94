"""The demo's world: a real water meter and seeded customers on one simulated clock, and what ought to be noticed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal, NamedTuple

from river.datasets import WaterFlow

from detectors.alerts import Alert
from detectors.codec import build
from detectors.events import AccountUpdated, ChargePosted, UsageRecorded
from detectors.message import Message

from .scenario_cases import WATER_ACCOUNT, WATER_CASES, limit_cases, theft_case, usage_case
from .scenario_customers import METERS, PLANS, Customer, Staging, draw_customers
from .scenario_habits import DAY, HOUR, Purchase, Rhythm, Surge, meter_readings, purchases, sessions, stolen_card
from .verdict import Case, Verdict, judge

__all__ = ["METERS", "PLANS", "Happening", "World"]

Role = Literal["accounts", "usage", "charges"]

_SOURCE = "/demo"
_CUBIC_METRES_AN_HOUR = Decimal("3.6")  # in a litre a second
_SETTLING_DAYS = 10  # nothing is staged before: nobody has a habit yet
_HOURS_IN_A_MONTH = 30.4 * 24


class Happening(NamedTuple):
    """One event, and the role of the topic that carries it; when is the message's own time."""

    role: Role
    message: Message


class _Line(NamedTuple):
    """One event before it is made; lines sort by time."""

    second: int
    account: str
    number: int
    what: str | Purchase

    @property
    def event_id(self) -> str:
        return f"{self.account}-{'charge' if isinstance(self.what, Purchase) else 'usage'}-{self.number}"


class World:
    """Two months in the life of some customers and of one real water meter.

    The same seed gives the same events, byte for byte. What is labelled was either staged (a spike, a leak, a stolen
    card) or counted from the events themselves (a plan limit that was passed); the rest of the noise, holidays and
    large purchases of their own among it, is nobody's case.

    Args:
        seed: of everything that is made up.
        customers: how many are made up: a quarter homes with an electricity meter, the others phones with a data plan.

    Attributes:
        accounts: what the accounts topic carries before anything else.
        cases: what ought to be noticed, and the moments of the real meter that need no word.

    >>> world = World(seed=1, customers=2)
    >>> first = next(iter(world))
    >>> len(world.accounts), first.role, first.message.account, f"{first.message.time:%Y-%m-%d}"
    (3, 'usage', 'water-main', '2022-03-20')
    """

    def __init__(self, seed: int = 1, customers: int = 200) -> None:
        water = [(row["Time"], Decimal(str(litres))) for row, litres in WaterFlow()]  # type: ignore[no-untyped-call] # River's loaders have no types
        self.begins, self.ends = water[0][0].astimezone(UTC), water[-1][0].astimezone(UTC)
        self._begins, self._ends = self.begins.timestamp(), self.ends.timestamp()
        self._customers = {each.account: each for each in draw_customers(seed, customers)}
        self._lines = [
            _Line(int(time.timestamp()), WATER_ACCOUNT, number, _text(litres * _CUBIC_METRES_AN_HOUR))
            for number, (time, litres) in enumerate(water)
        ]
        cases = list(WATER_CASES)
        staging = Staging(seed, list(self._customers.values()))
        for customer in self._customers.values():
            cases += self._use(customer, staging)
            cases += self._buy(customer, staging)
        self._lines.sort(key=lambda line: line[:3])
        self.cases: tuple[Case, ...] = tuple(cases)
        self.accounts: tuple[AccountUpdated, ...] = tuple(self._account_events())

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Happening]:
        """Yield usage and charges in the order of their time."""
        for line in self._lines:
            yield self._happening(line)

    def judge(self, alerts: Iterable[Alert]) -> Verdict:
        """Return which of the cases the alerts have hit."""
        return judge(self.cases, alerts)

    # a life -----------------------------------------------------------------------------------------------------

    def _use(self, customer: Customer, staging: Staging) -> list[Case]:
        random = customer.random
        rhythm = Rhythm(random, customer.zone)
        allowance = float(customer.allowance.quantity) if customer.allowance else 0.0
        if customer.is_home:
            per_hour, habit = random.lognormvariate(-0.9, 0.5), meter_readings
        else:
            share = random.uniform(0.9, 1.5) if customer.account in staging.heavy else random.uniform(0.2, 0.65)
            per_hour, habit = share * allowance / _HOURS_IN_A_MONTH, sessions
        surges, cases = [], []
        if customer.account in staging.spikes:
            hours = random.randint(2, 6)
            if customer.is_home:
                factor = random.uniform(3, 8)
                what = f"{factor:.0f} times the usual for {hours} h"
            else:
                lost = random.uniform(0.15, 0.5)
                factor = lost * allowance / hours / per_hour
                what = f"{lost:.0%} of the plan's {allowance:.0f} GB in {hours} h"
            surges.append(self._surge(random, hours, factor=factor))
            cases.append(usage_case(customer, surges[-1], what))
        elif customer.account in staging.leaks:
            days, more = random.randint(2, 5), random.uniform(0.7, 1.6)
            surges.append(self._surge(random, days * 24, extra=per_hour * more))
            cases.append(usage_case(customer, surges[-1], f"{more:.1f} times the mean on top for {days} days"))
        elif customer.account in staging.away:
            surges.append(self._surge(random, random.randint(3, 9) * 24, factor=0.15))
        used = [
            (second, _text(quantity))
            for second, quantity in habit(random, rhythm, per_hour, self._begins, self._ends, surges)
        ]
        self._lines += [_Line(second, customer.account, number, text) for number, (second, text) in enumerate(used)]
        return [*cases, *limit_cases(customer, [(second, Decimal(text)) for second, text in used])]

    def _buy(self, customer: Customer, staging: Staging) -> Iterator[Case]:
        random = customer.random
        if customer.account not in staging.cards:
            return
        bought = list(purchases(random, customer.zone, self._begins, self._ends))
        if customer.account in staging.thefts:
            bought += stolen_card(random, self._moment(random, 1))
        bought = sorted((each for each in bought if each.second < self._ends), key=lambda each: each.second)
        lines = [_Line(each.second, customer.account, number, each) for number, each in enumerate(bought)]
        self._lines += lines
        stolen = [
            (line.second, line.event_id, each.amount) for line, each in zip(lines, bought, strict=True) if each.is_fraud
        ]
        if stolen:
            yield theft_case(customer, stolen)

    def _moment(self, random: Random, hours: float) -> float:
        return random.uniform(self._begins + _SETTLING_DAYS * DAY, self._ends - (hours + 3) * HOUR)

    def _surge(self, random: Random, hours: int, factor: float = 1.0, extra: float = 0.0) -> Surge:
        begins = self._moment(random, hours) // HOUR * HOUR
        return Surge(begins, begins + hours * HOUR, factor, extra)

    # events -----------------------------------------------------------------------------------------------------

    def _account_events(self) -> Iterator[AccountUpdated]:
        fields: dict[str, Any] = {"source": _SOURCE, "time": self.begins - timedelta(hours=1), "language": "en"}
        for each in self._customers.values():
            own = {
                "id": f"{each.account}-facts",
                "account": each.account,
                "plan": each.plan,
                "cycle": {"kind": "month", "anchor": datetime(2022, 2, each.cycle_day, tzinfo=each.zone)},
                "timezone": each.zone.key,
                "segment": "home" if each.is_home else "phone",
                "area": each.area,
            }
            yield build(AccountUpdated, fields | own)
        real = {
            "id": f"{WATER_ACCOUNT}-facts",
            "account": WATER_ACCOUNT,
            "timezone": "Europe/Rome",
            "segment": "pipeline",
        }
        yield build(AccountUpdated, fields | real)

    def _happening(self, line: _Line) -> Happening:
        customer = self._customers.get(line.account)
        fields: dict[str, Any] = {
            "source": _SOURCE,
            "time": datetime.fromtimestamp(line.second, UTC),
            "account": line.account,
            "id": line.event_id,
        }
        if isinstance(line.what, Purchase) and customer is not None:
            return Happening("charges", build(ChargePosted, fields | _charge(line.what, customer)))
        meter = customer.meter if customer else "water"
        fields |= {"meter": meter, "quantity": line.what, "unit": METERS[meter].unit}
        return Happening("usage", build(UsageRecorded, fields))


def _charge(purchase: Purchase, customer: Customer) -> dict[str, Any]:
    shop = purchase.shop
    return {
        "amount": f"{purchase.amount:.2f}",
        "currency": customer.currency,
        "merchant": {
            "id": shop.id,
            "name": shop.name,
            "category": shop.category,
            "country": "LV" if purchase.is_abroad else customer.country,
        },
        "channel": shop.channel,
        "card_last4": f"{int(customer.account[-4:]) * 37 % 10000:04d}",
    }


def _text(quantity: float | Decimal) -> str:
    return f"{quantity:.4f}"
