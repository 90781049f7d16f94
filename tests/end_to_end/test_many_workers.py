"""`foretell stream --workers`: several workers under one supervisor, on a real Kafka."""

import os
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from foretell.broker import LocalBroker
from foretell.processes import ChildProcess, Children

Eventually = Callable[..., Any]
Supervise = Callable[..., ChildProcess]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
WORKERS = 2


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Return what starts `foretell stream --workers 2`; its log is where the pipeline looks for the stream worker's."""
    with Children(grace_seconds=30) as children:

        def start(config_path: Path, *more: str) -> ChildProcess:
            command = [sys.executable, "-m", "foretell", "stream", "--workers", str(WORKERS), "--log-format", "json"]
            return children.start(
                [*command, "--config", config_path, *more],
                name="stream",
                log_path=tmp_path / "stream.log",
                environment={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

        yield start


def pass_the_limit(pipeline: Any, account: str) -> None:
    """Make one alert: from nothing to 8.5 of 10 GB."""
    on_plan = {"id": f"on-plan-{account}", "type": "account.updated", "time": NOON.isoformat(), "plan": "basic"}
    used = {"id": "u1", "time": (NOON + timedelta(hours=1)).isoformat(), "meter": "data", "unit": "GB"}
    pipeline.send_event("accounts", account, on_plan)
    pipeline.send_event("usage", account, {**used, "quantity": "8.5"})


def families(pipeline: Any) -> dict[str, Metric]:
    with urllib.request.urlopen(pipeline.address("stream") + "/metrics", timeout=10) as answer:
        found = list(text_string_to_metric_families(answer.read().decode()))
    assert len({family.name for family in found}) == len(found), "a family stands twice"
    return {family.name: family for family in found}


def partitions_by_worker(pipeline: Any) -> dict[str, set[str]]:
    """Return which partitions of the usage topic each worker has."""
    usage = pipeline.config.topics.named("usage")
    found: dict[str, set[str]] = {}
    lag = families(pipeline).get("foretell_consumer_lag_records")
    for sample in lag.samples if lag else ():
        if sample.labels["topic"] == usage:
            found.setdefault(sample.labels["worker"], set()).add(sample.labels["partition"])
    return found


def are_shared(pipeline: Any) -> bool:
    """Return whether each worker has partitions, and together they have each of the three once."""
    shared = partitions_by_worker(pipeline)
    parts = [part for mine in shared.values() for part in mine]
    return len(shared) == WORKERS and sorted(parts) == ["0", "1", "2"]


def worker_pids(supervisor: ChildProcess) -> set[int]:
    return {child.pid for child in psutil.Process(supervisor.pid).children()}


def alerted(pipeline: Any) -> set[str]:
    return {alert["subject"] for alert in pipeline.values("notifications")}


def test_two_workers_share_the_work_one_is_killed_and_comes_back_and_all_end_in_peace(
    pipeline: Any, supervise: Supervise, eventually: Eventually, ends: Callable[[int], bool]
) -> None:
    before, meanwhile = {f"a{number}" for number in range(12)}, {f"b{number}" for number in range(12)}
    supervisor = supervise(pipeline.config_path)
    eventually(lambda: pipeline.probe("stream", "/readyz") == 200, seconds=120)
    eventually(lambda: are_shared(pipeline), seconds=120)
    assert pipeline.probe("stream", "/healthz") == 200
    for account in sorted(before):
        pass_the_limit(pipeline, account)
    eventually(lambda: alerted(pipeline) == before)
    pids = worker_pids(supervisor)

    os.kill(min(pids), signal.SIGKILL)
    for account in sorted(meanwhile):
        pass_the_limit(pipeline, account)

    eventually(lambda: alerted(pipeline) == before | meanwhile, seconds=120)
    eventually(lambda: are_shared(pipeline), seconds=120)
    eventually(lambda: pipeline.probe("stream", "/readyz") == 200, seconds=120)
    assert pipeline.probe("stream", "/healthz") == 200
    assert len(worker_pids(supervisor)) == WORKERS
    assert worker_pids(supervisor) != pids
    assert pipeline.scrape("stream")["foretell_worker_restarts_total"] == 1
    assert pipeline.scrape("stream")["foretell_workers_running"] == WORKERS
    pids |= worker_pids(supervisor)

    supervisor._process.send_signal(signal.SIGTERM)  # to the supervisor alone, as a container's runtime does

    assert supervisor.wait(40) == 0, supervisor.log_tail(40)
    assert all(map(ends, pids))
    log = supervisor.log_tail(10_000)
    assert '"drained"' in log
    assert "Traceback" not in log


def test_workers_wait_for_a_broker_that_is_not_there_yet(
    isolated_broker: LocalBroker, make_pipeline: Callable[[str], Any], supervise: Supervise, eventually: Eventually
) -> None:
    pipeline = make_pipeline(isolated_broker.bootstrap)
    isolated_broker.stop()

    supervisor = supervise(pipeline.config_path)
    eventually(lambda: supervisor.log_path.read_text().count('"waiting_for_kafka"') >= WORKERS)
    assert pipeline.probe("stream", "/healthz") == 200
    assert pipeline.probe("stream", "/readyz") == 503
    isolated_broker.start()
    pass_the_limit(pipeline, "a1")

    eventually(lambda: alerted(pipeline) == {"a1"}, seconds=120)
    eventually(lambda: pipeline.probe("stream", "/readyz") == 200, seconds=120)
    assert pipeline.scrape("stream")["foretell_worker_restarts_total"] == 0
    supervisor.terminate(grace_seconds=40)
    assert supervisor.exit_code == 0, supervisor.log_tail(40)


def test_what_is_misconfigured_ends_the_supervisor_with_one_sentence(
    pipeline: Any, supervise: Supervise, tmp_path: Path
) -> None:
    settings = yaml.safe_load(pipeline.config_path.read_text())
    settings["topics"]["prefix"] = "absent"
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(settings))

    supervisor = supervise(tmp_path / "wrong.yaml")

    assert supervisor.wait(60) == 2
    assert supervisor.log_tail(1000).count("topic 'absent.usage' is missing; `foretell topics create` makes it") == 1
    assert "worker_started" not in supervisor.log_tail(1000)
