"""What every sender keeps, whatever its provider does. A new sender joins by a line in `SENDERS`."""

from __future__ import annotations

import io
import logging
import socket
import socketserver
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import pytest

from channels.senders import ConsoleSender, OutgoingMessage, Sender, Verdict
from channels.senders.apprise import AppriseSender
from channels.senders.apprise_url import check_url

with warnings.catch_warnings():  # some of Apprise's services, all of them read at once, use what Python 3.11 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    check_url("json://localhost")

Behaviour = Literal["accepts", "refuses", "is_busy", "is_broken", "hangs", "drips", "drops", "is_down"]

EXPECTED: dict[Behaviour, Verdict] = {
    "accepts": "accepted",
    "refuses": "refused",
    "is_busy": "unavailable",
    "is_broken": "unavailable",
    "hangs": "lost",  # it may be about to say yes
    "drips": "lost",
    "drops": "lost",
    "is_down": "unavailable",
}

SECRET = "hunter2-token"
ADDRESS = "jo.doe"
MESSAGE = OutgoingMessage(
    alert_id="x1",
    account=ADDRESS,
    kind="plan_limit",
    severity="notice",
    subject="You have used 80 % of your data",
    body="You have reached 80 % of the data in your plan: 8.5 of 10 GB.",
    detected_at=datetime(2026, 3, 28, 12, tzinfo=UTC),
)
TIMEOUT_SECONDS, LONGEST_SECONDS = 0.25, 1.0


class Provider(Protocol):
    """Somebody who takes messages, on this machine."""

    plays: ClassVar[tuple[Behaviour, ...]]
    behaviour: Behaviour
    address: str

    def __init__(self, behaviour: Behaviour, folder: Path) -> None: ...
    @property
    def accepted(self) -> list[str]: ...
    def close(self) -> None: ...


class TcpProvider:
    """A provider that listens on a port of its own."""

    plays: ClassVar[tuple[Behaviour, ...]] = tuple(EXPECTED)

    def __init__(self, behaviour: Behaviour, folder: Path) -> None:
        del folder
        self.behaviour = behaviour
        self._accepted: list[str] = []
        self.released = threading.Event()
        provider = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    provider.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        if behaviour == "is_down":
            self._server.server_close()
            return
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def accepted(self) -> list[str]:
        return self._accepted

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.released.set()
        if self.behaviour != "is_down":
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class HttpProvider(TcpProvider):
    """Answers each request as told."""

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        length = 0
        while (line := connection.rfile.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = connection.rfile.read(length).decode()
        status = {"refuses": 400, "is_busy": 429, "is_broken": 500}.get(self.behaviour, 200)
        match self.behaviour:
            case "hangs":
                self.released.wait(10)
            case "drips":
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                    connection.wfile.write(bytes([byte]))
                    if self.released.wait(0.1):
                        return
            case "drops":
                connection.connection.shutdown(socket.SHUT_RDWR)
            case _:
                answer = f'{{"id": 1, "token": "{SECRET}"}}'
                head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nConnection: close\r\n"
                if status == 200:
                    self._accepted.append(body)
                connection.wfile.write(f"{head}Content-Length: {len(answer)}\r\n\r\n{answer}".encode())


class SmtpProvider(TcpProvider):
    """Takes mail, or refuses each recipient; hangs or drops once it has the whole message."""

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        def say(text: str) -> None:
            connection.wfile.write(f"{text}\r\n".encode())

        say("220 here")
        refusal = {"refuses": "550 no such user", "is_busy": "451 later", "is_broken": "452 no room"}
        while line := connection.rfile.readline():
            match line[:4].upper():
                case b"EHLO" | b"HELO":
                    say("250-here\r\n250 AUTH PLAIN LOGIN")
                case b"AUTH":
                    say("235 welcome")
                case b"RCPT":
                    say(refusal.get(self.behaviour, "250 fine"))
                case b"DATA":
                    say("354 go on")
                    mail = b"".join(iter(connection.rfile.readline, b".\r\n")).decode()
                    if self.behaviour in ("hangs", "drips"):
                        self.released.wait(10)
                        return
                    if self.behaviour == "drops":
                        return
                    self._accepted.append(mail)
                    say("250 taken")
                case b"QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 fine")


