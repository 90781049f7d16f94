"""Numbered events of several hundred accounts, as fast as asked for, until told to stop."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import orjson
from kafka import KafkaProducer

from streams.settings import TopicsSettings

ZONES = ("UTC", "Europe/Stockholm", "America/Los_Angeles", "Asia/Kolkata")
PLANS = ("small", "middle", "large")
BEGAN = (datetime.now(UTC) - timedelta(days=10)).replace(minute=0, second=0, microsecond=0)
STEP = timedelta(minutes=20)
_BEAT_SECONDS = 0.02
_TWICE_EVERY = 97  # events sent twice, as senders do that are not sure
_PATIENCE_MS = 240_000  # longer than any outage here: what is not acknowledged is sent again, not dropped


def usage_event(account: str, number: int, quantity: str, **other: Any) -> dict[str, Any]:
    """Return a meter's reading; the account's number `number`."""
    return {
        "id": f"{account}-{number}",
        "type": "usage.recorded",
        "source": "/meters",
        "account": account,
        "time": (BEGAN + number * STEP).isoformat(),
        "meter": "data",
        "unit": "GB",
        "quantity": quantity,
        **other,
    }


def charge_event(account: str, number: int, amount: str, merchant: str, **other: Any) -> dict[str, Any]:
    """Return a card's charge; the account's number `number`."""
    return {
        "id": f"{account}-{number}",
        "type": "charge.posted",
        "source": "/cards",
        "account": account,
        "time": (BEGAN + number * STEP).isoformat(),
        "amount": amount,
        "currency": "EUR",
        "merchant": {"id": merchant, "category": f"of-{merchant[-1]}", "country": "SE"},
        "channel": "card_present",
        **other,
    }


def account_event(account: str, number: int) -> dict[str, Any]:
    """Return an account's plan and zone; its cycle ends long after any test."""
    return {
        "id": f"{account}-facts",
        "type": "account.updated",
        "source": "/crm",
        "account": account,
        "time": BEGAN.isoformat(),
        "plan": PLANS[number % len(PLANS)],
        "timezone": ZONES[number % len(ZONES)],
        "cycle": {"kind": "days", "length": 366, "anchor": (BEGAN - timedelta(days=1)).isoformat()},
    }


class Traffic:
    """Half of the accounts use data, the other half pay; now and then a reading or a charge stands out.

    Sent by a thread while the block lasts. The producer is idempotent and patient: an outage delays events and neither
    loses nor doubles any.

    Args:
        bootstrap: Kafka.
        topics: where to send.
        seed: of quantities, amounts and accounts.
        accounts: how many, in all.
        per_second: events.
    """

    def __init__(
        self, bootstrap: str, topics: TopicsSettings, *, seed: int, accounts: int = 300, per_second: int = 1000
    ) -> None:
        self._random = random.Random(seed)
        self._topics = topics
        self._users = [f"u{number:03}" for number in range(1, accounts // 2 + 1)]
        self._payers = [f"c{number:03}" for number in range(1, accounts // 2 + 1)]
        self._counts = dict.fromkeys([*self._users, *self._payers], 0)
        self._per_second = per_second
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            linger_ms=5,
            max_block_ms=_PATIENCE_MS,
            delivery_timeout_ms=_PATIENCE_MS,
            compression_type=None,
        )

    def introduce(self) -> None:
        """Send every account's plan and zone, and wait until Kafka has them."""
        for number, account in enumerate(self._counts):
            self._send("accounts", account_event(account, number))
        self._producer.flush()

    def __enter__(self) -> Self:
        self._is_over.clear()
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Disconnect."""
        self._producer.close()

    @property
    def sent(self) -> int:
        """How many events were handed over so far."""
        return sum(self._counts.values())

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        try:
            while not self._is_over.wait(_BEAT_SECONDS):
                due = int((time.monotonic() - began) * self._per_second)
                for _ in range(due - sent):
                    self._send_one()
                sent = due
            self._producer.flush()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._failure = error

    def _send_one(self) -> None:
        draw = self._random
        account = draw.choice(self._users if draw.random() < 0.5 else self._payers)
        number = self._counts[account] = self._counts[account] + 1
        stands_out = draw.random() < 1 / 250
        if account[0] == "u":
            quantity = draw.uniform(40, 60) if stands_out else draw.uniform(0.3, 0.5)
            role, event = "usage", usage_event(account, number, f"{quantity:.3f}")
        else:
            amount = draw.uniform(2000, 2500) if stands_out else draw.lognormvariate(3, 0.5)
            merchant = f"m{draw.randrange(500 if stands_out else 8)}"
            role, event = "charges", charge_event(account, number, f"{amount:.2f}", merchant)
        self._send(role, event)
        if self.sent % _TWICE_EVERY == 0:
            self._send(role, event)

    def _send(self, role: str, event: dict[str, Any]) -> None:
        self._producer.send(self._topics.named(role), orjson.dumps(event), event["account"].encode())
