"""glue.stage_raw on the embedded stack: every bin of ticks.raw is in RAW.TICKS_RAW, once and as it was."""

import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from glue.core.bins import TickBin
from glue.io.topic_stats import consumer_lag
from glue.io.topics import recreate_topics
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import Command, env_of, feed, members, running, until
from tests.raw_bins import (
    BinTopic,
    assert_rows,
    committed,
    count_rows,
    create_raw,
    files_in,
    settled,
    some_bins,
    spool_of,
)
from tests.warehouse import names, query, revoked_role

pytestmark = pytest.mark.stack
T = 1_266_364_800_000
"""2010-02-17, ms since 1970 UTC."""
NUMBERS = count(1)
LOADED = '"bins loaded"'


@pytest.fixture
def warehouse(stack: RunningStack) -> Callable[..., Settings]:
    """Return settings with topics and a database of their own."""

    def make(**overrides: Any) -> Settings:
        # Files end with an hour of the clock, which may do so in any test; with a day it does but once.
        settings = stack.settings(**names(f"s{next(NUMBERS)}"), snowflake_raw_minutes=1440, **overrides)
        create_raw(settings)
        return settings

    return make


def stage_raw(settings: Settings, cwd: Path, *options: str, **env: str) -> Command:
    return Command("-m", "glue.stage_raw", *options, cwd=cwd, env=env_of(settings) | env)


def load_all(settings: Settings, cwd: Path) -> Command:
    command = stage_raw(settings, cwd, "--once")
    assert command.wait() == 0, command.output
    assert '"stopped"' in command.output
    assert files_in(spool_of(cwd, settings)) == set()
    return command


def test_the_rows_are_the_bins_of_the_topic_and_a_second_run_adds_what_is_new(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    options = ["--synthetic", "--historical", "--speed", "0", "--symbols", "9", "--duration", "60"]
    with feed(*options, "--rate", "20", cwd=tmp_path) as url:
        worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env_of(settings))
        assert worker.wait() == 0, worker.output
    load_all(settings, tmp_path)
    found = assert_rows(settings)
    assert len(found) > 1000
    files = {row["file_name"] for row in found}
    assert len(files) == len({row["kafka_partition"] for row in found}), "a file a partition"

    load_all(settings, tmp_path)
    assert len(assert_rows(settings)) == len(found)

    extreme = some_bins(1, T)[0]
    extreme.open = extreme.high = 1e15
    extreme.low, extreme.close, extreme.volume, extreme.notional = 1e-8, 0.1 + 0.2, 1e-8, 9e29
    beyond = some_bins(2, T, seed=9)[1]
    beyond.notional = 1e30
    BinTopic(settings).put([*some_bins(300, T), extreme, beyond])
    command = load_all(settings, tmp_path)
    assert command.output.count("the largest number that fits") == 1
    assert len(assert_rows(settings)) == len(found) + 302
    assert all(not place.spans for place in committed(settings).values())
    lag = consumer_lag(settings, settings.snowflake_raw_group, settings.kafka_topic_raw)
    assert {row.group for row in lag} == {settings.snowflake_raw_group}
    assert all(row.lag is not None and row.lag <= 2 for row in lag), "markers of transactions at most"


def test_files_end_by_size_and_no_record_that_the_table_cannot_hold_spoils_one(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(kafka_partitions=1, snowflake_raw_file_mb=1)
    bins = some_bins(6000, T)
    BinTopic(settings).put(bins, a_time=3000)
    load_all(settings, tmp_path)
    found = assert_rows(settings)
    assert len({row["file_name"] for row in found}) == 3, "2.2 MB in files of 1 MB"

    empty = TickBin("X-1", "X", 1, 11, 10, None, None, None, None, 0.0, 0.0, 0, 0, 1, None, None, None)
    bad = some_bins(2, T, seed=2)
    bad[0].notional = float("nan")
    bad[1].bin_id = "far too long" * 10
    topic = BinTopic(settings)
    topic.put([empty, *bad, *some_bins(5, T + 60_000)])
    command = load_all(settings, tmp_path)
    assert command.output.count("cannot hold") == 3
    assert count_rows(settings) == 6005


def test_a_topic_made_anew_is_read_from_its_start(warehouse: Callable[..., Settings], tmp_path: Path) -> None:
    settings = warehouse()
    for seed in (1, 2):
        BinTopic(settings).put(some_bins(100, T, seed=seed))
        load_all(settings, tmp_path)
        assert count_rows(settings) == seed * 100
        recreate_topics(settings, [settings.kafka_topic_raw])


def is_active(command: Command) -> bool:
    return command.output.rfind('"event": "active"') > command.output.rfind('"event": "revoked"')


def test_a_standby_goes_on_with_the_files_of_a_killed_one(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(kafka_partitions=1)
    env = env_of(settings)
    with (
        running("-m", "glue.stage_raw", cwd=tmp_path, env=env) as one,
        running("-m", "glue.stage_raw", cwd=tmp_path, env=env) as other,
    ):
        until(lambda: members(settings, settings.snowflake_raw_group) == 2, "both in the group")
        until(lambda: is_active(one) != is_active(other), "one that reads")
        BinTopic(settings).put(some_bins(2000, T))
        part = spool_of(tmp_path, settings) / "0-0.part"
        # Where the bins come in two reads, the first file may be loaded by now.
        until(
            lambda: (part.exists() and part.stat().st_size) or LOADED in one.output + other.output,
            "lines in a file",
        )
        active, standby = (one, other) if is_active(one) else (other, one)
        active.stop(signal.SIGKILL)
        # A query wakes the warehouse, as a flush does; while that is asleep, a load waits for minutes.
        until(lambda: count_rows(settings) >= 0 and LOADED in standby.output, "the load of the other")
        assert standby.stop() == 0, standby.output
        assert '"stopped"' in standby.output
        assert "Traceback" not in one.output + other.output
    load_all(settings, tmp_path)
    found = assert_rows(settings)
    assert len({row["file_name"] for row in found}) > 1, "the killed one's file was not gone on with"


def test_what_the_warehouse_refuses_is_said_and_nothing_is_lost(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(kafka_partitions=1)
    BinTopic(settings).put(some_bins(50, T))
    account = settings.snow_account.replace(":tapeline@", ":wrong@")
    role = revoked_role(settings)
    for env, text in (
        ({"SNOW_ACCOUNT": account}, "SNOW_PASSWORD"),
        ({"SNOW_ROLE": role}, f"refuses SNOW_ROLE={role}"),
    ):
        refused = stage_raw(settings, tmp_path, "--once", **env)
        assert refused.wait() == 1, refused.output
        assert text in refused.output.splitlines()[-1]
        assert "Traceback" not in refused.output
        assert "wrong@" not in refused.output
        assert committed(settings) == {}

    query(settings, "ALTER TABLE RAW.TICKS_RAW RENAME TO RAW.ELSEWHERE")
    missing = stage_raw(settings, tmp_path, "--once")
    assert missing.wait() == 1, missing.output
    assert "TICKS_RAW" in missing.output.splitlines()[-1]
    assert "Traceback" not in missing.output
    (span,) = settled(settings)
    assert committed(settings)[0].offset == span.first == 0
    assert files_in(spool_of(tmp_path, settings)) == {span.name}

    query(settings, "ALTER TABLE RAW.ELSEWHERE RENAME TO RAW.TICKS_RAW")
    load_all(settings, tmp_path)
    assert_rows(settings)
