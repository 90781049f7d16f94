import re
from pathlib import Path

import pytest

from foretell.config import Config, load_config
from foretell.config_file import ConfigError


def complaint(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> str:
    path = tmp_path / "foretell.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment or {})
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_without_a_file_everything_has_a_default() -> None:
    assert load_config(None, {}) == Config()


def test_an_unknown_key_is_refused_with_its_line(tmp_path: Path) -> None:
    said = complaint(tmp_path, "kafka:\n  bootstrap: a:1\n  grup: x\n")

    assert said == "foretell.yaml:3: unknown key 'kafka.grup'; remove it or mend its spelling"


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    said = complaint(tmp_path, "kafka:\n  grup: x\nplanz: {}\n")

    assert [line.partition(" ")[0] for line in said.splitlines()] == ["foretell.yaml:2:", "foretell.yaml:3:"]


def test_a_wrong_type_says_what_came_and_what_was_expected(tmp_path: Path) -> None:
    said = complaint(tmp_path, "topics:\n  partitions: many\n")

    assert said.startswith("foretell.yaml:2: topics.partitions: Input should be a valid integer")
    assert said.endswith("got 'many'")


@pytest.mark.parametrize("written", ["off", "21:00", "+46700000001", "1.50", "2026-03-01"])
def test_what_yaml_reads_as_something_else_is_to_be_quoted(tmp_path: Path, written: str) -> None:
    said = complaint(tmp_path, f"meters:\n  data:\n    unit: {written}\n")

    assert said == (
        f'foretell.yaml:3: meters.data.unit: expected text, but YAML reads {written} as something else; quote it: "{written}"'
    )


def test_a_key_that_yaml_reads_as_something_else_is_to_be_quoted(tmp_path: Path) -> None:
    said = complaint(tmp_path, "meters:\n  on: {unit: GB}\n")

    assert said == 'foretell.yaml:2: the key on is no text for YAML; quote it: "on"'


def test_what_to_repartition_reaches_the_stream_workers(tmp_path: Path) -> None:
    path = tmp_path / "foretell.yaml"
    path.write_text("repartition:\n  - {from: acme.readings, to: usage, map: {account: who, meter: {value: data}}}\n")

    (entry,) = load_config(path, {}).stream_settings().repartition

    assert (entry.origin, entry.to) == ("acme.readings", "usage")
    assert (entry.map["account"].path, entry.map["meter"].value) == ("who", "data")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("{from: foretell.usage, to: usage}", "repartition.0.from: 'foretell.usage' is a topic of ours already"),
        (
            "{from: foretell.usage-dlt, to: usage}",
            "repartition.0.from: 'foretell.usage-dlt' is a topic of ours already",
        ),
        ("{from: acme.cdr, to: charges}", "repartition.0.from: 'acme.cdr' is a topic of ours already"),
        ("{from: a, to: usage}\n  - {from: a, to: charges}", "repartition.1.from: 'a' is named twice; keep one"),
        ("{from: a, to: bulletins}", "repartition.0.to: Input should be 'accounts', 'usage', 'charges' or 'answers'"),
        ("{to: usage}", "repartition.0.from is missing; add it"),
        ("{from: a, to: usage, key: b}", "unknown key 'repartition.0.key'"),
    ],
)
def test_what_cannot_be_repartitioned_is_refused_with_its_line(tmp_path: Path, entries: str, said: str) -> None:
    text = f"topics:\n  charges: {{name: acme.cdr}}\nrepartition:\n  - {entries}\n"

    assert said in complaint(tmp_path, text)
    assert re.match(r"foretell\.yaml:[34]: ", complaint(tmp_path, text))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    said = complaint(tmp_path, "kafka:\n  group: a\n  group: b\n")

    assert said == "foretell.yaml:3: the key 'group' stands here twice; keep one"


def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    said = complaint(tmp_path, "kafka:\n  group: [a\n")

    assert said.startswith("foretell.yaml:3: this is no YAML: ")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*nowhere.yaml': No such file"):
        load_config(tmp_path / "nowhere.yaml", {})


def test_an_allowance_needs_its_meter(tmp_path: Path) -> None:
    said = complaint(
        tmp_path, "plans:\n  basic:\n    currency: EUR\n    allowances:\n      data: {quantity: 10, unit: GB}\n"
    )

    assert said == ("foretell.yaml:5: plans.basic.allowances.data: no such meter; add `data: {unit: GB}` to `meters`")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "foretell.yaml"
    path.write_text("kafka:\n  bootstrap: a:1\n  group: day\n")

    config = load_config(path, {"FORETELL_KAFKA__BOOTSTRAP": "b:2", "FORETELL_TOPICS__PARTITIONS": "3"})

    assert (config.kafka.bootstrap, config.kafka.group, config.topics.partitions) == ("b:2", "day", 3)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    said = complaint(tmp_path, "", {"FORETELL_KAFKA__BOOTSTRAP": "nowhere"})

    assert said == (
        "environment FORETELL_KAFKA__BOOTSTRAP: kafka.bootstrap: "
        "'nowhere' is no address; expected host:port, several separated by commas"
    )


def test_variables_without_a_section_are_not_ours_to_refuse(tmp_path: Path) -> None:
    assert load_config(None, {"FORETELL_CACHE": str(tmp_path)}) == Config()


def test_a_secret_is_not_repeated_in_a_complaint(tmp_path: Path) -> None:
    said = complaint(tmp_path, "kafka:\n  sasl_password: [hunter2]\n")

    assert "hunter2" not in said


def test_a_password_is_not_shown_by_the_settings() -> None:
    config = load_config(
        None,
        {
            "FORETELL_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "FORETELL_KAFKA__SASL_USERNAME": "u",
            "FORETELL_KAFKA__SASL_PASSWORD": "hunter2",
        },
    )

    assert config.kafka.client_options()["sasl_plain_password"] == "hunter2"
    assert "hunter2" not in repr(config)
