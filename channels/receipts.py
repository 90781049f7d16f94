"""Receipts: what became of an alert, as others read it."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from detectors.alerts import Alert, Disposition, Receipt

_SOURCE = "/foretell/channels"
_LONGEST_ID = 256


def make_receipt(
    alert: Alert,
    disposition: Disposition,
    at: datetime,
    reason: str | None = None,
    channel: str | None = None,
    attempts: int = 0,
) -> Receipt:
    """Return the receipt for an alert that ended. Its id is the same whenever it is made, so that readers drop repeats."""
    receipt_id = f"{alert.alert_id}:{disposition}"
    if len(receipt_id) > _LONGEST_ID:
        receipt_id = blake2b(receipt_id.encode(), digest_size=16).hexdigest()
    return Receipt(
        id=receipt_id,
        source=_SOURCE,
        time=at,
        account=alert.account,
        alert_id=alert.alert_id,
        kind=alert.kind,
        disposition=disposition,
        reason=reason,
        channel=channel,
        attempts=attempts,
    )
