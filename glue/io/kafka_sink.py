"""Bins, watermark records, dead letters and a checkpoint, each batch in one Kafka transaction."""

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from glue.core.binner import Output, Snapshot
from glue.core.dead_letters import DeadLetter
from glue.core.partition import is_watermark, partition_of, watermark_symbols
from glue.errors import TapelineError
from glue.io.kafka import (
    REQUEST_TIMEOUT_S,
    client_config,
    kafka_error,
    partition_count,
    read_to_end,
    unreachable,
)
from glue.io.registry import AvroWriter, Registry
from glue.settings import Settings

TRANSACTION_TIMEOUT_MS = 15_000
MAX_TRIES = 5
log = structlog.get_logger()


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction says of the feed: topic ticks.replay.state, key = feed_id. Times in ms."""

    feed_id: str
    mode: str
    snapshot: Snapshot
    late_ms: int
    bin_ms: int
    is_ended: bool
    updated_ms: int


class KafkaSink:
    """Publishes one feed's output exactly once per transaction.

    The transactional id is fixed by the feed, so a second worker of the same feed fences the first, which
    stops with an error. A transaction that fails is retried whole.
    """

    is_resumable = True

    def __init__(self, settings: Settings, feed_id: str, dlt_path: Path) -> None:
        self._settings = settings
        self.partitions = partition_count(settings, settings.kafka_topic_raw)
        with Registry(settings) as registry:
            self._bins = _writer(registry, settings.kafka_topic_raw, "tick_bin.avsc")
            self._dead_letters = _writer(registry, settings.kafka_topic_dlt, "dead_letter.avsc")
        dlt_path.parent.mkdir(parents=True, exist_ok=True)
        self._dlt_file = dlt_path.open("ab")
        watermarks = watermark_symbols(self.partitions)
        self._watermark_partitions = {symbol: p for p, symbol in enumerate(watermarks)}
        self._batch: list[tuple[str, str, bytes, int]] = []
        self._is_open = False
        self._producer = Producer(
            client_config(
                settings,
                transactional_id=f"tapeline-replay-{feed_id}",
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                acks="all",
                linger_ms=0,
                compression_type="lz4",
            )
        )
        try:
            self._producer.init_transactions(REQUEST_TIMEOUT_S * 3)
        except KafkaException as error:
            reason = kafka_error(error)
            if reason.name() in ("_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN"):
                raise unreachable(settings) from None
            raise TapelineError(f"cannot start transactions: {reason.str()}") from None

    def publish(self, outputs: Iterable[Output]) -> None:
        """Send records to their topics inside the open transaction, in the order given."""
        for output in outputs:
            if isinstance(output, DeadLetter):
                value = self._dead_letters.encode(output)
                self._send(self._settings.kafka_topic_dlt, output.dlt_id, value, 0)
                self._dlt_file.write(msgspec.json.encode(output) + b"\n")
            else:
                self._send(
                    self._settings.kafka_topic_raw,
                    output.bin_id,
                    self._bins.encode(output),
                    self._partition(output.symbol),
                )
        self._producer.poll(0)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Commit the transaction with its checkpoint; does nothing when nothing was published.

        Raises:
            TapelineError: another worker took the feed over, or the broker failed for good.
        """
        if not self._batch:
            return
        self._dlt_file.flush()
        self._send(
            self._settings.kafka_topic_state,
            checkpoint.feed_id,
            msgspec.json.encode(checkpoint),
            0,
        )
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                self._producer.commit_transaction(REQUEST_TIMEOUT_S)
            except KafkaException as error:
                self._recover(kafka_error(error), tries_left)
            else:
                self._batch = []
                self._is_open = False
                return

    def finish(self) -> None:
        """Close after the last commit."""
        self._dlt_file.close()

    def abandon(self) -> None:
        """Give up what is not committed, so that readers need not wait for it to time out."""
        if self._is_open:
            try:
                self._producer.abort_transaction(REQUEST_TIMEOUT_S)
            except KafkaException as error:
                log.warning("abort failed", error=kafka_error(error).str())
        self.finish()

    def _partition(self, symbol: str) -> int:
        if is_watermark(symbol):
            return self._watermark_partitions[symbol]
        return partition_of(symbol, self.partitions)

    def _send(self, topic: str, key: str, value: bytes, partition: int) -> None:
        record = (topic, key, value, partition)
        self._batch.append(record)
        if not self._is_open:
            self._producer.begin_transaction()
            self._is_open = True
        self._produce(record)

    def _produce(self, record: tuple[str, str, bytes, int]) -> None:
        topic, key, value, partition = record
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
            except BufferError:  # the local queue is full: wait for deliveries
                self._producer.poll(0.1)
            else:
                return

    def _recover(self, error: KafkaError, tries_left: int) -> None:
        """Make ready for the next try of the same transaction, or raise."""
        if error.fatal() or not tries_left:
            self._is_open = False
            if error.name() in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"):
                raise TapelineError("another worker has taken over this feed; this one stops")
            raise TapelineError(f"the broker refused a transaction for good: {error.str()}")
        log.warning("transaction failed, trying again", error=error.str(), tries_left=tries_left)
        if error.txn_requires_abort():
            self._producer.abort_transaction(REQUEST_TIMEOUT_S)
            time.sleep(0.2)
            self._producer.begin_transaction()
            for record in self._batch:
                self._produce(record)


def read_checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    """Return the newest checkpoint of every feed that ever wrote to these topics, by feed_id."""
    checkpoints: dict[str, Checkpoint] = {}
    for message in read_to_end(settings, settings.kafka_topic_state):
        value = message.value()
        if value is not None:
            checkpoint = msgspec.json.decode(value, type=Checkpoint)
            checkpoints[checkpoint.feed_id] = checkpoint
    return checkpoints


def _writer(registry: Registry, topic: str, schema_file: str) -> AvroWriter:
    return AvroWriter(schema_file, registry.register(f"{topic}-value", schema_file))
