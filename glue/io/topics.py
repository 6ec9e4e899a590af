"""The topics of Tapeline as data: created when missing, compared when there, emptied on request."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import cast

from confluent_kafka import OFFSET_END, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, but not marked as exported
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    TopicMetadata,
)

from glue.errors import TapelineError
from glue.io.kafka import MOST_MESSAGE_BYTES, REQUEST_TIMEOUT_S, admin_client, kafka_error, unreachable
from glue.settings import Settings

SETTLE_TIMEOUT_S = 30.0
"""How long a topic may take to vanish after its deletion, or to get its leaders after its creation."""
SERVES_TIMEOUT_S = 3.0
"""How long one look at new leaders may take before the next is tried."""
POLL_S = 0.05

WINDOW_RETENTION_MS = 3_600_000
"""RETENTION of the windows in ksql/02_bars_1s_windowed.sql: ksqlDB refuses a topic that keeps less."""
MINUTE_MS = 60_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it should be. The replication factor is the broker's default."""

    name: str
    partitions: int
    config: dict[str, str]
    is_counted: bool = False
    """Whether a reader counts on its offsets for good: the Snowflake connector passes over those that it has
    written, so a topic that began at 0 again would not reach the warehouse."""

    def differences(self, partitions: int, config: dict[str, str]) -> list[str]:
        """Say what of a topic on the broker is not as it should be; settings not named here are free."""
        found = [
            f"{name} is {config.get(name)}, expected {expected}"
            for name, expected in self.config.items()
            if _as_set(config.get(name, "")) != _as_set(expected)
        ]
        if partitions != self.partitions:
            found.insert(0, f"{partitions} partitions, expected {self.partitions}")
        return found


def topics(settings: Settings) -> tuple[Topic, ...]:
    """Return the topics that the settings ask for.

    LogAppendTime goes on the topics of bins and bars only, as topic settings: retention and latency count
    from the append, so that a replay of old ticks keeps its data.
    """
    windows_ms = max(settings.kafka_retention_ms, WINDOW_RETENTION_MS)
    by_ksqldb = (
        log_topic(settings.ksqldb_topic_bins, settings.kafka_partitions, settings.kafka_retention_ms),
        log_topic(settings.ksqldb_topic_windowed, settings.kafka_partitions, windows_ms),
    )
    return (
        log_topic(settings.kafka_topic_raw, settings.kafka_partitions, settings.kafka_retention_ms),
        *(by_ksqldb if settings.ksqldb_url else ()),
        Topic(
            settings.agg_output_topic,
            settings.kafka_agg_partitions,
            {"cleanup.policy": "compact,delete", **_append_time(settings.kafka_retention_ms)},
            is_counted=True,
        ),
        Topic(
            settings.kafka_topic_dlt,
            1,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(settings.kafka_dlt_retention_ms),
                "segment.ms": str(min(DAY_MS, _segment_ms(settings.kafka_dlt_retention_ms))),
            },
            is_counted=True,
        ),
        # Connect gives a letter the time of its record, which may be of long ago.
        log_topic(settings.kafka_topic_connect_dlt, 1, settings.kafka_dlt_retention_ms),
        Topic(
            settings.kafka_topic_state,
            1,
            {
                # A checkpoint every 25 ms: short segments and an eager cleaner keep what a starting worker
                # has to read near what was written in five minutes.
                "cleanup.policy": "compact",
                "max.message.bytes": str(MOST_MESSAGE_BYTES),
                "segment.bytes": str(2 * MOST_MESSAGE_BYTES),  # no batch may be larger than a segment
                "segment.ms": str(5 * MINUTE_MS),
                "min.cleanable.dirty.ratio": "0.01",
                "delete.retention.ms": str(MINUTE_MS),
            },
        ),
    )


def log_topic(name: str, partitions: int, retention_ms: int) -> Topic:
    """Return a topic that keeps its records for so long after they were appended."""
    return Topic(name, partitions, {"cleanup.policy": "delete", **_append_time(retention_ms)})


def ensure_topics(
    settings: Settings, more: Iterable[Topic] = (), *, is_dry_run: bool = False
) -> list[tuple[str, str]]:
    """Create the topics that are missing; safe to run again, also from several processes at once.

    `more` are wanted beside those of the settings.

    Returns:
        (topic, "created" | "exists" | what differs from the settings) for each topic; what differs is left.
        In a dry run nothing is created.

    Raises:
        TapelineError: no broker answers within 10 s, or it refuses a topic.
    """
    client = admin_client(settings)
    wanted = (*topics(settings), *more)
    present = _present(client, settings)
    missing = [topic for topic in wanted if topic.name not in present]
    created = {topic.name for topic in missing} if is_dry_run else _create(client, settings, missing)
    kept = [topic for topic in wanted if topic.name not in created]
    if any(topic.name not in present for topic in kept):  # another process was faster
        present = _present(client, settings)
    configs = _configs(client, settings, kept)
    outcome = dict.fromkeys(created, "created")
    for topic in kept:
        differences = topic.differences(len(present[topic.name].partitions), configs[topic.name])
        outcome[topic.name] = "; ".join(differences) or "exists"
    return [(topic.name, outcome[topic.name]) for topic in wanted]


