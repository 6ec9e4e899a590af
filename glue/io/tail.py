"""Following a topic: committed records as they come, without a consumer group."""

from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from glue.io.kafka import partition_count
from glue.io.kafka_read import reader
from glue.io.registry import AvroReader, BadRecord, Registry
from glue.settings import Settings

MAX_RECORDS = 2000


class Tail:
    """Reads a topic from its beginning and goes on with what comes; close it when done."""

    def __init__(self, settings: Settings, topic: str, schema_file: str) -> None:
        self._registry = Registry(settings)
        self._avro = AvroReader(schema_file, self._registry)
        partitions = range(partition_count(settings, topic))
        self._consumer = reader(settings, stop_at_end=False)
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])

    def poll(self, timeout_s: float) -> list[tuple[int, dict[str, Any]]]:
        """Return the records that are there with their append times in ms, waiting at most `timeout_s`."""
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        found = []
        for message in [first, *self._consumer.consume(MAX_RECORDS - 1, 0)]:
            if message.error() is None:
                try:
                    found.append((message.timestamp()[1], self._avro.decode(message.value())))
                except BadRecord:
                    continue
        return found

    def close(self) -> None:
        """Let go of broker and registry."""
        self._consumer.close()
        self._registry.close()
