"""Bins, watermark records, dead letters and a checkpoint, each batch in one Kafka transaction."""

from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

import msgspec

from glue.core.binner import Output
from glue.core.dead_letters import DeadLetter
from glue.core.partition import partition_of, watermark_symbols
from glue.core.resume import Base
from glue.io.bin_codec import SCHEMA_FILE, BinWriter
from glue.io.jsonl import append_lines
from glue.io.kafka import partition_count
from glue.io.registry import AvroWriter, Registry
from glue.io.state_topic import BaseRecord, Checkpoint, Claim, publish_state, read_state
from glue.io.transactions import Record, Transactions
from glue.settings import Settings


class KafkaSink:
    """Publishes one feed's output; the transactional id is the feed's and the shard's, so one worker can."""

    def __init__(
        self, settings: Settings, feed_id: str, dlt_path: Path, is_stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        shard = settings.shard
        self.partitions = partition_count(settings, settings.kafka_topic_raw)
        with Registry(settings) as registry:
            self._bins = BinWriter(registry.register(f"{settings.kafka_topic_raw}-value", SCHEMA_FILE))
            letters_id = registry.register(f"{settings.kafka_topic_dlt}-value", "dead_letter.avsc")
            self._dead_letters = AvroWriter("dead_letter.avsc", letters_id)
        self._partitions = _Partitions(self.partitions)
        self._claim = Claim(feed_id=feed_id, shard=shard, worker=uuid4().hex)
        publish_state(settings, f"{feed_id}|{shard}|claim", self._claim)
        self._transactions = Transactions(settings, transactional_id(settings, feed_id), is_stopping)
        self._dlt_file = append_lines(dlt_path)

    def publish(self, outputs: Iterable[Output]) -> None:
        """Send records to their topics inside the open transaction, in the order given."""
        bins: dict[int, list[Record]] = {}
        letters: list[Record] = []
        for output in outputs:
            if isinstance(output, DeadLetter):
                letters.append(_record(output.dlt_id, self._dead_letters.encode(output)))
                self._dlt_file.write(msgspec.json.encode(output) + b"\n")
            else:
                record = _record(output.bin_id, self._bins.encode(output))
                bins.setdefault(self._partitions[output.symbol], []).append(record)
        for partition, records in bins.items():
            self._transactions.send(self._settings.kafka_topic_raw, partition, records)
        if letters:
            self._transactions.send(self._settings.kafka_topic_dlt, 0, letters)

    def commit(self, checkpoint: Checkpoint, base: Base | None = None) -> None:
        """Commit the transaction with its checkpoint and, when it was renewed, the base.

        Does nothing when nothing was published.

        Raises:
            Fenced: another worker took the feed over (is_superseded), or the broker was away for too long.
            TapelineError: the broker refuses for good.
        """
        if self._transactions.is_empty:
            return
        self._dlt_file.flush()
        topic, feed_id, shard = self._settings.kafka_topic_state, checkpoint.feed_id, checkpoint.shard
        records = [_record(f"{feed_id}|{shard}", msgspec.json.encode(checkpoint))]
        if base is not None:
            value = msgspec.json.encode(BaseRecord(feed_id=feed_id, shard=shard, base=base))
            records.append(_record(f"{feed_id}|{shard}|base", value))
        self._transactions.send(topic, 0, records)
        self._transactions.commit()

    def is_superseded(self) -> bool:
        """Tell whether another worker has begun to write this feed."""
        own = self._claim
        return read_state(self._settings).claims.get((own.feed_id, own.shard), own) != own

    def finish(self) -> None:
        """Close after the last commit."""
        self._dlt_file.close()

    def abandon(self) -> None:
        """Close after a failure and give up what is not committed."""
        self._transactions.abort()
        self.finish()


class _Partitions(dict[str, int]):
    """Where each symbol's records go, worked out once."""

    def __init__(self, count: int) -> None:
        super().__init__((symbol, p) for p, symbol in enumerate(watermark_symbols(count)))
        self._count = count

    def __missing__(self, symbol: str) -> int:
        partition = self[symbol] = partition_of(symbol, self._count)
        return partition


def _record(key: str, value: bytes) -> Record:
    return {"key": key, "value": value}


def transactional_id(settings: Settings, feed_id: str) -> str:
    """Return what only one worker at a time may have: the feed's and shard's, on these topics."""
    return f"tapeline-replay-{settings.kafka_topic_state}-{feed_id}{settings.shard.suffix}"
