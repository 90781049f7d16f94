"""How well the detectors do, with their default settings, on public data: a small table.

    python bench/detection.py --data ../shared/data

Accounts are split by odd and even number: figures of `odd` may have been looked at while developing, those of `even`
are the ones to quote. Everything is strictly online, in the order of time, one engine for each half.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import log10
from pathlib import Path
from random import Random
from time import perf_counter

from pyarrow import parquet
from river.datasets import WaterFlow

from detectors.alerts import Alert
from detectors.catalogue import CatalogueSettings
from detectors.engine import Engine, EngineSettings, Origin
from detectors.events import AccountUpdated, ChargePosted, UsageRecorded
from detectors.plan_limit import PlanLimitSettings
from detectors.plans import Allowance, Plan
from detectors.profile import AccountFacts
from detectors.suspicious_charge import SuspiciousCharge, SuspiciousChargeSettings
from detectors.usage_spike import UsageSpikeSettings

HERE = Path(__file__).resolve().parent
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
A_MONTH = 30 * DAY
SETTLED = 28 * DAY
GRACE = 2 * HOUR  # a spike's last hour may be told when it has closed
CHARGE_DAYS = 42
SHOWN_TENTH = 100.0  # charges in a thousand whose rank is seen; the rest share the last rank
HALVES: tuple[tuple[str, int], ...] = (("odd", 1), ("even", 0))
Reading = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Injection:
    """A spike put into a real home."""

    account: str
    what: str
    starts: datetime
    ends: datetime


KINDS: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "8x the mean, 3 h": (3, lambda usage, mean: usage + 8 * mean),
    "4x the mean, 6 h": (6, lambda usage, mean: usage + 4 * mean),
    "+200 %, a day": (24, lambda usage, _: 3 * usage),
}
"""Hours it lasts, and what becomes of an hour's usage."""


def read_homes(data: Path, parity: int) -> dict[str, list[Reading]]:
    """Return the kilowatt-hours of each home of that half."""
    table = parquet.read_table(data / "homes_hourly.parquet").to_pydict()
    homes: dict[str, list[Reading]] = defaultdict(list)
    for account, time, watt_hours in zip(table["account"], table["time"], table["watt_hours"], strict=True):
        if account % 2 == parity:
            homes[f"home-{account}"].append((time.astimezone(UTC), watt_hours / 1000))
    return homes


def inject(homes: dict[str, list[Reading]], seed: int) -> tuple[dict[str, list[Reading]], list[Injection]]:
    """Return the homes with a spike about every 30 days after the first 28, and where those are."""
    changed, injections = {}, []
    for account, readings in homes.items():
        random = Random(f"{seed}/{account}")  # noqa: S311 - where to put a spike is no secret
        own = list(readings)
        mean = sum(usage for _, usage in readings) / len(readings)
        for number, begin in enumerate(range(28 * 24, len(own) - 40 * 24, 30 * 24)):
            what = list(KINDS)[(number + seed) % len(KINDS)]
            hours, spiked = KINDS[what]
            first = begin + random.randrange(28 * 24)
            for index in range(first, first + hours):
                time, usage = own[index]
                own[index] = (time, spiked(usage, mean))
            injections.append(Injection(account, what, own[first][0], own[first + hours - 1][0] + HOUR))
        changed[account] = own
    return changed, injections


def usage_events(homes: dict[str, list[Reading]]) -> Iterator[UsageRecorded]:
    """Yield every reading as it would come, half an hour into its hour."""
    lines = sorted((time, account, usage) for account, readings in homes.items() for time, usage in readings)
    for number, (time, account, usage) in enumerate(lines):
        yield UsageRecorded(
            id=str(number),
            source="/bench",
            account=account,
            time=time + HOUR / 2,
            meter="electricity",
            quantity=Decimal(f"{usage:.3f}"),
            unit="kWh",
        )


def run(engine: Engine, events: Iterator[UsageRecorded]) -> list[Alert]:
    """Return what the engine raises."""
    return [
        alert
        for offset, event in enumerate(events)
        for alert in engine.handle(event, Origin("bench", 0, offset))
        if alert.state == "triggered"
    ]


def spike_engine(odd_hours: float) -> Engine:
    """Return an engine that only looks for spikes."""
    return Engine(
        EngineSettings(
            detectors=CatalogueSettings(
                usage_spike=UsageSpikeSettings(odd_hours_a_month=odd_hours),
                plan_limit=PlanLimitSettings(enabled=False),
                suspicious_charge=SuspiciousChargeSettings(enabled=False),
            )
        )
    )


