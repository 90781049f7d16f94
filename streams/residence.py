"""Where the accounts of a shard live: in use as objects, idle as bytes, and on disk beyond the memory they may take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Generic, NamedTuple, TypeVar

from .checkpoints import IDLE_OVERHEAD_BYTES
from .disk import Disk

T = TypeVar("T")
Saved = tuple[bytes, bytes | None]

# Measured with `make bench` (bytes of memory per account): what is kept beside an account's saved bytes.
_HOT_FACTOR = 3.5  # an object's size over its saved bytes
_FIRST_GUESS = 1000.0  # of an account's saved bytes, before any was saved
_FADING = 0.01
_CHANCES = 3
_SPILL = 512


class Counts(NamedTuple):
    """How many accounts are where."""

    hot: int
    idle: int
    disk: int


class Residents(Generic[T]):
    """The accounts of a shard, what changed of them since the last checkpoint, and a consistent cut of that.

    An account that is asked for is assumed to change. The least recently used rest as bytes, and return as they were:
    saving is exact. A cut is taken without stopping the work: it holds the changed accounts as they were when it began,
    because an account that is asked for before its turn is saved first.

    Args:
        save: an account to bytes, exactly.
        restore: a key and bytes to an account.
        most_bytes: of memory for all of them, by estimate.
        idle: accounts to begin with.
        disk: more of them.
    """

    def __init__(
        self,
        save: Callable[[T], bytes],
        restore: Callable[[bytes, bytes], T],
        *,
        most_bytes: float,
        idle: dict[bytes, bytes] | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._save = save
        self._restore = restore
        self._hot: dict[bytes, T] = {}
        self._idle = {} if idle is None else idle
        self._disk = Disk() if disk is None else disk
        self._dirty: set[bytes] = set()
        self._uncut: set[bytes] = set()
        self._cut: list[Saved] = []
        self._most_bytes = most_bytes
        self._idle_bytes = sum(map(len, self._idle.values()))
        self._mean_bytes = self._idle_bytes / len(self._idle) if self._idle else _FIRST_GUESS
        self._hot_order: deque[bytes] = deque()  # since when, not how lately used: the dirty ones get further chances
        self._spill_order: deque[bytes] | None = None
        self._make_room()

    def __len__(self) -> int:
        return len(self._hot) + len(self._idle) + len(self._disk)

    def counts(self) -> Counts:
        """Return how many accounts are where."""
        return Counts(len(self._hot), len(self._idle), len(self._disk))

    def close(self) -> None:
        """Remove what is on disk."""
        self._disk.close()

    def detach(self) -> None:
        """Keep everything in memory from now on, and the disk as it is."""
        self._most_bytes = inf
        self._disk.freeze()

    # accounts ---------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> T | None:
        """Return an account, to be changed; None for one never seen."""
        cell = self._hot.get(key)
        if cell is None:
            cell = self._bring(key)
            if cell is None:
                return None
        elif key in self._uncut:
            self._uncut.remove(key)
            self._cut.append((key, self._saved(cell)))
        self._dirty.add(key)
        return cell

    def add(self, key: bytes, cell: T) -> None:
        """Keep an account that was not there."""
        if key in self._uncut:  # it was forgotten since the last checkpoint, and the cut is of that moment
            self._uncut.remove(key)
            self._cut.append((key, None))
        self._dirty.add(key)
        self._enter(key, cell)

    def remove(self, key: bytes) -> None:
        """Forget an account, if it is there."""
        if self.get(key) is not None:  # which also saves it for a cut under way
            del self._hot[key]

    def _bring(self, key: bytes) -> T | None:
        saved = self._idle.pop(key, None)
        if saved is not None:
            self._idle_bytes -= len(saved)
        elif len(self._disk):
            saved = self._disk.take(key)
        if saved is None:
            return None
        if key in self._uncut:
            self._uncut.remove(key)
            self._cut.append((key, saved))
        cell = self._restore(key, saved)
        self._enter(key, cell)
        return cell

    def _enter(self, key: bytes, cell: T) -> None:
        self._hot[key] = cell
        self._hot_order.append(key)
        if len(self._hot_order) > 2 * len(self._hot) + _SPILL:  # of accounts that were forgotten
            self._hot_order = deque(self._hot)
        self._make_room(key)

    # room -------------------------------------------------------------------------------------------------------

    def _make_room(self, in_hand: bytes = b"") -> None:
        """Let the accounts that were longest in use rest, and idle ones go to disk, until the estimate fits."""
        hot_bytes = self._mean_bytes * _HOT_FACTOR + IDLE_OVERHEAD_BYTES
        most_hot = max(_CHANCES + 1, self._most_bytes / 2 / hot_bytes)
        while len(self._hot) > most_hot:
            self._rest(most_hot, in_hand)
        while self._idle and self._idle_bytes + len(self._idle) * IDLE_OVERHEAD_BYTES > self._most_bytes / 2:
            self._spill()

    def _rest(self, most_hot: float, in_hand: bytes) -> None:
        """Save one account that was not used since the last checkpoint, or failing that any but the one in hand."""
        for chance in range(_CHANCES):
            key = self._hot_order.popleft()
            if key not in self._hot:
                return  # it was forgotten
            is_in_use = key in self._dirty and chance < _CHANCES - 1 and len(self._hot) <= 2 * most_hot
            if is_in_use or key == in_hand:
                self._hot_order.append(key)
                continue
            saved = self._saved(self._hot.pop(key))
            if key in self._uncut:
                self._uncut.remove(key)
                self._cut.append((key, saved))
            self._idle[key] = saved
            self._idle_bytes += len(saved)
            if self._spill_order is not None:
                self._spill_order.append(key)
                if len(self._spill_order) > 2 * len(self._idle) + _SPILL:  # of accounts that were used again
                    self._spill_order = None
            return

    def _spill(self) -> None:
        """Move the accounts that rested longest to disk, some at a time."""
        if self._spill_order is None:
            self._spill_order = deque(self._idle)
        moving: dict[bytes, bytes] = {}
        while self._spill_order and len(moving) < _SPILL:
            key = self._spill_order.popleft()
            saved = self._idle.pop(key, None)
            if saved is not None:
                moving[key] = saved
                self._idle_bytes -= len(saved)
        self._disk.put(moving)

    def _saved(self, cell: T) -> bytes:
        saved = self._save(cell)
        self._mean_bytes += _FADING * (len(saved) - self._mean_bytes)
        return saved

    # checkpoints ------------------------------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        """Whether any account was asked for since the last cut."""
        return bool(self._dirty)

    def begin_cut(self) -> None:
        """Take a cut: of the accounts that changed since the last one, as they are now."""
        self._uncut, self._dirty, self._cut = self._dirty, set(), []

    def cut_some(self, most: int) -> bool:
        """Save up to `most` accounts of the cut; return whether more are left."""
        for _ in range(min(most, len(self._uncut))):
            key = self._uncut.pop()
            cell = self._hot.get(key)
            saved = self._saved(cell) if cell is not None else self._idle.get(key)
            if saved is None and len(self._disk):
                saved = self._disk.get(key)
            self._cut.append((key, saved))
        return bool(self._uncut)

    def end_cut(self) -> list[Saved]:
        """Return the cut, each account once; None for one that was forgotten."""
        cut, self._cut = self._cut, []
        return cut
