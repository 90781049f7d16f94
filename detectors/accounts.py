"""Where an engine keeps its accounts: a protocol, and the plain one for backtests."""

from __future__ import annotations

from typing import Protocol

from .profile import Profile


class Accounts(Protocol):
    """The profiles of a partition by account, in UTF-8. Some may rest as bytes, or on disk, until they are asked for."""

    def get(self, key: bytes) -> Profile | None:
        """Return the account's profile, to be changed; None for an account never seen."""

    def add(self, key: bytes, cell: Profile) -> None:
        """Keep the profile of an account that was not there."""

    def remove(self, key: bytes) -> None:
        """Forget the account, if it is there."""

    def __len__(self) -> int: ...


class AccountsInMemory:
    """All profiles as they are, in a dictionary."""

    def __init__(self) -> None:
        self._profiles: dict[bytes, Profile] = {}
        self.get = self._profiles.get

    def add(self, key: bytes, cell: Profile) -> None:
        """Keep the profile of an account that was not there."""
        self._profiles[key] = cell

    def remove(self, key: bytes) -> None:
        """Forget the account, if it is there."""
        self._profiles.pop(key, None)

    def __len__(self) -> int:
        return len(self._profiles)
