"""The dashboard's reader on the real broker: the newest first, then the past, then what comes."""

import pytest
from confluent_kafka.admin import AdminClient

from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io import bar_feed
from glue.io.bar_feed import BarFeed, Batch
from glue.io.kafka import partition_counts, publish
from glue.io.registry import RegistryAway
from glue.io.topics import ensure_topics
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import until
from tests.unit.dashboard_bars import bar
from tests.warehouse import BarTopic

pytestmark = pytest.mark.stack


def starts(batch: Batch) -> list[int]:
    return [read.bar.start_ts_ms for read in batch.bars]


def read_until(feed: BarFeed, count: int) -> list[Batch]:
    """Return the batches that bring `count` bars."""
    batches: list[Batch] = []
    until(
        lambda: batches.append(feed.poll(0.2)) or sum(len(b.bars) for b in batches) >= count, f"{count} bars"
    )
    return batches


def test_the_newest_bars_come_first_then_the_past_and_each_once(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar_feed, "CHUNK", 40)
    settings = stack.settings(kafka_agg_partitions=2)
    bars = [bar(second, symbol) for second in range(100) for symbol in ("AAPL", "WDC")]
    topic = BarTopic(settings)
    topic.put(bars)
    feed = BarFeed(settings)
    try:
        batches = read_until(feed, len(bars))
        first = next(batch for batch in batches if batch.bars)
        assert max(starts(first)) == bars[-1].start_ts_ms
        assert min(starts(first)) > bars[0].start_ts_ms
        assert feed.filled == 1.0
        reads = [read for batch in batches for read in batch.bars]
        assert sorted(r.bar.bar_id for r in reads) == sorted(b.bar_id for b in bars)
        assert {r.receive_ms for r in reads} == {None}
        assert any(r.is_older for r in reads)
        topic.put([bar(100)])
        (read,) = (read for batch in read_until(feed, 1) for read in batch.bars)
        assert read.bar == bar(100)
        assert read.receive_ms is not None
        assert not read.is_older
        until(lambda: feed.poll(0.1) is not None and feed.backlog == 0, "no backlog")
    finally:
        feed.close()


def test_bars_of_the_past_that_are_not_wanted_are_passed_over(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bar_feed, "CHUNK", 10)
    settings = stack.settings()
    began_ms = now_ms()
    BarTopic(settings).put([bar(second) for second in range(40)])

    def is_settled(symbol: str, start_ms: int, append_ms: int) -> bool:
        return symbol == "WDC" and start_ms < bar(25).start_ts_ms and append_ms >= began_ms

    feed = BarFeed(settings, is_settled)
    try:
        found: list[int] = []
        until(lambda: found.extend(starts(feed.poll(0.1))) or feed.filled == 1.0, "the whole past")
        assert sorted(found) == [bar(second).start_ts_ms for second in range(25, 40)]
    finally:
        feed.close()


def test_topics_that_begin_anew_are_noticed(stack: RunningStack) -> None:
    settings = stack.settings()
    BarTopic(settings).put([bar(second) for second in range(5)])
    feed = BarFeed(settings)
    try:
        read_until(feed, 5)
        admin = AdminClient({"bootstrap.servers": settings.kafka_brokers})
        admin.delete_topics([settings.agg_output_topic])[settings.agg_output_topic].result(60)
        until(lambda: settings.agg_output_topic not in partition_counts(settings), "the topic to be gone")

        def is_there() -> bool:
            try:
                ensure_topics(settings)
            except TapelineError:  # still being deleted
                return False
            return True

        until(is_there, "the topic again")
        BarTopic(settings).put([bar(9)])
        batches: list[Batch] = []

        def is_anew() -> bool:
            try:
                batches.append(feed.poll(0.2))
            except TapelineError:
                return False
            return any(batch.has_restarted for batch in batches) and bool(batches[-1].bars)

        until(is_anew, "the new topic's bar")
        assert starts(batches[-1]) == [bar(9).start_ts_ms]
    finally:
        feed.close()


def test_what_is_no_bar_is_counted(stack: RunningStack) -> None:
    settings = stack.settings()
    publish(settings, settings.agg_output_topic, "WDC-1", b"no Avro")
    BarTopic(settings).put([bar(1)])
    feed = BarFeed(settings)
    try:
        assert sum(batch.unreadable for batch in read_until(feed, 1)) == 1
    finally:
        feed.close()


def test_a_topic_that_is_missing_is_named(stack: RunningStack) -> None:
    settings = stack.settings()
    missing = Settings.load(**(settings.model_dump() | {"agg_output_topic": "no.such.topic"}))
    with pytest.raises(TapelineError, match=r"no\.such\.topic"):
        BarFeed(missing)


def test_a_registry_that_is_away_is_told_and_the_end_is_not_reached(stack: RunningStack) -> None:
    settings = stack.settings()
    BarTopic(settings).put([bar(1)])
    away = Settings.load(**(settings.model_dump() | {"schema_registry_url": "http://127.0.0.1:9"}))
    feed = BarFeed(away)
    told: list[str] = []

    def poll() -> int:
        try:
            feed.poll(0.2)
        except RegistryAway as error:
            told.append(str(error))
        assert not feed.is_at_end
        return len(told)

    try:
        until(lambda: poll() >= 2, "the registry, twice")
        assert "127.0.0.1:9" in told[-1]
    finally:
        feed.close()


def test_the_end_of_empty_topics_is_reached(stack: RunningStack) -> None:
    feed = BarFeed(stack.settings())
    try:
        until(lambda: feed.poll(0.1) is not None and feed.is_at_end, "the end")
    finally:
        feed.close()
