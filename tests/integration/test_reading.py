"""Topics are read to their end of the moment, whatever is written to them meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from glue.io.kafka import client_config
from glue.io.kafka_read import read_to_end
from glue.io.transactions import transactional_producer
from glue.settings import Settings
from tests.conftest import RunningStack

pytestmark = pytest.mark.stack
LONGEST_S = 60.0


@contextmanager
def written_without_pause(settings: Settings, topic: str) -> Iterator[threading.Thread]:
    """Append a record every 2 ms for as long as the block lasts, a minute at most."""
    is_over = threading.Event()
    producer = Producer(client_config(settings, linger_ms=0))

    def write() -> None:
        for i in range(int(LONGEST_S / 0.002)):
            producer.produce(topic, b"more", str(i).encode())
            producer.poll(0)
            if is_over.wait(0.002):
                break
        producer.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield writer
    finally:
        is_over.set()
        writer.join()


@pytest.mark.parametrize("is_whole", [False, True])
def test_the_end_of_a_topic_that_is_always_written_to_is_found(stack: RunningStack, is_whole: bool) -> None:
    settings = stack.settings()
    topic = settings.kafka_topic_state
    with written_without_pause(settings, topic) as writer:
        for _ in range(5):
            read_to_end(settings, topic, is_whole=is_whole)
        assert writer.is_alive()


def test_an_end_that_holds_no_record_is_found(stack: RunningStack) -> None:
    settings = stack.settings()
    topic = settings.kafka_topic_state
    producer = transactional_producer(settings, topic)
    for finish in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.produce(topic, b"value", b"key")
        finish()
    assert [m.value() for m in read_to_end(settings, topic, is_whole=True)] == [b"value"]
    assert [m.value() for m in read_to_end(settings, topic, is_whole=True)] == [b"value"]
