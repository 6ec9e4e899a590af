"""What every Kafka client of Tapeline shares: configuration, waiting for the broker, partition counts."""

import logging
import re
import time
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
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
WITHOUT_MEMBER = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}
MAY_PASS = {
    "NOT_COORDINATOR",  # these three until a new broker has made its topic of offsets
    "COORDINATOR_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "NON_EMPTY_GROUP",  # perhaps only a killed member
}


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


def shards_of(settings: Settings, group: str) -> list[str]:
    """Return the group and those of its shards, `<group>-<i>of<n>`, as far as the broker knows them.

    Raises:
        TransientError: no broker answers.
    """
    name = re.compile(re.escape(group) + r"(-\d+of\d+)?")
    return sorted(found for found, _ in _groups(settings) if name.fullmatch(found))


def active_groups(settings: Settings) -> set[str]:
    """Return the consumer groups that have a member.

    Raises:
        TransientError: no broker answers.
    """
    return {name for name, state in _groups(settings) if state not in WITHOUT_MEMBER}


def _groups(settings: Settings) -> list[tuple[str, ConsumerGroupState]]:
    admin = admin_client(settings)  # must live as long as its futures
    try:
        listed = admin.list_consumer_groups(request_timeout=REQUEST_TIMEOUT_S).result(REQUEST_TIMEOUT_S)
    except (KafkaException, TimeoutError):  # whichever of the two is first
        raise unreachable(settings) from None
    return [(found.group_id, found.state) for found in listed.valid]


def forget_group(settings: Settings, group: str, command: str) -> None:
    """Delete a consumer group and its offsets, so that its next member starts from the beginning.

    `command` is what its members run, for the message.

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
                    f"group {group} is running; stop it first (python -m {command})"
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
    return read_from(settings, partitions, ends)


def read_newest(settings: Settings, topic: str, since_ms: int, limit: int) -> list[Message]:
    """Read the committed records appended since a time, at most about the last `limit` of a partition."""
    spans = _since(settings, topic, since_ms)
    for start, end in spans:
        start.offset = max(start.offset, end - limit)
    return read_from(settings, [start for start, _ in spans])


def read_oldest(settings: Settings, topic: str, since_ms: int, limit: int) -> list[Message]:
    """Read the committed records appended since a time, at most about the first `limit` of a partition."""
    spans = _since(settings, topic, since_ms)
    return read_from(
        settings, [start for start, _ in spans], [min(start.offset + limit, end) for start, end in spans]
    )


def _since(settings: Settings, topic: str, since_ms: int) -> list[tuple[TopicPartition, int]]:
    """Return of each partition where the records appended since a time begin, and its end."""
    partitions = range(partition_count(settings, topic))
    consumer = reader(settings)
    try:
        starts = consumer.offsets_for_times(
            [TopicPartition(topic, p, since_ms) for p in partitions], REQUEST_TIMEOUT_S
        )
        spans = []
        for start in starts:
            _, end = consumer.get_watermark_offsets(start, REQUEST_TIMEOUT_S)
            start.offset = start.offset if start.offset >= 0 else end
            spans.append((start, end))
    except KafkaException:
        raise unreachable(settings) from None
    finally:
        consumer.close()
    return spans


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


def end_offsets(
    settings: Settings, partitions: list[TopicPartition], isolation_level: str = "read_committed"
) -> list[int]:
    """Return the end offset of each partition: of what is committed, or of all there is.

    Raises:
        TransientError: no broker answers within 10 s.
    """
    return [end for _, end in offset_ranges(settings, partitions, isolation_level)]


def offset_ranges(
    settings: Settings, partitions: list[TopicPartition], isolation_level: str = "read_committed"
) -> list[tuple[int, int]]:
    """Return the first offset that is left of each partition, and its end as `end_offsets` does."""
    consumer = reader(settings, isolation_level=isolation_level)
    try:
        return [_offsets(settings, consumer, partition) for partition in partitions]
    finally:
        consumer.close()


def topic_ends(settings: Settings, topic: str) -> list[int]:
    """Return the end offset of each partition of a topic: of all there is, also what is not committed."""
    partitions = [TopicPartition(topic, p) for p in range(partition_count(settings, topic))]
    return end_offsets(settings, partitions, isolation_level="read_uncommitted")


def _offsets(settings: Settings, consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """Return the first offset of a partition and the end, as far as the consumer may read."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return consumer.get_watermark_offsets(partition, REQUEST_TIMEOUT_S)
        except KafkaException:  # a busy broker may not have told yet who leads
            if time.monotonic() > deadline:
                raise unreachable(settings) from None
            time.sleep(0.1)


def read_from(
    settings: Settings, starts: list[TopicPartition], ends: list[int] | None = None
) -> list[Message]:
    """Read each partition from its start to `ends`, or to what is committed now.

    The end that the client tells of is no end to wait for: while others write, it may not come for long.
    """
    consumer = reader(settings)
    wait_s = OPEN_TRANSACTION_S if ends else REQUEST_TIMEOUT_S
    open_ends: dict[int, int] = {}
    messages: list[Message] = []
    try:
        for i, start in enumerate(starts):
            first, end = _offsets(settings, consumer, start)
            # Asked for the beginning at once, the client waits half a second for its own first connection.
            start.offset = max(start.offset, first)
            end = ends[i] if ends else end
            if start.offset < end:
                open_ends[start.partition] = end
        consumer.assign([start for start in starts if start.partition in open_ends])
        while open_ends:
            message = consumer.poll(wait_s)
            if message is None:
                raise unreachable(settings)
            error = message.error()
            reached = int(message.offset() or 0)
            if error is None:
                messages.append(message)
                reached += 1
            elif error.code() != KafkaError._PARTITION_EOF:
                if not error.retriable():
                    raise TapelineError(f"cannot read topic {starts[0].topic}: {error.str()}")
                continue
            partition = int(message.partition() or 0)
            if reached >= open_ends.get(partition, reached + 1):
                del open_ends[partition]
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


def group_member(settings: Settings, group: str, *, max_poll_s: float, **more: Any) -> Consumer:
    """Return a consumer that joins a group; it commits nothing by itself.

    `max_poll_s` is the longest that its user may be away between two polls. It is also what a join that a
    broker loses, as one that has just started may, takes until it is tried again.
    """
    config: dict[str, Any] = {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "session_timeout_ms": int(SESSION_TIMEOUT_S * 1000),
        "max_poll_interval_ms": int(max_poll_s * 1000),
        "heartbeat_interval_ms": 1_000,
        "fetch_wait_max_ms": 100,
    }
    return Consumer(client_config(settings, **(config | more)))
