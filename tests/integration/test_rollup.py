"""glue.rollup on the embedded stack: its rows are those of an independent computation from ticks.agg.1s."""

import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from glue import usage
from glue.core.bars import Bar
from glue.deploy.report import Report
from glue.deploy.steps import start_over
from glue.io.fact_tables import FactTables
from glue.io.topic_stats import committed_offsets, written_ms
from glue.rollup import Rollup
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import (
    BTCUSDT,
    WDC,
    Command,
    NeverStopped,
    bars_on_topic,
    env_of,
    feed,
    lines_of,
    members,
    run_offline,
    running,
    until,
)
from tests.warehouse import (
    TABLES,
    BarTopic,
    assert_facts,
    create_tables,
    facts,
    names,
    query,
    revoked_role,
    store_bars,
    walk,
)

pytestmark = pytest.mark.stack
T = 1_600_000_200_000
"""A multiple of 300 s, ms since 1970 UTC."""
NUMBERS = count(1)
WRITTEN = '"facts written"'


@pytest.fixture
def warehouse(stack: RunningStack) -> Callable[..., Settings]:
    """Return settings with topics and a database of their own."""

    def make(**overrides: Any) -> Settings:
        settings = stack.settings(**names(f"r{next(NUMBERS)}"), **overrides)
        create_tables(settings)
        return settings

    return make


def rollup(settings: Settings, cwd: Path, *options: str, **env: str) -> Command:
    return Command("-m", "glue.rollup", *options, cwd=cwd, env=env_of(settings) | env)


def committed(settings: Settings, partitions: int = 1) -> list[int | None]:
    wanted = [TopicPartition(settings.agg_output_topic, p) for p in range(partitions)]
    return committed_offsets(settings, settings.snowflake_loader_group, wanted)


FEEDS = {
    "WDC": ["--file", str(WDC), "--format", "kibot"],
    "BTCUSDT": ["--file", str(BTCUSDT), "--format", "binance"],
    "synthetic": ["--synthetic", "--symbols", "12", "--rate", "40", "--duration", "900", "--seed", "5"],
}


