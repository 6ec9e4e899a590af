"""The engine's side of Kafka: bins in by consumer group, bars and offsets out in one transaction."""

import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from glue import metrics
from glue.core.bars import Bar
from glue.core.bins import TickBin
from glue.core.partition import partition_of
from glue.errors import TapelineError, TransientError
from glue.io.bin_codec import BinReader
from glue.io.kafka import REQUEST_TIMEOUT_S, kafka_error, partition_count
from glue.io.kafka_groups import group_member
from glue.io.registry import AvroWriter, BadRecord, Registry
from glue.io.transactions import FENCED, GIVEN_UP, TIMEOUT_MS, produce, transactional_producer
from glue.io.transactions import Record as ProducerRecord
from glue.settings import Settings

MAX_RECORDS = 10_000
CLOSE_TIMEOUT_S = 5.0
MAX_POLL_S = 45.0
"""A commit takes 25 s at most."""
log = structlog.get_logger()


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of ticks.raw; `tick_bin` is None when it cannot be read as a bin."""

    partition: int
    offset: int
    tick_bin: TickBin | None


class Reached(msgspec.Struct, frozen=True):
    """What is committed for a partition: the next record needed, and the stream time reached (ms)."""

    offset: int
    stream_time_ms: int


class KafkaBins:
    """Records of ticks.raw as a member of the engine's group.

    `on_assigned(partition, stream_time_ms, is_partial)` and `on_revoked(partitions)` are called inside
    `poll`; `is_partial` says that the partition has lost records before they were read.
    """

    def __init__(
        self,
        settings: Settings,
        on_assigned: Callable[[int, int, bool], None],
        on_revoked: Callable[[list[int]], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._topic = settings.kafka_topic_raw
        partition_count(settings, self._topic)
        self._registry = Registry(settings)
        self._reader = BinReader(self._registry)
        self._last_error = ""
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._is_stopping = is_stopping
        self._just_revoked: set[int] = set()
        self._is_closed = False
        self._consumer = group_member(
            settings, settings.agg_group, max_poll_s=MAX_POLL_S, error_cb=self._on_error
        )
        self._consumer.subscribe([self._topic], on_assign=self._assign, on_revoke=self._revoke)

    def poll(self, timeout_s: float) -> list[Record]:
        """Return the records that are there, waiting for the first one at most `timeout_s`.

        Raises:
            TransientError: the broker did not say where to read on, or the process is to stop while the
                schema registry is away.
        """
        try:
            messages = [first] if (first := self._consumer.poll(timeout_s)) is not None else []
            self._just_revoked.clear()
            rest = self._consumer.consume(MAX_RECORDS - 1, 0) if messages else []
        except KafkaException as exception:  # raised by the calls in _assign
            raise TransientError(kafka_error(exception).str()) from None
        # A partition may be taken away and given back in between: then it is read again from what is
        # committed. Of what `consume` returns the client itself has dropped such records.
        messages = [m for m in messages if m.partition() not in self._just_revoked] + rest
        records = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error)
                continue
            records.append(
                Record(message.partition() or 0, message.offset() or 0, self._decode(message.value()))
            )
        return records

    def positions(self, reached: dict[int, Reached]) -> list[TopicPartition]:
        """Return what was reached as the offsets to commit, stream time in their metadata."""
        return [
            TopicPartition(self._topic, p, at.offset, metadata=str(at.stream_time_ms))
            for p, at in reached.items()
        ]

    def group_metadata(self) -> object:
        """Return what ties a producer's transaction to this member of the group."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Leave the group."""
        self._is_closed = True  # a close that hangs may come back beside a new reader
        within(self._consumer.close, CLOSE_TIMEOUT_S)
        self._registry.close()

    def _decode(self, value: bytes | None) -> TickBin | None:
        while True:
            try:
                return self._reader.decode(value)
            except (BadRecord, msgspec.ValidationError) as error:
                log.warning("a record of ticks.raw is no bin, skipped", error=str(error))
                return None
            except TransientError as error:
                if self._is_stopping():
                    raise
                log.warning("waiting for the schema registry", error=str(error))
                time.sleep(1)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_closed:
            return
        committed = consumer.committed(partitions, REQUEST_TIMEOUT_S)
        for partition in committed:
            stream_time_ms = int(partition.metadata) if partition.metadata else -1
            first, _ = consumer.get_watermark_offsets(partition, REQUEST_TIMEOUT_S)
            reached = max(0, partition.offset)  # below 0: nothing is committed
            if reached < first:
                metrics.BINS_MISSED.labels(partition.partition).inc()
                log.error(
                    "bins have fallen out of the retention before they were read, their bars are left out",
                    partition=partition.partition,
                    committed=reached,
                    first_kept=first,
                )
            self._on_assigned(partition.partition, stream_time_ms, reached < first)
        log.info("assigned", partitions=[p.partition for p in partitions])

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_closed:
            return
        self._just_revoked.update(p.partition for p in partitions)
        self._on_revoked([p.partition for p in partitions])
        log.info("revoked", partitions=[p.partition for p in partitions])

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            raise TapelineError(f"the broker refused the engine for good: {error.str()}")
        if error.name() != self._last_error:
            log.warning("broker", error=error.str())
            self._last_error = error.name()


