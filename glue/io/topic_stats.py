"""What the topics tell of the pipeline's health: consumer lag, latencies, dead letters."""

import time
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import msgspec
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message, TopicPartition

from glue.core.facts import floor
from glue.core.flushes import Position
from glue.core.partition import is_watermark
from glue.core.watermarks import BAR_MS
from glue.errors import TapelineError
from glue.io.kafka import REQUEST_TIMEOUT_S, kafka_error, partition_count, unreachable
from glue.io.kafka_groups import MAY_PASS, shards_of
from glue.io.kafka_read import end_offsets, offset_ranges, read_from, read_newest, read_oldest, reader
from glue.io.registry import AvroReader, BadRecord, Registry
from glue.settings import Settings

NEWEST = 5_000
"""Records a partition that latencies and reasons are taken from, at most."""
HISTORICAL_MS = 86_400_000


class Lag(msgspec.Struct, frozen=True):
    """Records of one partition that a group has not committed yet; None: it never committed."""

    group: str
    topic: str
    partition: int
    lag: int | None


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in ms over `count` records; None where there are none, or they are historical."""

    count: int
    p50_ms: int | None = None
    p95_ms: int | None = None
    p99_ms: int | None = None
    appended: int = 0
    """Records that were looked at, those without a latency included."""
    newest_ms: int | None = None
    """Append time of the newest of them."""


def consumer_lag(settings: Settings, group: str, topic: str) -> list[Lag]:
    """Return the lag of a group on every partition of a topic; transaction markers count as records.

    Without a group nothing was ever read.
    """
    wanted = [TopicPartition(topic, p) for p in range(partition_count(settings, topic))]
    offsets = committed_offsets(settings, group, wanted)
    ends = end_offsets(settings, wanted)
    return [
        Lag(group, topic, p.partition, max(0, end - at) if at is not None else None)
        for p, at, end in zip(wanted, offsets, ends, strict=True)
    ]


def committed_offsets(settings: Settings, group: str, partitions: list[TopicPartition]) -> list[int | None]:
    """Return the offset that a group has committed for each partition of a topic, None where it never did.

    An empty name stands for a group that is not there.
    """
    return [None if at is None else at.offset for at in committed(settings, group, partitions)]


def committed(
    settings: Settings, group: str, partitions: list[TopicPartition], *, is_settled: bool = False
) -> list[TopicPartition | None]:
    """Return what a group has committed for each partition of a topic, as `committed_offsets` does.

    The metadata of the offset come with it. A transaction that is open is waited for only where `is_settled`.
    Asked as a consumer that never joins: librdkafka's admin client answers a coordinator that is not ready,
    as after a broker hung, with a segmentation fault.

    Raises:
        TransientError: for 10 s no broker answers, or none is ready to.
        TapelineError: the broker refuses.
    """
    if not group:
        return [None] * len(partitions)
    isolation_level = "read_committed" if is_settled else "read_uncommitted"
    consumer = reader(settings, group=group, isolation_level=isolation_level)
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    try:
        while True:
            try:
                found = consumer.committed(partitions, REQUEST_TIMEOUT_S)
                return [at if at.offset >= 0 else None for at in found]
            except KafkaException as exception:
                error = kafka_error(exception)
                if error.code() > 0 and error.name() not in MAY_PASS:  # below 0: of the client itself
                    raise TapelineError(f"offsets of group {group}: {error.str()}") from None
                if time.monotonic() > deadline:
                    raise unreachable(settings) from None
                time.sleep(0.1)
    finally:
        consumer.close()


def written_ms(settings: Settings) -> int:
    """Return until when (event time, ms UTC) some rollup has written facts, by its commits; 0: none has.

    Raises:
        TapelineError: no broker answers, or there is no topic of bars.
    """
    topic = settings.agg_output_topic
    wanted = [TopicPartition(topic, p) for p in range(partition_count(settings, topic))]
    found = (
        at
        for group in shards_of(settings, settings.snowflake_loader_group)
        for at in committed(settings, group, wanted)
    )
    return max((Position.parse(at.offset, at.metadata).written_ms for at in found if at), default=0)


def oldest_unread_ms(settings: Settings, group: str, topic: str) -> int | None:
    """Return when the oldest record was appended that a group has not committed, None where it has all."""
    partitions = [TopicPartition(topic, p) for p in range(partition_count(settings, topic))]
    starts, ends = [], []
    offsets = committed_offsets(settings, group, partitions)
    for found, at, (first, end) in zip(partitions, offsets, offset_ranges(settings, partitions), strict=True):
        start = max(first, at or 0)
        if start < end:  # there may be nothing but transaction markers
            starts.append(TopicPartition(topic, found.partition, start))
            ends.append(start + 1)
    messages = read_from(settings, starts, ends) if starts else []
    return min((message.timestamp()[1] for message in messages), default=None)


def publish_latency(settings: Settings, since_ms: int) -> Latency:
    """Bin closed (ingest_ts_ms) to appended to ticks.raw, by the broker's append time."""
    records = [
        (append_ms, record)
        for append_ms, record in _appended(settings, settings.kafka_topic_raw, "tick_bin.avsc", since_ms)
        if not is_watermark(record["symbol"])
    ]
    known = (append_ms - r["ingest_ts_ms"] for append_ms, r in records if r["ingest_ts_ms"] is not None)
    return _latency(records, known)


