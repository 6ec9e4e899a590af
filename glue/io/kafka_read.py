"""Reading a topic from a place to an end, as no member of any group."""

import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from glue.errors import TapelineError
from glue.io.kafka import REQUEST_TIMEOUT_S, client_config, partition_count, unreachable
from glue.settings import Settings

T = TypeVar("T")
OPEN_TRANSACTION_S = 40.0
"""The broker ends a transaction that its producer left open after 15 s (glue.io.transactions); it looks for
such every ten."""


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
    spans = spans_since(settings, topic, since_ms)
    for start, end in spans:
        start.offset = max(start.offset, end - limit)
    return read_from(settings, [start for start, _ in spans])


def read_oldest(settings: Settings, topic: str, since_ms: int, limit: int) -> list[Message]:
    """Read the committed records appended since a time, at most about the first `limit` of a partition."""
    spans = spans_since(settings, topic, since_ms)
    return read_from(
        settings, [start for start, _ in spans], [min(start.offset + limit, end) for start, end in spans]
    )


def spans_since(settings: Settings, topic: str, since_ms: int) -> list[tuple[TopicPartition, int]]:
    """Return of each partition where the records appended since a time begin, and its end."""
    times = [TopicPartition(topic, p, since_ms) for p in range(partition_count(settings, topic))]
    consumer = reader(settings)
    try:
        spans = []
        for start in answered(settings, lambda: consumer.offsets_for_times(times, REQUEST_TIMEOUT_S)):
            _, end = _offsets(settings, consumer, start)
            start.offset = start.offset if start.offset >= 0 else end
            spans.append((start, end))
    finally:
        consumer.close()
    return spans


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


def _offsets(settings: Settings, consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """Return the first offset of a partition and the end, as far as the consumer may read."""
    return answered(settings, lambda: consumer.get_watermark_offsets(partition, REQUEST_TIMEOUT_S))


def answered(settings: Settings, ask: Callable[[], T]) -> T:
    """Ask until there is an answer: a busy broker may not have told yet who leads, nor know it itself.

    Raises:
        TransientError: there is none within 10 s.
    """
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise unreachable(settings) from None
            time.sleep(0.1)


def reader(
    settings: Settings,
    *,
    stop_at_end: bool = True,
    isolation_level: str = "read_committed",
    group: str = "tapeline-reader",
) -> Consumer:
    """Return a consumer for assigned partitions: it joins no group and commits nothing.

    librdkafka wants a group though it is never joined; it is the one that `committed` tells of.
    """
    return Consumer(
        client_config(
            settings,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation_level,
            enable_partition_eof=stop_at_end,
            fetch_wait_max_ms=50,  # the end of a partition is told when a fetch comes back empty
        )
    )
