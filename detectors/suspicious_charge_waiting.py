"""Charges that wait for their label, packed end to end: 31 bytes each, kept with their account.

What a charge looked like is kept as the few bins that its crosses come from, so what is told of it is what was seen. Each
merchant's id stands once beside them, however many of its charges wait: a charge has its place among these. Ids that no
charge needs any more go when what waits is saved, and when there are many; which place an id has is seen by nobody.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import inf
from struct import Struct
from zlib import crc32

from .online.card_habit import is_out_of_habit
from .online.charge_cross_numbers import crosses_of
from .online.charge_population import LAST_RATIO
from .online.charge_state import Sight, Waiting

KEY_BYTES = 4  # of some hundred that wait two are alike once in a million accounts

_RECORD = Struct("<4sIfIII7B")  # key, second, amount, card and flag, extra, run and merchant, six bins, ratio
SIZE = _RECORD.size
_unpack = _RECORD.unpack_from
_FLAG_AT = 15  # the card's highest byte
_MERCHANT_AT = 23  # the highest of the run's
_CONFIRMED = 1 << 31
_CARD = _CONFIRMED - 1
_RUN = (1 << 24) - 1
_MOST_MERCHANT_BYTES = 255
_MOST_PLACES = 200  # more than can wait, and less than a byte can count
_IN_ORDER = bytes(range(256))
_LETTERS = 26
_NO_DIGITS = 10_000
_DIGIT_BITS = 14

_EDGE = b"\xff"  # before each id and after the last: no byte of UTF-8


def key_of(text: str) -> bytes:
    """Return a few bytes that stand for a charge within its account, the same in every process."""
    return crc32(text.encode()).to_bytes(KEY_BYTES, "little")


@lru_cache(maxsize=4_096)
def card_name(currency: str, last4: str | None) -> int:
    """Return the number, of 29 bits, that a card has within its account.

    Args:
        currency: three capital letters.
        last4: its last four digits.
    """
    number = 0
    for letter in currency:
        number = number * _LETTERS + ord(letter) - ord("A")
    return number << _DIGIT_BITS | (_NO_DIGITS if last4 is None else int(last4))


@lru_cache(maxsize=512)
def _currency(number: int) -> str:
    letters = (number // _LETTERS**2, number // _LETTERS % _LETTERS, number % _LETTERS)
    return "".join(chr(ord("A") + letter) for letter in letters)


def currency_of(card: int) -> str:
    """Return the currency of a card's name."""
    return _currency(card >> _DIGIT_BITS)


@lru_cache(maxsize=4_096)
def merchant_key(merchant: str) -> str:
    """Return the merchant's id, or what stands for one that is too long to be kept for every charge."""
    if len(merchant) <= _MOST_MERCHANT_BYTES // 4 or len(merchant.encode()) <= _MOST_MERCHANT_BYTES:
        return merchant
    return "#" + blake2b(merchant.encode(), digest_size=16).hexdigest()


def added(waiting: bytes, ids: bytes, key: bytes, merchant: str, sight: Sight) -> tuple[bytes, bytes]:
    """Return the charges that wait, one more, and the ids of their merchants."""
    name = merchant.encode() + _EDGE
    start = ids.find(_EDGE + name)
    if start >= 0:
        place = ids.count(_EDGE, 0, start)
    else:
        place = ids.count(_EDGE) - 1 if ids else 0
        if place >= _MOST_PLACES:
            waiting, ids = tidied(waiting, ids)
            place = ids.count(_EDGE) - 1 if ids else 0
        ids = ids + name if ids else _EDGE + name
    look, _, _, run, extra = sight
    card, at, amount, _, _, _, ratio, _, _, _, _, bins = look
    record = _RECORD.pack(key, int(at), amount, card[0], extra[0], run | place << 24, *bins, ratio)
    return waiting + record, ids


