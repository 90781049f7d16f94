"""The channel consumer: alerts from Kafka into the ledger, out to people, receipts back to Kafka."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from threading import Event

import structlog

from detectors.alerts import Alert
from detectors.codec import Rejected, decode_alert

from .delivery import Channel, Delivery
from .kafka_log import summed_up
from .ledger import Admission, Ledger, Position
from .metrics import DeliveryMetrics, kind_label
from .progress import Progress
from .publisher import NotKeptError, Publisher
from .reader import ConsumerError, Reader
from .seldom import Seldom
from .senders.console import ConsoleSender
from .senders.sender import Sender
from .settings import AppriseSettings, ChannelSettings, ConsoleSettings, DeliverySettings
from .wording import Wording

__all__ = ["Consumer", "ConsumerError"]

log = structlog.get_logger(__name__)

_IDLE_SECONDS = 0.5
_TELLING_SECONDS = 2.0  # then Kafka is asked again, so that the group does not think us dead


class Consumer:
    """Read alerts, tell people, say what became of each alert.

    Args:
        settings: the channels, Kafka and the topics.
        metrics: where to count.
        senders: by channel name, in place of those that the settings describe.
        clock: gives aware times.
    """

    def __init__(
        self,
        settings: DeliverySettings,
        metrics: DeliveryMetrics,
        *,
        senders: Mapping[str, Sender] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._senders = open_senders(settings.channels) if senders is None else senders
        self._clock = clock
        self._stop = Event()
        self._reader: Reader | None = None
        self._progress: Progress | None = None

    def run(self) -> None:
        """Work until `stop` is called; the alert in hand is finished first.

        Raises:
            ConsumerError: Kafka cannot be used as configured.
            LedgerError: the ledger cannot be used.
        """
        settings, metrics, clock = self._settings, self._metrics, self._clock
        customers, staff = (
            [Channel(name, self._senders[name], settings.channels.senders[name]) for name in names]
            for names in (settings.channels.deliver_to, settings.channels.deliver_staff_to)
        )
        progress = Progress(timedelta(seconds=settings.channels.stalled_after_seconds), clock())
        with ExitStack() as stack:
            stack.callback(self._forget)
            self._progress = progress
            stack.enter_context(summed_up())
            ledger = stack.enter_context(closing(Ledger(settings.channels.ledger)))
            delivery = Delivery(ledger, Wording(), customers, metrics, self._stop, clock, staff_channels=staff)
            reader = stack.enter_context(closing(Reader(settings, ledger, delivery.longest_seconds)))
            publisher = stack.enter_context(closing(Publisher(settings, ledger, metrics, clock)))
            loop = _Loop(settings.channels, metrics, ledger, reader, delivery, publisher, progress, clock)
            self._reader = reader
            log.info("consumer_started", topic=settings.notifications, deliver_to=list(settings.channels.deliver_to))
            while not self._stop.is_set():
                loop.turn(self._stop)

    def stop(self) -> None:
        """Ask `run` to return. May be called from any thread and from a signal handler."""
        self._stop.set()

    def is_ready(self) -> bool:
        """Return whether the ledger is open and the group has given this consumer its partitions."""
        reader = self._reader  # the probes ask from a thread of their own
        return reader is not None and reader.is_assigned

    def is_healthy(self, now: datetime) -> bool:
        """Return whether it runs, and there is nothing to read or some of it was read or told lately."""
        progress = self._progress
        return progress is not None and progress.is_healthy(now)

    def _forget(self) -> None:
        self._reader, self._progress = None, None


class _Loop:
    """What `run` repeats.

    A turn: poll -> admit to the ledger, with the offsets, in one transaction -> tell those who wait, for a while ->
    publish receipts -> commit offsets to Kafka, for displays.
    """

    def __init__(
        self,
        settings: ChannelSettings,
        metrics: DeliveryMetrics,
        ledger: Ledger,
        reader: Reader,
        delivery: Delivery,
        publisher: Publisher,
        progress: Progress,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._progress = progress
        self._most_waiting = settings.most_waiting
        self._metrics = metrics
        self._ledger = ledger
        self._delivery = delivery
        self._publisher = publisher
        self._clock = clock
        self._seldom = Seldom()
        self._is_busy = True

    def turn(self, stop: Event) -> None:
        """Do one round; return within seconds unless a provider takes longer."""
        moved = self._read()
        told = self._tell(stop)
        self._publisher.publish_receipts()
        self._reader.commit()
        waiting = self._ledger.waiting()
        self._reader.hold(waiting >= self._most_waiting)
        self._metrics.pending.set(waiting)
        lag = self._reader.lag()
        for partition, behind in lag.items():
            self._metrics.lag.labels(partition.topic, partition.partition).set(behind)
        self._progress.note(self._clock(), moved=moved or told, lag=sum(lag.values()))

    def _read(self) -> bool:
        """Admit what a poll brings; return whether there was something."""
        alerts: list[Alert] = []
        positions: list[Position] = []
        for partition, records in self._reader.poll(0.0 if self._is_busy else _IDLE_SECONDS).items():
            reached = records[0].offset
            for record in records:
                try:
                    alerts.append(decode_alert(record.value))
                except Rejected as rejected:
                    try:
                        self._publisher.keep_reject(record, rejected)
                    except NotKeptError as error:
                        self._seldom.warn(
                            "reject_waits", error=str(error), partition=record.partition, offset=record.offset
                        )
                        self._reader.rewind(partition, record.offset)
                        break
                    log.warning(
                        "record_rejected", reason=rejected.reason, partition=record.partition, offset=record.offset
                    )
                reached = record.offset + 1
            positions.append(self._reader.position(partition, reached))
        if not positions:
            return False
        admission = self._ledger.admit(alerts, positions, self._clock())
        self._reader.admitted(positions)
        self._count(alerts, admission)
        return True

    def _tell(self, stop: Event) -> bool:
        """Bring waiting alerts to an end, for a while; return whether there was one."""
        until = time.monotonic() + _TELLING_SECONDS
        told = False
        self._is_busy = True
        while not stop.is_set() and time.monotonic() < until:
            if not self._delivery.deliver_next():
                self._is_busy = False
                break
            told = True
        return told

    def _count(self, alerts: list[Alert], admission: Admission) -> None:
        for kind, count in Counter(kind_label(alert.kind) for alert in alerts).items():
            self._metrics.received.labels(kind).inc(count)
        self._metrics.repeated.inc(admission.repeated)
        for receipt in admission.settled:
            self._metrics.dispositions.labels(receipt.disposition, kind_label(receipt.kind)).inc()


def open_senders(settings: ChannelSettings) -> dict[str, Sender]:
    """Return the senders that the settings describe, by channel name."""
    return {name: _open_sender(name, each) for name, each in settings.senders.items()}


def _open_sender(name: str, settings: ConsoleSettings | AppriseSettings) -> Sender:
    if isinstance(settings, ConsoleSettings):
        return ConsoleSender(name, settings.format, settings.path)
    from .senders.apprise import AppriseSender  # noqa: PLC0415 - Apprise is read only where a sender uses it

    return AppriseSender(settings.url.get_secret_value(), settings.timeout_seconds, settings.longest_call_seconds)
