"""Messages through any of Apprise's services.

Apprise answers True or False. True is `accepted`. What False means is judged by evidence: the HTTP statuses that came
back, and the errors that the service wrote to Apprise's log. Only where all of the evidence says that nothing was
accepted is the message `refused` or `unavailable`; in every other case, such as a time-out after the request was sent,
a connection that broke, or a service that does not say why it failed, it is `lost`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from apprise import AppriseResultStatus

from .apprise_url import call, open_service
from .sender import Outcome, OutgoingMessage
from .wire import Journal, watched

_ERROR = "Socket Exception: "  # every service of Apprise's that catches one logs it so
_SENT = "Sent "
_SUCCESS = range(200, 300)
_SERVER_ERROR = range(500, 600)
_CAUSE = re.compile(r".*\(Caused by (\w+)\(", re.DOTALL)  # the last one: a URL, which comes first, could imitate it
_CAUSES_BEFORE_SENDING = frozenset({"NewConnectionError", "NameResolutionError", "ConnectTimeoutError"})
_CERTIFICATE = "[SSL: CERTIFICATE_VERIFY_FAILED]"
_SYSTEM_ERROR_BEFORE_SENDING = re.compile(
    r"\[Errno -?\d+\] (Connection refused|Name or service not known|nodename nor servname|No address associated"
    r"|Temporary failure in name resolution|No route to host|Network is unreachable)"
)
_SMTP_REPLY = re.compile(r"(?:^|: )\((\d{3}), b['\"]")
_SMTP_TRANSIENT = range(400, 500)


class AppriseSender:
    """Send through one Apprise URL.

    Args:
        url: an Apprise URL that `check_url` has passed; `{account}` in it becomes the account, percent-encoded.
        timeout_seconds: for connecting and for each answer, unless the URL says `cto` and `rto` itself.
        longest_seconds: after this the call is given up, whatever the provider does.
    """

    def __init__(self, url: str, timeout_seconds: float, longest_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._longest_seconds = longest_seconds

    def send(self, message: OutgoingMessage) -> Outcome:
        """Hand `message` to Apprise once."""
        try:
            service = open_service(self._url, message.account, self._timeout_seconds)
        except Exception as error:  # noqa: BLE001 - some hundred services, each with its own faults; nothing was sent
            return Outcome("refused", f"Apprise cannot make this address ({type(error).__name__})")
        if service is None:
            return Outcome("refused", "Apprise does not accept this account as an address")
        with watched() as journal:
            try:
                with call(service, message.subject, message.body, self._longest_seconds) as result:
                    texts = [entry.message for entry in result.logs()]
            except Exception as error:  # noqa: BLE001 - as above, but it may have been sent
                return Outcome("lost", f"Apprise failed ({type(error).__name__})")
        if result.status is AppriseResultStatus.SUCCESS:
            return Outcome("accepted")
        if result.status is AppriseResultStatus.TIMEOUT:
            return Outcome("lost", "no end within the time")
        return judge(journal, texts)


def judge(journal: Journal, texts: Iterable[str]) -> Outcome:
    """Return what a False of Apprise's meant.

    Args:
        journal: what was seen on the wire.
        texts: what the service wrote to Apprise's log.

    >>> judge(Journal(1, [429]), [])
    Outcome(verdict='unavailable', detail='HTTP 429')
    >>> judge(Journal(2, [500]), []).verdict  # two requests, one answer
    'lost'
    """
    texts = list(texts)
    errors = [text.removeprefix(_ERROR) for text in texts if text.startswith(_ERROR)]
    if any(status in _SUCCESS for status in journal.statuses) or any(text.startswith(_SENT) for text in texts):
        return Outcome("lost", "accepted in part, or accepted with an error inside")
    if journal.opened > len(journal.statuses) + len(errors):
        return Outcome("lost", "a request without an answer")
    outcomes = [_of_status(status) for status in journal.statuses] + [_of_error(error) for error in errors]
    for verdict in ("lost", "unavailable", "refused"):
        for outcome in outcomes:
            if outcome.verdict == verdict:
                return outcome
    return Outcome("lost", "Apprise does not say why it failed")


def _of_status(status: int) -> Outcome:
    may_work_later = status == HTTPStatus.TOO_MANY_REQUESTS or status in _SERVER_ERROR
    return Outcome("unavailable" if may_work_later else "refused", f"HTTP {status}")


def _of_error(error: str) -> Outcome:
    cause = _CAUSE.match(error)
    if cause is None:
        return _of_plain_error(error)
    if cause[1] in _CAUSES_BEFORE_SENDING:
        return Outcome("unavailable", "no connection")
    if cause[1] == "SSLError" and _CERTIFICATE in error[cause.end() :]:
        return Outcome("unavailable", "the certificate is not trusted")
    return Outcome("lost", "the connection broke")


def _of_plain_error(error: str) -> Outcome:
    if _SYSTEM_ERROR_BEFORE_SENDING.match(error):
        return Outcome("unavailable", "no connection")
    replies = [int(code) for code in _SMTP_REPLY.findall(error)]
    if replies:
        may_work_later = any(code in _SMTP_TRANSIENT for code in replies)
        return Outcome("unavailable" if may_work_later else "refused", f"SMTP {replies[0]}")
    return Outcome("lost", "no answer in time" if "timed out" in error else "the connection broke")
