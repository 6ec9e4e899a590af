"""A topic for one reader at a time: the active member of a group, all partitions at once."""

from collections.abc import Callable
from functools import partial

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from glue.errors import TapelineError, TransientError
from glue.io.kafka import REQUEST_TIMEOUT_S, kafka_error, partition_count
from glue.io.kafka_engine import CLOSE_TIMEOUT_S, within
from glue.io.kafka_groups import SESSION_TIMEOUT_S, group_member
from glue.io.kafka_read import answered
from glue.settings import Settings

MAX_RECORDS = 10_000
MAX_POLL_S = 180.0
"""Writing very much takes the warehouse some seconds, and more while it resumes."""
POLL_S = 0.1
ELECTED_WITHIN_POLLS = int(SESSION_TIMEOUT_S * 2 / POLL_S)
"""A member that is still standing by after so many has an active one beside it. A time would pass while the
machine stands still, too."""
ELECTING_PARTITION = 0
"""Who has it reads all partitions, the others stand by."""
log = structlog.get_logger()


class NotCommitted(TransientError):
    """The broker did not take offsets: what is committed says where to read on."""


class Committed(msgspec.Struct, frozen=True):
    """What a group has committed for a partition (-1: nothing), and which records are there."""

    offset: int
    metadata: str | None
    first_kept: int
    end: int


class ActiveReader:
    """Messages of a topic, for the active member of a group; the others stand by.

    `on_active(committed)` is called inside `poll` when this member becomes the one that reads, and returns
    the offset to start from for each partition; `on_standby()` when it is no more.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        group: str,
        on_active: Callable[[dict[int, Committed]], dict[int, int]],
        on_standby: Callable[[], None],
        max_poll_s: float = MAX_POLL_S,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._partitions = partition_count(settings, topic)
        self._on_active = on_active
        self._on_standby = on_standby
        self._last_error = ""
        self._ended: set[int] = set()
        self._reached: dict[int, int] = {}
        self._was_revoked = False
        self._is_paused = False
        self._is_closed = False
        self._consumer = group_member(
            settings,
            group,
            max_poll_s=max_poll_s,
            auto_offset_reset="error",  # what fell out of the retention is to be told of
            enable_partition_eof=True,
            error_cb=self._on_error,
        )
        self._consumer.subscribe([self._topic], on_assign=self._assign, on_revoke=self._revoke)
        log.info("standing by", group=group)

    def poll(self, timeout_s: float) -> list[Message]:
        """Return the records that are there, waiting for the first one at most `timeout_s`.

        Raises:
            TransientError: the broker does not answer; what was read is to be read again.
        """
        try:
            messages = [first] if (first := self._consumer.poll(timeout_s)) is not None else []
            self._was_revoked = False
            rest = self._consumer.consume(MAX_RECORDS - 1, 0) if messages else []
        except KafkaException as exception:  # raised by the calls in _assign
            raise TransientError(kafka_error(exception).str()) from None
        # What came before a revocation is read again; of what `consume` returns the client has dropped it.
        messages = rest if self._was_revoked else messages + rest
        records = []
        for message in messages:
            error = message.error()
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is None:
                records.append(message)
                self._reached[partition] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended.add(partition)
                self._reached[partition] = offset
            else:
                self._on_error(error)
        return records

    @property
    def is_at_end(self) -> bool:
        """Whether the end of each partition was reached since this member became active."""
        return len(self._ended) == self._partitions

    def has_reached(self, ends: list[int]) -> bool:
        """Tell whether all that is before an offset of each partition was returned by `poll`."""
        return all(self._reached.get(partition, 0) >= end for partition, end in enumerate(ends))

    def pause(self) -> None:
        """Fetch no more, and stay a member."""
        if not self._is_paused:
            self._consumer.pause(self._consumer.assignment())
            self._is_paused = True

    def resume(self) -> None:
        """Fetch again."""
        if self._is_paused:
            self._consumer.resume(self._consumer.assignment())
            self._is_paused = False

    def commit(self, offsets: dict[int, tuple[int, str]]) -> None:
        """Commit offsets and their metadata as this member of the group.

        Raises:
            NotCommitted: the broker did not take them, or another member is the active one by now.
        """
        wanted = [
            TopicPartition(self._topic, partition, offset, metadata=metadata)
            for partition, (offset, metadata) in offsets.items()
        ]
        try:
            self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as exception:
            raise NotCommitted(f"offsets not committed: {kafka_error(exception).str()}") from None

    def close(self) -> None:
        """Leave the group."""
        self._is_closed = True  # a close that hangs may come back beside a new reader
        within(self._consumer.close, CLOSE_TIMEOUT_S)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_closed or not any(p.partition == ELECTING_PARTITION for p in partitions):
            consumer.assign([])
            return
        wanted = [TopicPartition(self._topic, p) for p in range(self._partitions)]
        found = {}
        for committed in answered(self._settings, partial(consumer.committed, wanted, REQUEST_TIMEOUT_S)):
            ends = partial(consumer.get_watermark_offsets, committed, REQUEST_TIMEOUT_S)
            first, end = answered(self._settings, ends)
            found[committed.partition] = Committed(max(-1, committed.offset), committed.metadata, first, end)
        starts = self._on_active(found)
        consumer.assign([TopicPartition(self._topic, p, offset) for p, offset in starts.items()])
        self._ended.clear()
        self._reached.clear()
        self._is_paused = False
        log.info("active", partitions=sorted(starts))

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_closed:
            return
        self._was_revoked = True
        self._on_standby()
        log.info("revoked")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            raise TapelineError(f"the broker refused this reader for good: {error.str()}")
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise TransientError(f"what was to be read next is gone: {error.str()}")
        if error.name() != self._last_error:
            log.warning("broker", error=error.str())
            self._last_error = error.name()
