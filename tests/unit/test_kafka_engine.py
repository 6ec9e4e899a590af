"""What the engine makes of a rebalance in the middle of a read; the rest is tested on the real broker."""

import pytest
from confluent_kafka import TopicPartition

from glue.io import kafka_engine
from glue.io.kafka_engine import KafkaBins
from glue.settings import Settings


class FakeMessage:
    def __init__(self, partition, offset):
        self.partition = lambda: partition
        self.offset = lambda: offset
        self.error = lambda: None
        self.value = lambda: None


class FakeConsumer:
    """Hands out one record of each of two partitions; the read after that brings a rebalance of one."""

    def __init__(self, settings, group, **config):
        self._first = [FakeMessage(0, 7), FakeMessage(1, 8)]

    def subscribe(self, topics, on_assign, on_revoke):
        self._on_assign, self._on_revoke = on_assign, on_revoke

    def close(self):
        self._on_assign(self, [TopicPartition("ticks.raw", 1)])
        self._on_revoke(self, [TopicPartition("ticks.raw", 0)])

    def committed(self, partitions, timeout):
        return partitions

    def get_watermark_offsets(self, partition, timeout):
        return 0, 10

    def poll(self, timeout):
        return self._first.pop(0) if self._first else None

    def consume(self, count, timeout):
        mine = [TopicPartition("ticks.raw", 0)]
        self._on_revoke(self, mine)
        self._on_assign(self, mine)
        return []


@pytest.fixture
def rebalances():
    return []


@pytest.fixture
def bins(monkeypatch, rebalances):
    monkeypatch.setattr(kafka_engine, "group_member", FakeConsumer)
    monkeypatch.setattr(kafka_engine, "partition_count", lambda *args: 6)
    monkeypatch.setattr(KafkaBins, "_decode", lambda self, value: None)
    return KafkaBins(
        Settings.load(), lambda *args: rebalances.append(args), rebalances.append, is_stopping=lambda: False
    )


def test_a_record_read_before_its_partition_was_taken_away_and_given_back_is_left_to_be_read_again(bins):
    assert bins.poll(0) == []


def test_a_record_read_before_another_partition_was_taken_away_is_kept(bins):
    bins.poll(0)
    assert [(record.partition, record.offset) for record in bins.poll(0)] == [(1, 8)]


def test_a_rebalance_before_a_record_was_read_drops_nothing(bins):
    for _ in range(3):
        bins.poll(0)
    bins._consumer._first = [FakeMessage(1, 9)]
    assert len(bins.poll(0)) == 1


def test_a_consumer_that_is_closed_late_changes_nothing_for_its_successor(bins, rebalances):
    bins.close()
    assert rebalances == []
