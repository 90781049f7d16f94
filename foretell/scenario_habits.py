"""Habits of made-up customers: when they use how much, what they buy where. Seeded, and without a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp
from random import Random
from zoneinfo import ZoneInfo

HOUR = 3600
DAY = 24 * HOUR
_SURGING = 5.0  # sessions an hour while a phone is out of hand


@dataclass(frozen=True, slots=True)
class Surge:
    """A time in which usage is not as usual; seconds since 1970.

    Attributes:
        factor: what the usual is multiplied by; below 1 for an absence.
        extra: used on top in every hour, whatever the time of day: a leak.
    """

    begins: float
    ends: float
    factor: float = 1.0
    extra: float = 0.0


class Rhythm:
    """How one customer's usage follows the local hour, apart for weekdays and weekends; it is 1 on average.

    >>> rome = ZoneInfo("Europe/Rome")
    >>> rhythm = Rhythm(Random(1), rome)
    >>> noon = datetime(2022, 4, 4, 12, tzinfo=rome).timestamp()
    >>> rhythm.at(noon) == rhythm.at(noon + DAY), rhythm.at(noon) == rhythm.at(noon + 5 * DAY)
    (True, False)
    """

    def __init__(self, random: Random, zone: ZoneInfo) -> None:
        self._zone = zone
        floor = random.uniform(0.3, 1.2)
        morning, evening = random.gauss(7.5, 1.0), random.gauss(19.5, 1.5)
        rise, peak = random.uniform(0.3, 1.5), random.uniform(1.0, 3.0)
        lie_in, weekend = random.uniform(0.5, 2.5), random.uniform(0.8, 1.3)

        def shape(hour: int, later: float) -> float:
            return floor + rise * _bump(hour, morning + later, 1.5) + peak * _bump(hour, evening, 2.5)

        weekday = [shape(hour, 0.0) for hour in range(24)]
        free_day = [weekend * shape(hour, lie_in) for hour in range(24)]
        mean = (5 * sum(weekday) + 2 * sum(free_day)) / (7 * 24)
        self._weekday = [level / mean for level in weekday]
        self._free_day = [level / mean for level in free_day]

    def at(self, second: float) -> float:
        """Return the usual level at that instant."""
        local = datetime.fromtimestamp(second, self._zone)
        return (self._free_day if local.weekday() >= 5 else self._weekday)[local.hour]  # noqa: PLR2004 - Saturday


def meter_readings(
    random: Random, rhythm: Rhythm, per_hour: float, begins: float, ends: float, surges: Sequence[Surge] = ()
) -> Iterator[tuple[int, float]]:
    """Yield what a meter counted since its last reading, at irregular times, about one an hour."""
    second, mood, day = begins + random.uniform(0, HOUR), 1.0, -1.0
    while True:
        length = random.uniform(25, 95) * 60
        second += length
        if second >= ends:
            return
        if second // DAY != day:
            day, mood = second // DAY, random.lognormvariate(0.0, 0.12)
        middle = second - length / 2
        usual = per_hour * rhythm.at(middle) * mood * random.gammavariate(7, 1 / 7)
        factor, extra = _surge_at(surges, middle)
        yield int(second), (usual * factor + extra) * length / HOUR


def sessions(
    random: Random, rhythm: Rhythm, per_hour: float, begins: float, ends: float, surges: Sequence[Surge] = ()
) -> Iterator[tuple[int, float]]:
    """Yield what a phone downloaded, session by session: a few a day, more and closer together in a surge."""
    often = random.uniform(0.15, 0.35)
    spread = 0.7
    for hour in range(int(begins), int(ends), HOUR):
        factor, _ = _surge_at(surges, hour)
        rate = often * rhythm.at(hour) * min(factor, 1.0) + (_SURGING if factor > 1 else 0.0)
        mean = per_hour * factor / _SURGING if factor > 1 else per_hour / often
        for second in sorted(hour + random.uniform(0, HOUR) for _ in range(_poisson(random, rate))):
            if second < ends:
                yield int(second), mean * random.lognormvariate(-spread * spread / 2, spread)


@dataclass(frozen=True, slots=True)
class Shop:
    """Where people pay.

    Attributes:
        usual: the middle of what is paid there.
        spread: of the logarithm of what is paid.
        often: how often a customer comes, compared with the other shops.
    """

    name: str
    category: str
    channel: str
    usual: float
    spread: float
    often: float

    @property
    def id(self) -> str:
        """The name, as the payment network writes it."""
        return self.name.lower().replace(" ", "-").replace("'", "")


SHOPS = (
    Shop("Green Basket", "groceries", "card_present", 38, 0.5, 5),
    Shop("Corner Market", "groceries", "card_present", 14, 0.5, 6),
    Shop("Daily Grocer", "groceries", "card_present", 55, 0.4, 3),
    Shop("Bean There", "cafe", "card_present", 4.6, 0.25, 7),
    Shop("Crumb and Crust", "bakery", "card_present", 6.2, 0.3, 5),
    Shop("Noodle House", "restaurant", "card_present", 24, 0.35, 2),
    Shop("La Tavola", "restaurant", "card_present", 42, 0.4, 1.5),
    Shop("City Transit", "transport", "card_present", 2.8, 0.2, 8),
    Shop("Fuel Stop", "fuel", "card_present", 52, 0.25, 2),
    Shop("Well Pharmacy", "pharmacy", "card_present", 17, 0.5, 1),
    Shop("Page Turner Books", "books", "online", 19, 0.4, 0.7),
    Shop("Thread and Needle", "clothes", "online", 48, 0.5, 0.8),
    Shop("Little Green Garden", "garden", "card_present", 27, 0.5, 0.4),
    Shop("Screen Time", "cinema", "online", 22, 0.3, 0.8),
    Shop("Play Arcade", "games", "online", 12, 0.6, 0.8),
    Shop("Paws and Claws", "pets", "card_present", 33, 0.4, 0.8),
)
SUBSCRIPTIONS = (
    Shop("Streamly", "streaming", "recurring", 12.99, 0, 1),
    Shop("Gym Yard", "fitness", "recurring", 34.9, 0, 1),
    Shop("Cloud Locker", "storage", "recurring", 2.99, 0, 1),
)
ONCE_IN_A_WHILE = (
    Shop("Oak and Pine Furniture", "furniture", "card_present", 420, 0.4, 1),
    Shop("Volt Electronics", "electronics", "card_present", 310, 0.5, 1),
    Shop("Blue Sky Travel", "travel", "online", 520, 0.4, 1),
)
THIEVES_LIKE = (
    Shop("Kneadwell Massage Chairs", "furniture", "online", 2500, 0, 1),
    Shop("Luxe Watch Outlet", "jewellery", "online", 890, 0.5, 1),
    Shop("Gift Card Express", "gift_cards", "online", 240, 0.4, 1),
    Shop("Mega Phone Market", "electronics", "online", 640, 0.4, 1),
)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One charge before it has an account."""

    second: int
    shop: Shop
    amount: float
    is_abroad: bool = False
    is_fraud: bool = False


