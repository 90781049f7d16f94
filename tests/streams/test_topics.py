import uuid

import pytest

from streams.settings import KafkaSettings, TopicsSettings
from streams.topics import TopicError, admin, create, partition_counts, problems, readers, require, wanted


@pytest.fixture
def settings() -> TopicsSettings:
    return TopicsSettings(prefix=f"t{uuid.uuid4().hex[:8]}", partitions=3)


def test_what_is_missing_is_created_once_and_then_all_is_well(bootstrap: str, settings: TopicsSettings) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        assert len(problems(client, settings)) == len(wanted(settings))

        first, second = create(client, settings), create(client, settings)

        assert set(first["created"]) == set(wanted(settings)) == set(second["present"])
        assert second["created"] == []
        assert problems(client, settings) == []
        require(client, settings)


def test_unequal_partition_counts_are_named_with_what_to_do(bootstrap: str, settings: TopicsSettings) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        client.create_topics({settings.named("usage"): {"num_partitions": 2, "replication_factor": 1}})
        create(client, settings)

        (problem,) = problems(client, settings)
        assert problem.startswith(
            f"topic '{settings.prefix}.usage' has 2 partitions, needs 3 like '{settings.prefix}.accounts'"
        )
        assert problem.endswith("recreate it")
        with pytest.raises(TopicError, match="needs 3 like"):
            require(client, settings)
        assert partition_counts(client)[f"{settings.prefix}.usage"] == 2


def test_a_broker_that_does_not_answer_is_said_in_a_sentence() -> None:
    with (
        pytest.raises(TopicError, match=r"no Kafka broker answers at 127\.0\.0\.1:1 .* FORETELL_KAFKA__BOOTSTRAP"),
        admin(KafkaSettings(bootstrap="127.0.0.1:1"), timeout_seconds=2),
    ):
        pass


def test_two_roles_cannot_share_a_topic() -> None:
    with pytest.raises(ValueError, match="topic 'x' is named twice"):
        TopicsSettings.model_validate({"usage": {"name": "x"}, "charges": {"name": "x"}})


def test_each_input_is_read_under_its_configured_name_and_map() -> None:
    settings = TopicsSettings.model_validate(
        {"usage": {"name": "acme.cdr", "map": {"account": "who", "unit": {"value": "GB"}}}}
    )

    reader = readers(settings)["acme.cdr"]

    assert reader.types == ("usage.recorded",)
    assert reader.fields["account"].path == "who"
    assert reader.fields["unit"].value == "GB"