@pytest.mark.parametrize("source", FEEDS)
def test_the_facts_of_a_feed_are_those_of_sql_over_its_bars(
    source: str, warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    if source != "synthetic" and not Path(FEEDS[source][1]).exists():
        pytest.skip(f"{FEEDS[source][1]} is not there")
    settings = warehouse()
    with feed(*FEEDS[source], "--historical", "--speed", "0", cwd=tmp_path) as url:
        run_offline(tmp_path, url)
    BarTopic(settings).put(lines_of(tmp_path / "logs" / "aggregate.jsonl", Bar))
    bars = bars_on_topic(settings)
    assert len(bars) > 40
    command = rollup(settings, tmp_path, "--once", "--final")
    assert command.wait() == 0, command.output
    assert '"stopped"' in command.output
    assert_facts(settings, bars)
    last_ms = max(bar.start_ts_ms for bar in bars)
    assert last_ms < written_ms(settings) <= last_ms + 300_000  # by what was committed


@pytest.mark.full
def test_live_facts_are_written_within_thirty_seconds_of_their_minute(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(snowflake_flush_minutes=1)
    env = env_of(settings)
    with (
        feed("--synthetic", "--symbols", "5", "--rate", "100", cwd=tmp_path) as url,
        running("-m", "glue.aggregate", cwd=tmp_path, env=env),
        running("-m", "glue.rollup", cwd=tmp_path, env=env) as command,
        running("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env),
    ):
        until(lambda: command.output.count(WRITTEN) >= 3, "the facts of three minutes", 280)
        assert command.stop() == 0, command.output
    lags = [use.lag_ms for use in usage.since(0, tmp_path / usage.USAGE_FILE)]
    assert len(lags) >= 3
    assert all(lag is not None and lag <= 30_000 for lag in lags), lags


def test_once_leaves_what_has_not_ended_to_the_next_one(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    topic, bars = BarTopic(settings), walk(3, T, 700)
    topic.put(bars[: 3 * 400])
    first = rollup(settings, tmp_path, "--once")
    assert first.wait() == 0, first.output
    assert {row["START_TS_MS"] for row in facts(settings, 300).values()} == {T}
    assert committed(settings) == [3 * 300]
    topic.put(bars[3 * 400 :])
    second = rollup(settings, tmp_path, "--once", "--final")
    assert second.wait() == 0, second.output
    assert_facts(settings, bars)


def test_once_waits_for_its_turn_while_the_machine_stands_still(
    warehouse: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, minutes = warehouse(), count(0, 60_000)
    bars = walk(2, T, 400)
    BarTopic(settings).put(bars)
    loader = Rollup(settings, NeverStopped(), FactTables(settings), clock=lambda: next(minutes))
    loader.run(once=True, is_final=True)
    assert_facts(settings, bars)


def test_shards_read_all_partitions_and_share_the_symbols(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(kafka_agg_partitions=3)
    bars = walk(7, T, 400, every_s=3)
    BarTopic(settings).put(bars)
    for shard in ("0/2", "1/2"):
        command = rollup(settings, tmp_path, "--once", "--final", "--shard", shard)
        assert command.wait() == 0, command.output
    assert_facts(settings, bars)


def test_a_late_bar_makes_its_written_window_anew_from_the_stored_bars(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    topic, bars = BarTopic(settings), walk(2, T, 300, every_s=4)
    late = bars.pop(5)
    topic.put(bars)
    assert rollup(settings, tmp_path, "--once", "--final").wait() == 0
    topic.put([late])
    for stored in ([], bars[:-1]):
        store_bars(settings, stored)
        waiting = rollup(settings, tmp_path, "--once", "--final")
        assert waiting.wait() == 0, waiting.output
        assert "late bars wait for FACT_TICKS_1S" in waiting.output
        assert_facts(settings, bars)
        assert committed(settings) == [len(bars)]
    store_bars(settings, [bars[-1], bars[0]], offset=len(bars) - 1)
    done = rollup(settings, tmp_path, "--once", "--final")
    assert done.wait() == 0, done.output
    assert_facts(settings, [*bars, late])


def test_many_late_bars_do_not_replace_a_row_of_few(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(snowflake_flush_minutes=1)
    topic, bars = BarTopic(settings), walk(1, T, 60)
    topic.put(bars[:10])
    assert rollup(settings, tmp_path, "--once", "--final").wait() == 0
    topic.put(bars[10:])
    waiting = rollup(settings, tmp_path, "--once", "--final")
    assert waiting.wait() == 0, waiting.output
    assert_facts(settings, bars[:10])
    store_bars(settings, bars)
    done = rollup(settings, tmp_path, "--once", "--final")
    assert done.wait() == 0, done.output
    assert_facts(settings, bars)


def test_after_a_fresh_start_the_first_window_is_made_from_the_new_bars(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    topic, bars = BarTopic(settings), walk(2, T, 700)
    topic.put(bars[:200])
    assert rollup(settings, tmp_path, "--once", "--final").wait() == 0
    start_over(settings, Report(on_stderr=True))
    assert committed(settings) == [200]
    for table in TABLES.values():
        query(settings, f"DELETE FROM CORE.{table}")
    topic.put(bars[200:])
    again = rollup(settings, tmp_path, "--once", "--final")
    assert again.wait() == 0, again.output
    assert '"level": "error"' not in again.output
    assert_facts(settings, bars[200:])
    new = rollup(
        settings, tmp_path, "--once", SNOWFLAKE_LOADER_GROUP=f"{settings.snowflake_loader_group}-new"
    )
    assert new.wait() == 0, new.output
    assert "a new group begins where the bars do" in new.output
    assert '"level": "error"' not in new.output
    assert_facts(settings, bars[200:])


def test_what_the_warehouse_refuses_is_said_and_moves_no_offset(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    BarTopic(settings).put(walk(2, T, 400))
    account = settings.snow_account.replace(":tapeline@", ":wrong@")
    role = revoked_role(settings)
    query(settings, "DROP TABLE CORE.FACT_TICKS_300S")
    for env, text in (
        ({"SNOW_ACCOUNT": account}, "SNOW_PASSWORD"),
        ({"SNOW_ROLE": role}, f"refuses SNOW_ROLE={role}"),
        ({}, "FACT_TICKS_300S"),
    ):
        command = rollup(settings, tmp_path, "--once", **env)
        assert command.wait() == 1, command.output
        assert "Traceback" not in command.output
        assert "wrong@" not in command.output
        assert text in command.output.splitlines()[-1]
        assert committed(settings) == [None]
    assert facts(settings, 60) == {}, "the transaction was not undone"


def test_a_loader_stops_at_a_signal_and_a_standby_takes_over(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(snowflake_flush_minutes=1)
    topic, bars = BarTopic(settings), walk(9, T, 600)
    env = env_of(settings)
    with (
        running("-m", "glue.rollup", cwd=tmp_path, env=env) as one,
        running("-m", "glue.rollup", cwd=tmp_path, env=env) as other,
    ):
        until(lambda: members(settings, settings.snowflake_loader_group) == 2, "both in the group")
        topic.put(bars[: 9 * 200])
        until(lambda: any(WRITTEN in c.output for c in (one, other)), "the first facts")
        active, standby = (one, other) if WRITTEN in one.output else (other, one)
        assert WRITTEN not in standby.output
        active.stop(signal.SIGKILL)
        topic.put(bars[9 * 200 :])
        until(lambda: len(facts(settings, 60)) >= 9 * 9, "the facts of nine minutes")
        assert standby.stop() == 0, standby.output
        assert '"stopped"' in standby.output
        assert "Traceback" not in standby.output
    last = rollup(settings, tmp_path, "--once", "--final")
    assert last.wait() == 0, last.output
    assert_facts(settings, bars)
