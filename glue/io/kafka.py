"""What every Kafka client of Tapeline shares: configuration, waiting for the broker, partition counts."""

import logging
import time
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from glue.errors import SettingsError, TapelineError, TransientError
from glue.settings import Settings

REQUEST_TIMEOUT_S = 10.0
MOST_MESSAGE_BYTES = 16 << 20
"""The largest record: the base of a feed with several hundred thousand symbols."""
OPEN_TRANSACTION_S = 40.0
"""The broker ends a transaction that its producer left open after 15 s (glue.io.transactions); it looks for
such every ten."""
SESSION_TIMEOUT_S = 10.0
"""How long a group counts a killed member as one of its own."""
_SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)
"""Drops librdkafka's own log lines, a fatal one comes whatever `log_level` says; errors reach the caller as
exceptions and error callbacks."""
MAY_PASS = {
    "NOT_COORDINATOR",  # these three until a new broker has made its topic of offsets
    "COORDINATOR_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "NON_EMPTY_GROUP",  # perhaps only a killed member
}


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
        raise TapelineError(f"topic {topic} does not exist; `python -m glue.stack up` creates the topics")
    return len(found.partitions)


def forget_group(settings: Settings, group: str) -> None:
    """Delete a consumer group and its offsets, so that its next member starts from the beginning.

    Raises:
        TapelineError: the group has a running member.
    """
    admin = admin_client(settings)  # must live as long as its futures
    deadline = time.monotonic() + SESSION_TIMEOUT_S + 2
    while True:
        try:
            admin.delete_consumer_groups([group])[group].result(REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            name = kafka_error(exception).name()
            if name == "GROUP_ID_NOT_FOUND":
                return
            is_late = time.monotonic() > deadline
            if name == "NON_EMPTY_GROUP" and is_late:
                raise TapelineError(
                    f"group {group} is running; stop it first (python -m glue.aggregate)"
                ) from None
            if name not in MAY_PASS or is_late:
                raise unreachable(settings) from None
            time.sleep(0.1)
        else:
            return


def read_to_end(settings: Settings, topic: str, *, is_whole: bool = False) -> list[Message]:
    """Read all committed records of a topic up to its present end.

    A transaction that is open hides what others committed after it began. `is_whole` waits until those of now
    are over, which the broker sees to; without it such records are left out.
    """
    partitions = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partition_count(settings, topic))]
    ends = end_offsets(settings, partitions, isolation_level="read_uncommitted") if is_whole else None
    return _read(settings, partitions, ends)


def read_newest(settings: Settings, topic: str, since_ms: int, limit: int) -> list[Message]:
    """Read the committed records appended since a time, at most about `limit` a partition."""
    partitions = range(partition_count(settings, topic))
    consumer = reader(settings)
    try:
        starts = consumer.offsets_for_times(
            [TopicPartition(topic, p, since_ms) for p in partitions], REQUEST_TIMEOUT_S
        )
        for start in starts:
            _, end = consumer.get_watermark_offsets(start, REQUEST_TIMEOUT_S)
            start.offset = max(start.offset, end - limit) if start.offset >= 0 else end
    except KafkaException:
        raise unreachable(settings) from None
    finally:
        consumer.close()
    return _read(settings, starts)


def publish(settings: Settings, topic: str, key: str, value: bytes) -> None:
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


def end_offsets(
    settings: Settings, partitions: list[TopicPartition], isolation_level: str = "read_committed"
) -> list[int]:
    """Return the end offset of each partition: of what is committed, or of all there is.

    Raises:
        TransientError: no broker answers within 10 s.
    """
    consumer = reader(settings, isolation_level=isolation_level)
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    try:
        while True:
            try:
                return [consumer.get_watermark_offsets(p, REQUEST_TIMEOUT_S)[1] for p in partitions]
            except KafkaException:  # a busy broker may not have told yet who leads
                if time.monotonic() > deadline:
                    raise unreachable(settings) from None
                time.sleep(0.1)
    finally:
        consumer.close()


def _read(settings: Settings, starts: list[TopicPartition], ends: list[int] | None = None) -> list[Message]:
    consumer = reader(settings)
    least = {start.partition: end for start, end in zip(starts, ends or [], strict=bool(ends))}
    wait_s = OPEN_TRANSACTION_S if ends else REQUEST_TIMEOUT_S
    try:
        consumer.assign(starts)
        messages: list[Message] = []
        ended: set[int] = set()
        while len(ended) < len(starts):
            message = consumer.poll(wait_s)
            if message is None:
                raise unreachable(settings)
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                if int(message.offset() or 0) >= least.get(int(message.partition() or 0), 0):
                    ended.add(int(message.partition() or 0))
            elif not error.retriable():
                raise TapelineError(f"cannot read topic {starts[0].topic}: {error.str()}")
        return messages
    finally:
        consumer.close()


def reader(
    settings: Settings, *, stop_at_end: bool = True, isolation_level: str = "read_committed"
) -> Consumer:
    """Return a consumer for assigned partitions: it joins no group and commits nothing."""
    return Consumer(
        client_config(
            settings,
            group_id="tapeline-reader",  # librdkafka wants one, though it is never joined
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation_level,
            enable_partition_eof=stop_at_end,
            fetch_wait_max_ms=50,  # the end of a partition is told when a fetch comes back empty
        )
    )