def bar_latency(settings: Settings, since_ms: int) -> Latency:
    """Bar end to appended to ticks.agg.1s; bars of a historical feed have no such latency."""
    records = _appended(settings, settings.agg_output_topic, "bar_1s.avsc", since_ms)
    latencies = (append_ms - record["end_ts_ms"] for append_ms, record in records)
    return _latency(records, (ms for ms in latencies if ms < HISTORICAL_MS))


def _latency(records: list[tuple[int, dict[str, Any]]], latencies: Iterable[int]) -> Latency:
    newest_ms = max((append_ms for append_ms, _ in records), default=None)
    return msgspec.structs.replace(percentiles(latencies), appended=len(records), newest_ms=newest_ms)


def due_ms(settings: Settings, since_ms: int) -> int | None:
    """Return when the first bar of the bins appended since a time was due, by append time; None: none is."""
    topic = settings.kafka_topic_raw
    records = _decoded(settings, "tick_bin.avsc", read_oldest(settings, topic, since_ms, NEWEST))
    return first_due_ms(records, settings.replay_max_late_ms)


def first_due_ms(records: Iterable[tuple[int, dict[str, Any]]], late_ms: int) -> int | None:
    """Return the append time of the record that closes the first bar of some bins, None while none does.

    `records` are those of ticks.raw with their append times, watermark records included, `late_ms` is L.
    """
    closes_ms: int | None = None
    for append_ms, record in sorted(records, key=itemgetter(0)):
        start_ms = record["start_ts_ms"]
        if closes_ms is None:
            if not is_watermark(record["symbol"]):
                closes_ms = floor(start_ms, BAR_MS) + BAR_MS + late_ms
        elif start_ms >= closes_ms:
            return append_ms
    return None


def dead_letters(settings: Settings, since_ms: int) -> Counter[str]:
    """Return the number of dead letters since a time, by reason (of the newest ones, if there are many)."""
    records = _appended(settings, settings.kafka_topic_dlt, "dead_letter.avsc", since_ms)
    return Counter(record["reason"] for _, record in records)


def percentiles(values: Iterable[int]) -> Latency:
    """Return the nearest-rank percentiles of some latencies in ms."""
    ordered = sorted(values)
    if not ordered:
        return Latency(0)
    p50, p95, p99 = (ordered[max(0, -(-len(ordered) * p // 100) - 1)] for p in (50, 95, 99))
    return Latency(len(ordered), p50, p95, p99)


def _appended(
    settings: Settings, topic: str, schema_file: str, since_ms: int
) -> list[tuple[int, dict[str, Any]]]:
    return _decoded(settings, schema_file, read_newest(settings, topic, since_ms, NEWEST))


def _decoded(
    settings: Settings, schema_file: str, messages: Iterable[Message]
) -> list[tuple[int, dict[str, Any]]]:
    found = []
    with Registry(settings) as registry:
        reader = AvroReader(schema_file, registry)
        for message in messages:
            kind, append_ms = message.timestamp()
            if kind != TIMESTAMP_LOG_APPEND_TIME and message.topic() != settings.kafka_topic_dlt:
                continue
            try:
                found.append((append_ms, reader.decode(message.value())))
            except BadRecord:
                continue
    return found
