"""Records of ticks.raw: as the worker's binner gives them, and ready for the wire."""

from collections.abc import Sequence

import msgspec

from bench.bare import Payloads
from bench.topic import encode, parsed_schema
from bench.workload import Work, historical
from glue.core.binner import Binner, Output
from glue.core.dead_letters import DeadLetter
from glue.core.partition import Shard, is_watermark, partition_of, watermark_symbols
from glue.core.resume import Snapshot
from glue.core.watermarks import Rules
from glue.feeds.market import first_symbols
from glue.io.kafka_sink import KafkaSink
from glue.io.state_topic import Checkpoint
from glue.settings import Settings

BATCH = 1_000
"""Records a transaction: what REPLAY_COMMIT_MS = 25 gathers at 40,000 records a second."""
SYMBOLS = 60
TICKS_PER_S = 2_000


class Batches(msgspec.Struct, frozen=True):
    """The output of a feed in pieces of one transaction each, and where its binner stood."""

    outputs: list[list[Output]]
    snapshot: Snapshot

    @property
    def count(self) -> int:
        """All records, watermark records included."""
        return sum(map(len, self.outputs))


def batches(ticks: int, *, is_ended: bool = False) -> Batches:
    """Bin a feed of SYMBOLS symbols."""
    work: Work = historical(first_symbols(SYMBOLS), TICKS_PER_S, ticks)
    binner = Binner(work.feed, Rules(partitions=6))
    outputs = [output for chunk, now_ms in work.chunks for output in binner.process(chunk, now_ms)]
    if is_ended:
        outputs += binner.end(work.chunks[-1][1])
    pieces = [outputs[i : i + BATCH] for i in range(0, len(outputs), BATCH)]
    return Batches(pieces, binner.snapshot())


def checkpoint(of: Batches, feed_id: str) -> Checkpoint:
    """Return what a worker at that place would write with each transaction."""
    return Checkpoint(
        feed_id=feed_id,
        shard=Shard(),
        mode="historical",
        snapshot=of.snapshot,
        late_ms=500,
        bin_ms=10,
        partitions=6,
        is_ended=False,
        updated_ms=1_709_562_600_000,
    )


def publish(of: Batches, sink: KafkaSink, feed_id: str) -> None:
    """Give all to a sink, a transaction a batch, and close it."""
    at = checkpoint(of, feed_id)
    for outputs in of.outputs:
        sink.publish(outputs)
        sink.commit(at, None)
    sink.finish()


def sink(settings: Settings, feed_id: str) -> KafkaSink:
    """Open the worker's sink."""
    return KafkaSink(settings, feed_id, settings.log_dir / "dlt.jsonl", lambda: False)


def on_the_wire(outputs: Sequence[Output], partitions: int) -> Payloads:
    """Return the records as they are on the topic."""
    schema = parsed_schema("tick_bin.avsc")
    reserved = {symbol: p for p, symbol in enumerate(watermark_symbols(partitions))}
    found: Payloads = {}
    for output in outputs:
        assert not isinstance(output, DeadLetter)
        symbol = output.symbol
        partition = reserved[symbol] if is_watermark(symbol) else partition_of(symbol, partitions)
        value = encode(schema, 1, msgspec.structs.asdict(output))
        found.setdefault(partition, []).append({"key": output.bin_id, "value": value})
    return found
