"""`/metrics`, `/healthz` and `/readyz` of a process, in a thread of their own, so that a stuck worker still answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, Gauge, make_wsgi_app


class ServeError(Exception):
    """The address cannot be listened on."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a request: a scrape that waits for a worker holds up no probe."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # a client that says nothing may not hold the thread

    def log_message(self, *_: Any) -> None:
        """Probes every few seconds are no news."""


@contextmanager
def serve(
    host: str,
    port: int,
    is_healthy: Callable[[], bool],
    is_ready: Callable[[], bool],
    registry: CollectorRegistry = REGISTRY,
) -> Iterator[int]:
    """Serve until the block ends; give the port, which is a free one if 0 was asked for.

    Raises:
        ServeError: the address cannot be listened on.
    """
    application = _application(make_wsgi_app(registry), {"/healthz": is_healthy, "/readyz": is_ready})
    try:
        server = make_server(host, port, application, _Server, _QuietHandler)
    except OSError as error:
        raise ServeError(
            f"cannot serve metrics on {host}:{port}: {error.strerror}; set another port in `http`"
        ) from error
    ready = Gauge("foretell_ready", "1 when /readyz says yes.", registry=registry)
    ready.set_function(lambda: float(is_ready()))
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        registry.unregister(ready)


def _application(metrics: WSGIApplication, probes: dict[str, Callable[[], bool]]) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start_response)
        probe = probes.get(path)
        if probe is None:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"try /metrics, /healthz or /readyz\n"]
        holds = probe()
        start_response("200 OK" if holds else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"yes\n" if holds else b"no\n"]

    return application
