from __future__ import annotations

import pytest

from channels.senders import Verdict
from channels.senders.apprise import judge
from channels.senders.apprise_url import open_service
from channels.senders.wire import Journal

REFUSED_CONNECTION = (
    "Socket Exception: HTTPSConnectionPool(host='h', port=443): Max retries exceeded with url: /x (Caused by "
    "NewConnectionError(\"HTTPSConnection(host='h', port=443): Failed to establish a new connection: [Errno 111]\"))"
)
CONNECT_TIMEOUT = "Socket Exception: Max retries exceeded with url: /x (Caused by ConnectTimeoutError('timed out'))"
NO_SUCH_HOST = "Socket Exception: Max retries exceeded with url: /x (Caused by NameResolutionError('h'))"
BAD_CERTIFICATE = (
    "Socket Exception: Max retries exceeded with url: /x (Caused by SSLError(SSLCertVerificationError(1, "
    "'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))"
)
BROKEN_TLS = "Socket Exception: Max retries exceeded with url: /x (Caused by SSLError(SSLEOFError(8, 'EOF')))"
READ_TIMEOUT = "Socket Exception: HTTPConnectionPool(host='h', port=80): Read timed out. (read timeout=4.0)"
CUT = "Socket Exception: ('Connection aborted.', RemoteDisconnected('Remote end closed connection'))"
LIAR = (
    "Socket Exception: Max retries exceeded with url: /(Caused by NewConnectionError('no')) "
    "(Caused by ResponseError('too many 500 error responses'))"
)


@pytest.mark.parametrize(
    ("opened", "statuses", "texts", "verdict"),
    [
        (1, [400], [], "refused"),
        (1, [302], [], "refused"),
        (1, [429], [], "unavailable"),
        (1, [503], [], "unavailable"),
        (1, [], [REFUSED_CONNECTION], "unavailable"),
        (1, [], [CONNECT_TIMEOUT], "unavailable"),
        (1, [], [NO_SUCH_HOST], "unavailable"),
        (1, [], [BAD_CERTIFICATE], "unavailable"),
        (1, [], [BROKEN_TLS], "lost"),
        (1, [], [READ_TIMEOUT], "lost"),
        (1, [], [CUT], "lost"),
        (1, [], [LIAR], "lost"),
        (1, [], [], "lost"),  # a service that does not log its errors
        (0, [], [], "lost"),  # a service that is not HTTP
        (1, [200], [], "lost"),  # 200 with an error inside: nobody knows
        (2, [201, 500], [], "lost"),  # two addresses, one of them told
        (2, [400, 503], [], "unavailable"),
        (2, [500], [READ_TIMEOUT], "lost"),
        (2, [500], [], "lost"),
        (0, [], ["Sent Email to somebody", "Socket Exception: (550, b'no')"], "lost"),
        (0, [], ["Socket Exception: [Errno 111] Connection refused"], "unavailable"),
        (0, [], ["Socket Exception: [Errno -2] Name or service not known"], "unavailable"),
        (0, [], ["Socket Exception: (535, b'bad password')"], "refused"),
        (0, [], ["Socket Exception: {'a@b': (451, b'later')}"], "unavailable"),
        (0, [], ["Socket Exception: {'a@b': (550, b'no'), 'c@d': (550, b'no')}"], "refused"),
        (0, [], ["Socket Exception: Connection unexpectedly closed"], "lost"),
    ],
)
def test_only_where_all_evidence_says_that_nothing_was_accepted_is_it_not_lost(
    opened: int, statuses: list[int], texts: list[str], verdict: Verdict
) -> None:
    assert judge(Journal(opened, statuses), texts).verdict == verdict


@pytest.mark.parametrize("account", ["a/b c", "a?rto=0.001&x=1", "a@evil.example/", "ab#c", "Åsa 100%"])
def test_an_account_stays_within_its_place_in_the_url(account: str) -> None:
    service = open_service("json://user:pass@host.example:8080/to/{account}/end?rto=7", account, 3.0)

    assert service is not None
    assert (service.host, service.port) == ("host.example", 8080)
    assert service.request_timeout == (3.0, 7.0)
    path = service.fullpath
    assert path.startswith("/to/")
    assert path.endswith("/end")
    assert path.count("/") == 3
    assert "?" not in path
    assert "#" not in path


def test_a_service_is_not_made_to_wait_between_messages() -> None:
    first = open_service("json://h/{account}", "a", 3.0)
    second = open_service("json://h/{account}", "a", 3.0)

    assert first is not second
