"""What every Kafka client of Tapeline shares: configuration, what went wrong, topics and their ids."""

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from glue.errors import SettingsError, TapelineError, TransientError
from glue.settings import Settings

REQUEST_TIMEOUT_S = 10.0
MOST_MESSAGE_BYTES = 16 << 20
"""The largest record: the base of a feed with several hundred thousand symbols."""
_SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)
"""Drops librdkafka's own log lines, a fatal one comes whatever `log_level` says; errors reach the caller as
exceptions and error callbacks."""


class MissingTopic(TapelineError):
    """A topic that must be there is not."""


def client_config(settings: Settings, **more: Any) -> dict[str, Any]:
    """Return librdkafka properties: the brokers, KAFKA_PROPERTIES and what the caller adds."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_brokers,
        "client.id": "tapeline",
        "logger": _SILENT,
        "log_level": 0,
    }
    for pair in filter(None, settings.kafka_properties.get_secret_value().split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError("KAFKA_PROPERTIES: expected name=value pairs separated by commas")
        config[name.strip()] = value.strip()
    return config | {n if n.endswith("_cb") else n.replace("_", "."): v for n, v in more.items()}


def admin_client(settings: Settings) -> AdminClient:
    """Return an admin client; it connects at its first request."""
    return AdminClient(client_config(settings))


def unreachable(settings: Settings) -> TransientError:
    """Return the error that says where no broker answered, and what to do."""
    return TransientError(
        f"no Kafka broker answers at KAFKA_BROKERS={settings.kafka_brokers}; start the embedded one with "
        "`python -m glue.stack up`, or set KAFKA_BROKERS"
    )


def kafka_error(exception: KafkaException) -> KafkaError:
    """Return what a client exception is about."""
    error = exception.args[0]
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError.UNKNOWN)


def partition_count(settings: Settings, topic: str) -> int:
    """Return the number of partitions of a topic.

    Raises:
        TapelineError: no broker answers, or the topic does not exist.
    """
    try:
        metadata = admin_client(settings).list_topics(topic, timeout=REQUEST_TIMEOUT_S)
    except KafkaException:
        raise unreachable(settings) from None
    found = metadata.topics.get(topic)
    if found is None or found.error is not None:
        raise MissingTopic(_missing(topic))
    return len(found.partitions)


def partition_counts(settings: Settings) -> dict[str, int]:
    """Return the number of partitions of every topic that is there; makes none.

    Raises:
        TransientError: no broker answers.
    """
    try:
        found = admin_client(settings).list_topics(timeout=REQUEST_TIMEOUT_S).topics
    except KafkaException:
        raise unreachable(settings) from None
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


def _missing(topic: str) -> str:
    return (
        f"topic {topic} does not exist; `python -m glue.deploy topics` creates the topics, "
        "`python -m glue.stack up` too"
    )


def topic_id(settings: Settings, topic: str) -> str:
    """Return the id of a topic, hex: no other one has it, not even one of its name made after it is gone.

    Raises:
        TapelineError: no broker answers, or the topic does not exist.
    """
    admin = admin_client(settings)  # must live as long as its futures
    try:
        wanted = TopicCollection([topic])
        found = admin.describe_topics(wanted, request_timeout=REQUEST_TIMEOUT_S)[topic]
        uuid = found.result(REQUEST_TIMEOUT_S).topic_id
    except KafkaException as exception:
        if kafka_error(exception).name() == "UNKNOWN_TOPIC_OR_PART":
            raise MissingTopic(_missing(topic)) from None
        raise unreachable(settings) from None
    except TimeoutError:  # the other time-out was first
        raise unreachable(settings) from None
    halves = (uuid.get_most_significant_bits(), uuid.get_least_significant_bits())
    return "".join(f"{half & 0xFFFFFFFFFFFFFFFF:016x}" for half in halves)


def cluster_id(settings: Settings) -> str:
    """Return the id by which the cluster of KAFKA_BROKERS is known.

    Raises:
        TransientError: no broker answers.
    """
    try:
        return str(admin_client(settings).list_topics(timeout=REQUEST_TIMEOUT_S).cluster_id)
    except KafkaException:
        raise unreachable(settings) from None


def publish(settings: Settings, topic: str, key: str, value: bytes | None) -> None:
    """Append one record to partition 0 of a topic, outside any transaction.

    Raises:
        TransientError: no broker took it.
    """
    producer = Producer(client_config(settings, message_timeout_ms=int(REQUEST_TIMEOUT_S * 1000)))
    failures: list[KafkaError | None] = []
    producer.produce(topic, value, key, 0, on_delivery=lambda error, _: failures.append(error))
    producer.flush(REQUEST_TIMEOUT_S * 1.5)
    if failures != [None]:
        raise unreachable(settings)
