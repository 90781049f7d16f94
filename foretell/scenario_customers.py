"""Who the made-up customers are, what they have bought, and whose turn it is for something unusual."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from detectors.plans import Allowance, Meter, Plan

METERS: Mapping[str, Meter] = {"data": Meter(unit="GB"), "electricity": Meter(unit="kWh"), "water": Meter(unit="m3")}


def _plan(currency: str, price: str | None = None, gigabytes: int = 0, overage: str = "0") -> Plan:
    data = Allowance(quantity=Decimal(gigabytes), unit="GB", overage=Decimal(overage)) if gigabytes else None
    return Plan(
        price=Decimal(price) if price else None,
        currency=currency,
        allowances={"data": data} if data is not None else {},
    )


PLANS: Mapping[str, Plan] = {
    "basic": _plan("EUR", "20.00", 10, "8.00"),
    "plus": _plan("EUR", "35.00", 40, "4.00"),
    "basic-us": _plan("USD", "25.00", 15, "10.00"),
    "home": _plan("EUR"),
    "home-us": _plan("USD"),
}
_MARKETS = (("Europe/Rome", "IT"), ("Europe/Berlin", "DE"), ("Europe/Helsinki", "FI"), ("America/New_York", "US"))
_ONE_IN_SO_MANY_IS_A_HOME = 4  # a home's meter reads hourly, a phone has a few sessions a day


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer before any event of theirs.

    Attributes:
        cycle_day: the day of the month, 1 to 28, that the plan is renewed on.
        random: all chance in this customer's life, so that others coming or going changes nothing.
    """

    account: str
    zone: ZoneInfo
    country: str
    plan: str
    is_home: bool
    cycle_day: int
    area: str
    random: Random = field(repr=False, compare=False)

    @property
    def meter(self) -> str:
        """What the customer's meter counts."""
        return "electricity" if self.is_home else "data"

    @property
    def currency(self) -> str:
        """What the customer pays in."""
        return PLANS[self.plan].currency

    @property
    def allowance(self) -> Allowance | None:
        """What the plan includes of what the meter counts."""
        return PLANS[self.plan].allowances.get(self.meter)


def draw_customers(seed: int, count: int) -> Iterator[Customer]:
    """Yield the same customers for the same seed; a larger count adds some and changes none."""
    homes = phones = 0
    for number in range(count):
        is_home = number % _ONE_IN_SO_MANY_IS_A_HOME == 1
        homes, phones = homes + is_home, phones + (not is_home)
        account = f"home-{1000 + homes}" if is_home else f"phone-{2000 + phones}"
        random = drawn_from(seed, account)
        zone, country = random.choice(_MARKETS)
        suffix = "-us" if country == "US" else ""
        plan = "home" + suffix if is_home else "basic-us" if suffix else random.choice(("basic", "plus"))
        area = f"{country}-{random.choice(('north', 'south'))}"
        yield Customer(account, ZoneInfo(zone), country, plan, is_home, random.randint(1, 28), area, random)


class Staging:
    """Whose turn it is for what: a share of the customers each, drawn by the seed.

    Attributes:
        spikes: use far more than usual for some hours.
        leaks: use something on top of the usual for days, day and night.
        away: use little for days, and then as always again.
        heavy: use about as much in a cycle as the plan includes, or more.
        cards: pay with a card.
        thefts: have it stolen.
    """

    def __init__(self, seed: int, customers: Sequence[Customer]) -> None:
        random = drawn_from(seed, "staging")
        homes = [each.account for each in customers if each.is_home]
        phones = [each.account for each in customers if not each.is_home]

        def draw(of: list[str], share: float) -> set[str]:
            return set(random.sample(of, round(share * len(of))))

        self.spikes = draw(homes, 0.15) | draw(phones, 0.08)
        self.leaks = draw(homes, 0.1)
        self.away = draw(homes, 0.1) | draw(phones, 0.1)
        self.heavy = draw(phones, 0.1)
        self.cards = draw(homes + phones, 0.7)
        self.thefts = draw(sorted(self.cards), 0.1)


def drawn_from(seed: int, what: str) -> Random:
    """Return the chance of one thing, the same for the same seed."""
    return Random(f"{seed}/{what}")  # noqa: S311 - made-up customers are no secret
