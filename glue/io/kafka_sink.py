"""Bins, watermark records, dead letters and a checkpoint, each batch in one Kafka transaction."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from glue.core.binner import Output, Snapshot
from glue.core.dead_letters import DeadLetter
from glue.core.partition import is_watermark, partition_of, watermark_symbols
from glue.io.kafka import partition_count, read_to_end
from glue.io.registry import AvroWriter, Registry
from glue.io.transactions import Transactions
from glue.settings import Settings


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
    """Publishes one feed's output; the transactional id is the feed's, so one worker at a time can."""

    def __init__(self, settings: Settings, feed_id: str, dlt_path: Path) -> None:
        self._settings = settings
        self.partitions = partition_count(settings, settings.kafka_topic_raw)
        with Registry(settings) as registry:
            self._bins = _writer(registry, settings.kafka_topic_raw, "tick_bin.avsc")
            self._dead_letters = _writer(registry, settings.kafka_topic_dlt, "dead_letter.avsc")
        watermarks = watermark_symbols(self.partitions)
        self._watermark_partitions = {symbol: p for p, symbol in enumerate(watermarks)}
        self._transactions = Transactions(settings, f"tapeline-replay-{feed_id}")
        dlt_path.parent.mkdir(parents=True, exist_ok=True)
        self._dlt_file = dlt_path.open("ab")

    def publish(self, outputs: Iterable[Output]) -> None:
        """Send records to their topics inside the open transaction, in the order given."""
        for output in outputs:
            if isinstance(output, DeadLetter):
                value = self._dead_letters.encode(output)
                self._transactions.send(self._settings.kafka_topic_dlt, output.dlt_id, value, 0)
                self._dlt_file.write(msgspec.json.encode(output) + b"\n")
            else:
                self._transactions.send(
                    self._settings.kafka_topic_raw,
                    output.bin_id,
                    self._bins.encode(output),
                    self._partition(output.symbol),
                )

    def commit(self, checkpoint: Checkpoint) -> None:
        """Commit the transaction with its checkpoint; does nothing when nothing was published.

        Raises:
            TapelineError: another worker took the feed over, or the broker refuses for good.
        """
        if self._transactions.is_empty:
            return
        self._dlt_file.flush()
        value = msgspec.json.encode(checkpoint)
        self._transactions.send(self._settings.kafka_topic_state, checkpoint.feed_id, value, 0)
        self._transactions.commit()

    def finish(self) -> None:
        """Close after the last commit."""
        self._dlt_file.close()

    def abandon(self) -> None:
        """Close after a failure and give up what is not committed."""
        self._transactions.abort()
        self.finish()

    def _partition(self, symbol: str) -> int:
        if is_watermark(symbol):
            return self._watermark_partitions[symbol]
        return partition_of(symbol, self.partitions)


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
