"""The light work as a shard of our worker: the same positions, residence and checkpoints as the engine's."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from streams.checkpoints import Restored
from streams.residence import Residents
from streams.shard import Outcome, Record, Shard

from .light_work import LightState


class LightShard(Shard):
    """Three statistics for each account.

    Args:
        number: the partition's.
        restored: what the state topic holds of it.
        memory_bytes: for the accounts in memory.
    """

    def __init__(self, number: int, restored: Restored, memory_bytes: int) -> None:
        accounts: Residents[LightState] = Residents(
            LightState.pack, lambda _, packed: LightState.unpack(packed), most_bytes=memory_bytes, idle=restored.states
        )
        super().__init__(number, accounts, restored.positions, restored.shared)

    def _apply(self, records: Sequence[Record], clock_ms: float) -> Outcome:  # noqa: ARG002 - it has no timers
        accounts, parse = self.accounts, orjson.loads
        for record in records:
            state = accounts.get(record.key)
            if state is None:
                state = LightState()
                accounts.add(record.key, state)
            state.learn(parse(record.value)["quantity"])
        return Outcome(applied=len(records))
