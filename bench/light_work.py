"""The light work: three River statistics for each account, kept in 200 bytes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct

import orjson
from river import stats

STATE_BYTES = 200
_PACKED = Struct("<Q6d144x")


class LightState:
    """The mean, the variance and the maximum of an account's readings, and how many there were.

    >>> state = LightState()
    >>> state.learn(3.0)
    >>> state.learn(5.0)
    >>> len(state.pack()) == STATE_BYTES, LightState.unpack(state.pack()).pack() == state.pack()
    (True, True)
    """

    __slots__ = ("count", "largest", "mean", "variance")

    def __init__(self) -> None:
        self.count = 0
        self.mean = stats.Mean()
        self.variance = stats.Var()
        self.largest = stats.Max()

    def learn(self, quantity: float) -> None:
        """Take in a reading."""
        self.count += 1
        self.mean.update(quantity)
        self.variance.update(quantity)
        self.largest.update(quantity)

    def pack(self) -> bytes:
        """Return it as bytes, exactly."""
        mean, variance = self.mean, self.variance
        inner = variance.mean
        return _PACKED.pack(
            self.count,
            mean.n,
            mean._mean,  # noqa: SLF001 - River has no accessors
            inner.n,
            inner._mean,  # noqa: SLF001
            variance._S,  # noqa: SLF001
            self.largest.max,
        )

    @classmethod
    def unpack(cls, packed: bytes) -> LightState:
        """Return what `pack` has packed."""
        state = cls()
        mean, variance = state.mean, state.variance
        inner = variance.mean
        state.count, mean.n, mean._mean, inner.n, inner._mean, variance._S, state.largest.max = _PACKED.unpack(packed)  # noqa: SLF001
        return state


def quantity_of(value: bytes) -> float:
    """Return the quantity in a usage event."""
    quantity: float = orjson.loads(value)["quantity"]
    return quantity


def learn(state: LightState | None, value: bytes) -> LightState:
    """Return the account's state after one more event."""
    if state is None:
        state = LightState()
    state.learn(orjson.loads(value)["quantity"])
    return state


def digest(states: Iterable[tuple[bytes, bytes]]) -> dict[str, int | str]:
    """Return how many events all these packed states have seen, and a hash in which any difference shows."""
    hashed, events, accounts = blake2b(digest_size=8), 0, 0
    for key, packed in sorted(states):
        hashed.update(key + packed)
        events += _PACKED.unpack(packed)[0]
        accounts += 1
    return {"accounts": accounts, "applied": events, "digest": hashed.hexdigest()}
