"""What an account may use of one meter in the present cycle: the plan's allowance, and what was added to it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from math import inf

import msgspec

from .plans import Allowance

_ZERO = Decimal(0)
_MOST_GRANTS = 8


class Grant(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """A top-up of which something is left, or was when this cycle began.

    Attributes:
        left: how much then.
        expires_at: in UTC; None is the end of the cycle.
    """

    left: Decimal
    expires_at: datetime | None


class Terms(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """What is not the plan's own. Those of accounts with nothing of the kind are one and the same, `PLAIN`.

    Attributes:
        base: takes the place of the plan's quantity: in part an older plan's, or a prepaid balance's last top-up.
        rolled: left over from the last cycle.
        spent: used of top-ups that have expired in this cycle.
        grants: top-ups, in the order in which they are used: the first to expire is first.
        rearmed: how often thresholds were armed again within the period.
    """

    base: Decimal | None = None
    rolled: Decimal = _ZERO
    spent: Decimal = _ZERO
    grants: tuple[Grant, ...] = ()
    rearmed: int = 0

    def room(self, allowance: Allowance) -> Decimal:
        """Return all that may be used in this cycle."""
        if self is PLAIN:
            return allowance.included
        return self.own(allowance) + self.spent + sum([grant.left for grant in self.grants], _ZERO)

    def own(self, allowance: Allowance) -> Decimal:
        """Return what may be used before top-ups are."""
        return (allowance.included if self.base is None else self.base) + self.rolled

    def added(self, quantity: Decimal, expires_at: datetime | None, end: datetime | None) -> Terms:
        """Return the terms with one top-up more, in a cycle until `end`.

        With more than eight, the last two become one that expires with the later.
        """

        def order(grant: Grant) -> float:
            until = grant.expires_at or end
            return until.timestamp() if until is not None else inf

        grants = sorted((*self.grants, Grant(quantity, expires_at)), key=order)
        if len(grants) > _MOST_GRANTS:
            *grants, last = grants
            grants[-1] = Grant(grants[-1].left + last.left, last.expires_at)
        return msgspec.structs.replace(self, grants=tuple(grants))

    def at(self, now: datetime, total: Decimal, allowance: Allowance | None) -> Terms:
        """Return the terms without top-ups that have expired by `now`; what was used of them was used."""
        if not self.grants or not any(
            grant.expires_at is not None and grant.expires_at <= now for grant in self.grants
        ):
            return self
        spent, left = self.spent, []
        for grant, used in self._used(total, allowance):
            if grant.expires_at is not None and grant.expires_at <= now:
                spent += used
            else:
                left.append(grant)
        return msgspec.structs.replace(self, spent=spent, grants=tuple(left))

    def renewed(
        self, total: Decimal, allowance: Allowance | None, *, whole_cycles_unused: bool, now: datetime
    ) -> Terms:
        """Return the terms of the next cycle: what rolls over, and what top-ups that outlive the cycle still hold.

        Args:
            total: used in the cycle that ended.
            allowance: the plan's; None where there is none.
            whole_cycles_unused: a cycle or more has passed in which nothing was used.
            now: when the next cycle is looked at.
        """
        rolled = _ZERO
        if allowance is not None and allowance.rolls_over:
            unused = max(_ZERO, self.own(allowance) - total)
            if whole_cycles_unused:
                unused += allowance.included
            rolled = min(allowance.rolls_over, unused)
        grants = tuple(
            Grant(grant.left - used, grant.expires_at)
            for grant, used in self._used(total, allowance)
            if grant.expires_at is not None and grant.expires_at > now and used < grant.left
        )
        return Terms(rolled=rolled, grants=grants) if rolled or grants else PLAIN

    def _used(self, total: Decimal, allowance: Allowance | None) -> list[tuple[Grant, Decimal]]:
        """Return with each top-up how much of it is used."""
        beyond = total - self.spent - (self.own(allowance) if allowance is not None else _ZERO)
        found = []
        for grant in self.grants:
            used = min(max(beyond, _ZERO), grant.left)
            beyond -= used
            found.append((grant, used))
        return found


PLAIN = Terms()


def pro_rata(old: Decimal, new: Decimal, start: datetime, now: datetime, end: datetime) -> Decimal:
    """Return what two plans give together in a cycle that is changed at `now`, to six places.

    >>> day = datetime.fromisoformat
    >>> pro_rata(Decimal(10), Decimal(50), day("2026-04-01"), day("2026-04-16"), day("2026-05-01"))
    Decimal('30.000000')
    """
    whole, elapsed = end - start, min(max(now, start), end) - start
    microsecond = type(whole)(microseconds=1)
    share = Decimal(elapsed // microsecond) / Decimal(whole // microsecond)
    return (old * share + new * (1 - share)).quantize(Decimal("0.000001"))
