"""Bars and dead letters for a reader that shows them: the newest first, then what comes, without a group."""

import time
from collections.abc import Callable

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from glue.core.bars import Bar
from glue.core.dead_letters import DeadLetter
from glue.intake import now_ms
from glue.io.kafka import REQUEST_TIMEOUT_S, partition_count, unreachable
from glue.io.kafka_read import reader
from glue.io.registry import AvroReader, BadRecord, Registry
from glue.settings import Settings

CHUNK = 10_000
"""Records of the past that are read in one turn; live bars wait for as long as that takes."""
MAX_RECORDS = 5_000
PROBE_EVERY_S = 1.0
PROBE_TIMEOUT_S = 3.0
LETTERS_MS = 3_600_000
log = structlog.get_logger()


class FeedBar(msgspec.Struct, frozen=True, gc=False):
    """A bar as it was read. Times in ms since 1970 UTC; received is None for what was there at the start."""

    bar: Bar
    append_ms: int
    receive_ms: int | None
    is_older: bool
    """It was appended before bars that were read already."""


class Batch(msgspec.Struct):
    """What one turn of reading brought."""

    bars: list[FeedBar]
    letters: list[DeadLetter]
    unreadable: int = 0
    has_restarted: bool = False
    """The topic began anew: what was read before is of another one."""


