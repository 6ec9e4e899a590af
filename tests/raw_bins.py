"""Raw bins in tests: put on the topic as the worker does, and compared with the rows of RAW.TICKS_RAW."""

import random
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer, TopicPartition

from glue.core.bins import TickBin, watermark_record
from glue.core.partition import is_watermark, partition_of, watermark_symbols
from glue.core.staged import LARGEST_SUM, Place, Span, bounds_of
from glue.deploy.snowflake import read_statements
from glue.io import topic_stats
from glue.io.bin_codec import SCHEMA_FILE, BinReader, BinWriter
from glue.io.kafka import partition_count, topic_id
from glue.io.kafka_read import read_to_end
from glue.io.raw_tables import COLUMNS
from glue.io.registry import Registry
from glue.io.snowflake import connect
from glue.io.transactions import transactional_producer
from glue.settings import Settings
from tests.processes import DEADLINE_S
from tests.warehouse import create_roles, is_near, query

Row = dict[str, Any]


def create_raw(settings: Settings) -> None:
    """Make stage, file format and table of snowflake/00_setup.sql in the database of the settings."""
    with connect(settings, "setup", role="") as connection, connection.cursor() as cursor:
        for name in ("", ".CORE", ".RAW"):
            kind = "SCHEMA" if name else "DATABASE"
            cursor.execute(f"CREATE {kind} IF NOT EXISTS {settings.snow_database}{name}")
        cursor.execute(f"USE SCHEMA {settings.snow_database}.CORE")
        create_roles(settings, cursor)
        for statement in read_statements(settings):
            if statement.text.startswith(
                tuple(f"CREATE {kind} IF NOT EXISTS RAW." for kind in ("FILE FORMAT", "STAGE", "TABLE"))
            ):
                cursor.execute(statement.text)


class BinTopic:
    """Puts bins on the topic in transactions, each with watermark records on all partitions after it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        with Registry(settings) as registry:
            subject = f"{settings.kafka_topic_raw}-value"
            self._writer = BinWriter(registry.register(subject, SCHEMA_FILE))
        self._producer: Producer = transactional_producer(settings, f"{settings.kafka_topic_raw}-test")
        self._partitions = partition_count(settings, settings.kafka_topic_raw)

    def put(self, bins: list[TickBin], a_time: int = 500) -> None:
        for i in range(0, len(bins), a_time):
            part = bins[i : i + a_time]
            self._producer.begin_transaction()
            for tick_bin in part:
                self._produce(tick_bin)
            for symbol in watermark_symbols(self._partitions):
                self._produce(watermark_record(symbol, part[-1].end_ts_ms, 10, None))
            self._producer.commit_transaction(DEADLINE_S)

    def _produce(self, tick_bin: TickBin) -> None:
        partition = partition_of(tick_bin.symbol, self._partitions)
        self._producer.produce(
            self._settings.kafka_topic_raw, self._writer.encode(tick_bin), tick_bin.bin_id, partition
        )
        self._producer.poll(0)


def some_bins(count: int, start_ms: int, symbols: int = 12, seed: int = 1) -> list[TickBin]:
    """Return bins of some symbols that differ from each other in every number."""
    rng = random.Random(seed)
    bins = []
    for i in range(count):
        symbol, start = f"S{i % symbols}", start_ms + i // symbols * 10
        low, size = rng.uniform(1, 900), rng.uniform(0, 5000)
        bins.append(
            TickBin(
                f"{symbol}-{start}", symbol, start, start + 10, 10, low + 0.25, low + 0.5, low, low + 0.125,
                size, size * low, rng.randint(1, 9), rng.randint(0, 500), start + 500,
                start + 3 if i % 2 else None, start if i % 3 else None, start + 520,
            )
        )  # fmt: skip
    return bins


def bins_by_place(settings: Settings) -> dict[tuple[int, int], TickBin]:
    """Return what is on the topic, watermark records left out, by partition and offset."""
    with Registry(settings) as registry:
        reader = BinReader(registry)
        found = {
            (message.partition() or 0, message.offset() or 0): reader.decode(message.value())
            for message in read_to_end(settings, settings.kafka_topic_raw)
        }
    return {place: tick_bin for place, tick_bin in found.items() if not is_watermark(tick_bin.symbol)}


def rows(settings: Settings) -> list[Row]:
    """Return the rows of RAW.TICKS_RAW."""
    names = [*COLUMNS, "file_name", "file_row_number"]
    found = query(settings, f"SELECT {', '.join(names)} FROM RAW.TICKS_RAW")
    return [dict(zip(names, row, strict=True)) for row in found]


def count_rows(settings: Settings) -> int:
    return int(query(settings, "SELECT COUNT(*) FROM RAW.TICKS_RAW")[0][0])


def assert_rows(settings: Settings) -> list[Row]:
    """Compare the table with the topic: every bin once, column by column; return its rows."""
    found, wanted = rows(settings), bins_by_place(settings)
    places = [(row["kafka_partition"], row["kafka_offset"]) for row in found]
    assert len(set(places)) == len(places), "a bin is there more than once"
    assert set(places) == wanted.keys()
    lines: dict[str, list[tuple[int, int]]] = {}
    for place, row in zip(places, found, strict=True):
        for name, value in msgspec.structs.asdict(wanted[place]).items():
            value = min(value, LARGEST_SUM) if name == "notional" else value
            assert is_near(row[name], value), (place, name, row[name], value)
        bounds = bounds_of(row["file_name"].rpartition("/")[2])
        assert bounds is not None
        assert bounds[0] == place[0]
        assert bounds[1] <= place[1] <= bounds[2]
        lines.setdefault(row["file_name"], []).append((row["file_row_number"], place[1]))
    for name, numbered in lines.items():
        numbered.sort()
        assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1)), name
        assert numbered == sorted(numbered, key=lambda pair: pair[1]), name
    return found


def committed(settings: Settings) -> dict[int, Place]:
    """Return what the loader's group has committed, for the partitions where it has."""
    topic, group = settings.kafka_topic_raw, settings.snowflake_raw_group
    wanted = [TopicPartition(topic, p) for p in range(partition_count(settings, topic))]
    this_topic = topic_id(settings, topic)
    return {
        at.partition: Place.parse(this_topic, at.partition, at.offset, at.metadata)
        for at in topic_stats.committed(settings, group, wanted)
        if at is not None
    }


def spool_of(cwd: Path, settings: Settings) -> Path:
    """Return the folder of the files of the topic, for a loader that runs in `cwd`."""
    topic = settings.kafka_topic_raw
    return cwd / settings.log_dir / "raw" / f"{topic}-{topic_id(settings, topic)}"


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")} if folder.exists() else set()


def settled(settings: Settings) -> set[Span]:
    return {span for place in committed(settings).values() for span in place.spans}
