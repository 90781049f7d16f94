"""Accounts that memory has no room for: a RocksDB in a temporary folder. Scratch only; the state topic is the truth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

_PREFIX = "foretell-accounts-"


class Disk:
    """Bytes by key, outside of memory. Nothing is opened until something is put."""

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None
        self._store: Rdict | None = None
        self._count = 0
        self._is_frozen = False

    def __len__(self) -> int:
        return self._count

    def put(self, saved: Mapping[bytes, bytes]) -> None:
        """Keep what is not there yet."""
        if not saved:
            return
        batch = WriteBatch(raw_mode=True)
        for key, value in saved.items():
            batch.put(key, value)
        self._open().write(batch, self._without_log())
        self._count += len(saved)

    def get(self, key: bytes) -> bytes | None:
        """Return what is kept under `key`."""
        found: bytes | None = self._store.get(key) if self._store is not None else None
        return found

    def take(self, key: bytes) -> bytes | None:
        """Return what is kept under `key`, and keep it no longer."""
        found = self.get(key)
        if found is not None and not self._is_frozen:
            self._open().delete(key, self._without_log())
            self._count -= 1
        return found

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Give all that is kept."""
        if self._store is not None:
            yield from self._store.items()

    def freeze(self) -> None:
        """Change nothing any more, not even by taking."""
        self._is_frozen = True

    def close(self) -> None:
        """Remove it all."""
        if self._store is not None and self._folder is not None:
            self._store.close()
            self._folder.cleanup()
        self._store, self._folder, self._count = None, None, 0

    def _open(self) -> Rdict:
        if self._store is None:
            _remove_leftovers()
            self._folder = TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")
            options = Options(raw_mode=True)
            options.set_write_buffer_size(8 << 20)
            options.set_max_write_buffer_number(2)
            self._store = Rdict(self._folder.name, options)
        return self._store

    @staticmethod
    def _without_log() -> WriteOptions:
        options = WriteOptions()
        options.disable_wal = True  # type: ignore[method-assign, assignment] # a property; after a crash the state topic tells, not this
        return options


def _remove_leftovers() -> None:
    """Remove what workers left behind that were killed."""
    for folder in Path(gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