def purchases(random: Random, zone: ZoneInfo, begins: float, ends: float) -> Iterator[Purchase]:
    """Yield what a customer buys: mostly at a handful of shops, now and then at another, subscriptions each month."""
    favourites = random.sample(SHOPS, random.randint(5, 9))
    weights = [shop.often * random.lognormvariate(0, 0.6) for shop in favourites]
    purse = random.lognormvariate(0, 0.3)
    per_day = random.uniform(0.4, 1.4)
    second = begins
    while True:
        second += random.expovariate(per_day) * DAY
        if second >= ends:
            break
        bought = _in_opening_hours(random, second, zone)
        if not begins <= bought < ends:
            continue
        is_new = random.random() < 0.04  # noqa: PLR2004 - one purchase in 25
        shop = random.choice(SHOPS) if is_new else random.choices(favourites, weights)[0]
        yield Purchase(bought, shop, purse * shop.usual * random.lognormvariate(0, shop.spread))
    for shop in random.sample(SUBSCRIPTIONS, random.randint(0, 2)):
        first = begins + random.uniform(0, 30) * DAY
        for month in range(2):
            if first + month * 30 * DAY < ends:
                yield Purchase(int(first + month * 30 * DAY), shop, shop.usual)
    if random.random() < 0.3:  # noqa: PLR2004 - three in ten buy something large, of their own will
        shop = random.choice(ONCE_IN_A_WHILE)
        bought = _in_opening_hours(random, random.uniform(begins, ends - DAY), zone)
        yield Purchase(bought, shop, purse * shop.usual * random.lognormvariate(0, shop.spread))


def stolen_card(random: Random, second: float) -> Iterator[Purchase]:
    """Yield what a thief buys with the card: one to four charges within some hours, at any time of the day."""
    for _ in range(random.randint(1, 4)):
        shop = random.choice(THIEVES_LIKE)
        yield Purchase(int(second), shop, shop.usual * random.lognormvariate(0, shop.spread), True, True)
        second += random.uniform(0.1, 2.5) * HOUR


def _bump(hour: float, centre: float, width: float) -> float:
    away = (hour - centre + 12) % 24 - 12
    return exp(-away * away / (2 * width * width))


def _surge_at(surges: Sequence[Surge], second: float) -> tuple[float, float]:
    for surge in surges:
        if surge.begins <= second < surge.ends:
            return surge.factor, surge.extra
    return 1.0, 0.0


def _poisson(random: Random, rate: float) -> int:
    """Return how often something happened that happens `rate` times on average (Knuth's method: small rates only)."""
    least, product, count = exp(-rate), random.random(), 0
    while product > least:
        product *= random.random()
        count += 1
    return count


def _in_opening_hours(random: Random, second: float, zone: ZoneInfo) -> int:
    """Move to between 8 and 22 on the same local day."""
    local = datetime.fromtimestamp(second, zone)
    opened = local.replace(hour=8, minute=0, second=0, microsecond=0)
    return int(opened.timestamp() + random.uniform(0, 14) * HOUR)
