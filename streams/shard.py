"""A shard: partition p of every input, the accounts in it, and how far it has read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord

from detectors.alerts import Alert
from detectors.codec import Rejected
from detectors.detector import Settled

from .dead_letters import dead_letter
from .publisher import Outgoing
from .residence import Residents, Saved
from .transport import Batch

WHAT_IF_MEANT = "if that is meant, give the workers a new kafka.group and a new state topic"
STARTS_KEY = b"\x00starts"
"""How often the shard began at its positions and was not heard of again; gone with the first checkpoint."""

Record: TypeAlias = ConsumerRecord  # bytes to bytes; aiokafka has no types


class TruncatedError(Exception):
    """An input has other records than it had: it was made anew, or lost some that were read."""


class ChainBrokenError(Exception):
    """A batch does not begin where the last one ended: events were lost on the way to the engine."""


@dataclass(slots=True)
class Outcome:
    """What became of some records: what is to be published, and what is to be counted.

    Attributes:
        misplaced: records whose key does not lead to their account's partition, by why.
        faults: what went wrong that is no record's rejection, such as a timer's.
        irregularities: what detectors could make no use of, by their kind and what it was.
        settled: probabilities whose outcome became known, by the detector's kind and the tenth that they were in.
    """

    outgoing: list[Outgoing] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    rejects: Counter[str] = field(default_factory=Counter)
    misplaced: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    irregularities: Counter[tuple[str, str]] = field(default_factory=Counter)
    settled: dict[tuple[str, int], Settled] = field(default_factory=dict)
    applied: int = 0
    repeated: int = 0


class Shard(ABC):
    """What is done with the records of one partition number, and the state that comes of it.

    Args:
        number: the partition's.
        accounts: the state by account.
        positions: per input topic, the offset below which every event is in the state.
        shared: what is saved beside the accounts, as the state topic has it.
    """

    def __init__(
        self, number: int, accounts: Residents[Any], positions: Mapping[str, int], shared: Mapping[bytes, bytes]
    ) -> None:
        self.number = number
        self.accounts = accounts
        self.positions = dict(positions)
        # the mark of starts is not ours to write
        self._shared_saved = {key: part for key, part in shared.items() if key != STARTS_KEY}
        # of a shard that was taken over the first cut is written whatever comes: it begins what is shared
        self._is_taken_over = STARTS_KEY in shared
        self._positions_saved = dict(positions)
        self._cut: tuple[dict[str, int], list[Saved], dict[bytes, bytes]] | None = None

    def take(self, batch: Batch, clock_ms: float = inf) -> Outcome:
        """Run a batch without giving way: state and position move together.

        Args:
            batch: begins where the last one of its topic ended.
            clock_ms: timers due later than this must wait, because another input is behind.

        Raises:
            ChainBrokenError: the batch does not begin where the last one ended.
            TruncatedError: it has records from before that.
        """
        self._require_chain(batch)
        outcome = self._apply(batch.records, clock_ms)
        self.positions[batch.tp.topic] = batch.records[-1].offset + 1
        return outcome

    def skip(self, batch: Batch, rejected: Rejected) -> Outcome:
        """Move past a batch without applying it; its records become dead letters.

        Raises:
            ChainBrokenError: the batch does not begin where the last one ended.
        """
        self._require_chain(batch)
        self.positions[batch.tp.topic] = batch.records[-1].offset + 1
        letters = [dead_letter(record, rejected) for record in batch.records]
        return Outcome(letters, rejects=Counter({rejected.reason: len(letters)}))

    def _require_chain(self, batch: Batch) -> None:
        position = self.positions[batch.tp.topic]
        if batch.start != position:
            raise ChainBrokenError(
                f"{batch.tp.topic}-{batch.tp.partition}: batch starts at {batch.start}, the engine is at {position}"
            )
        if batch.records[0].offset < position:
            raise TruncatedError(
                f"{batch.tp.topic}-{batch.tp.partition} was read up to {position} and now gives offset {batch.records[0].offset}: "
                f"it was made anew or lost records; {WHAT_IF_MEANT}"
            )

    @abstractmethod
    def _apply(self, records: Sequence[Record], clock_ms: float) -> Outcome:
        """Apply the records of one topic, in order."""

    def tick(self, now_ms: float) -> Outcome:  # noqa: ARG002 - for those that have timers
        """Do what is due, when no record is left to read."""
        return Outcome()

    def save_shared(self) -> dict[bytes, bytes]:
        """Return what is to be saved beside the accounts, in parts."""
        return {}

    @property
    def pending_timers(self) -> int:
        """How many accounts wait to be woken."""
        return 0

    @property
    def is_changed(self) -> bool:
        """Whether there is something to write since the last cut."""
        return self.positions != self._positions_saved or self.accounts.is_changed or self._is_taken_over

    def begin_cut(self) -> None:
        """Take a consistent cut of what changed, without stopping: the accounts are saved by `cut_some`."""
        shared = self.save_shared()
        changed: list[Saved] = [(key, part) for key, part in shared.items() if self._shared_saved.get(key) != part]
        changed += [(key, None) for key in self._shared_saved.keys() - shared.keys()]
        self._cut = dict(self.positions), changed, shared
        self.accounts.begin_cut()

    def cut_some(self, most: int) -> bool:
        """Save up to `most` accounts of the cut; return whether more are left."""
        return self.accounts.cut_some(most)

    def end_cut(self) -> tuple[list[Saved], dict[str, int]]:
        """Return the cut's records and positions. The cut counts as written: who fails to write it must end."""
        if self._cut is None:
            raise RuntimeError("no cut was begun")
        (positions, changed, self._shared_saved), self._cut = self._cut, None
        self._positions_saved, self._is_taken_over = positions, False
        return [*changed, *self.accounts.end_cut()], positions

    def detach(self) -> None:
        """Work in memory only, as a forked child must: the threads of what is on disk did not come along."""
        self.accounts.detach()

    def close(self) -> None:
        """Forget everything."""
        self.accounts.close()
