import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from foretell.serve import ServeError, serve


def fetch(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_probes_are_served() -> None:
    registry = CollectorRegistry()
    Counter("foretell_probe", "For this test.", registry=registry).inc(3)
    is_ready = False

    with serve("127.0.0.1", 0, lambda: True, lambda: is_ready, registry) as port:
        assert "foretell_probe_total 3.0" in fetch(port, "/metrics")[1]
        assert fetch(port, "/healthz") == (200, "yes\n")
        assert fetch(port, "/readyz") == (503, "no\n")
        is_ready = True
        assert fetch(port, "/readyz") == (200, "yes\n")
        assert fetch(port, "/nothing")[0] == 404


def test_a_scrape_that_waits_holds_up_no_probe() -> None:
    registry, is_asked, may_answer = CollectorRegistry(), threading.Event(), threading.Event()

    def slow() -> float:
        is_asked.set()
        return float(may_answer.wait(30))

    Gauge("foretell_slow", "For this test.", registry=registry).set_function(slow)
    answers: list[tuple[int, str]] = []

    with serve("127.0.0.1", 0, lambda: True, lambda: True, registry) as port:
        scrape = threading.Thread(target=lambda: answers.append(fetch(port, "/metrics")))
        scrape.start()
        assert is_asked.wait(30)
        healthy = fetch(port, "/healthz")
        may_answer.set()
        scrape.join()

    assert healthy == (200, "yes\n")
    assert "foretell_slow 1.0" in answers[0][1]


def test_a_port_that_is_taken_is_said() -> None:
    with (
        serve("127.0.0.1", 0, lambda: True, lambda: True, CollectorRegistry()) as port,
        pytest.raises(
            ServeError, match=rf"cannot serve metrics on 127.0.0.1:{port}: Address already in use; set another"
        ),
        serve("127.0.0.1", port, lambda: True, lambda: True, CollectorRegistry()),
    ):
        pass