class KafkaBars:
    """Bars to ticks.agg.1s, with the offsets they were made from, exactly once."""

    def __init__(self, settings: Settings, instance: str, is_stopping: Callable[[], bool]) -> None:
        self._topic = settings.agg_output_topic
        self._instance = instance
        self._partitions = partition_count(settings, self._topic)
        with Registry(settings) as registry:
            schema_id = registry.register(f"{self._topic}-value", "bar_1s.avsc")
        self._writer = AvroWriter("bar_1s.avsc", schema_id)
        transactional_id = f"{settings.agg_group}-{self._topic}-{instance}"
        self._producer = transactional_producer(settings, transactional_id, is_stopping)

    def commit(self, bars: Sequence[Bar], bins: KafkaBins, reached: dict[int, Reached]) -> None:
        """Publish bars and commit what was reached in one transaction.

        Raises:
            TransientError: the transaction was rolled back; the engine must read again from what is
                committed.
            TapelineError: another engine took this instance's place.
        """
        began = time.monotonic()
        try:
            self._producer.begin_transaction()
            for partition, records in self._records(bars).items():
                produce(self._producer, self._topic, partition, records)
            positions, member = bins.positions(reached), bins.group_metadata()
            # After a restart of the broker this call has been seen to ignore its own time-out.
            within(
                lambda: self._producer.send_offsets_to_transaction(positions, member, REQUEST_TIMEOUT_S),
                REQUEST_TIMEOUT_S * 1.5,
            )
            self._producer.commit_transaction(REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            error = kafka_error(exception)
            # The broker ends a transaction that stays open for too long, and then refuses its producer too.
            has_timed_out = (time.monotonic() - began) * 1000 > TIMEOUT_MS
            if error.name() in FENCED and not has_timed_out:
                raise TapelineError(
                    f"another engine was started as instance {self._instance}, this one stops (engines side "
                    "by side need an --instance each)"
                ) from None
            if error.fatal() and error.name() not in GIVEN_UP and not has_timed_out:
                raise TapelineError(f"the broker refused the engine for good: {error.str()}") from None
            # A new producer with the same id, which the engine makes next, aborts the transaction.
            raise TransientError(error.str()) from None

    def _records(self, bars: Sequence[Bar]) -> dict[int, list[ProducerRecord]]:
        """Return the records of each partition; the symbol chooses it, so that its bars stay in order."""
        found: dict[int, list[ProducerRecord]] = {}
        for bar in bars:
            partition = partition_of(bar.symbol, self._partitions)
            found.setdefault(partition, []).append({"key": bar.bar_id, "value": self._writer.encode(bar)})
        return found


def within(call: Callable[[], object], timeout_s: float) -> None:
    """Make a call that may never return; its own exception is raised here.

    Raises:
        TransientError: it did not return in time. The thread it hangs in is left behind.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # handed over to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TransientError(f"the broker's client did not answer for {timeout_s:.0f} s")
    if failures:
        raise failures[0]
