"""How a detector's state becomes bytes and is read again: msgpack, checked against its type, refused with a sentence."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from .state import StateError

_Saved = TypeVar("_Saved")


class Format(Generic[_Saved]):
    """One version of what a detector saves.

    Args:
        kind: the detector's.
        version: of what is saved.
        shape: the type that it is checked against.

    >>> memory = Format("usage_spike", 1, tuple[int, str])
    >>> memory.decode(memory.encode((3, "data")), 1)
    (3, 'data')
    """

    def __init__(self, kind: str, version: int, shape: type[_Saved]) -> None:
        self._kind = kind
        self._version = version
        self._decode = msgspec.msgpack.Decoder(shape).decode
        self.encode = msgspec.msgpack.Encoder().encode

    def decode(self, saved: bytes, version: int) -> _Saved:
        """Return what was saved.

        Raises:
            StateError: it is of another version, or damaged.
        """
        if version != self._version:
            raise StateError(
                f"what is saved of {self._kind} is in version {version}, this version of Foretell reads version "
                f"{self._version}; run the version that wrote it, or a newer one"
            )
        try:
            return self._decode(saved)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.damaged(str(error)) from error

    def damaged(self, why: str) -> StateError:
        """Return the error about bytes that `encode` never wrote."""
        return StateError(
            f"what is saved of {self._kind} is damaged ({why}); expected what version {self._version} saves; "
            "restore the state topic from a copy, or delete the record to begin it again"
        )
