"""Charges that wait for their label, packed: some fifty bytes each, kept with their account."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct, error

from .suspicious_charge_core import Waiting

KEY_BYTES = 6
_HEAD = Struct(
    "<6sIdBBBBB"
)  # key, time, amount, ratio bin, flags, lengths of crosses, of the card's name, the merchant's
_CROSSES = tuple(Struct(f"<{count}H") for count in range(256))
_OUT_OF_HABIT, _CONFIRMED = 1, 2
_LAST_SECOND = 2**32 - 1
_MOST_MERCHANT_BYTES = 255


def key_of(text: str) -> bytes:
    """Return a few bytes that stand for a charge within its account."""
    return blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def merchant_key(merchant: str) -> str:
    """Return the merchant's id, or what stands for one that is too long to be kept for every charge."""
    if len(merchant) <= _MOST_MERCHANT_BYTES // 4 or len(merchant.encode()) <= _MOST_MERCHANT_BYTES:
        return merchant
    return "#" + blake2b(merchant.encode(), digest_size=16).hexdigest()


def packed(key: bytes, card: str, waiting: Waiting, *, is_confirmed: bool = False) -> bytes:
    """Return a charge as it is kept."""
    merchant, name, crosses = waiting.merchant.encode(), card.encode(), waiting.crosses
    flags = _OUT_OF_HABIT * waiting.is_out_of_habit | _CONFIRMED * is_confirmed
    second = min(max(waiting.at, 0), _LAST_SECOND)
    head = _HEAD.pack(key, second, waiting.amount, waiting.ratio, flags, len(crosses), len(name), len(merchant))
    return head + _CROSSES[len(crosses)].pack(*crosses) + name + merchant


def time_of(record: bytes) -> int:
    """Return when the charge was made, in epoch seconds."""
    return int.from_bytes(record[KEY_BYTES : KEY_BYTES + 4], "little")


def is_confirmed(record: bytes) -> bool:
    """Return whether the customer already said that it was theirs."""
    return bool(_HEAD.unpack_from(record)[4] & _CONFIRMED)


def unpacked(record: bytes) -> tuple[str, Waiting]:
    """Return the card's name and the charge.

    Raises:
        ValueError: this is no such record.
    """
    try:
        _, at, amount, ratio, flags, count, card, merchant = _HEAD.unpack_from(record)
        crosses = _CROSSES[count].unpack_from(record, _HEAD.size)
    except error as wrong:
        raise ValueError(f"a waiting charge of {len(record)} bytes: {wrong}") from wrong
    end = _HEAD.size + 2 * count
    if len(record) != end + card + merchant:
        raise ValueError(f"a waiting charge of {len(record)} bytes, expected {end + card + merchant}")
    name, place = record[end : end + card].decode(), record[end + card :].decode()
    return name, Waiting(at, amount, place, ratio, bool(flags & _OUT_OF_HABIT), crosses)


def place_of(key: bytes, waiting: list[bytes]) -> int:
    """Return where the charge is among those that wait; -1 for nowhere."""
    for place, record in enumerate(waiting):
        if record.startswith(key):
            return place
    return -1
