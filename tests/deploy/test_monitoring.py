"""Prometheus' configuration, the alert rules and the dashboard: they name what the processes really export."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from channels.metrics import DeliveryMetrics
from channels.senders.sender import Verdict
from detectors.alerts import Disposition
from foretell.config import load_config
from foretell.worker_metrics import SupervisorMetrics
from streams.metrics import StreamMetrics

_SCRAPED = {"job", "instance", "worker"}  # Prometheus adds the first two, a supervisor the last to what its workers say
_OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
_WORDS_OF_PROMQL = {"and", "or", "unless", "offset", "bool", "on", "ignoring"}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, taken apart as far as names go."""

    text: str
    metrics: frozenset[str]
    labels: frozenset[tuple[str, str]]
    grouped_by: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "Query":
        bare = re.sub(r'"[^"]*"', '""', text)
        grouped_by = {label for group in re.findall(r"\bby\s*\(([^)]*)\)", bare) for label in re.findall(r"\w+", group)}
        bare = re.sub(r"\b(by|without)\s*\([^)]*\)|\[[^]]*\]|\boffset\s+\w+", " ", bare)
        metrics, labels = set(), set()
        for name, opening, matchers in re.findall(r"\b([a-zA-Z_]\w*)\s*(\()?(?:\{([^}]*)\})?", bare):
            if not opening and name not in _WORDS_OF_PROMQL and f"{name}=" not in bare and f"{name}!=" not in bare:
                metrics.add(name)
                labels |= {(name, label) for label in re.findall(r"(\w+)\s*[=!]", matchers)}
        return cls(text, frozenset(metrics), frozenset(labels), frozenset(grouped_by))


@pytest.fixture(scope="session")
def exported() -> dict[str, set[str]]:
    """Every series' name with its labels."""
    names: dict[str, set[str]] = {}
    names["foretell_ready"] = set()  # of foretell.serve
    for metrics in (
        StreamMetrics(CollectorRegistry()),
        DeliveryMetrics(CollectorRegistry()),
        SupervisorMetrics(CollectorRegistry(), workers=2),
    ):
        for metric in (each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)):
            for described in metric.describe():
                for suffix in _SUFFIXES[described.type]:
                    labels = set(metric._labelnames) | ({"le"} if suffix == "_bucket" else set())
                    names.setdefault(described.name + suffix, set()).update(labels)
    for described in ProcessCollector(registry=None).collect():
        names.update({sample.name: set() for sample in described.samples})
    return names