def recreate_topics(settings: Settings, names: Collection[str] | None = None) -> list[tuple[str, str]]:
    """Delete the topics (all of Tapeline's, or those in `names`), wait until they are gone, create them.

    One whose offsets are counted on is emptied instead, where it is as it should be.

    Returns:
        (topic, "created" | "emptied") for each topic.

    Raises:
        TapelineError: no broker answers within 10 s, it refuses, or a topic does not go away within 30 s.
    """
    client = admin_client(settings)
    wanted = [topic for topic in topics(settings) if names is None or topic.name in names]
    present = _present(client, settings)
    there = [topic for topic in wanted if topic.name in present]
    counted = [topic for topic in there if topic.is_counted]
    configs = _configs(client, settings, counted)
    emptied = [
        topic.name
        for topic in counted
        if not topic.differences(len(present[topic.name].partitions), configs[topic.name])
    ]
    _empty(
        client, settings, [TopicPartition(n, p, OFFSET_END) for n in emptied for p in present[n].partitions]
    )
    doomed = {topic.name for topic in there} - set(emptied)
    if doomed:
        _delete(client, settings, sorted(doomed))
    missing = [topic for topic in wanted if topic.name not in emptied]
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        created = _create(client, settings, missing)
        missing = [topic for topic in missing if topic.name not in created]
        if not missing:
            return [(topic.name, "emptied" if topic.name in emptied else "created") for topic in wanted]
        if time.monotonic() > deadline:
            raise TapelineError(f"topic {missing[0].name} comes back while it is being recreated")
        time.sleep(POLL_S)  # for a moment after a deletion a broker may still say that the topic exists


def _append_time(retention_ms: int) -> dict[str, str]:
    return {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(retention_ms),
        "segment.ms": str(_segment_ms(retention_ms)),
    }


def _segment_ms(retention_ms: int) -> int:
    """Return how long a segment grows: only whole segments expire, a twelfth keeps near the retention."""
    return max(retention_ms // 12, 5_000)


def _as_set(value: str) -> set[str]:
    """Split a list value such as `delete,compact`, whose order means nothing."""
    return {part.strip() for part in value.split(",")}


def _present(client: AdminClient, settings: Settings) -> dict[str, TopicMetadata]:
    """Return the topics on the broker."""
    try:
        return client.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    except KafkaException:
        raise unreachable(settings) from None


def _empty(client: AdminClient, settings: Settings, ends: list[TopicPartition]) -> None:
    """Delete the records of partitions; their offsets go on."""
    if not ends:
        return
    for partition, future in client.delete_records(ends, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as exception:
            raise _refused("empty", partition.topic, exception, settings) from None


def _delete(client: AdminClient, settings: Settings, names: list[str]) -> None:
    """Delete topics and wait until they are gone."""
    for name, future in client.delete_topics(names, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as exception:
            if kafka_error(exception).name() != "UNKNOWN_TOPIC_OR_PART":
                raise _refused("delete", name, exception, settings) from None
    _wait(
        lambda: _present(client, settings).keys().isdisjoint(names),
        f"the broker did not delete {', '.join(names)}",
    )


def _create(client: AdminClient, settings: Settings, wanted: Iterable[Topic]) -> set[str]:
    """Create topics, wait until they can be used and return their names; existing ones are left out."""
    by_name = {topic.name: topic for topic in wanted}
    if not by_name:
        return set()
    new = [NewTopic(t.name, num_partitions=t.partitions, config=t.config) for t in by_name.values()]
    created = set()
    for name, future in client.create_topics(new, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result()
            created.add(name)
        except KafkaException as exception:
            if kafka_error(exception).name() != "TOPIC_ALREADY_EXISTS":
                raise _refused("create", name, exception, settings) from None

    partitions = [TopicPartition(name, p) for name in created for p in range(by_name[name].partitions)]
    # A client that asked too early may go by what it was told then: each try asks with one of its own.
    _wait(
        lambda: _serves(admin_client(settings), partitions),
        f"the broker does not serve {', '.join(sorted(created))}",
    )
    return created


def _serves(client: AdminClient, partitions: list[TopicPartition]) -> bool:
    """Ask the leaders themselves: for a moment they do not know yet what the metadata says."""
    if not partitions:
        return True
    latest = cast(OffsetSpec, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    try:
        for future in client.list_offsets(
            dict.fromkeys(partitions, latest), request_timeout=SERVES_TIMEOUT_S
        ).values():
            future.result()
    except KafkaException:
        return False
    return True


def _configs(client: AdminClient, settings: Settings, wanted: Iterable[Topic]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in wanted]
    if not resources:
        return {}
    configs = {}
    for resource, future in client.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S).items():
        try:
            configs[resource.name] = {name: entry.value or "" for name, entry in future.result().items()}
        except KafkaException as exception:
            raise _refused("describe", resource.name, exception, settings) from None
    return configs


def _wait(is_done: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while not is_done():
        if time.monotonic() > deadline:
            raise TapelineError(f"{problem} within {SETTLE_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)


def _refused(verb: str, topic: str, exception: KafkaException, settings: Settings) -> TapelineError:
    error = kafka_error(exception)
    if error.name() in ("_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN"):
        return unreachable(settings)
    return TapelineError(
        f"cannot {verb} topic {topic} at KAFKA_BROKERS={settings.kafka_brokers}: {error.str()}"
    )
