"""What an engine keeps besides its accounts: the detectors' pools and the bulletin board, in parts with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct

from .bulletin_board import BulletinBoard
from .detector import Detector, Pooling
from .state import StateError

_MARK = b"\x00"  # no account begins with it
_POOL = b"\x00pool\x00"
_BOARD = b"\x00board\x00"
_VERSION = Struct(">H")


def is_shared(key: bytes) -> bool:
    """Return whether a key of the state topic is no account's."""
    return key.startswith(_MARK)


def save_shared(detectors: Sequence[Detector], board: BulletinBoard) -> dict[bytes, bytes]:
    """Return every part by its key."""
    parts = {
        _POOL + detector.kind.encode() + _MARK + name.encode(): _VERSION.pack(detector.version) + saved
        for detector in detectors
        if isinstance(detector, Pooling)
        for name, saved in detector.save_pools().items()
    }
    return parts | {_BOARD + name.encode(): saved for name, saved in board.save().items()}


def restore_shared(parts: Mapping[bytes, bytes], detectors: Sequence[Detector], board: BulletinBoard) -> None:
    """Put every part back; the pools of a detector that is no more stay unread.

    Raises:
        StateError: a newer version wrote a part, or it is damaged.
    """
    for detector in detectors:
        if isinstance(detector, Pooling):
            prefix = _POOL + detector.kind.encode() + _MARK
            saved = {key.removeprefix(prefix).decode(): part for key, part in parts.items() if key.startswith(prefix)}
            versions = {_VERSION.unpack_from(part)[0] for part in saved.values()}
            if len(versions) > 1 or max(versions, default=0) > detector.version:
                raise StateError(
                    f"the pools of {detector.kind} are in version {max(versions)}, this version of Foretell reads up to "
                    f"{detector.version}; run the version that wrote them, or a newer one"
                )
            if saved:
                bare = {name: part[_VERSION.size :] for name, part in saved.items()}
                detector.restore_pools(bare, versions.pop())
    board.restore({key.removeprefix(_BOARD).decode(): part for key, part in parts.items() if key.startswith(_BOARD)})
