"""What can be broken in a worker, each a function that breaks it in this process."""

import asyncio
import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

from detectors import engine, profile_codec
from detectors.plan_limit import PlanLimit
from detectors.usage_spike import UsageSpike
from streams.worker import StreamWorker

RAISING_ACCOUNT = "u007"
KILLING_EVENT = "the-killer"
NEWER_FORMAT = 2


def raise_for_one_account() -> None:
    """Let usage spikes fail on one account, half-way through learning."""
    learn = UsageSpike.learn

    def learn_or_fail(self: Any, event: Any, facts: Any, memory: Any, raised: Sequence[Any]) -> None:
        learn(self, event, facts, memory, raised)
        if facts.account == RAISING_ACCOUNT and event.id.endswith("3"):
            raise RuntimeError("an agent's model has a fault")

    UsageSpike.learn = learn_or_fail  # type: ignore[method-assign]


def die_of_one_event() -> None:
    """Let plan limits take the process down with one event, as a bug in a C extension would."""
    learn = PlanLimit.learn

    def learn_or_die(self: Any, event: Any, facts: Any, memory: Any, raised: Sequence[Any]) -> None:
        learn(self, event, facts, memory, raised)
        if event.id == KILLING_EVENT:
            ctypes.string_at(0)

    PlanLimit.learn = learn_or_die  # type: ignore[method-assign]


def write_newer_format() -> None:
    """Save profiles in a format that the others do not know, and read both."""
    check = profile_codec.check_format

    def check_either(saved: bytes) -> None:
        if not saved.startswith(b"\x01"):  # the format before needs no migration: only its number differs
            check(saved)

    for module in (profile_codec, engine):
        vars(module)["check_format"] = check_either
    profile_codec.FORMAT = NEWER_FORMAT


def stand_still() -> None:
    """Let the worker keep a batch in hand for ever, as a dead lock would."""

    async def process(self: StreamWorker, batch: Any) -> None:  # noqa: ARG001 - what it would be given
        await asyncio.Event().wait()

    StreamWorker._process = process  # type: ignore[method-assign]


def block_the_event_loop() -> None:
    """Let plan limits never come back from one event."""

    def learn(self: Any, event: Any, facts: Any, memory: Any, raised: Sequence[Any]) -> None:  # noqa: ARG001
        threading.Event().wait()

    PlanLimit.learn = learn  # type: ignore[method-assign]


SABOTAGES: dict[str, Callable[[], None]] = {
    breaks.__name__: breaks
    for breaks in (
        raise_for_one_account,
        die_of_one_event,
        write_newer_format,
        stand_still,
        block_the_event_loop,
    )
}
