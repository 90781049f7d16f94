"""A profile to bytes and back: compact, exact, versioned, and quick to look a timer up in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from struct import Struct
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from .detector import Detector
from .events import CycleKind
from .profile import NEVER, AccountFacts, Profile, RecentIds, cycle_of
from .state import StateError

FORMAT = 1
LARGEST_PROFILE_BYTES = 900_000  # what a topic takes by default is a little more
_HEADER = Struct(">Bqq")  # the format, when the account is to be woken and how late it is, in milliseconds


class _Facts(msgspec.Struct, array_like=True, frozen=True):
    plan: str | None
    cycle: CycleKind
    anchor: datetime | None
    length: int
    zone: str
    segment: str | None
    area: str | None


class _Saved(msgspec.Struct, array_like=True, frozen=True):
    """What follows the header.

    Attributes:
        recent: digests of the events seen last.
        memories: by detector kind, the version of its format and what it saved.
    """

    facts: _Facts
    recent: bytes
    memories: dict[str, tuple[int, bytes]]


class ProfileCodec:
    """Save and restore the profiles of an engine with these detectors, in their order.

    The memory of a detector that is not among them is dropped when the profile is next saved; one that is new begins
    empty. A memory in its detector's present version stays bytes until it is needed.

    Attributes:
        refused: by detector kind, how many memories were begun again because they had outgrown a record.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.refused: Counter[str] = Counter()
        self._detectors = detectors
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Saved).decode

    def save(self, profile: Profile) -> bytes:
        """Return the profile's bytes, the same for the same events.

        A memory that makes them larger than a record may be is begun again, in the profile too: to fail here would be
        to fail again after each restart. The detectors bound their memories, so this is for those who do not.
        """
        saved = self._bytes(profile)
        while len(saved) > LARGEST_PROFILE_BYTES and any(memory is not None for memory in profile.memories):
            self._begin_largest_again(profile)
            saved = self._bytes(profile)
        return saved

    def _begin_largest_again(self, profile: Profile) -> None:
        sizes = [
            0 if memory is None else len(memory if type(memory) is bytes else detector.save(memory))
            for detector, memory in zip(self._detectors, profile.memories, strict=True)
        ]
        largest = max(range(len(sizes)), key=sizes.__getitem__)
        profile.memories[largest] = None
        self.refused[self._detectors[largest].kind] += 1

    def _bytes(self, profile: Profile) -> bytes:
        facts, cycle = profile.facts, profile.facts.cycle
        memories = {
            detector.kind: (detector.version, memory if type(memory) is bytes else detector.save(memory))
            for detector, memory in zip(self._detectors, profile.memories, strict=True)
            if memory is not None
        }
        saved_facts = _Facts(
            facts.plan, cycle.kind, cycle.anchor, cycle.length, facts.zone.key, facts.segment, facts.area
        )
        return _HEADER.pack(FORMAT, profile.timer_ms, profile.late_ms) + self._encode(
            _Saved(saved_facts, profile.recent.save(), memories)
        )

    def restore(self, account: str, saved: bytes) -> Profile:
        """Return the profile that `saved` holds.

        Raises:
            StateError: it was written by a newer version, or is damaged.
        """
        check_format(saved)
        try:
            found = self._decode(saved[_HEADER.size :])
        except msgspec.DecodeError as error:
            raise StateError(
                f"the saved state of an account is damaged ({error}); delete its record to begin it again"
            ) from error
        known = found.facts
        facts = AccountFacts(
            account,
            known.plan,
            cycle_of(known.cycle, known.anchor, known.length),
            ZoneInfo(known.zone),
            known.segment,
            known.area,
        )
        memories = [self._memory(detector, found.memories.get(detector.kind)) for detector in self._detectors]
        return Profile(facts, RecentIds(found.recent), memories, timer_of(saved), _HEADER.unpack_from(saved)[2])

    def _memory(self, detector: Detector, saved: tuple[int, bytes] | None) -> Any:
        if saved is None:
            return None
        version, memory = saved
        return memory if version == detector.version else detector.restore(memory, version)


def check_format(saved: bytes) -> None:
    """Return if `saved` is a profile that this version reads.

    Raises:
        StateError: it is not.
    """
    if len(saved) < _HEADER.size or saved[0] != FORMAT:
        came = f"format {saved[0]}" if saved else "an empty record"
        raise StateError(
            f"the saved state of an account is in {came}, this version of Foretell reads format {FORMAT}; "
            "run the version that wrote it, or a newer one"
        )


def timer_of(saved: bytes) -> int:
    """Return when the account with this saved profile is to be woken, or `NEVER`, without decoding it."""
    timer: int = _HEADER.unpack_from(saved)[1]
    return timer if timer >= 0 else NEVER
