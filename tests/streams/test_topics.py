import uuid

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from streams.settings import KafkaSettings, RepartitionSettings, TopicsSettings
from streams.topics import (
    FED,
    INPUTS,
    TopicError,
    admin,
    create,
    partition_counts,
    problems,
    readers,
    require,
    wanted,
)


@pytest.fixture
def settings() -> TopicsSettings:
    return TopicsSettings(prefix=f"t{uuid.uuid4().hex[:8]}", partitions=3)


def make(client: KafkaAdminClient, name: str, partitions: int, configs: dict[str, str] | None = None) -> None:
    wanted = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
    client.create_topics({name: wanted}, wait_for_metadata=True)


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


@pytest.mark.parametrize(
    ("role", "why"),
    [("bulletins", "hears of everything"), ("state", "accounts are then learned again from the inputs")],
)
def test_a_topic_of_ours_needs_as_many_partitions_as_the_inputs(
    bootstrap: str, settings: TopicsSettings, role: str, why: str
) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        make(client, settings.named(role), 5, {"cleanup.policy": "compact" if role == "state" else "delete"})
        create(client, settings)

        with pytest.raises(TopicError) as caught:
            require(client, settings)

    assert f"topic '{settings.named(role)}' has 5 partitions, needs 3 like '{settings.prefix}.accounts'" in str(
        caught.value
    )
    assert why in str(caught.value)


def test_what_is_created_later_has_the_partitions_of_the_inputs_that_are_there(
    bootstrap: str, settings: TopicsSettings
) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        for topic in INPUTS:
            if not topic.is_ours:
                make(client, settings.named(topic.role), 4)
        create(client, settings)

        counts = partition_counts(client)
        assert {counts[settings.named(role)] for role in ("bulletins", "state")} == {4}
        assert counts[settings.named("usage") + "-dlt"] == 4
        assert problems(client, settings) == []


def test_the_incidents_may_have_partitions_of_their_own_number(bootstrap: str, settings: TopicsSettings) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        make(client, settings.named("incidents"), 1)
        create(client, settings)

        assert problems(client, settings) == []


def test_the_state_is_compacted(bootstrap: str, settings: TopicsSettings) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        create(client, settings)
        told = client.describe_configs([ConfigResource("topic", settings.named("state"))])

    assert told["topic"][settings.named("state")]["cleanup.policy"]["value"] == "compact"


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_state_topic_that_forgets_is_refused(bootstrap: str, settings: TopicsSettings, policy: str) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        make(client, settings.named("state"), 3, {"cleanup.policy": policy})
        create(client, settings)

        with pytest.raises(TopicError) as caught:
            require(client, settings)

    assert f"has cleanup.policy={policy}, needs compact, or Kafka deletes the accounts" in str(caught.value)
    assert f"--entity-name {settings.named('state')} --add-config cleanup.policy=compact`" in str(caught.value)


@pytest.mark.parametrize(
    ("configs", "said"),
    [
        ({"cleanup.policy": "compact"}, "cleanup.policy=compact, needs delete, or Kafka drops all but the last record"),
        ({"max.message.bytes": "50000"}, "max.message.bytes=50000, needs 1000000, or a large record stops"),
        ({"min.insync.replicas": "2"}, "min.insync.replicas=2 and 1 replicas, so that nothing can be written"),
    ],
    ids=["compacted", "small records", "too few replicas"],
)
def test_what_will_cost_records_one_day_is_said_and_stops_nobody(
    bootstrap: str, settings: TopicsSettings, configs: dict[str, str], said: str
) -> None:
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        make(client, settings.named("usage"), 3, configs)
        create(client, settings)

        (problem,) = problems(client, settings)
        require(client, settings)

    assert problem.startswith(f"topic '{settings.named('usage')}' has {said}")


def test_a_topic_to_repartition_must_be_there_and_gets_a_place_for_its_rejects(
    bootstrap: str, settings: TopicsSettings
) -> None:
    foreign = f"{settings.prefix}.acme.readings"
    repartition = [RepartitionSettings.model_validate({"from": foreign, "to": "usage"})]
    with admin(KafkaSettings(bootstrap=bootstrap)) as client:
        create(client, settings)
        missing = problems(client, settings, repartition)
        make(client, foreign, 7)

        create(client, settings, repartition)

        assert missing[0] == f"topic '{foreign}-dlt' is missing; `foretell topics create` makes it"
        assert missing[1].startswith(
            f"topic '{foreign}', to be repartitioned to '{settings.prefix}.usage', is missing;"
        )
        assert partition_counts(client)[f"{foreign}-dlt"] == 7
        assert problems(client, settings, repartition) == []


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


def test_the_shards_read_bulletins_and_neither_incidents_nor_state() -> None:
    settings = TopicsSettings()

    assert readers(settings).keys() == {
        f"foretell.{role}" for role in ("accounts", "usage", "charges", "answers", "bulletins")
    }
    assert "merchant.denied" in readers(settings)["foretell.bulletins"].types


def test_nobody_else_says_what_we_say_ourselves() -> None:
    assert "merchant.denied" not in {name for topic in FED for name in topic.types}
    assert {topic.role for topic in FED} == {"accounts", "usage", "charges", "answers", "incidents"}