@pytest.fixture(scope="session")
def prometheus(root: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((root / "deploy/prometheus.yml").read_text())
    return parsed


@pytest.fixture(scope="session")
def rules(root: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((root / "deploy/alert-rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def dashboard(root: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((root / "deploy/grafana/dashboards/foretell.json").read_text())
    return parsed


@pytest.fixture(scope="session")
def targets(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in dashboard["panels"] for target in panel.get("targets", ())]


def test_prometheus_scrapes_the_ports_that_our_services_serve_on(
    root: Path, prometheus: dict[str, Any], services: dict[str, Any]
) -> None:
    http = load_config(root / "deploy/foretell.yaml", {}).http
    scraped = {
        (job["job_name"], name, each["port"])
        for job in prometheus["scrape_configs"]
        for each in job["dns_sd_configs"]
        for name in each["names"]
    }

    assert scraped == {
        ("foretell-stream", "stream", http.stream),
        ("foretell-deliver", "deliver", http.deliver),
    }
    assert {name for _, name, _ in scraped} <= set(services)


def test_prometheus_is_given_the_files_that_it_is_told_to_read(
    prometheus: dict[str, Any], services: dict[str, Any]
) -> None:
    service = services["prometheus"]
    mounted = {mount.split(":")[1]: mount.split(":")[0] for mount in service["volumes"]}

    assert "--config.file=/etc/prometheus/prometheus.yml" in service["command"]
    assert mounted["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus.yml"
    assert [mounted[f"/etc/prometheus/{name}"] for name in prometheus["rule_files"]] == ["./deploy/alert-rules.yml"]


def test_grafana_finds_its_data_source_and_its_dashboard(
    root: Path, services: dict[str, Any], dashboard: dict[str, Any], targets: list[dict[str, Any]]
) -> None:
    provisioning = root / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/foretell.yml").read_text())["providers"]
    mounted = {mount.split(":")[1]: mount.split(":")[0] for mount in services["grafana"]["volumes"]}
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert source["url"] == "http://prometheus:9090"
    assert {target["datasource"]["uid"] for target in targets} == {source["uid"]}
    assert mounted["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    assert Path(home).parent == Path(provider["options"]["path"])
    assert dashboard["uid"] == "foretell"


def test_the_dashboard_asks_only_for_what_is_exported(
    targets: list[dict[str, Any]], exported: dict[str, set[str]]
) -> None:
    assert targets
    for target in targets:
        _require_known(Query.of(target["expr"]), exported)


def test_the_rules_ask_only_for_what_is_exported(rules: list[dict[str, Any]], exported: dict[str, set[str]]) -> None:
    assert rules
    for rule in rules:
        _require_known(Query.of(rule["expr"]), exported)


@pytest.mark.parametrize(("label", "values"), [("disposition", get_args(Disposition)), ("outcome", get_args(Verdict))])
def test_queries_look_for_values_that_there_are(
    targets: list[dict[str, Any]], rules: list[dict[str, Any]], label: str, values: tuple[str, ...]
) -> None:
    asked = {
        value
        for each in [*targets, *rules]
        for matched in re.findall(rf'\b{label}[!=]=?~?"([^"]*)"', each["expr"])
        for value in matched.split("|")
    }

    assert asked
    assert asked <= set(values)


def test_the_dashboard_shows_every_metric_of_ours(targets: list[dict[str, Any]], exported: dict[str, set[str]]) -> None:
    shown = {name for target in targets for name in Query.of(target["expr"]).metrics}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in exported if name.startswith("foretell_")}

    assert ours - {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == set()


def test_a_legend_names_labels_that_its_query_keeps(targets: list[dict[str, Any]]) -> None:
    for target in targets:
        query = Query.of(target["expr"])
        kept = query.grouped_by or _SCRAPED

        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, query.text


def test_every_panel_explains_itself(dashboard: dict[str, Any]) -> None:
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]

    assert [panel["title"] for panel in panels if not panel["description"].endswith(".")] == []


def test_panels_have_ids_and_places_of_their_own(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    places = {panel["title"] + str(panel["id"]): set(_cells(**panel["gridPos"])) for panel in panels}

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [(one, other) for one, other in combinations(places, 2) if places[one] & places[other]] == []
    assert max(column for cells in places.values() for column, _ in cells) < 24


def test_a_rule_says_what_is_wrong_and_what_to_do(rules: list[dict[str, Any]]) -> None:
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["alert"].startswith("Foretell")
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "action"}
        kept = Query.of(rule["expr"]).grouped_by | {"job"}
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept


def test_a_rule_that_names_a_panel_names_one_that_is_there(
    rules: list[dict[str, Any]], dashboard: dict[str, Any]
) -> None:
    titles = {panel["title"] for panel in dashboard["panels"]}
    named = {
        title
        for rule in rules
        if "dashboard" in rule["annotations"]["action"]
        for title in re.findall(r'"([^"]+)"', rule["annotations"]["action"])
    }

    assert named
    assert named <= titles


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with Prometheus, which is not installed here"
)
def test_promtool_agrees(root: Path, targets: list[dict[str, Any]], tmp_path: Path) -> None:
    queries = [target["expr"].replace("$__rate_interval", "1m") for target in targets]
    as_rules = {
        "groups": [{"name": "d", "rules": [{"record": f"q{n}", "expr": query} for n, query in enumerate(queries)]}]
    }
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(as_rules))
    for command in (
        ["check", "config", "deploy/prometheus.yml"],
        ["check", "rules", "deploy/alert-rules.yml", str(tmp_path / "dashboard.yml")],
        ["test", "rules", "tests/deploy/alert-rules.test.yml"],
    ):
        ended = subprocess.run(["promtool", *command], cwd=root, capture_output=True, text=True, check=False)

        assert ended.returncode == 0, ended.stdout + ended.stderr


def _require_known(query: Query, exported: dict[str, set[str]]) -> None:
    known = exported | _OF_PROMETHEUS
    assert query.metrics
    assert {name for name in query.metrics if name not in known} == set(), query.text
    for name, label in query.labels:
        assert label in known[name] | _SCRAPED, query.text
    assert query.grouped_by <= _SCRAPED.union(*(known[name] for name in query.metrics)), query.text


def _cells(x: int, y: int, w: int, h: int) -> Iterator[tuple[int, int]]:
    return ((column, line) for column in range(x, x + w) for line in range(y, y + h))
