"""A base as large as they come, and bins that fell out of the retention before the engine read them."""

from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from glue.core.binner import Binner
from glue.core.introduction import Feed
from glue.core.partition import Shard
from glue.core.resume import Base, Position
from glue.core.watermarks import Rules
from glue.errors import TapelineError
from glue.io.kafka import admin_client
from glue.io.kafka_groups import move_group
from glue.io.kafka_read import read_to_end
from glue.io.kafka_sink import KafkaSink
from glue.io.state_topic import Checkpoint, read_state
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import Command, bars_on_topic, bins_on_topic, env_of, feed, running, until

pytestmark = pytest.mark.stack
FEED, RULES = Feed("limits", "historical", is_numbered=True), Rules(partitions=6)
T = 1_600_000_000_000
TICKS = ["--synthetic", "--historical", "--symbols", "3", "--rate", "100", "--duration", "30", "--speed", "0"]


def commit_base(settings: Settings, folder: Path, symbols: int) -> None:
    """Commit a bin, a checkpoint and a base of so many symbols."""
    binner = Binner(FEED, RULES)
    line = b'{"symbol":"A","px":1.0,"sz":1,"event_ts":1600000000.0,"seq":0}\n'
    sink = KafkaSink(settings, FEED.feed_id, folder / "dlt.jsonl", is_stopping=lambda: False)
    sink.publish(binner.process(line, T) + binner.end(T))
    watermarks = {f"SYMBOL-{i:018d}": T for i in range(symbols)}
    checkpoint = Checkpoint(
        feed_id=FEED.feed_id, shard=Shard(), mode=FEED.mode, snapshot=binner.snapshot(),
        late_ms=RULES.late_ms, bin_ms=RULES.bin_ms, partitions=RULES.partitions, is_ended=True, updated_ms=0,
    )  # fmt: skip
    try:
        sink.commit(checkpoint, Base(position=Position(), resume_ms=T, symbol_watermarks=watermarks))
    finally:
        sink.abandon()


def test_a_base_of_several_hundred_thousand_symbols_is_committed_and_read(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    commit_base(settings, tmp_path, 300_000)
    (base,) = read_state(settings).bases.values()
    assert len(base.symbol_watermarks) == 300_000


def test_a_base_too_large_for_the_broker_stops_the_worker_at_once_and_says_what_to_do(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    with pytest.raises(TapelineError, match="REPLAY_SHARD"):
        commit_base(settings, tmp_path, 500_000)


@pytest.mark.parametrize("has_committed", [True, False])
def test_an_engine_that_comes_too_late_for_some_bins_makes_no_bar_from_the_rest_of_theirs(
    has_committed: bool, stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings(kafka_partitions=1, replay_metrics_port=0, agg_metrics_port=0)
    env = env_of(settings)
    with feed(*TICKS, cwd=tmp_path) as url:
        worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
        assert worker.wait() == 0, worker.output
    whole: Counter[str] = Counter()
    bins = bins_on_topic(settings)
    for tick_bin in bins:
        whole[f"{tick_bin.symbol}-{tick_bin.start_ts_ms // 1000 * 1000}"] += tick_bin.trade_count
    admin = admin_client(settings)
    if has_committed:
        reached = {0: (20, str(bins[10].start_ts_ms))}
        move_group(settings, settings.agg_group, "glue.aggregate", settings.kafka_topic_raw, reached)
    middle = read_to_end(settings, settings.kafka_topic_raw)[len(bins) // 2].offset() or 0
    for deleted in admin.delete_records([TopicPartition(settings.kafka_topic_raw, 0, middle)]).values():
        deleted.result(60)
    with running("-m", "glue.aggregate", cwd=tmp_path, env=env) as engine:
        engine.wait_for("fallen out of the retention")
        last = f"{bins[-1].symbol}-{bins[-1].start_ts_ms // 1000 * 1000}"
        until(lambda: last in {bar.bar_id for bar in bars_on_topic(settings)}, "the last bar")
    counts = {bar.bar_id: bar.trade_count for bar in bars_on_topic(settings)}
    assert 20 < len(counts) < len(whole) - 20
    assert counts == {bar_id: whole[bar_id] for bar_id in counts}
