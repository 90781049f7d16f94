"""`foretell demo`: the main job on a real Kafka, on real and on labelled input, in about a minute."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from rich.console import Console

from detectors.alerts import Alert, Receipt
from detectors.codec import decode_alert, decode_receipt

from .demo_figures import MessageFile, Metrics, Snapshot
from .demo_hints import what_to_try_meanwhile, what_to_try_next
from .demo_summary import DemoSummary
from .demo_system import DemoError, DemoSystem, answer
from .demo_view import DemoView, choose_view
from .event_producer import EventProducer, UnacknowledgedError
from .feed import Pace
from .processes import Children
from .scenarios import World

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_LOOK_SECONDS = 0.4
_ACCOUNTS_READ_WITHIN_SECONDS = 60.0
_STALLED_AFTER_SECONDS = 60.0
_TICK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How the demo is run.

    Attributes:
        seconds: how long the replay takes; starting and ending take some 15 more.
        speed: seconds of the simulated time in one of ours; it wins over `seconds`.
        seed: of the customers that are made up.
        customers: how many are made up, beside the real water meter.
        keep: leave everything running at the end, until Ctrl-C.
        json: print the summary as JSON on standard output, everything else on standard error.
    """

    seconds: float = 45.0
    speed: float | None = None
    seed: int = 1
    customers: int = 200
    keep: bool = False
    json: bool = False


def run_demo(options: DemoOptions) -> int:
    """Run the demo and return its exit code: 0 when all went well, whatever the detectors hit or missed.

    Every process it starts has ended when it returns, also by Ctrl-C, SIGTERM or a failure.
    """
    console = Console(stderr=options.json, highlight=False)
    is_kept = False
    try:
        with TemporaryDirectory(prefix="foretell-demo-") as folder, Children() as children:
            system = DemoSystem(Path(folder), children)
            demo = _Demo(options, system, console)
            _print(demo.run(), options, console)
            if options.keep:
                is_kept = True
                _keep(system, demo.world, console)
    except DemoError as error:
        console.print(f"foretell demo: {error}", markup=False, style="red", soft_wrap=True)
        return EXIT_FAILED
    except KeyboardInterrupt:
        console.print("Ended; no process of it is left.", markup=False)
        return 0 if is_kept else EXIT_INTERRUPTED
    return 0


class _Demo:
    world: World

    def __init__(self, options: DemoOptions, system: DemoSystem, console: Console) -> None:
        self._options = options
        self._system = system
        self._console = console
        self._began = time.monotonic()
        self._messages = MessageFile(system.messages_path)
        self._latencies: list[float] = []
        self._stream = self._deliver = Metrics("")

    def run(self) -> DemoSummary:
        """Go through all of it and return how it went."""
        options = self._options
        with ThreadPoolExecutor(1) as aside:
            imagining = aside.submit(World, options.seed, options.customers)
            self._say("Starting Apache Kafka ...")
            self._system.start_kafka()
            self._say(
                f"Kafka answers at {self._system.config.kafka.bootstrap}. Starting `foretell stream` and `foretell deliver` ..."
            )
            self._system.start_processes()
            world = self.world = imagining.result()
        span = (world.ends - world.begins).total_seconds()
        speed = options.speed or span / options.seconds
        self._say(
            f"Both are ready. Replaying {span / 86400:.0f} days of a real water meter and {options.customers} made-up "
            f"customers:\n{len(world):,} events, {speed:,.0f} times as fast as they happened."
        )
        with EventProducer(
            self._system.config.kafka, self._system.config.topics, ("accounts", "usage", "charges")
        ) as producer:
            self._introduce(world, producer)
            replay_seconds, sent = self._replay(world, producer, Pace(speed))
        return self._summary(world, {"accounts": len(world.accounts), **sent}, replay_seconds)

    def _introduce(self, world: World, producer: EventProducer) -> None:
        """Send the accounts and wait until they are read: events on different topics have no order between them."""
        for message in world.accounts:
            producer.send(message)
        _flush(producer)

        def are_read() -> bool:
            self._scrape()
            return self._read() >= len(world.accounts)

        self._system.wait_until(are_read, "the stream worker to read the accounts", _ACCOUNTS_READ_WITHIN_SECONDS)

    def _replay(self, world: World, producer: EventProducer, pace: Pace) -> tuple[float, Counter[str]]:
        feeder = _Feeder(world, producer, pace)
        began = time.monotonic()
        feeder.start()
        try:
            with choose_view(self._console) as view:
                while feeder.is_alive():
                    self._system.require_alive()
                    self._look(feeder, world, view)
                    feeder.join(_LOOK_SECONDS)
                seconds = time.monotonic() - began
                feeder.raise_if_failed()
                self._drain(feeder, world, view)
        finally:
            feeder.stop()
        return seconds, feeder.sent

    def _drain(self, feeder: _Feeder, world: World, view: DemoView) -> None:
        """Wait until every event is read and every alert has its receipt; for as long as that goes on."""
        before, since = None, time.monotonic()
        while True:
            self._system.require_alive()
            now = self._look(feeder, world, view)
            receipts = self._deliver.total("foretell_receipts_published_total")
            if now.lag == 0 and now.waiting == 0 and receipts >= now.delivered + now.otherwise:
                break
            progress = (now.read, now.delivered, now.otherwise, receipts)
            if progress != before:
                before, since = progress, time.monotonic()
            if time.monotonic() - since > _STALLED_AFTER_SECONDS:
                raise DemoError(
                    f"nothing has moved for {_STALLED_AFTER_SECONDS:.0f} s: {now.lag:,} events are not read, "
                    f"{now.waiting:,} alerts not told; the logs end with\n{self._system.last_words()}"
                )
            time.sleep(_LOOK_SECONDS)

    def _look(self, feeder: _Feeder, world: World, view: DemoView) -> Snapshot:
        fresh = self._messages.added()
        self._latencies += [told.seconds for told in fresh]
        sent = feeder.sent.total() + len(world.accounts)
        self._scrape()
        alerts = self._stream.by("foretell_alerts_total", "kind", state="triggered")
        published = self._stream.total("foretell_alerts_total")
        ended = self._deliver.by("foretell_dispositions_total", "disposition")
        received = self._deliver.total("foretell_alerts_received_total")
        snapshot = Snapshot(
            clock=feeder.clock,
            sent=sent,
            total=len(world) + len(world.accounts),
            read=self._read(),
            lag=max(0, sent - self._read()),
            rejected=self._stream.total("foretell_dead_letters_total"),
            alerts=alerts,
            delivered=ended.get("delivered", 0),
            otherwise=sum(ended.values()) - ended.get("delivered", 0),
            waiting=max(0, published - received) + self._deliver.total("foretell_pending_alerts"),
            latencies=self._latencies,
            seconds=time.monotonic() - self._began,
        )
        view.show(snapshot, fresh)
        return snapshot

    def _summary(self, world: World, sent: dict[str, int], replay_seconds: float) -> DemoSummary:
        alerts, receipts = self._told()
        different = {alert.alert_id: alert.kind for alert in alerts}
        return DemoSummary(
            seed=self._options.seed,
            customers=self._options.customers,
            simulated_days=(world.ends - world.begins).total_seconds() / 86400,
            replay_seconds=replay_seconds,
            seconds=time.monotonic() - self._began,
            sent=sent,
            read=self._read(),
            applied=self._stream.total("foretell_events_applied_total"),
            repeated=self._stream.total("foretell_events_repeated_total"),
            rejected=self._stream.total("foretell_dead_letters_total"),
            published=len(alerts),
            admitted=dict(sorted(Counter(different.values()).items())),
            dispositions=dict(
                Counter(receipt.disposition for receipt in {each.alert_id: each for each in receipts}.values())
            ),
            latencies=self._latencies,
            verdict=world.judge(alerts),
        )

    def _told(self) -> tuple[Sequence[Alert], Sequence[Receipt]]:
        alerts = [decode_alert(value) for value in self._system.read_topic("notifications")]
        return alerts, [decode_receipt(value) for value in self._system.read_topic("receipts")]

    def _scrape(self) -> None:
        """Take both processes' metrics; the ones before stand where one does not answer at once."""
        self._stream = _metrics(self._system.stream_url) or self._stream
        self._deliver = _metrics(self._system.deliver_url) or self._deliver

    def _read(self) -> int:
        return self._stream.total("foretell_events_received_total")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


