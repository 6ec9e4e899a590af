"""Records that connectors refused (ticks.connect.dlt): how many are unsent, and their way back."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import msgspec
from confluent_kafka import KafkaException, Message, TopicPartition

from glue.core.connect_letters import REDRIVEN, Fate, Headers, Letter, Sent, Sorter
from glue.errors import TapelineError, TransientError
from glue.io.kafka import REQUEST_TIMEOUT_S, kafka_error, partition_count, partition_counts
from glue.io.kafka_groups import SESSION_TIMEOUT_S, group_member
from glue.io.kafka_read import offset_ranges, read_from, spans_since
from glue.io.topic_stats import committed
from glue.io.transactions import FENCED, TIMEOUT_MS, transactional_producer
from glue.settings import Settings

GROUP = "tapeline-redrive"
"""Its offsets say which letters were sent again; it never has a member."""
CHUNK = 2_000
"""Letters that are read, and sent in one transaction, at a time."""
OFFSETS_KEPT_MS = (7 * 24 - 1) * 3_600_000
"""A broker forgets the offsets of a group without members after seven days (offsets.retention.minutes): older
letters may have been sent. An hour less, as clocks differ."""


class Unsent(msgspec.Struct, frozen=True):
    """Letters that nobody has sent again, and why the newest of them was refused."""

    count: int
    reason: str = ""


def unsent_since(settings: Settings, since_ms: int) -> Unsent:
    """Return what connectors have refused since a time (append, ms) and nobody has sent again.

    Raises:
        MissingTopic: there is no ticks.connect.dlt.
        TransientError: no broker answers.
    """
    topic = settings.kafka_topic_connect_dlt
    spans = spans_since(settings, topic, since_ms)
    if all(start.offset == end for start, end in spans):
        return Unsent(0)
    partitions = [TopicPartition(topic, start.partition) for start, _ in spans]
    count, newest = 0, []
    for (start, end), found in zip(spans, committed(settings, GROUP, partitions), strict=True):
        sent = _sent(found)
        lacks = sent.lacks(start.offset, end)
        count += lacks
        if lacks:
            last = end - 1 if end > sent.offset else max(at for at in sent.held if at < end)
            newest += read_from(settings, [TopicPartition(topic, start.partition, last)], [last + 1])
    reasons = {message.timestamp()[1]: _letter(message).reason for message in newest}
    return Unsent(count, reasons[max(reasons)] if reasons else "")


def _sent(at: TopicPartition | None) -> Sent:
    """Read what is committed for a partition."""
    return Sent() if at is None else Sent.parse(at.offset, at.metadata)


@dataclass(frozen=True, slots=True)
class Judged:
    """A letter and what becomes of it."""

    message: Message
    letter: Letter
    fate: Fate


@dataclass(frozen=True, slots=True)
class Chunk:
    """Letters of one partition that stand one after the other, and what is to be committed with them."""

    partition: int
    letters: list[Judged]
    sent: Sent
    is_news: bool
    """Whether that differs from what is committed."""


class Redrive:
    """Takes letters back to where they are from, each once: records and offsets go in one transaction.

    The newest run fences older ones. A dry run reads only.
    """

    def __init__(self, settings: Settings, is_stopping: Callable[[], bool], *, is_dry_run: bool) -> None:
        self._settings = settings
        self._topic = settings.kafka_topic_connect_dlt
        self._old_ms = int(time.time() * 1000) - OFFSETS_KEPT_MS
        partitions = [TopicPartition(self._topic, p) for p in range(partition_count(settings, self._topic))]
        # First: what an older run left open is over then, so the offsets are settled.
        self._producer = (
            None if is_dry_run else transactional_producer(settings, f"{GROUP}-{self._topic}", is_stopping)
        )
        self._is_open = False
        self._consumer = group_member(settings, GROUP, max_poll_s=SESSION_TIMEOUT_S)
        found = committed(settings, GROUP, partitions, isolation_level="read_committed")
        self._sent = {p.partition: _sent(at) for p, at in zip(partitions, found, strict=True)}
        self._sorter = Sorter(self._sent, partition_counts(settings))
        self._spans = dict(
            zip((p.partition for p in partitions), offset_ranges(settings, partitions), strict=True)
        )

    @property
    def count(self) -> int:
        """Letters that are to be read, those that were sent before included."""
        return sum(end - first for first, end in self._spans.values())

    def chunks(self) -> Iterator[Chunk]:
        """Read all letters up to the present end of the topic, and say what becomes of each.

        Raises:
            TransientError: no broker answers.
        """
        for partition, (first, end) in self._spans.items():
            sent = self._sent[partition]
            sent = Sent(sent.offset, frozenset(at for at in sent.held if at >= first))
            for start in range(first, end, CHUNK):
                stop = min(start + CHUNK, end)
                letters = self._judged(partition, start, stop)
                held = {int(j.message.offset() or 0) for j in letters if j.fate.is_held}
                others = {at for at in sent.held if not start <= at < stop}
                sent = Sent(max(sent.offset, stop), frozenset(held | others))
                yield Chunk(partition, letters, sent, is_news=sent != self._sent[partition])

    def commit(self, chunk: Chunk) -> None:
        """Send what of a chunk is to be sent, and commit how far that is, in one transaction.

        Raises:
            TapelineError: a newer run has taken over.
            TransientError: the broker did not take it; nothing of the chunk was sent.
        """
        producer = self._producer
        assert producer is not None  # noqa: S101
        began = time.monotonic()
        try:
            producer.begin_transaction()
            self._is_open = True
            for judged in chunk.letters:
                if judged.fate is Fate.SEND and (origin := judged.letter.origin) is not None:
                    producer.produce(
                        origin.topic,
                        judged.message.value(),
                        judged.message.key(),
                        origin.partition,
                        headers=[
                            *judged.letter.headers,
                            (REDRIVEN, f"{origin.partition}:{origin.offset}".encode()),
                        ],
                    )
            reached = TopicPartition(
                self._topic, chunk.partition, chunk.sent.offset, metadata=chunk.sent.metadata
            )
            member = self._consumer.consumer_group_metadata()
            producer.send_offsets_to_transaction([reached], member, REQUEST_TIMEOUT_S)
            producer.commit_transaction(REQUEST_TIMEOUT_S)
            self._is_open = False
        except KafkaException as exception:
            error = kafka_error(exception)
            if error.name() in FENCED and (time.monotonic() - began) * 1000 < TIMEOUT_MS:
                raise TapelineError("glue.redrive was started once more; this one stops") from None
            raise TransientError(
                f"the broker did not take the records ({error.str()}); run the command again to go on"
            ) from None
        self._sent[chunk.partition] = chunk.sent

    def close(self) -> None:
        """Let go of the broker; a transaction that is open is given up, so that readers need not wait."""
        if self._producer is not None and self._is_open:
            with suppress(KafkaException):
                self._producer.abort_transaction(REQUEST_TIMEOUT_S)
        self._consumer.close()

    def _judged(self, partition: int, start: int, stop: int) -> list[Judged]:
        place = TopicPartition(self._topic, partition, start)
        found = []
        for message in read_from(self._settings, [place], [stop]):
            offset = int(message.offset() or 0)
            if offset < stop:
                letter, is_old = _letter(message), message.timestamp()[1] < self._old_ms
                fate = self._sorter.fate(partition, offset, letter.origin, is_old=is_old)
                found.append(Judged(message, letter, fate))
        return found


def _letter(message: Message) -> Letter:
    return Letter.read(cast("Headers | None", message.headers()))  # what was read is a list, of bytes
