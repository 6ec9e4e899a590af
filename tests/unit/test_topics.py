from glue.io.kafka import MOST_MESSAGE_BYTES
from glue.io.topics import topics
from glue.settings import Settings


def by_name(**overrides):
    return {topic.name: topic for topic in topics(Settings(_env_file=None, **overrides))}


def test_the_default_topics_are_those_of_the_design():
    found = by_name()

    assert {name: topic.partitions for name, topic in found.items()} == {
        "ticks.raw": 6,
        "ticks.agg.1s": 1,
        "ticks.dlt": 1,
        "ticks.connect.dlt": 1,
        "ticks.replay.state": 1,
    }
    assert {name: topic.config["cleanup.policy"] for name, topic in found.items()} == {
        "ticks.raw": "delete",
        "ticks.agg.1s": "compact,delete",
        "ticks.dlt": "delete",
        "ticks.connect.dlt": "delete",
        "ticks.replay.state": "compact",
    }


def test_ticks_bars_and_what_connectors_refuse_count_their_retention_from_the_append():
    stamped = {name for name, topic in by_name().items() if "message.timestamp.type" in topic.config}

    assert stamped == {"ticks.raw", "ticks.agg.1s", "ticks.connect.dlt"}


def test_ticks_and_bars_are_gone_soon_after_the_retention():
    for name in ("ticks.raw", "ticks.agg.1s"):
        config = by_name()[name].config
        assert int(config["retention.ms"]) == 60 * 60_000
        assert int(config["segment.ms"]) <= 5 * 60_000


def test_dead_letters_stay_for_seven_days():
    assert by_name()["ticks.dlt"].config["retention.ms"] == str(7 * 24 * 3600 * 1000)


def test_checkpoints_are_compacted_in_segments_that_hold_the_largest_record():
    config = by_name()["ticks.replay.state"].config

    assert "retention.ms" not in config
    assert int(config["segment.ms"]) == 5 * 60_000
    assert int(config["segment.bytes"]) > int(config["max.message.bytes"]) == MOST_MESSAGE_BYTES


def test_names_partitions_and_retention_follow_the_settings():
    found = by_name(kafka_topic_raw="other", kafka_partitions=12, kafka_retention_ms=120_000)

    assert found["other"].partitions == 12
    assert found["other"].config["retention.ms"] == "120000"
    assert int(found["other"].config["segment.ms"]) == 10_000


def test_a_topic_as_it_should_be_has_no_differences():
    topic = by_name()["ticks.agg.1s"]

    assert topic.differences(1, topic.config | {"max.message.bytes": "1"}) == []


def test_the_order_of_cleanup_policies_means_nothing():
    topic = by_name()["ticks.agg.1s"]

    assert topic.differences(1, topic.config | {"cleanup.policy": "delete,compact"}) == []


def test_a_difference_names_the_setting_and_both_values():
    topic = by_name()["ticks.raw"]

    assert topic.differences(3, topic.config | {"message.timestamp.type": "CreateTime"}) == [
        "3 partitions, expected 6",
        "message.timestamp.type is CreateTime, expected LogAppendTime",
    ]