class _Feeder(threading.Thread):
    """Send the world's events, each when its time has come.

    Attributes:
        clock: how far the simulated time has come.
        sent: events by role.
    """

    def __init__(self, world: World, producer: EventProducer, pace: Pace) -> None:
        super().__init__(name="demo-feeder", daemon=True)
        self._world = world
        self._producer = producer
        self._pace = pace
        self._is_over = threading.Event()
        self._error: Exception | None = None
        self.clock = world.begins
        self.sent: Counter[str] = Counter()

    def run(self) -> None:
        try:
            for role, message in self._world:
                ahead = self._pace.ahead(message.time)
                if ahead > _TICK_SECONDS:
                    self._producer.ship()
                    self._is_over.wait(ahead)
                if self._is_over.is_set():
                    return
                self._producer.send(message)
                self.sent[role] += 1
                self.clock = message.time
            self._producer.flush()
        except Exception as error:  # noqa: BLE001 - it belongs to the thread that shows it
            self._error = error

    def stop(self) -> None:
        """End it, in the middle if need be."""
        self._is_over.set()
        self.join()

    def raise_if_failed(self) -> None:
        """Raise what ended it, if that was not the end of the world."""
        if isinstance(self._error, UnacknowledgedError):
            raise DemoError(str(self._error)) from self._error
        if self._error is not None:
            raise self._error


def _flush(producer: EventProducer) -> None:
    try:
        producer.flush()
    except UnacknowledgedError as error:
        raise DemoError(str(error)) from error


def _metrics(url: str) -> Metrics | None:
    text = answer(f"{url}/metrics")
    return None if text is None else Metrics(text)


def _print(summary: DemoSummary, options: DemoOptions, console: Console) -> None:
    if options.json:
        sys.stdout.write(orjson.dumps(summary.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
        sys.stdout.flush()
        return
    console.print()
    summary.print(console)
    if not options.keep:
        console.print("\nWhat to try next")
        for line in what_to_try_next():
            console.print(line, markup=False, soft_wrap=True)


def _keep(system: DemoSystem, world: World, console: Console) -> None:
    """Say where everything is, and return only when a process has ended by itself."""
    lines = [
        "",
        "Everything is left running, until Ctrl-C:",
        *(f"  {line}" for line in system.addresses()),
        "",
        "Try in another terminal:",
        *what_to_try_meanwhile(system, world),
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    while True:
        system.require_alive()
        time.sleep(1)
