"""How far bars are complete while none come: decided by what others have committed, never by the clock."""

import pytest

from glue.core.partition import Shard
from glue.core.resume import Position, Snapshot
from glue.errors import TransientError
from glue.io.bar_progress import LOOK_EVERY_MS, BarProgress, closed_until
from glue.io.state_topic import Checkpoint

T = 1_600_000_200_000
MINUTE_MS = 60_000
LATE_MS = 500
PARTITIONS = 3
RAW, BETWEEN, BARS = "ticks.raw", "between", "bars"


def word(closed_ms: int, feed_id: str = "feed", shard: str = "0/1", **more: object) -> Checkpoint:
    """Return a checkpoint whose watermark closes all bars that end by a time."""
    snapshot = Snapshot(
        position=Position(),
        newest_ms=T,
        watermark_ms=closed_ms + LATE_MS,
        bars_end_ms=T,
        opened_by=None,
        marks=[],
        refused=[],
    )
    fields = {
        "feed_id": feed_id,
        "shard": Shard.parse(shard),
        "mode": "live",
        "snapshot": snapshot,
        "late_ms": LATE_MS,
        "bin_ms": 10,
        "partitions": PARTITIONS,
        "is_ended": False,
        "updated_ms": 0,
    }
    return Checkpoint(**(fields | more))


class Pipeline:
    """Topics of which a test says how long they are and who has read how far."""

    def __init__(self) -> None:
        self.words = [word(T + MINUTE_MS)]
        self.ends_of = {RAW: [10] * PARTITIONS, BETWEEN: [20], BARS: [30]}
        self.read_of = {RAW: [10] * PARTITIONS, BETWEEN: [20], BARS: [30]}
        self.groups = [("bins", RAW)]
        self.is_away = False
        self.wall_ms = 0
        self.progress = BarProgress(self, PARTITIONS, lambda: self.groups, BARS)

    def checkpoints(self) -> list[Checkpoint]:
        if self.is_away:
            raise TransientError("no broker answers")
        return self.words

    def ends(self, topic: str) -> list[int]:
        return list(self.ends_of[topic])

    def has_read(self, group: str, topic: str, ends: list[int]) -> bool:
        assert len(ends) == len(self.read_of[topic])
        return bool(group) and all(at >= end for at, end in zip(self.read_of[topic], ends, strict=True))

    def look(self, wanted_ms: int = T + MINUTE_MS) -> int | None:
        self.wall_ms += LOOK_EVERY_MS
        return self.progress.look(
            self.wall_ms,
            lambda until_ms: until_ms >= wanted_ms,
            lambda ends: self.has_read("loader", BARS, ends),
        )


def test_bars_are_complete_when_engine_and_loader_have_read_all_that_the_feed_has_closed():
    assert Pipeline().look() == T + MINUTE_MS


def test_a_feed_that_has_not_come_so_far_closes_nothing():
    pipeline = Pipeline()
    pipeline.words = [word(T + MINUTE_MS - 1)]
    assert pipeline.look() is None
    pipeline.words = [word(T + MINUTE_MS)]
    assert pipeline.look() == T + MINUTE_MS


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_an_engine_that_is_behind_on_a_partition_closes_nothing_however_long_it_takes(partition: int):
    pipeline = Pipeline()
    pipeline.read_of[RAW][partition] = 9
    for _ in range(1000):
        assert pipeline.look() is None
    pipeline.read_of[RAW][partition] = 10
    assert pipeline.look() == T + MINUTE_MS


def test_what_the_feed_sends_after_its_word_need_not_be_read():
    pipeline = Pipeline()
    pipeline.read_of[RAW] = [9] * PARTITIONS
    assert pipeline.look() is None
    pipeline.words = [word(T + 2 * MINUTE_MS)]
    pipeline.ends_of[RAW] = [20] * PARTITIONS
    pipeline.read_of[RAW] = [10] * PARTITIONS
    assert pipeline.look() == T + MINUTE_MS


def test_each_step_of_the_engine_must_have_read_what_the_one_before_made():
    pipeline = Pipeline()
    pipeline.groups = [("bins", RAW), ("windows", BETWEEN)]
    pipeline.read_of[RAW] = [9] * PARTITIONS
    assert pipeline.look() is None
    pipeline.read_of[RAW] = [10] * PARTITIONS
    pipeline.ends_of[BETWEEN] = [21]  # made from the last records of the step before
    assert pipeline.look() is None
    pipeline.read_of[BETWEEN] = [21]
    pipeline.ends_of[BARS] = [31]
    assert pipeline.look() is None
    pipeline.read_of[BARS] = [31]
    assert pipeline.look() == T + MINUTE_MS


def test_a_step_that_is_not_there_closes_nothing():
    pipeline = Pipeline()
    pipeline.groups = [("", RAW)]
    assert pipeline.look() is None


def test_a_broker_that_is_away_closes_nothing():
    pipeline = Pipeline()
    pipeline.is_away = True
    assert pipeline.look() is None
    pipeline.is_away = False
    assert pipeline.look() == T + MINUTE_MS


def test_it_does_not_look_more_often_than_every_few_seconds():
    pipeline = Pipeline()
    pipeline.words = []
    assert pipeline.look() is None
    pipeline.words = [word(T + MINUTE_MS)]
    pipeline.wall_ms -= 1
    assert pipeline.look() is None
    pipeline.wall_ms += 1
    assert pipeline.look() == T + MINUTE_MS


def test_no_word_is_none():
    assert closed_until([], PARTITIONS) is None


def test_a_word_counts_whole_seconds():
    assert closed_until([word(T + 1999)], PARTITIONS) == T + 1000


def test_all_shards_of_a_feed_must_have_said_so():
    words = [word(T + 9000, shard="0/3"), word(T + 5000, shard="2/3")]
    assert closed_until(words, PARTITIONS) is None
    assert closed_until([*words, word(T + 7000, shard="1/3")], PARTITIONS) == T + 5000


def test_a_feed_that_was_left_behind_holds_nothing_back():
    words = [word(T, "old", is_ended=True), word(T + 5000, "given up", shard="0/2"), word(T + 9000, "live")]
    assert closed_until(words, PARTITIONS) == T + 9000
    assert closed_until(words[:2], PARTITIONS) == T


def test_a_feed_that_was_written_to_other_partitions_does_not_count():
    assert closed_until([word(T, partitions=PARTITIONS + 1)], PARTITIONS) is None