class FileProvider:
    """A file, or a folder that is not there."""

    plays: ClassVar[tuple[Behaviour, ...]] = ("accepts", "is_down")

    def __init__(self, behaviour: Behaviour, folder: Path) -> None:
        self.behaviour = behaviour
        self._path = folder / "messages.txt" if behaviour == "accepts" else folder / "missing" / "messages.txt"
        self.address = str(self._path)

    @property
    def accepted(self) -> list[str]:
        return [self._path.read_text()] if self._path.exists() else []

    def close(self) -> None:
        pass


def through_apprise(url: str) -> Callable[[str], Sender]:
    return lambda address: AppriseSender(url.format(address=address), TIMEOUT_SECONDS, LONGEST_SECONDS)


SENDERS: dict[str, tuple[type[Provider], Callable[[str], Sender]]] = {
    "apprise-json": (HttpProvider, through_apprise(f"json://user:{SECRET}@{{address}}/to/{{{{account}}}}")),
    "apprise-form": (
        HttpProvider,
        through_apprise(f"form://user:{SECRET}@{{address}}/to/{{{{account}}}}?-key={SECRET}"),
    ),
    "apprise-gotify": (HttpProvider, through_apprise(f"gotify://{{address}}/{SECRET}/")),
    "apprise-mailto": (
        SmtpProvider,
        through_apprise(
            f"mailto://user:{SECRET}@{{address}}/?mode=insecure&from=us@example.org&to={{{{account}}}}@example.org"
        ),
    ),
    "console-text": (FileProvider, lambda path: ConsoleSender("console", "text", Path(path))),
    "console-json": (FileProvider, lambda path: ConsoleSender("console", "json", Path(path))),
}


PAIRS = [(name, behaviour) for name, (provider, _) in SENDERS.items() for behaviour in provider.plays]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Provider, Sender]]:
    name, behaviour = request.param
    make_provider, make_sender = SENDERS[name]
    provider = make_provider(behaviour, tmp_path)
    yield provider, make_sender(provider.address)
    provider.close()


def test_a_sender_says_in_time_what_became_of_a_message_and_whether_trying_again_helps(
    pair: tuple[Provider, Sender],
) -> None:
    provider, sender = pair
    expected = EXPECTED[provider.behaviour]
    began = time.monotonic()

    outcome = sender.send(MESSAGE)

    assert outcome.verdict == expected, outcome
    assert outcome.is_worth_retrying == (expected == "unavailable")
    assert time.monotonic() - began < LONGEST_SECONDS + 1
    assert ["8.5 of 10 GB" in text.replace("+", " ") for text in provider.accepted] == [True] * (expected == "accepted")


@pytest.fixture
def program_log() -> Iterator[io.StringIO]:
    """What a program that logs everything would log; pytest's own capture also sees what is kept from programs."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)


def test_no_secret_and_no_address_reach_an_outcome_or_a_log(
    pair: tuple[Provider, Sender], program_log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    _, sender = pair

    outcome = sender.send(MESSAGE)

    printed = capfd.readouterr()
    for place in (outcome.detail or "", program_log.getvalue(), printed.out, printed.err):
        assert SECRET not in place
        assert ADDRESS not in place
        assert "8.5 of 10 GB" not in place


@pytest.mark.parametrize(
    "pair", [pair for pair in PAIRS if pair[1] == "accepts"], indirect=True, ids=lambda pair: str(pair[0])
)
def test_a_message_in_other_scripts_arrives(pair: tuple[Provider, Sender]) -> None:
    provider, sender = pair
    message = OutgoingMessage(
        "x2", ADDRESS, "notice", "info", "Störung", "Värmen är avstängd — 停电", MESSAGE.detected_at
    )

    outcome = sender.send(message)

    assert outcome.verdict == "accepted"
    assert len(provider.accepted) == 1


@pytest.mark.parametrize("behaviour", ["is_busy", "is_down"])
def test_a_program_that_sets_up_its_logging_late_changes_no_outcome(behaviour: Behaviour, tmp_path: Path) -> None:
    provider = HttpProvider(behaviour, tmp_path)
    sender = through_apprise("json://{address}/")(provider.address)
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).disabled = True  # as `dictConfig` does

    outcome = sender.send(MESSAGE)

    assert outcome.verdict == "unavailable"
    provider.close()
