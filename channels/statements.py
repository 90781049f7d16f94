"""The ledger's statements, built once: building one takes SQLAlchemy four times as long as running it.

A parameter must not be called like a column: SQLAlchemy would set that column to it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, exists, func, insert, literal, or_, select, union_all, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from .tables import WAITING, alert, attempt, position, receipt, tally

_this = alert.c.alert_id == bindparam("this_alert")
_waiting = alert.c.disposition == WAITING
_free = or_(alert.c.claimed_until.is_(None), alert.c.claimed_until < bindparam("now"))
_held = (_this, _waiting, alert.c.claimed_until == bindparam("held_until"))
_not_newer = alert.c.state_at <= bindparam("at")
_in_doubt = exists().where(attempt.c.alert_id == alert.c.alert_id, attempt.c.outcome.is_(None))
_state: dict[str, Any] = {"state": bindparam("new_state"), "state_at": bindparam("at")}

# coming in
ADD_ALERT = sqlite_insert(alert).on_conflict_do_nothing(index_elements=["alert_id"])
REFRESH_UNSENT = update(alert).where(_this, _not_newer, _waiting, _free).values(**_state, body=bindparam("new_body"))
RESOLVE_UNSENT = (
    update(alert)
    .where(_this, _waiting, _free, ~_in_doubt)
    .values(**_state, disposition="resolved_first", reason=bindparam("why"), settled_at=bindparam("now"))
)
NOTE_STATE = update(alert).where(_this, _not_newer).values(**_state)
COUNT_ADMITTED = update(tally).where(tally.c.name == "admitted").values(count=tally.c.count + bindparam("more"))
_reached = sqlite_insert(position)
ADVANCE = _reached.on_conflict_do_update(
    index_elements=["topic", "partition"],
    set_={
        "next_offset": func.max(position.c.next_offset, _reached.excluded.next_offset),
        "topic_id": _reached.excluded.topic_id,
    },
)
POSITIONS = select(position).where(position.c.topic == bindparam("topic"))

# going out
FIRST_FREE = select(alert.c.alert_id, alert.c.body).where(_waiting, _free).order_by(alert.c.number).limit(1)
CLAIM = update(alert).where(_this).values(claimed_until=bindparam("until"))
TRIED = select(attempt.c.channel, attempt.c.outcome).where(attempt.c.alert_id == bindparam("this_alert"))
HOLD_ON = update(alert).where(*_held).values(claimed_until=bindparam("until"))
START_ATTEMPT = insert(attempt).returning(attempt.c.number)
END_ATTEMPT = (
    update(attempt)
    .where(attempt.c.number == bindparam("this_attempt"))
    .values(ended_at=bindparam("now"), outcome=bindparam("verdict"), detail=bindparam("why"))
)
SETTLE = (
    update(alert)
    .where(*_held)
    .values(
        disposition=bindparam("ends_as"),
        reason=bindparam("why"),
        channel=bindparam("over"),
        settled_at=bindparam("now"),
        claimed_until=None,
    )
)

# telling what became of it
ADD_RECEIPT = insert(receipt)
UNPUBLISHED = (
    select(receipt.c.receipt_id, receipt.c.account, receipt.c.body)
    .where(receipt.c.published_at.is_(None))
    .order_by(receipt.c.number)
    .limit(bindparam("most"))
)
MARK_PUBLISHED = (
    update(receipt)
    .where(receipt.c.receipt_id == bindparam("this_receipt"), receipt.c.published_at.is_(None))
    .values(published_at=bindparam("now"))
)

# counting
COUNT_WAITING = select(func.count()).select_from(alert).where(_waiting)
CONSERVATION = union_all(
    select(literal("tally:admitted").label("name"), tally.c.count.label("count")).where(tally.c.name == "admitted"),
    select(literal("tally:receipts"), func.count()).select_from(receipt),
    select(alert.c.disposition, func.count()).group_by(alert.c.disposition),
)
