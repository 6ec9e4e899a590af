"""Transactions that are broken off: no reader sees any of their records, nor a watermark before its bins."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from glue.core.bars import BarBuilder, fold
from glue.core.binner import Binner, Output
from glue.core.bins import TickBin
from glue.core.introduction import Feed
from glue.core.partition import Shard, is_watermark, partition_of
from glue.core.watermarks import BAR_MS, Rules
from glue.errors import TapelineError
from glue.io.kafka import client_config
from glue.io.kafka_read import reader
from glue.io.kafka_sink import KafkaSink
from glue.io.state_topic import Checkpoint
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.faults.outcome import assert_same_bars, committed
from tests.processes import bars_on_topic, env_of, running, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
START_MS, SYMBOLS, TICKS_A_SECOND = 1_600_000_000_000, [f"S{i}" for i in range(12)], 40
FEED, RULES = Feed("aborted", "historical", is_numbered=True), Rules(partitions=6)


def chunks(count: int, rng: random.Random) -> Iterator[bytes]:
    """Yield a second of ticks at a time, so that each chunk closes bins and brings watermark records."""
    for second in range(count):
        lines = []
        for i in range(TICKS_A_SECOND):
            event_ms = START_MS + second * BAR_MS + i * BAR_MS // TICKS_A_SECOND - rng.randrange(700)
            tick = {"symbol": rng.choice(SYMBOLS), "px": 1.0, "sz": 1, "event_ts": event_ms / 1000}
            lines.append(json.dumps(tick | {"seq": second * TICKS_A_SECOND + i}).encode() + b"\n")
        yield b"".join(lines)


class Watcher(threading.Thread):
    """A read_committed reader that is there all the time; what it sees out of turn ends in `wrong`."""

    def __init__(self, settings: Settings, bins: list[TickBin]) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.seen: set[str] = set()
        self.is_over = False
        self._settings = settings
        self._ends = [sorted((b.end_ts_ms, b.bin_id) for b in bins if _partition(b) == p) for p in range(6)]

    def run(self) -> None:
        topic = self._settings.kafka_topic_raw
        watermarks = {}
        with closing(reader(self._settings, stop_at_end=False)) as consumer:
            consumer.assign([TopicPartition(topic, p, 0) for p in range(RULES.partitions)])
            while not self.is_over:
                message = consumer.poll(0.1)
                if message is None:
                    continue
                key, partition = (message.key() or b"").decode(), message.partition() or 0
                if key in self.seen:
                    self.wrong.append(f"{key} came twice")
                self.seen.add(key)
                if is_watermark(key):
                    closed_to = int(key.rpartition("-")[2]) - RULES.late_ms
                    if watermarks.setdefault(partition, closed_to) > closed_to:
                        self.wrong.append(f"{key} came after a newer watermark record")
                    watermarks[partition] = closed_to
                    self._check_complete(partition, closed_to)

    def _check_complete(self, partition: int, closed_to: int) -> None:
        missing = [i for end, i in self._ends[partition] if end <= closed_to and i not in self.seen]
        if missing:
            self.wrong.append(f"the watermark {closed_to} came before {missing[:5]}")


@pytest.mark.parametrize("aborts", [15, pytest.param(200, marks=pytest.mark.full)])
def test_no_reader_sees_a_record_of_an_aborted_transaction_or_a_watermark_before_its_bins(
    aborts: int, stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    rng = random.Random(aborts)
    binner = Binner(FEED, RULES, is_deterministic=True)
    batches = [(binner.process(chunk, 0), binner.snapshot()) for chunk in chunks(aborts + 2, rng)]
    records = [r for outputs, _ in batches for r in outputs if isinstance(r, TickBin)]
    watcher = Watcher(settings, [r for r in records if not is_watermark(r.symbol)])
    watcher.start()
    everything = uncommitted_reader(settings)
    sink = new_sink(settings, tmp_path)
    aborted = 0
    try:
        for outputs, snapshot in batches:
            checkpoint = Checkpoint(
                feed_id=FEED.feed_id, shard=Shard(), mode=FEED.mode, snapshot=snapshot,
                late_ms=RULES.late_ms, bin_ms=RULES.bin_ms, partitions=RULES.partitions, is_ended=False,
                updated_ms=0,
            )  # fmt: skip
            if any(isinstance(o, TickBin) and is_watermark(o.symbol) for o in outputs) and aborted < aborts:
                before = end_of(everything, settings)
                sink.publish([spoiled(output) for output in outputs])
                until(lambda n=before: end_of(everything, settings) > n, "records of an open transaction")
                older, is_crash = sink, rng.random() < 0.5
                if not is_crash:
                    older.abandon()
                sink = new_sink(settings, tmp_path)
                sink.publish(outputs)
                sink.commit(checkpoint)
                if is_crash:  # it wakes up and goes on with its transaction
                    with pytest.raises(TapelineError, match="another worker has taken over this feed"):
                        older.commit(checkpoint)
                    older.finish()
                aborted += 1
            else:
                sink.publish(outputs)
                sink.commit(checkpoint)
        sink.finish()
        until(lambda: len(watcher.seen) >= len(records), "all committed records")
    finally:
        watcher.is_over = True
        watcher.join()
        everything.close()
    assert aborted == aborts
    assert watcher.wrong == []
    expected = [[r for r in records if _partition(r) == p] for p in range(RULES.partitions)]
    found = committed(settings)
    assert found.raw == expected
    bars = []
    for partition in expected:
        builder = BarBuilder(RULES.late_ms)
        bars += [fold(closed, None) for record in partition for closed in builder.add(record)]
    with running("-m", "glue.aggregate", cwd=tmp_path, env=env_of(settings)):
        until(lambda: len(bars_on_topic(settings)) >= len(bars), "the bars")
    assert_same_bars(bars_on_topic(settings), bars)


def spoiled(output: Output) -> Output:
    """Return a record that no reader may see: with it a bar would be another."""
    if isinstance(output, TickBin) and output.close is not None:
        return msgspec.structs.replace(output, close=-output.close)
    return output


def new_sink(settings: Settings, cwd: Path) -> KafkaSink:
    return KafkaSink(settings, FEED.feed_id, cwd / "dlt.jsonl", is_stopping=lambda: False)


def uncommitted_reader(settings: Settings) -> Consumer:
    """Return a reader whose ends of partitions include open transactions."""
    return Consumer(client_config(settings, group_id="everything", isolation_level="read_uncommitted"))


def end_of(consumer: Consumer, settings: Settings) -> int:
    partitions = [TopicPartition(settings.kafka_topic_raw, p) for p in range(RULES.partitions)]
    return sum(consumer.get_watermark_offsets(p, 10)[1] for p in partitions)


def _partition(record: TickBin) -> int:
    return partition_of(record.symbol, RULES.partitions)
