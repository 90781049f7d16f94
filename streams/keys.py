"""Keys and partitions: where an account's events belong, and who sends them elsewhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal
from zlib import crc32

from aiokafka.partitioner import murmur2

Misplaced = Literal["no_key", "other_key", "other_hash"]

_SLOTS = 1 << 20
_UNKNOWN, _FINE, _ELSEWHERE = range(3)


@lru_cache(maxsize=65536)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own clients give a key.

    >>> partition_of(b"a1", 6)
    5
    """
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class KeyCheck:
    """Tell whether records lie where all events of their account belong.

    Asked for every event: the hash, which takes up to 10 us in Python, is worked out once for each account. Its verdict
    goes into one of a million slots; accounts that share a slot share the verdict, so counts are a little off where many
    accounts are misplaced, and where none is nobody is accused.

    Args:
        partitions: how many there are of each input.

    >>> check = KeyCheck(6)
    >>> check.misplaced(b"a1", b"a1", 5), check.misplaced(b"a1", b"a1", 4), check.misplaced(None, b"a1", 5)
    (None, 'other_hash', 'no_key')
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._verdicts = bytearray(_SLOTS if partitions > 1 else 1)
        self._mask = len(self._verdicts) - 1
        self._verdicts[0] = _FINE if partitions == 1 else _UNKNOWN

    def misplaced(self, record_key: bytes | None, account_key: bytes, partition: int) -> Misplaced | None:
        """Return what is wrong with a record's key or place; None where nothing is, as with a single partition."""
        if record_key == account_key:
            slot = crc32(account_key, partition) & self._mask
            verdict = self._verdicts[slot]
            if verdict == _FINE:
                return None
            if verdict == _UNKNOWN:
                is_here = partition_of(account_key, self._partitions) == partition
                verdict = self._verdicts[slot] = _FINE if is_here else _ELSEWHERE
            return None if verdict == _FINE else "other_hash"
        if self._partitions == 1:
            return None
        return "no_key" if record_key is None else "other_key"