class BarFeed:
    """The topics of bars and dead letters by one consumer, read_committed.

    The first turn brings the newest bars; each later one what has come since and a chunk of the past, until
    the topic's beginning is reached. Not for more than one thread at a time.
    """

    def __init__(
        self,
        settings: Settings,
        is_settled: Callable[[str, int, int], bool] = lambda symbol, start_ms, append_ms: False,
    ) -> None:
        """Find the topics.

        `is_settled` tells by symbol, start and append time of a bar of the past that it would change nothing:
        it is passed over, which is quicker than to read it.

        Raises:
            TapelineError: no broker answers, or a topic is missing.
        """
        self._settings = settings
        self._is_settled = is_settled
        self._bars_topic = settings.agg_output_topic
        self._letters_topic = settings.kafka_topic_dlt
        counts = {
            topic: partition_count(settings, topic) for topic in (self._bars_topic, self._letters_topic)
        }
        self._partitions = [(topic, p) for topic, count in counts.items() for p in range(count)]
        self._registry = Registry(settings)
        self._avro_bars = AvroReader("bar_1s.avsc", self._registry)
        self._avro_letters = AvroReader("dead_letter.avsc", self._registry)
        self._consumer = reader(settings)
        self._next: dict[tuple[str, int], int] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._unread: dict[int, tuple[int, int]] = {}
        """Per partition of bars: the first offset there is, and the one up to which all is unread."""
        self._to_fill = 0
        self._started_ms = 0
        self._probed_at = 0.0
        self._is_at_tail = False
        self._is_turn_of_past = False

    @property
    def backlog(self) -> int:
        """Bars on the topic that were not read yet; those of the past do not count."""
        places = [place for place in self._next if place[0] == self._bars_topic]
        return sum(max(0, self._ends[place] - self._next[place]) for place in places)

    @property
    def is_at_end(self) -> bool:
        """Whether all that was on the topics at the last look has been read, but for bars of the past."""
        return bool(self._next) and all(at >= self._ends[place] for place, at in self._next.items())

    @property
    def filled(self) -> float:
        """How much of the past has been read, 0 to 1."""
        if not self._next:
            return 0.0
        left = sum(until - first for first, until in self._unread.values())
        return 1 - left / self._to_fill if self._to_fill else 1.0

    def poll(self, timeout_s: float) -> Batch:
        """Return what is there, waiting for the first record at most `timeout_s`.

        Raises:
            TransientError: broker or registry do not answer; poll again, nothing is lost.
        """
        batch = Batch([], [])
        try:
            if not self._next:
                self._start()
            elif time.monotonic() > self._probed_at + PROBE_EVERY_S:
                self._probe(batch)
            if self._unread and self._is_turn_of_past and not self.backlog:
                self._read_past(batch)
            else:
                self._read_tail(batch, timeout_s)
            self._is_turn_of_past = not self._is_turn_of_past
        except KafkaException:
            raise unreachable(self._settings) from None
        return batch

    def close(self) -> None:
        """Let go of broker and registry."""
        self._consumer.close()
        self._registry.close()

    def _start(self) -> None:
        """Find where to begin: at the newest chunk of bars, and at the dead letters of the last hour."""
        started_ms = now_ms()
        places = {
            place: self._consumer.get_watermark_offsets(TopicPartition(*place), REQUEST_TIMEOUT_S)
            for place in self._partitions
        }
        since = [
            TopicPartition(topic, partition, started_ms - LETTERS_MS)
            for topic, partition in self._partitions
            if topic == self._letters_topic
        ]
        found = self._consumer.offsets_for_times(since, REQUEST_TIMEOUT_S)
        self._started_ms = started_ms
        self._probed_at = time.monotonic()
        self._ends = {place: end for place, (_, end) in places.items()}
        self._unread = {}
        for letters in found:
            place = (letters.topic, letters.partition)
            self._next[place] = letters.offset if letters.offset >= 0 else self._ends[place]
        for (topic, partition), (first, end) in places.items():
            if topic == self._bars_topic:
                self._next[topic, partition] = start = max(first, end - CHUNK)
                if first < start:
                    self._unread[partition] = first, start
        self._to_fill = sum(until - first for first, until in self._unread.values())
        self._is_at_tail = False

    def _probe(self, batch: Batch) -> None:
        """Ask for the ends, which also tells whether the broker is there and whether topics began anew."""
        for place in self._partitions:
            _, self._ends[place] = self._consumer.get_watermark_offsets(
                TopicPartition(*place), PROBE_TIMEOUT_S
            )
        self._probed_at = time.monotonic()
        if any(self._ends[place] < at for place, at in self._next.items()):
            self._begin_anew(batch)
            self._start()

    def _begin_anew(self, batch: Batch) -> None:
        log.info("the topics began anew")
        self._next = {}
        batch.bars, batch.letters, batch.has_restarted = [], [], True

    def _read_tail(self, batch: Batch, timeout_s: float) -> None:
        if not self._is_at_tail:
            self._consumer.assign([TopicPartition(*place, at) for place, at in self._next.items()])
        self._is_at_tail = False  # until all that was read is taken
        reached = dict(self._next)
        first = self._consumer.poll(timeout_s)
        received_ms = now_ms()
        for message in [] if first is None else [first, *self._consumer.consume(MAX_RECORDS - 1, 0)]:
            place = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            if offset < reached[place] and (message.error() is None or _is_end(message)):
                self._begin_anew(batch)
                return
            if self._is_record(message):
                self._take(batch, message, received_ms)
                reached[place] = offset + 1
            elif _is_end(message):
                reached[place] = offset
        for place, offset in reached.items():
            self._ends[place] = max(self._ends[place], offset)
        self._next = reached
        self._is_at_tail = True

    def _read_past(self, batch: Batch) -> None:
        """Read the newest chunk of what is unread in one partition."""
        partition, (first, until) = next(iter(self._unread.items()))
        start = max(first, until - CHUNK)
        self._is_at_tail = False
        self._consumer.assign([TopicPartition(self._bars_topic, partition, start)])
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        is_read = False
        while not is_read:
            messages = self._consumer.consume(MAX_RECORDS, 0.1)
            if not messages and time.monotonic() > deadline:
                raise unreachable(self._settings)
            for message in messages:
                offset = message.offset() or 0
                is_read = is_read or _is_end(message) or offset >= until - 1
                if self._is_record(message) and offset < until and not self._is_passed_over(message):
                    self._take(batch, message, None)
        if start > first:
            self._unread[partition] = first, start
        else:
            del self._unread[partition]

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF and not error.retriable():
            log.warning("broker", error=error.str())
        return error is None

    def _is_passed_over(self, message: Message) -> bool:
        symbol, _, start = (message.key() or b"").rpartition(b"-")
        if not start.isdigit():
            return False
        return self._is_settled(symbol.decode(errors="replace"), int(start), message.timestamp()[1])

    def _take(self, batch: Batch, message: Message, received_ms: int | None) -> None:
        try:
            if message.topic() == self._letters_topic:
                batch.letters.append(msgspec.convert(self._avro_letters.decode(message.value()), DeadLetter))
                return
            bar = msgspec.convert(self._avro_bars.decode(message.value()), Bar)
        except (BadRecord, msgspec.ValidationError):
            batch.unreadable += 1
            return
        append_ms = message.timestamp()[1]
        is_new = received_ms is not None and append_ms >= self._started_ms
        batch.bars.append(FeedBar(bar, append_ms, received_ms if is_new else None, received_ms is None))


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF
