"""A small file for each kind, to see what `foretell evaluate` reads and prints."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import exp, pi, sin
from random import Random
from typing import TextIO

from .evaluation_data import COLUMNS

_START = datetime(2026, 1, 5, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_ACCOUNTS = 12
_DAYS = 70


def write_example(kind: str, stream: TextIO) -> None:
    """Write a CSV with made-up rows, the same ones each time."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.name for column in COLUMNS[kind])
    random = Random(7)  # noqa: S311 - nothing here is a secret
    rows = {"spike": _usage, "series": _usage, "charge": _charges, "limit": _days}[kind](random)
    writer.writerows(rows)


def _usage(random: Random) -> Iterator[tuple[object, ...]]:
    levels = [exp(random.gauss(0, 0.5)) for _ in range(_ACCOUNTS)]
    spikes = {
        (account, 24 * random.randrange(28, _DAYS - 1) + random.randrange(24))
        for account in range(_ACCOUNTS)
        for _ in range(3)
    }
    for hour in range(24 * _DAYS):
        habit = 1 + 0.6 * sin(2 * pi * ((hour % 24) - 9) / 24)
        for account, level in enumerate(levels):
            is_spike = any((account, hour - ago) in spikes for ago in range(3))
            value = level * habit * random.lognormvariate(0, 0.25) + 8 * level * is_spike
            yield f"home-{account}", (_START + hour * _HOUR).isoformat(), f"{value:.3f}", int(is_spike)


def _charges(random: Random) -> Iterator[tuple[object, ...]]:
    means = [exp(random.gauss(3.5, 0.4)) for _ in range(10 * _ACCOUNTS)]
    bad_from = {merchant: random.uniform(5, _DAYS) for merchant in range(0, 300, 25)}
    moments = sorted(random.uniform(0, _DAYS) for _ in range(250 * _ACCOUNTS))
    for number, moment in enumerate(moments):
        card, merchant = random.randrange(len(means)), random.randrange(300)
        amount = max(1.0, random.gauss(means[card], means[card] / 3))
        is_fraud = 0 <= moment - bad_from.get(merchant, _DAYS) < 14 or random.random() < 0.003  # noqa: PLR2004
        if is_fraud and random.random() < 0.5:  # noqa: PLR2004
            amount *= random.uniform(3, 6)
        at = _START + moment * _DAY
        known_at = (at + 7 * _DAY).isoformat()
        yield f"c{number}", f"card-{card}", f"m{merchant}", at.isoformat(), f"{amount:.2f}", int(is_fraud), known_at


def _days(random: Random) -> Iterator[tuple[object, ...]]:
    levels = [exp(random.gauss(0, 0.5)) for _ in range(_ACCOUNTS)]
    for day in range(3 * _DAYS):
        start = _START + (day - day % 30) * _DAY
        for account, level in enumerate(levels):
            value = level * (1.3 if day % 7 > 4 else 0.9) * random.lognormvariate(0, 0.4)  # noqa: PLR2004
            allowance = 30 * level * (0.9 + 0.05 * (account % 7))
            at = (_START + day * _DAY).isoformat()
            yield (
                f"line-{account}",
                at,
                f"{value:.3f}",
                f"{allowance:.1f}",
                start.isoformat(),
                (start + 30 * _DAY).isoformat(),
            )
