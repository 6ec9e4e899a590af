"""Reading topics for the bench: records with the broker's append times, a few at a time."""

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, Message, TopicPartition

from glue.errors import TapelineError
from glue.io.kafka import partition_count
from glue.io.kafka_read import reader
from glue.settings import Settings

SCHEMA_DIR = Path(__file__).parents[1] / "schemas"
HEADER_BYTES = 5
BATCH = 2_000
END_WAIT_S = 0.1
"""`consume` waits so long for a full batch."""


def parsed_schema(name: str) -> Any:
    """Return a schema of schemas/, ready for fastavro."""
    return fastavro.parse_schema(json.loads((SCHEMA_DIR / name).read_text()))


def encode(schema: Any, schema_id: int, record: dict[str, Any]) -> bytes:
    """Return a record in the wire format of schema registries."""
    buffer = io.BytesIO()
    buffer.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()


def decode(schema: Any, value: bytes, header_bytes: int = HEADER_BYTES) -> dict[str, Any]:
    """Return the fields of a record in that format."""
    record = fastavro.schemaless_reader(io.BytesIO(value[header_bytes:]), schema, None)
    assert isinstance(record, dict)
    return record


def committed(settings: Settings, topic: str) -> Iterator[Message]:
    """Yield the committed records of a topic up to its present end."""
    partitions = partition_count(settings, topic)
    consumer = reader(settings)
    try:
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        left = partitions
        while left:
            for message in consumer.consume(BATCH, END_WAIT_S):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                elif not error.retriable():
                    raise TapelineError(f"cannot read topic {topic}: {error.str()}")
    finally:
        consumer.close()


class Following:
    """New committed records of a topic, as they become visible; `is_from_start` begins with the old ones."""

    def __init__(self, settings: Settings, topic: str, *, is_from_start: bool) -> None:
        self._consumer = reader(settings, stop_at_end=False)
        at = OFFSET_BEGINNING if is_from_start else OFFSET_END
        partitions = range(partition_count(settings, topic))
        self._consumer.assign([TopicPartition(topic, p, at) for p in partitions])

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what is there, waiting for the first record at most so long."""
        first = self._consumer.poll(timeout_s)
        messages = [] if first is None else [first, *self._consumer.consume(BATCH, 0)]
        return [message for message in messages if message.error() is None]

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


def wait_until(is_true: Callable[[], bool], what: str, deadline_s: float, pause_s: float = 0.1) -> None:
    """Wait for something to become true.

    Raises:
        TapelineError: it did not in time.
    """
    deadline = time.monotonic() + deadline_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TapelineError(f"waited {deadline_s:.0f} s for {what}")
        time.sleep(pause_s)
