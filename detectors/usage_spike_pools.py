"""What the usage-spike detector pools over the accounts of a partition, cohort by cohort, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated
from zlib import crc32

import msgspec

from .online.usage_cohort import UsageCohort
from .profile import AccountFacts
from .saved_memory import Format
from .usage_spike_memory import KIND, VERSION

_MOST_COHORTS = 200
_OTHERS = ("", "", "", False)
"""The cohort of the meters past those; no meter is named so."""

Key = tuple[str, str, str, bool]
"""A meter, its unit, a segment or area, and whether it is read by the day."""


@lru_cache(maxsize=1000)
def tag_of(key: Key) -> int:
    """Return 16 bits that tell a cohort from the one that an account belonged to before."""
    return crc32("\x00".join(map(str, key)).encode()) & 0xFFFF


class UsagePools:
    """The cohorts of a partition: accounts of one segment, or else of one area, with the same meter in the same unit.

    When there are too many, new ones fall back to all accounts with that meter, and a meter past those to one cohort that is
    everybody's. A segment's cohort begins as what is known of all accounts with the meter, as far as that was learned.

    Args:
        alerts_a_month: see `UsageSpikeSettings`.
    """

    def __init__(self, alerts_a_month: float) -> None:
        self._alerts_a_month = alerts_a_month
        self._cohorts: dict[Key, UsageCohort] = {}
        self._blank = {
            daily: UsageCohort(daily, alerts_a_month) for daily in (False, True)
        }  # of which nothing is known

    def key(self, meter: str, unit: str, facts: AccountFacts, daily: bool) -> Key:
        """Return the name of an account's cohort for a meter."""
        return meter, unit, facts.segment or facts.area or "", daily

    def of(self, key: Key) -> UsageCohort:
        """Return the cohort of that name, to ask it; one that nobody taught knows nothing."""
        found = self._cohorts.get(key)
        if found is not None:
            return found
        meter, unit, _, daily = key
        others = self._cohorts.get((meter, unit, "", daily)) or self._cohorts.get((*_OTHERS[:3], daily))
        return others or self._blank[daily]

    def to_teach(self, key: Key) -> UsageCohort:
        """Return the cohort of that name, to teach it; it is made if there is room."""
        found = self._cohorts.get(key)
        if found is not None:
            return found
        meter, unit, kind, daily = key
        of_all = self._cohorts.get((meter, unit, "", daily))
        if len(self._cohorts) >= _MOST_COHORTS:
            if of_all is not None:
                return of_all
            key = (*_OTHERS[:3], daily)
            return self._cohorts.setdefault(key, UsageCohort(daily, self._alerts_a_month))
        made = UsageCohort(daily, self._alerts_a_month)
        if kind and of_all is not None:
            made.take_after(of_all)
        self._cohorts[key] = made
        return made

    def save(self) -> dict[str, bytes]:
        """Return each cohort's numbers and counts, which every bucket changes, and its tables, which change more seldom."""
        parts = {}
        for key, cohort in self._cohorts.items():
            name = _NAMES.encode(key).hex()
            tails, line = (*cohort.tails, cohort.size), cohort.line
            parts[f"counts/{name}"] = _COUNTS.encode(
                _SavedCounts(
                    cohort.numbers(),
                    [(max(tail.n, cohort.n), tail.counts) for tail in cohort.tails]
                    + [(cohort.size.n, cohort.size.counts)],
                    line.hours,
                    line.counts,
                )
            )
            parts[f"tables/{name}"] = _TABLES.encode(
                _SavedTables(
                    [(tail.refreshed_at, tail.squares) for tail in tails],
                    line.refreshed_at,
                    line.forget_at,
                    line.value,
                )
            )
        return parts

    def restore(self, saved: Mapping[str, bytes], version: int) -> None:
        """Take the place of the pools that `save` of that version wrote.

        Raises:
            StateError: this detector does not read that version, or these are not its bytes.
        """
        cohorts = {}
        for part in sorted(saved):
            which, _, name = part.partition("/")
            if which == "tables" and f"counts/{name}" in saved:
                continue
            if which != "counts" or f"tables/{name}" not in saved:
                raise _COUNTS.damaged(f"the pools have a part {part!r} without its other half")
            counts = _COUNTS.decode(saved[part], version)
            tables = _TABLES.decode(saved[f"tables/{name}"], version)
            try:
                key = _NAMES.decode(bytes.fromhex(name), version)
                cohorts[key] = self._restored(key[3], counts, tables)
            except ValueError as error:
                raise _COUNTS.damaged(str(error)) from error
        self._cohorts = cohorts

    def _restored(self, daily: bool, counts: _SavedCounts, tables: _SavedTables) -> UsageCohort:
        cohort = UsageCohort(daily, self._alerts_a_month)
        for tail, (n, counted), (refreshed_at, squares) in zip(
            (*cohort.tails, cohort.size), counts.tails, tables.tails, strict=True
        ):
            tail.restore(n, refreshed_at, counted, squares)
        cohort.line.restore(counts.hours, tables.refreshed_at, tables.forget_at, counts.peaks, tables.line)
        cohort.restore(counts.numbers)
        return cohort


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _SavedCounts(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    numbers: tuple[float, ...]
    tails: list[tuple[_Count, list[_Count]]]
    hours: _Count
    peaks: list[_Count]


class _SavedTables(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    tails: list[tuple[_Count, list[float]]]
    refreshed_at: _Count
    forget_at: _Count
    line: float


_NAMES = Format(KIND, VERSION, tuple[str, str, str, bool])
_COUNTS = Format(KIND, VERSION, _SavedCounts)
_TABLES = Format(KIND, VERSION, _SavedTables)
