"""Saved profiles of accounts with a history: what the product's three detectors really keep, made by running them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from random import Random

import msgspec

from detectors.accounts import AccountsInMemory
from detectors.engine import Engine, Origin
from detectors.events import AccountUpdated, ChargePosted, Merchant, UsageRecorded
from detectors.message import Message
from streams.keys import partition_of

from .contestant import PARTITIONS
from .events import METER, UNIT, account_name
from .product_work import THREE_DETECTORS

HISTORY_DAYS = 14
_CHARGES_A_DAY = 4
_MERCHANTS = 500
_SEED = 11
_SOURCE = "/bench"


def history(account: str, until: datetime, days: int = HISTORY_DAYS) -> Iterator[Message]:
    """Yield an account's events of so many days: its plan, a reading an hour, some charges a day."""
    random = Random(f"{_SEED}/{account}")  # noqa: S311 - the same history in every run
    begin = until - timedelta(days=days)
    yield AccountUpdated(
        id="plan", source=_SOURCE, account=account, time=begin, plan="wide", timezone="Europe/Stockholm"
    )
    for hour in range(24 * days):
        moment = begin + timedelta(hours=hour)
        yield usage(account, f"u{hour}", moment, 100 + 899 * random.random())
        if random.random() < _CHARGES_A_DAY / 24:
            yield charge(account, f"c{hour}", moment, random)


def usage(account: str, event_id: str, moment: datetime, quantity: float) -> UsageRecorded:
    """Return a reading."""
    return UsageRecorded(
        id=event_id,
        source=_SOURCE,
        account=account,
        time=moment,
        meter=METER,
        quantity=Decimal(f"{quantity:.3f}"),
        unit=UNIT,
    )


def charge(account: str, event_id: str, moment: datetime, random: Random) -> ChargePosted:
    """Return a charge at one of the merchants."""
    merchant = Merchant(id=f"merchant-{int(_MERCHANTS * random.random() ** 2)}", category="5411", country="SE")
    return ChargePosted(
        id=event_id,
        source=_SOURCE,
        account=account,
        time=moment,
        amount=Decimal(f"{random.lognormvariate(3, 1):.2f}"),
        currency="EUR",
        merchant=merchant,
        channel="online",
    )


def make(count: int, until: datetime, days: int = HISTORY_DAYS) -> list[bytes]:
    """Return the saved profiles of so many accounts whose histories end at a moment."""
    accounts = AccountsInMemory()
    engine = Engine(THREE_DETECTORS, accounts)
    saved = []
    for number in range(count):
        name = account_name(number)
        for offset, event in enumerate(history(name, until, days)):
            engine.handle(event, Origin("bench", 0, offset))
        profile = accounts.get(name.encode())
        assert profile is not None
        saved.append(engine.codec.save(profile))
        accounts.remove(name.encode())
    return saved


def write(path: Path, saved: Sequence[bytes]) -> None:
    """Keep them for other processes."""
    path.write_bytes(msgspec.msgpack.encode(list(saved)))


def read(path: Path) -> list[bytes]:
    """Return what `write` has written."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])


def spread(saved: Sequence[bytes], accounts: int, partition: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield accounts with these profiles over and over, of one partition or of all."""
    for number, state in enumerate(islice(cycle(saved), accounts)):
        key = account_name(number).encode()
        if partition is None or partition_of(key, PARTITIONS) == partition:
            yield key, state


def hours_ago(hours: int) -> datetime:
    """Return the beginning of an hour."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