def bench_spikes(data: Path, seeds: Sequence[int]) -> None:
    """Print recall and false alerts on homes with injected spikes."""
    default = UsageSpikeSettings().odd_hours_a_month
    print("\nusage_spike on homes, spikes injected from day 28 on (recall; false = alerts outside them)")
    print(f"{'half':6}{'odd hours':>10}{'recall':>8}{'false/month':>13}{'days 8-28':>11}   by kind")
    for half, parity in HALVES:
        homes = read_homes(data, parity)
        for odd_hours in sorted({0.25, default, 4.0}):
            hits: dict[str, list[bool]] = {what: [] for what in KINDS}
            false, young, months, young_months = 0, 0, 0.0, 0.0
            for seed in seeds:
                changed, injections = inject(homes, seed)
                alerts = run(spike_engine(odd_hours), usage_events(changed))
                starts = {account: readings[0][0] for account, readings in changed.items()}
                for injection in injections:
                    hits[injection.what].append(any(_is_about(alert, injection) for alert in alerts))
                stray = [alert for alert in alerts if not any(_is_about(alert, injection) for injection in injections)]
                false += sum(alert.occurred_at >= starts[alert.account] + SETTLED for alert in stray)
                young += sum(alert.occurred_at < starts[alert.account] + SETTLED for alert in stray)
                months += sum((readings[-1][0] - readings[0][0] - SETTLED) / A_MONTH for readings in changed.values())
                young_months += len(changed) * 21 / 30
            every = [hit for found in hits.values() for hit in found]
            kinds = ", ".join(f"{what}: {_share(found)}" for what, found in hits.items())
            mark = "*" if odd_hours == default else " "
            print(
                f"{half:6}{odd_hours:>9}{mark}{_share(every):>8}{false / months:>13.2f}{young / young_months:>11.2f}   {kinds}"
            )
    print("* the default; cases per row:", len(every))


def _is_about(alert: Alert, injection: Injection) -> bool:
    return alert.account == injection.account and injection.starts <= alert.occurred_at <= injection.ends + GRACE


def bench_water() -> None:
    """Print what is said about River's water meter, a single account, at several relative floors."""
    rows = [(row["Time"], litres * 3.6) for row, litres in WaterFlow()]  # type: ignore[no-untyped-call] # River's loaders have no types
    print("\nusage_spike on river.datasets.WaterFlow (one account; the one documented peak, +8 %, is 2022-04-03)")
    for least_share in (UsageSpikeSettings().least_share, 0.05):
        settings = UsageSpikeSettings(least_share=least_share)
        engine = Engine(EngineSettings(detectors=CatalogueSettings(usage_spike=settings)))
        alerts = run(engine, usage_events({"water": [(time.astimezone(UTC), cubic) for time, cubic in rows]}))
        found = ", ".join(f"{alert.occurred_at:%m-%d %H:%M}" for alert in alerts) or "nothing"
        print(f"  least_share {least_share}: {found}")


def bench_limits(data: Path) -> None:
    """Print how early and how rightly a forecast says that a plan's allowance will be passed."""
    print("\nplan_limit forecasts on homes (allowance: the home's own mean cycle x 0.9, 1.0, 1.1; calendar months)")
    print(f"{'half':6}{'cycles':>8}{'passed':>8}{'told':>6}{'right':>7}{'warned':>8}{'>= 3 days':>11}")
    for half, parity in HALVES:
        homes = read_homes(data, parity)
        figures = [0, 0, 0, 0, 0, 0]
        for factor in (0.9, 1.0, 1.1):
            for account, readings in homes.items():
                figures = [sum(pair) for pair in zip(figures, _limits_of(account, readings, factor), strict=True)]
        cycles, passed, told, right, warned, early = figures
        print(
            f"{half:6}{cycles:>8}{passed:>8}{told:>6}{right / max(told, 1):>7.2f}"
            f"{warned / max(passed, 1):>8.2f}{early / max(passed, 1):>11.2f}"
        )


def _limits_of(account: str, readings: list[Reading], factor: float) -> tuple[int, ...]:
    """Return cycles, those passed, forecasts told, those right, breaches forecast, those at least 3 days ahead."""
    months: dict[str, float] = defaultdict(float)
    for time, usage in readings:
        months[f"{time:%Y-%m}"] += usage
    full = sorted(months)[1:-1]
    allowance = factor * sum(months[month] for month in full) / len(full)
    plan = Plan(currency="EUR", allowances={"electricity": Allowance(quantity=Decimal(f"{allowance:.3f}"), unit="kWh")})
    engine = Engine(
        EngineSettings(plans={"p": plan}, detectors=CatalogueSettings(usage_spike=UsageSpikeSettings(enabled=False)))
    )
    facts = AccountUpdated(id="p", source="/bench", account=account, time=readings[0][0], plan="p")
    engine.handle(facts, Origin("bench", 0, 0))
    told: dict[str, datetime] = {}
    reached: dict[str, datetime] = {}
    for alert in run(engine, usage_events({account: readings})):
        month = f"{alert.occurred_at:%Y-%m}"
        if alert.facts["threshold"] == "forecast":
            told[month] = alert.occurred_at
        elif alert.facts["threshold"] == "100":
            reached[month] = alert.occurred_at
    judged = [month for month in told if month in full]
    passed = [month for month in full if month in reached]
    warned = [reached[month] - told[month] for month in passed if month in told]
    return (
        len(full),
        len(passed),
        len(judged),
        sum(month in reached for month in judged),
        len(warned),
        sum(ahead >= 3 * DAY for ahead in warned),
    )


