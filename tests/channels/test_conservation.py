"""The conservation law and "at most once", whatever comes in, whatever providers do, wherever the process dies."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text

from channels import DeliveryMetrics, Ledger
from channels.delivery import Channel, Delivery
from channels.ledger import Position
from channels.senders import Outcome, OutgoingMessage, Verdict
from channels.settings import ConsoleSettings
from channels.wording import Wording

VERDICTS: tuple[Verdict, ...] = ("accepted", "refused", "unavailable", "lost")
PATIENCE = ConsoleSettings(attempts=2, timeout_seconds=1, first_wait_seconds=0, longest_wait_seconds=0)
CHANNELS = ("sms", "email")
NEWS = st.tuples(
    st.integers(0, 30),
    st.sampled_from(["triggered", "triggered", "triggered", "updated", "resolved"]),
    st.sampled_from(["plan_limit", "plan_limit", "plan_limit", "unheard_of"]),
)
ANSWER = st.tuples(st.sampled_from(CHANNELS), st.sampled_from(VERDICTS), st.booleans())


class Crash(BaseException):
    """The process dies here."""


class Fuse:
    """Burns at the n-th dangerous place from now."""

    def __init__(self) -> None:
        self.left: int | None = None

    def pass_by(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash


class PlayedProvider:
    """Does as it is told; remembers whom it has accepted. A lost message may have been accepted or not."""

    def __init__(self, fuse: Fuse) -> None:
        self.fuse = fuse
        self.plan: list[tuple[Verdict, bool]] = []
        self.accepted: Counter[str] = Counter()

    def send(self, message: OutgoingMessage) -> Outcome:
        self.fuse.pass_by()
        verdict, truly = self.plan.pop(0) if self.plan else ("accepted", True)
        if verdict == "accepted" or (verdict == "lost" and truly):
            self.accepted[message.alert_id] += 1
        self.fuse.pass_by()
        return Outcome(verdict)


class MortalLedger(Ledger):
    """A ledger whose process may die before or after each of its transactions."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        for name in ("admit", "claim", "start_attempt", "end_attempt", "settle", "mark_published"):
            setattr(self, name, self._between_fuses(getattr(self, name), fuse))

    @staticmethod
    def _between_fuses(step: Callable[..., Any], fuse: Fuse) -> Callable[..., Any]:
        def mortal(*arguments: Any, **named: Any) -> Any:
            fuse.pass_by()
            result = step(*arguments, **named)
            fuse.pass_by()
            return result

        return mortal


class Lives(RuleBasedStateMachine):
    """One ledger file through many lives of the process."""

    make_alert: ClassVar[Any]
    make_clock: ClassVar[Any]

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.url = f"sqlite:///{self.folder / 'ledger.sqlite'}"
        self.clock = self.make_clock()
        self.fuse = Fuse()
        self.providers = {name: PlayedProvider(self.fuse) for name in CHANNELS}
        self.topic: list[Any] = []
        self.published: Counter[str] = Counter()
        self.live()

    def live(self) -> None:
        self.ledger = MortalLedger(self.url, self.fuse)
        channels = [Channel(name, self.providers[name], PATIENCE) for name in CHANNELS]
        metrics = DeliveryMetrics(CollectorRegistry())
        self.delivery = Delivery(self.ledger, Wording(), channels, metrics, Event(), self.clock)

    def die(self) -> None:
        self.ledger.close()
        self.live()

    @rule(news=st.lists(NEWS, min_size=1, max_size=6), dies_after=st.sampled_from([None, None, None, 0, 1]))
    def read(self, news: list[tuple[int, Any, str]], dies_after: int | None) -> None:
        for number, state, kind in news:
            self.topic.append(self.make_alert(f"x{number}", state, at=self.clock(), kind=kind))
        self.fuse.left = dies_after
        try:
            position = self.ledger.positions("n").get(0)
            unread = self.topic[position.next_offset if position else 0 :]
            self.ledger.admit(unread, [Position("n", 0, len(self.topic))], self.clock())
        except Crash:
            self.die()
        self.fuse.left = None

    @rule(plan=st.lists(ANSWER, max_size=8), dies_after=st.none() | st.integers(0, 30))
    def tell(self, plan: list[tuple[str, Verdict, bool]], dies_after: int | None) -> None:
        for provider in self.providers.values():
            provider.plan = []
        for channel, verdict, truly in plan:
            self.providers[channel].plan.append((verdict, truly))
        self.fuse.left = dies_after
        try:
            while self.delivery.deliver_next():
                pass
        except Crash:
            self.die()
        self.fuse.left = None

    @rule(dies_after=st.sampled_from([None, 0, 1]))
    def publish(self, dies_after: int | None) -> None:
        pending = [each.receipt_id for each in self.ledger.unpublished(100)]
        self.published.update(pending)
        self.fuse.left = dies_after
        try:
            self.ledger.mark_published(pending, self.clock())
        except Crash:
            self.die()
        self.fuse.left = None

    @rule(seconds=st.sampled_from([1, 30, 120]))
    def wait(self, seconds: int) -> None:
        self.clock.pass_seconds(seconds)

    @invariant()
    def nothing_is_lost_and_nothing_counted_twice(self) -> None:
        if hasattr(self, "ledger"):
            law = self.ledger.conservation()
            assert law.holds, law
            position = self.ledger.positions("n").get(0)
            read = self.topic[: position.next_offset if position else 0]
            assert law.admitted == len({alert.alert_id for alert in read})

    @invariant()
    def nobody_is_told_twice(self) -> None:
        for provider in getattr(self, "providers", {}).values():
            assert all(count == 1 for count in provider.accepted.values()), provider.accepted

    def teardown(self) -> None:
        if not hasattr(self, "ledger"):
            return
        for provider in self.providers.values():
            provider.plan = []
        for _ in range(2):  # a dead holder's lease ends, then what it left is told
            self.clock.pass_seconds(600)
            self.tell([], None)
        self.publish(None)

        self.nobody_is_told_twice()
        law = self.ledger.conservation()
        assert (law.waiting, law.holds) == (0, True)
        told = sum(len(provider.accepted) for provider in self.providers.values())
        assert law.dispositions.get("delivered", 0) <= told
        assert law.dispositions.get("delivered", 0) + law.dispositions.get("unknown", 0) >= told
        assert len(self.published) == law.receipts
        engine = create_engine(self.url)
        with engine.connect() as connection:
            open_attempts = connection.execute(
                text(
                    "SELECT count(*) FROM attempt JOIN alert USING (alert_id) WHERE outcome IS NULL AND disposition <> 'unknown'"
                )
            )
            assert open_attempts.scalar_one() == 0
        engine.dispose()
        self.ledger.close()
        shutil.rmtree(self.folder)


@pytest.mark.timeout(600)
def test_the_law_holds_through_every_crash(make_alert: Any, clock: Any) -> None:
    Lives.make_alert = staticmethod(make_alert)
    Lives.make_clock = type(clock)

    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=timedelta(seconds=20),
            suppress_health_check=list(HealthCheck),
        ),
    )
