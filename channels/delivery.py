"""Delivery: telling a person about an alert, once, over the first channel that works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event

import structlog
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential, wait_random
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_any, stop_when_event_set

from detectors.alerts import Alert, Disposition, Receipt

from .ledger import Claim, Ledger
from .metrics import DeliveryMetrics, kind_label
from .senders.sender import Outcome, OutgoingMessage, Sender
from .settings import SenderSettings
from .wording import Wording, WordingError

log = structlog.get_logger(__name__)

_SLACK = timedelta(seconds=20)  # for this process itself to stall, beyond what a provider may take


@dataclass(frozen=True, slots=True)
class Channel:
    """A sender, its name, and how patient to be with it."""

    name: str
    sender: Sender
    settings: SenderSettings


class _ClaimLostError(Exception):
    """This process was so slow that another has taken the alert over."""


class Delivery:
    """Tell people of the alerts that wait in the ledger.

    Before a provider is asked the ledger knows it, and the outcome is in the ledger with the receipt before anything
    else happens. So a crash leaves an attempt without an outcome, and that alert is `unknown`, and not sent again.

    Args:
        channels: tried in this order until one delivers.
        staff_channels: the same for alerts of the class `staff`.
        stop: when set, an alert that would have to wait for its next attempt goes back to the ledger.
        clock: gives aware times.
    """

    def __init__(
        self,
        ledger: Ledger,
        wording: Wording,
        channels: Sequence[Channel],
        metrics: DeliveryMetrics,
        stop: Event,
        clock: Callable[[], datetime],
        slack: timedelta = _SLACK,
        staff_channels: Sequence[Channel] = (),
    ) -> None:
        self._ledger = ledger
        self._wording = wording
        self._channels = channels
        self._staff_channels = staff_channels
        self._metrics = metrics
        self._stop = stop
        self._clock = clock
        self._lease = slack + timedelta(
            seconds=max(
                each.settings.longest_call_seconds + each.settings.longest_wait_seconds
                for each in (*channels, *staff_channels)
            )
        )

    @property
    def longest_seconds(self) -> float:
        """How long one alert may take, when every provider is as slow as it may be."""
        return max(
            sum(
                each.settings.attempts * (each.settings.longest_call_seconds + each.settings.longest_wait_seconds)
                for each in channels
            )
            for channels in (self._channels, self._staff_channels)
        )

    def deliver_next(self) -> bool:
        """Bring the alert that waits longest to an end; return False if none is free."""
        claim = self._ledger.claim(self._clock(), self._lease)
        if claim is None:
            return False
        try:
            receipt = self._deliver(claim)
        except _ClaimLostError:
            log.warning("claim_lost", alert_id=claim.alert.alert_id)
            return True
        if receipt is not None:
            self._count(claim.alert, receipt)
        return True

    def _deliver(self, claim: Claim) -> Receipt | None:
        """Return the receipt; None if the alert went back to the ledger."""
        if claim.in_doubt is not None:
            return self._settle(claim, "unknown", "provider_lost", claim.in_doubt)
        channels = self._staff_channels if claim.alert.alert_class == "staff" else self._channels
        if not channels:
            return self._settle(claim, "unreachable", "no_address")
        try:
            words = self._wording.word(claim.alert)
        except WordingError as error:
            log.error("alert_without_words", alert_id=claim.alert.alert_id, kind=claim.alert.kind, error=str(error))  # noqa: TRY400
            return self._settle(claim, "failed", "gave_up")
        message = OutgoingMessage(
            alert_id=claim.alert.alert_id,
            account=claim.alert.account,
            kind=claim.alert.kind,
            severity=claim.alert.severity,
            subject=words.subject,
            body=words.body,
            detected_at=claim.alert.detected_at,
        )
        return self._over_channels(claim, message, channels)

    def _over_channels(self, claim: Claim, message: OutgoingMessage, channels: Sequence[Channel]) -> Receipt | None:
        reason, tried = "provider_refused", channels[-1].name
        open_channels = [channel for channel in channels if channel.name not in claim.refused]
        for channel in open_channels:
            is_last = channel is open_channels[-1]
            claim, number, outcome = self._over_channel(claim, channel, message)
            tried = channel.name
            if outcome.verdict == "accepted":
                return self._settle(claim, "delivered", None, tried, (number, outcome))
            if outcome.verdict == "lost":
                return self._settle(claim, "unknown", "provider_lost", tried, (number, outcome))
            if outcome.verdict == "unavailable":
                reason = "gave_up"
                if self._stop.is_set():
                    self._ledger.end_attempt(number, outcome, self._clock())
                    self._ledger.release(claim)
                    return None
            if is_last:
                return self._settle(claim, "failed", reason, tried, (number, outcome))
            self._ledger.end_attempt(number, outcome, self._clock())
        return self._settle(claim, "failed", reason, tried)

    def _over_channel(self, claim: Claim, channel: Channel, message: OutgoingMessage) -> tuple[Claim, int, Outcome]:
        """Ask the provider until its answer is final or patience ends; the last outcome is not yet in the ledger."""
        number = 0

        def ask() -> Outcome:
            nonlocal claim, number
            started = self._ledger.start_attempt(claim, channel.name, self._clock(), self._lease)
            if started is None:
                raise _ClaimLostError
            claim, number = started
            outcome = _send(channel.sender, message)
            self._metrics.deliveries.labels(channel.name, outcome.verdict).inc()
            return outcome

        def before_sleep(state: RetryCallState) -> None:
            outcome: Outcome = state.outcome.result() if state.outcome else Outcome("unavailable")
            self._ledger.end_attempt(number, outcome, self._clock())
            log.info("provider_unavailable", channel=channel.name, detail=outcome.detail, attempt=state.attempt_number)

        settings = channel.settings
        patience = Retrying(
            retry=retry_if_result(lambda outcome: outcome.is_worth_retrying),
            stop=stop_any(stop_after_attempt(settings.attempts), stop_when_event_set(self._stop)),
            wait=wait_exponential(settings.first_wait_seconds, settings.longest_wait_seconds)
            + wait_random(0, settings.first_wait_seconds),
            sleep=sleep_using_event(self._stop),
            before_sleep=before_sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        outcome: Outcome = patience(ask)
        return claim, number, outcome

    def _settle(
        self,
        claim: Claim,
        disposition: Disposition,
        reason: str | None,
        channel: str | None = None,
        last: tuple[int, Outcome] | None = None,
    ) -> Receipt:
        receipt = self._ledger.settle(claim, disposition, self._clock(), reason=reason, channel=channel, last=last)
        if receipt is None:
            raise _ClaimLostError
        return receipt

    def _count(self, alert: Alert, receipt: Receipt) -> None:
        self._metrics.dispositions.labels(receipt.disposition, kind_label(alert.kind)).inc()
        seconds = (receipt.time - alert.detected_at).total_seconds()
        if receipt.disposition == "delivered":
            self._metrics.delivery_seconds.observe(max(0.0, seconds))
        log.info(
            "alert_ended",
            alert_id=alert.alert_id,
            kind=alert.kind,
            disposition=receipt.disposition,
            reason=receipt.reason,
            channel=receipt.channel,
            attempts=receipt.attempts,
            seconds=round(seconds, 3),
        )


def _send(sender: Sender, message: OutgoingMessage) -> Outcome:
    try:
        return sender.send(message)
    except Exception as error:  # noqa: BLE001 - a sender's fault costs one alert, on record, not the consumer
        log.error("sender_failed", error=type(error).__name__)  # noqa: TRY400 - a traceback could show an address
        return Outcome("lost", f"the sender failed ({type(error).__name__})")
