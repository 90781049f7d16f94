"""The labels of the demo's world: what was staged, what the events themselves show, what is documented of the real meter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from .scenario_customers import Customer
from .scenario_habits import Surge
from .verdict import Case

WATER_ACCOUNT = "water-main"

_GRACE = timedelta(hours=2)  # a spike's last hour may be told when it has closed
_WARNED_WITHIN = timedelta(days=1)
_ALL = 100
_THRESHOLDS = (80, _ALL)
_DECEMBER = 12


def usage_case(customer: Customer, surge: Surge, what: str) -> Case:
    """Return the case of a surge."""
    return Case(
        account=customer.account,
        kind="usage_spike",
        subject=customer.meter,
        starts=datetime.fromtimestamp(surge.begins, UTC),
        ends=datetime.fromtimestamp(surge.ends, UTC) + _GRACE,
        what=what,
    )


def theft_case(customer: Customer, stolen: Sequence[tuple[int, str, float]]) -> Case:
    """Return the case of a stolen card: one for all its charges, since who asks about the second has noticed it.

    Args:
        customer: whose card.
        stolen: when, the event's id and the amount, in order.
    """
    return Case(
        account=customer.account,
        kind="suspicious_charge",
        starts=datetime.fromtimestamp(stolen[0][0], UTC),
        ends=datetime.fromtimestamp(stolen[-1][0], UTC),
        what=f"a stolen card: {' + '.join(f'{amount:.0f}' for _, _, amount in stolen)} {customer.currency}",
        events=frozenset(event for _, event, _ in stolen),
    )


def limit_cases(customer: Customer, used: Sequence[tuple[int, Decimal]]) -> Iterator[Case]:
    """Yield, cycle by cycle, what the readings show of the plan's limit.

    Passing a threshold is a case from the reading that passes it; one that passes both passes the higher. Using up the
    whole allowance is another case, from the cycle's start until that happens: somebody could have foreseen it.

    Args:
        customer: whose plan.
        used: when and how much, in order.
    """
    allowance = customer.allowance
    if allowance is None:
        return
    total, percent, starts, ends = Decimal(0), 0, 0, 0.0
    for second, quantity in used:
        if second >= ends:
            total, percent, starts, ends = Decimal(0), 0, second, _cycle_end(customer, second)
        total += quantity
        passed = max((line for line in _THRESHOLDS if total * 100 >= allowance.quantity * line), default=0)
        if passed > percent:
            percent, now = passed, datetime.fromtimestamp(second, UTC)
            all_of_it = f"{allowance.quantity} {allowance.unit}"
            yield _limit_case(customer, str(passed), now, now + _WARNED_WITHIN, f"{passed} % of {all_of_it} used")
            if passed == _ALL:
                began = datetime.fromtimestamp(starts, UTC)
                yield _limit_case(customer, "forecast", began, now, f"will use up {all_of_it} by {now:%-d %B}")


def _limit_case(customer: Customer, threshold: str, starts: datetime, ends: datetime, what: str) -> Case:
    return Case(
        account=customer.account,
        kind="plan_limit",
        subject=customer.meter,
        threshold=threshold,
        starts=starts,
        ends=ends,
        what=what,
    )


def _cycle_end(customer: Customer, second: int) -> float:
    """Return the next local midnight that begins the customer's cycle day."""
    now = datetime.fromtimestamp(second, customer.zone)
    this_month = datetime(now.year, now.month, customer.cycle_day, tzinfo=customer.zone)
    if this_month > now:
        return this_month.timestamp()
    year, month = (now.year + 1, 1) if now.month == _DECEMBER else (now.year, now.month + 1)
    return datetime(year, month, customer.cycle_day, tzinfo=customer.zone).timestamp()


def _water_case(starts: str, ends: str, what: str, *, is_asked_for: bool) -> Case:
    return Case(
        account=WATER_ACCOUNT,
        kind="usage_spike",
        subject="water",
        starts=datetime.fromisoformat(starts),
        ends=datetime.fromisoformat(ends),
        what=what,
        is_asked_for=is_asked_for,
    )


# River's documentation of WaterFlow names four anomalous segments without their dates: "3 low value moments [...] due to
# water losses or human intervention for maintenance" and "a small peak in the water inflow after the first 2 segments".
# In the data: the flow, 99 to 107 l/s elsewhere, falls to 24 l/s three times; after the second time one hour stands out,
# 109.7 l/s where its neighbours have 101 to 103. Too little water is no spike; the peak is one, if a small one.
WATER_CASES = (
    _water_case("2022-03-24T08:00+01:00", "2022-03-25T02:00+01:00", "first low value moment", is_asked_for=False),
    _water_case("2022-03-29T08:00+02:00", "2022-03-29T22:00+02:00", "second low value moment", is_asked_for=False),
    _water_case(
        "2022-04-03T05:00+02:00", "2022-04-03T08:00+02:00", "real small peak, 8 % for an hour", is_asked_for=True
    ),
    _water_case("2022-04-27T15:00+02:00", "2022-04-28T07:00+02:00", "third low value moment", is_asked_for=False),
)
