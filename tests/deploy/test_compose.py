"""docker-compose.yml, without a Docker engine: its schema, its promises, and that it fits the rest of the project."""

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from typer.testing import CliRunner

from foretell import kafka_jars
from foretell.cli import app
from foretell.config import Config, load_config
from foretell.supervisor import Patience

_VARIABLE = re.compile(r"\$\{(\w+)(?::?[-?+]([^}]*))?\}")
_PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.]+)?(@sha256:[0-9a-f]{64})?")


@pytest.fixture(scope="session")
def config(root: Path) -> Config:
    return load_config(root / "deploy/foretell.yaml", {})


def test_it_is_a_compose_file(compose: dict[str, Any]) -> None:
    # check-jsonschema carries the schema; its command does not start beside the click that faust-streaming asks for
    vendored = importlib.metadata.distribution("check-jsonschema").locate_file(
        "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
    )
    schema = json.loads(Path(str(vendored)).read_text())

    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(compose)] == []


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in services.items() if "build" not in service}

    assert {name for name, image in images.items() if not _PINNED.fullmatch(image)} == set()


def test_kafka_is_the_version_that_the_tests_run(services: dict[str, Any]) -> None:
    tested = next(root.rpartition(":")[2] for root in kafka_jars.ROOTS if root.startswith("org.apache.kafka:"))

    assert services["kafka"]["image"] == f"apache/kafka:{tested}"


def test_our_services_may_do_nothing_that_they_need_not(our_services: dict[str, Any]) -> None:
    assert set(our_services) == {"topics", "stream", "deliver"}
    for service in our_services.values():
        assert int(service["user"].partition(":")[0]) > 0
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])


def test_every_service_has_limits_and_time_to_end(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert service["stop_grace_period"] == "30s", name
        assert service["restart"] == ("no" if name == "topics" else "unless-stopped"), name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_ports_are_published_on_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_no_secret_stands_in_the_file(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|_KEY", name):
                assert value == f"${{{name}:-}}"


def test_every_variable_is_explained_in_env_example(root: Path) -> None:
    used = {name for name, _ in _VARIABLE.findall((root / "docker-compose.yml").read_text())}
    explained = set(re.findall(r"^#?(\w+)=", (root / ".env.example").read_text(), re.MULTILINE))

    assert used - explained == set()


def test_env_example_sets_nothing_by_itself(root: Path) -> None:
    lines = (root / ".env.example").read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []


def test_what_is_mounted_from_here_is_here(root: Path, services: dict[str, Any]) -> None:
    sources = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())}

    assert {source for source in sources if source.startswith(".") and not (root / source).exists()} == set()


def test_named_volumes_are_declared(compose: dict[str, Any], services: dict[str, Any]) -> None:
    sources = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())}

    assert {source for source in sources if not source.startswith((".", "/"))} == set(compose["volumes"])


def test_its_commands_are_commands_of_ours(our_services: dict[str, Any]) -> None:
    for service in our_services.values():
        result = CliRunner().invoke(app, [*service["command"], "--help"])

        assert result.exit_code == 0, result.output


def test_the_configuration_is_where_the_commands_look(our_services: dict[str, Any]) -> None:
    for service in our_services.values():
        path = service["command"][service["command"].index("--config") + 1]

        assert f"./deploy/foretell.yaml:{path}:ro" in service["volumes"]


def test_the_environment_fits_the_configuration(root: Path, our_services: dict[str, Any]) -> None:
    for service in our_services.values():
        environment = {name: _with_defaults(value) for name, value in service["environment"].items()}

        config = load_config(root / "deploy/foretell.yaml", environment)

        assert config.kafka.bootstrap == "kafka:9092"
        assert config.http.host == "0.0.0.0"


def test_processes_are_published_and_probed_where_they_serve(our_services: dict[str, Any], config: Config) -> None:
    for name, port in (("stream", config.http.stream), ("deliver", config.http.deliver)):
        assert our_services[name]["environment"]["FORETELL_HEALTH_PORT"] == str(port)
        assert [published.rpartition(":")[2] for published in our_services[name]["ports"]] == [str(port)]


def test_a_supervisor_has_time_to_let_its_workers_drain_before_docker_kills_it(services: dict[str, Any]) -> None:
    grace_seconds = Patience().grace_seconds

    assert grace_seconds + 4 < float(services["stream"]["stop_grace_period"].removesuffix("s"))


def test_accounts_that_leave_memory_go_to_a_disk(our_services: dict[str, Any]) -> None:
    stream = our_services["stream"]
    on_disk = {mount for mount in stream["volumes"] if ":" not in mount}

    assert {stream["environment"]["TMPDIR"]} == on_disk
    assert on_disk.isdisjoint(mount.partition(":")[0] for mount in stream["tmpfs"])


def test_one_worker_has_the_memory_for_all_partitions(our_services: dict[str, Any], config: Config) -> None:
    limit = our_services["stream"]["deploy"]["resources"]["limits"]["memory"]
    assert limit.endswith("g")

    accounts_mb = config.topics.partitions * config.stream.memory_mb

    assert accounts_mb + 500 < 1024 * int(limit.removesuffix("g"))


def test_the_ledger_outlives_the_container(our_services: dict[str, Any], config: Config) -> None:
    folder = Path(config.channels.ledger.removeprefix("sqlite:///")).parent

    assert f"ledger:{folder}" in our_services["deliver"]["volumes"]


def test_kafka_tells_containers_the_address_that_we_use(services: dict[str, Any], config: Config) -> None:
    kafka = services["kafka"]
    advertised = kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    host_port = kafka["ports"][0].rpartition(":")[2]

    assert f"INSIDE://{config.kafka.bootstrap}," in advertised
    assert f"HOST://:{host_port}" in kafka["environment"]["KAFKA_LISTENERS"]
    assert kafka["ports"][0].rpartition(":")[0] == advertised.partition("HOST://")[2]


def test_workers_start_when_their_topics_are_there(services: dict[str, Any]) -> None:
    for name in ("stream", "deliver"):
        assert services[name]["depends_on"] == {
            "kafka": {"condition": "service_healthy"},
            "topics": {"condition": "service_completed_successfully"},
        }


def test_what_starts_by_itself_needs_no_env_file(root: Path) -> None:
    demanded = [default for _, default in _VARIABLE.findall((root / "docker-compose.yml").read_text()) if not default]

    assert demanded == [""]  # PostgreSQL's password, whose service starts only when its profile is asked for
    assert yaml.safe_load((root / "docker-compose.yml").read_text())["services"]["postgres"]["profiles"] == ["postgres"]


def _with_defaults(value: str) -> str:
    return _VARIABLE.sub(lambda match: match[2] or "", value)