def tidied(waiting: bytes, ids: bytes) -> tuple[bytes, bytes]:
    """Return the same with ids only of merchants whose charges wait, in the order in which these came."""
    if not waiting:
        return b"", b""
    places = waiting[_MERCHANT_AT::SIZE]
    needed = bytes(dict.fromkeys(places))
    if needed == _IN_ORDER[: ids.count(_EDGE) - 1]:
        return waiting, ids
    all_ids = ids.split(_EDGE)
    tidy = bytearray(waiting)
    tidy[_MERCHANT_AT::SIZE] = places.translate(bytes.maketrans(needed, _IN_ORDER[: len(needed)]))
    return bytes(tidy), _EDGE.join([b"", *(all_ids[place + 1] for place in needed), b""])


def removed(waiting: bytes, start: int) -> bytes:
    """Return the charges that wait without the one that begins at `start`."""
    return waiting[:start] + waiting[start + SIZE :] if start else waiting[SIZE:]


def confirmed(waiting: bytes, start: int) -> bytes:
    """Return the charges that wait, the one that begins at `start` marked as the customer's own."""
    at = start + _FLAG_AT
    return waiting[:at] + bytes((waiting[at] | _CONFIRMED >> 24,)) + waiting[at + 1 :]


def start_of(key: bytes, waiting: bytes) -> int:
    """Return where the charge begins; -1 for nowhere."""
    start = waiting.find(key)
    while start % SIZE:  # of -1 too
        start = waiting.find(key, start + 1)
        if start < 0:
            return start
    return start


def time_of(waiting: bytes) -> int:
    """Return when the first charge that waits was made, in epoch seconds."""
    return int.from_bytes(waiting[KEY_BYTES : KEY_BYTES + 4], "little")


def is_confirmed(waiting: bytes, start: int) -> bool:
    """Return whether the customer already said that the charge which begins at `start` was theirs."""
    return waiting[start + _FLAG_AT] >= _CONFIRMED >> 24


_tuple = tuple.__new__  # what a named tuple's own constructor does in the end, in a third of its time


def unpacked(waiting: bytes, ids: bytes, start: int) -> Waiting:
    """Return the charge that begins at `start`; `ids` are of the merchants."""
    _, at, amount, card, extra, run, first, second, third, fourth, fifth, sixth, ratio = _unpack(waiting, start)
    bins = (first, second, third, fourth, fifth, sixth)
    merchant = ids.split(_EDGE, (run >> 24) + 2)[(run >> 24) + 1].decode()
    crosses = crosses_of(bins, run & _RUN, extra)
    return _tuple(Waiting, (at, amount, merchant, card & _CARD, ratio, is_out_of_habit(bins), crosses))


def check(waiting: bytes, ids: bytes, most: int) -> None:
    """Refuse what was never packed.

    Raises:
        ValueError: these are no charges that wait.
    """
    if len(waiting) % SIZE or len(waiting) > most * SIZE:
        raise ValueError(f"waiting charges of {len(waiting)} bytes; expected up to {most} of {SIZE} bytes each")
    places = set(waiting[_MERCHANT_AT::SIZE])
    names = ids.split(_EDGE)
    if len(names) - 2 != len(places) if ids else places:
        raise ValueError(f"charges wait at {len(places)} merchants of {len(names)}")
    if ids and (names[0] or names[-1] or max(places, default=-1) != len(places) - 1 or not all(names[1:-1])):
        raise ValueError(f"charges wait at the merchants {sorted(places)} of {names}")
    for name in names:
        name.decode()  # a UnicodeDecodeError is a ValueError
    for record in _RECORD.iter_unpack(waiting):
        card, ratio = record[3] & _CARD, record[-1]
        if not 0 < record[2] < inf or card >> _DIGIT_BITS >= _LETTERS**3 or ratio > LAST_RATIO:
            raise ValueError(f"a waiting charge of {record[2]}, card {card}, ratio {ratio}")
