"""Bins to measure with: every symbol trades in every bin, a watermark record after each second."""

import random
from collections.abc import Iterator

from confluent_kafka import Producer

from bench.workload import START_MS
from glue.core.bars import Bar, BarBuilder, fold
from glue.core.bins import TickBin, watermark_record
from glue.core.partition import partition_of, watermark_symbols
from glue.feeds.market import first_symbols
from glue.io.bin_codec import BinWriter
from glue.io.kafka import client_config
from glue.settings import Settings

BIN_MS, LATE_MS = 10, 500
MOST_QUEUED = 50_000
PIECE = 1_000

Records = dict[int, list[TickBin]]
"""Bins and watermark records by partition."""


def dense(symbols: int, first_s: int, seconds: int, partitions: int) -> Records:
    """Return `seconds` of bins from a second on, 100 a second and symbol, as a worker publishes them."""
    chance = random.Random(first_s)  # noqa: S311 - repeatable on purpose
    names = [(name, partition_of(name, partitions)) for name in first_symbols(symbols)]
    found: Records = {partition: [] for partition in range(partitions)}
    for start_ms in range(START_MS + first_s * 1000, START_MS + (first_s + seconds) * 1000, BIN_MS):
        for name, partition in names:
            found[partition].append(_bin(name, start_ms, chance))
        if (start_ms + BIN_MS) % 1000 == 0:
            reached_ms = start_ms + BIN_MS + LATE_MS
            for partition, name in enumerate(watermark_symbols(partitions)):
                found[partition].append(watermark_record(name, reached_ms, BIN_MS, reached_ms))
    return found


def bars_of(records: Records) -> dict[str, Bar]:
    """Return the bars that the local engine makes of them."""
    found = {}
    for some in records.values():
        builder = BarBuilder(LATE_MS)
        for record in some:
            for bins in builder.add(record):
                bar = fold(bins, None)
                found[bar.bar_id] = bar
    return found


def encoded(records: Records, schema_id: int) -> list[tuple[int, list[dict[str, bytes]]]]:
    """Return (partition, records ready for the wire) in pieces, the partitions in turn."""
    writer = BinWriter(schema_id)
    pieces = {
        partition: [
            [{"key": r.bin_id.encode(), "value": writer.encode(r)} for r in some[i : i + PIECE]]
            for i in range(0, len(some), PIECE)
        ]
        for partition, some in records.items()
    }
    return list(_in_turn(pieces))


def send(settings: Settings, pieces: list[tuple[int, list[dict[str, bytes]]]]) -> None:
    """Append all to ticks.raw as fast as it goes."""
    producer = Producer(client_config(settings, compression_type="lz4", linger_ms=5, enable_idempotence=True))
    for partition, records in pieces:
        while len(producer) > MOST_QUEUED:
            producer.poll(0.05)
        producer.produce_batch(settings.kafka_topic_raw, [dict(r) for r in records], partition)
    producer.flush(60)


def _in_turn(pieces: dict[int, list[list[dict[str, bytes]]]]) -> Iterator[tuple[int, list[dict[str, bytes]]]]:
    for i in range(max(map(len, pieces.values()))):
        for partition, some in pieces.items():
            if i < len(some):
                yield partition, some[i]


def _bin(symbol: str, start_ms: int, chance: random.Random) -> TickBin:
    prices = [round(100 + chance.random(), 2) for _ in range(4)]
    volume = float(chance.randrange(1, 1_000))
    return TickBin(
        bin_id=f"{symbol}-{start_ms}",
        symbol=symbol,
        start_ts_ms=start_ms,
        end_ts_ms=start_ms + BIN_MS,
        window_ms=BIN_MS,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[1],
        volume=volume,
        notional=volume * prices[2],
        trade_count=chance.randrange(1, 20),
        max_lateness_ms=chance.randrange(0, 300),
        watermark_ms=start_ms + LATE_MS,
        api_send_ts_ms=start_ms + 3,
        source_event_ts_ms=start_ms + 1,
        ingest_ts_ms=start_ms + LATE_MS,
    )
