"""The engines that make bars of bins: files, the local engine on Kafka, and a ksqlDB server.

Each takes a plan, publishes all of it, and returns the bars it made.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from glue.aggregate import aggregate_file
from glue.core.bars import Bar
from glue.io.bin_codec import BinWriter
from glue.io.jsonl import LineFile
from glue.io.kafka import partition_count
from glue.io.kafka_read import reader
from glue.io.registry import AvroReader, BadRecord, Registry
from glue.io.transactions import produce, transactional_producer
from glue.settings import Settings
from tests.contract.cases import Plan, Streams
from tests.contract.ksqldb import deployed, own_settings
from tests.contract.model import LATE_MS
from tests.processes import Command, env_of, lines_of, running

KAFKA_DEADLINE_S = 240.0
KSQLDB_DEADLINE_S = 240.0
"""A server's first records are slow, and its queries take their time to start."""
RECORDS_A_TRANSACTION = 500


@dataclass
class Outcome:
    """What came out of an engine: bars by partition and in their order there, and what is none."""

    bars: list[Bar] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Engine(Protocol):
    """Something that makes bars."""

    source: str
    """What its bars say in `source`."""

    def run(self, plan: Plan) -> Outcome:
        """Publish a plan and return what came out once all of it was through."""


class Offline:
    """`glue.aggregate --source jsonl`, a file a partition."""

    source = "aggregate"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, plan: Plan) -> Outcome:
        """Write files of bins, read files of bars."""
        outcome = Outcome()
        for partition, stream in enumerate(plan.streams):
            bins = LineFile(self._folder / f"bins-{plan.partitions}-{partition}.jsonl")
            bins.write(stream)
            bins.finish()
            bars_path = self._folder / f"bars-{plan.partitions}-{partition}.jsonl"
            aggregate_file(bins.path, bars_path, LATE_MS)
            outcome.bars += lines_of(bars_path, Bar)
        return outcome


class Kafka:
    """`python -m glue.aggregate` on a broker and a registry."""

    source = "aggregate"

    def __init__(self, settings_for: Callable[[int], Settings], cwd: Path) -> None:
        self._settings_for = settings_for
        self._cwd = cwd

    def run(self, plan: Plan) -> Outcome:
        """Publish all, then let the engine read it from the start."""
        settings = self._settings_for(plan.partitions)
        publish(settings, plan.streams)
        with running("-m", "glue.aggregate", cwd=self._cwd, env=env_of(settings)) as engine:
            return collect(settings, plan, KAFKA_DEADLINE_S, lambda: _require_running(engine))


class KsqlDb:
    """The scripts of ksql/ on the server of KSQLDB_URL."""

    source = "ksqldb"

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say

    def run(self, plan: Plan) -> Outcome:
        """Run the scripts, publish all, take everything back again."""
        settings = own_settings(plan.partitions)
        with deployed(settings) as require_running:
            self._say(f"publishing {sum(map(len, plan.streams))} records and waiting for their bars")
            publish(settings, plan.streams)
            return collect(settings, plan, KSQLDB_DEADLINE_S, require_running)


def publish(settings: Settings, streams: Streams) -> None:
    """Put the streams on their partitions, in transactions like the worker's.

    Among the first records of each partition are two that cannot be read: no engine may stop at them.
    """
    with Registry(settings) as registry:
        schema_id = registry.register(f"{settings.kafka_topic_raw}-value", "tick_bin.avsc")
    writer = BinWriter(schema_id)
    producer = transactional_producer(settings, f"{settings.kafka_topic_raw}-contract")
    longest = max(map(len, streams))
    for start in range(0, longest, RECORDS_A_TRANSACTION):
        producer.begin_transaction()
        for partition, stream in enumerate(streams):
            piece = stream[start : start + RECORDS_A_TRANSACTION]
            records = [{"key": b.bin_id, "value": writer.encode(b)} for b in piece]
            if start == 0:
                records[1:1] = [{"key": "broken", "value": b"not Avro"}, {"key": "deleted", "value": None}]
            produce(producer, settings.kafka_topic_raw, partition, records)
        producer.commit_transaction(30)


def collect(settings: Settings, plan: Plan, deadline_s: float, check: Callable[[], None]) -> Outcome:
    """Read bars until the last one of every partition is there, or the time is up.

    `check` is called now and then and raises when nothing more is to come.
    """
    topic = settings.agg_output_topic
    outcome = Outcome()
    missing = set(plan.last_bars)
    consumer = reader(settings, stop_at_end=False)
    starts = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partition_count(settings, topic))]
    deadline, checked = time.monotonic() + deadline_s, time.monotonic()
    try:
        with Registry(settings) as registry:
            decoder = AvroReader("bar_1s.avsc", registry)
            consumer.assign(starts)
            while missing and time.monotonic() < deadline:
                for message in consumer.consume(500, 0.2):
                    assert message.error() is None, message.error()
                    key = (message.key() or b"").decode()
                    try:
                        bar = msgspec.convert(decoder.decode(message.value()), Bar)
                    except (BadRecord, msgspec.ValidationError) as error:
                        outcome.problems.append(f"{key} is no bar: {error}")
                        continue
                    if key != bar.bar_id:
                        outcome.problems.append(f"{bar.bar_id} has the key {key}")
                    outcome.bars.append(bar)
                    missing.discard(bar.bar_id)
                if time.monotonic() > checked + 2:
                    check()
                    checked = time.monotonic()
    finally:
        consumer.close()
    if missing:
        outcome.problems.append(f"after {deadline_s:.0f} s there is still no {', '.join(sorted(missing))}")
    return outcome


def _require_running(engine: Command) -> None:
    assert engine.is_running, engine.output[-3000:]