def bench_charges(data: Path) -> None:
    """Print how well charges are ranked with no label at all, and what the default line asks."""
    table = parquet.read_table(data / "charges.parquet")
    rows = table.to_pydict()
    begin = rows["time"][0]
    line = log10(1000 / SuspiciousChargeSettings().questions_a_thousand)
    print(
        f"\nsuspicious_charge, first {CHARGE_DAYS} days, no label, no answer (simulated; only amount, card, merchant)"
    )
    print(
        f"{'half':6}{'charges':>9}{'frauds':>8}{'AP':>7}{'asked':>7}{'right':>7}{'recall':>8}{'false/month':>13}{'us':>6}"
    )
    for half, parity in HALVES:
        detector = SuspiciousCharge(SuspiciousChargeSettings(questions_a_thousand=SHOWN_TENTH))
        maker = Engine(EngineSettings())
        memories: dict[int, tuple[AccountFacts, object]] = {}
        scored: list[tuple[float, bool]] = []
        spent = 0.0
        columns = zip(rows["time"], rows["card"], rows["merchant"], rows["cents"], rows["fraud"], strict=True)
        for number, (time, card, merchant, cents, fraud) in enumerate(columns):
            if time >= begin + CHARGE_DAYS * DAY:
                break
            if card % 2 != parity or cents <= 0:
                continue
            event = ChargePosted.model_validate(
                {
                    "id": str(number),
                    "source": "/bench",
                    "account": str(card),
                    "time": time,
                    "amount": Decimal(cents) / 100,
                    "currency": "EUR",
                    "merchant": {"id": str(merchant)},
                }
            )
            if card not in memories:
                memories[card] = (AccountFacts(str(card)), detector.begin())
            facts, memory = memories[card]
            started = perf_counter()
            detector.settle(time, facts, memory)  # type: ignore[arg-type] # a memory is its detector's own affair
            found = detector.score(event, facts, memory)  # type: ignore[arg-type]
            decades = found[0].score * log10(1000 / SHOWN_TENTH) if found else 0.0
            raised = (
                [maker._alert(detector, found[0], event, Origin("bench", 0, number))]  # noqa: SLF001 - as the engine does
                if decades >= line
                else []
            )
            detector.learn(event, facts, memory, raised)  # type: ignore[arg-type]
            spent += perf_counter() - started
            scored.append((decades, fraud))
        asked = [fraud for decades, fraud in scored if decades >= line]
        frauds = sum(fraud for _, fraud in scored)
        account_months = len(memories) * CHARGE_DAYS / 30
        print(
            f"{half:6}{len(scored):>9}{frauds:>8}{average_precision(scored):>7.3f}{len(asked):>7}{_share(asked):>7}"
            f"{sum(asked) / frauds:>8.2f}{asked.count(False) / account_months:>13.3f}{spent / len(scored) * 1e6:>6.0f}"
        )


def average_precision(scored: Sequence[tuple[float, bool]]) -> float:
    """Return the mean precision over the frauds, ties counted as one step.

    >>> average_precision([(3.0, True), (2.0, False), (1.0, True)])
    0.8333333333333333
    """
    steps: dict[float, list[bool]] = defaultdict(list)
    for score, is_fraud in scored:
        steps[score].append(is_fraud)
    right, seen, total = 0, 0, 0.0
    for score in sorted(steps, reverse=True):
        right += sum(steps[score])
        seen += len(steps[score])
        total += sum(steps[score]) * right / seen
    return total / max(right, 1)


def bench_cost(data: Path) -> None:
    """Print what one usage event costs with all detectors, as a multiple of building it."""
    homes = read_homes(data, 1)
    started = perf_counter()
    events = list(usage_events(homes))
    building = perf_counter() - started
    engine = Engine(EngineSettings())
    started = perf_counter()
    run(engine, iter(events))
    spent = perf_counter() - started
    print(f"\ncost of a usage event: {spent / len(events) * 1e6:.0f} us, {spent / building:.1f} x building the message")


def _share(found: Sequence[bool]) -> str:
    return f"{sum(found) / len(found):.2f}" if found else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3, help="how often spikes are injected anew")
    parts = ("spikes", "water", "limits", "charges", "cost")
    parser.add_argument("--only", choices=parts, nargs="+", default=parts, help="which parts")
    options = parser.parse_args(arguments)
    if set(options.only) != {"water"} and not options.data.is_dir():
        print(f"no folder {options.data}; give the one with homes_hourly.parquet as --data", file=sys.stderr)
        return 2
    todo: dict[str, Callable[[], None]] = {
        "spikes": lambda: bench_spikes(options.data, range(1, options.seeds + 1)),
        "water": bench_water,
        "limits": lambda: bench_limits(options.data),
        "charges": lambda: bench_charges(options.data),
        "cost": lambda: bench_cost(options.data),
    }
    for part in options.only:
        todo[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
