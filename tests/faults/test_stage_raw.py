"""A raw loader killed while it ends, puts or loads a file, or without its warehouse: every bin once."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from glue import metrics
from glue.core.partition import partition_of
from glue.errors import TransientError
from glue.io.kafka import admin_client
from glue.io.kafka_read import topic_ends
from glue.io.raw_tables import RawTables
from glue.settings import Settings
from glue.stage_raw import RawLoader
from tests.conftest import RunningStack
from tests.faults.warehouse_proxy import Point, WarehouseProxy, warehouse_proxy
from tests.processes import Command, NeverStopped, env_of, until
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
from tests.warehouse import names, query

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
T = 1_266_364_800_000
NUMBERS = count(1)
HOUR_MS = 3_600_000
POINTS: list[tuple[str, Point]] = [("PUT", "before"), ("PUT", "after"), ("COPY", "inside"), ("COPY", "after")]


@pytest.fixture
def warehouse(stack: RunningStack) -> Callable[..., Settings]:
    def make(**overrides: Any) -> Settings:
        settings = stack.settings(**names(f"k{next(NUMBERS)}"), kafka_partitions=3, **overrides)
        create_raw(settings)
        return settings

    return make


def stage_raw(settings: Settings, cwd: Path, proxy: WarehouseProxy, *options: str) -> Command:
    env = env_of(settings) | {"SNOW_ACCOUNT": proxy.account}
    return Command("-m", "glue.stage_raw", *options, cwd=cwd, env=env)


def kill_at(statement: str, point: Point, settings: Settings, cwd: Path, proxy: WarehouseProxy) -> None:
    proxy.hold(point, statement)
    command = stage_raw(settings, cwd, proxy, "--once")
    until(proxy.held.is_set, f"{statement} held {point}")
    assert command.stop(signal.SIGKILL) == -signal.SIGKILL


def kill_while_a_file_ends(settings: Settings, cwd: Path, proxy: WarehouseProxy, topic: BinTopic) -> None:
    """Let the file be a pipe that nobody empties: the loader stands in the middle of writing it."""
    command = stage_raw(settings, cwd, proxy)
    command.wait_for('"active"')
    partition = partition_of("S0", settings.kafka_partitions)
    pipe = spool_of(cwd, settings) / f"{partition}.{command.pid}.tmp"
    os.mkfifo(pipe)
    opened: list[int] = []
    threading.Thread(target=lambda: opened.append(os.open(pipe, os.O_RDONLY)), daemon=True).start()
    topic.put(some_bins(9000, T, symbols=3))
    until(lambda: opened, "a file that ends")
    assert command.stop(signal.SIGKILL) == -signal.SIGKILL
    os.close(opened[0])
    assert pipe.exists()


def test_a_loader_killed_at_each_point_leaves_every_bin_once(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(snowflake_raw_file_mb=1)
    topic = BinTopic(settings)
    with warehouse_proxy(settings.snow_account) as proxy:
        kill_while_a_file_ends(settings, tmp_path, proxy, topic)
        for i, (statement, point) in enumerate(POINTS):
            topic.put(some_bins(200, T + (i + 1) * HOUR_MS))
            kill_at(statement, point, settings, tmp_path, proxy)
            assert settled(settings), "the bounds of the files were not settled before they went out"
        loaded, files = count_rows(settings), settled(settings)
        assert loaded > 0
        shutil.rmtree(spool_of(tmp_path, settings))  # its disk is lost as well
        topic.put(some_bins(50, T + 9 * HOUR_MS))
        last = stage_raw(settings, tmp_path, proxy, "--once")
        assert last.wait() == 0, last.output
    found = assert_rows(settings)
    assert len(found) == 9000 + 4 * 200 + 50
    assert {span.name for span in files} <= {row["file_name"].rpartition("/")[2] for row in found}
    assert files_in(spool_of(tmp_path, settings)) == set()
    assert settled(settings) == set()


def test_a_frozen_loader_that_wakes_up_beside_its_successor_doubles_nothing(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    topic, folder = BinTopic(settings), spool_of(tmp_path, settings)
    topic.put(some_bins(3000, T, symbols=3))
    with warehouse_proxy(settings.snow_account) as proxy:
        frozen = stage_raw(settings, tmp_path, proxy)
        until(lambda: any(path.stat().st_size for path in folder.glob("*.part")), "lines in a file")
        os.kill(frozen.pid, signal.SIGSTOP)
        topic.put(some_bins(300, T + HOUR_MS))
        successor = stage_raw(settings, tmp_path, proxy, "--once")
        try:
            assert successor.wait() == 0, successor.output
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        assert count_rows(settings) == 3300
        topic.put(some_bins(300, T + 2 * HOUR_MS))
        until(lambda: frozen.output.count('"event": "active"') >= 2, "its turn again")
        assert frozen.stop() == 0, frozen.output
        assert "Traceback" not in frozen.output
        last = stage_raw(settings, tmp_path, proxy, "--once")
        assert last.wait() == 0, last.output
    assert len(assert_rows(settings)) == 3600
    assert files_in(folder) == set()


def test_hours_without_the_warehouse_lose_nothing_and_the_files_are_bounded(
    warehouse: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glue.stage_raw.MOST_FILES", 3)
    settings = warehouse(snow_login_timeout_ms=1_000)
    topic, now_ms = BinTopic(settings), [T]
    with warehouse_proxy(settings.snow_account) as proxy:
        behind = settings.model_copy(update={"snow_account": proxy.account})
        tables = RawTables(behind)
        tables.open()
        loader = RawLoader(behind, NeverStopped(), tables, clock=lambda: now_ms[0])
        with loader.reading():
            until(lambda: (loader.step(), loader.fields()["state"] == "active")[1], "the group")
            proxy.is_down = True
            for hour in range(5):
                topic.put(some_bins(60, T + hour * HOUR_MS))
                until(lambda: (loader.step(), loader.fields()["bins"] == 60 * min(hour + 1, 3))[1], "bins")  # noqa: B023
                now_ms[0] += HOUR_MS
                loader.step()
                assert len(files_in(spool_of(tmp_path, settings))) <= 3 * 3
            assert proxy.refused
            assert loader.fields()["rows_loaded"] == 0
            assert loader.fields()["files_waiting"] == len(files_in(spool_of(tmp_path, settings))) == 9
            assert settled(settings)
            proxy.is_down = False
            for _ in range(2):
                now_ms[0] += HOUR_MS
                until(lambda: (loader.step(), loader.fields()["files_waiting"] == 0)[1], "the load")
                until(lambda: (loader.step(), loader.fields()["bins"] == 300)[1], "the rest")
            assert loader.fields()["rows_loaded"] == count_rows(settings) == 300
        tables.close()
    assert_rows(settings)
    assert files_in(spool_of(tmp_path, settings)) == set()


def test_bins_that_fall_out_of_the_retention_meanwhile_are_told_of(
    warehouse: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glue.stage_raw.MOST_FILES", 1)
    settings = warehouse(snow_login_timeout_ms=1_000)
    topic, now_ms = BinTopic(settings), [T]
    with warehouse_proxy(settings.snow_account) as proxy:
        behind = settings.model_copy(update={"snow_account": proxy.account})
        tables = RawTables(behind)
        tables.open()
        loader = RawLoader(behind, NeverStopped(), tables, clock=lambda: now_ms[0])
        with loader.reading():
            topic.put(some_bins(60, T))
            until(lambda: (loader.step(), loader.fields()["bins"] == 60)[1], "bins")
            proxy.is_down = True
            now_ms[0] += HOUR_MS
            until(lambda: (loader.step(), loader.fields()["files_waiting"] == 3)[1], "no more reading")
            topic.put(some_bins(60, T + HOUR_MS))
            delete_all(settings)
            topic.put(some_bins(60, T + 2 * HOUR_MS))
            proxy.is_down = False
            now_ms[0] += HOUR_MS
            with pytest.raises(TransientError, match="is gone"):
                until(lambda: loader.step(), "the gap")
        before = sum(missed())
        with loader.reading():
            until(lambda: (loader.step(), loader.fields()["bins"] == 120)[1], "what is left")
            assert sum(missed()) == before + 3
            now_ms[0] += HOUR_MS
            until(lambda: (loader.step(), loader.fields()["rows_loaded"] == 120)[1], "the load")
        tables.close()
    assert count_rows(settings) == 120


def delete_all(settings: Settings) -> None:
    """Do to the topic what the retention does."""
    topic, admin = settings.kafka_topic_raw, admin_client(settings)
    ends = [TopicPartition(topic, p, end) for p, end in enumerate(topic_ends(settings, topic))]
    for deleted in admin.delete_records(ends).values():
        deleted.result(10)


def missed() -> list[float]:
    return [s.value for m in metrics.BINS_MISSED.collect() for s in m.samples if s.name.endswith("_total")]


def test_a_file_whose_rows_are_not_there_stays_and_is_said(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse()
    BinTopic(settings).put(some_bins(60, T))
    with warehouse_proxy(settings.snow_account) as proxy:
        kill_at("COPY", "after", settings, tmp_path, proxy)
        files = {span.name for span in settled(settings)}
        query(settings, "DELETE FROM RAW.TICKS_RAW")
        refused = stage_raw(settings, tmp_path, proxy, "--once")
        assert refused.wait() == 1, refused.output
    assert "RAW.TICKS_RAW has 0 of the" in refused.output.splitlines()[-1]
    assert "Traceback" not in refused.output
    assert files_in(spool_of(tmp_path, settings)) == files
    assert {span.name for span in settled(settings)} == files
    assert {place.offset for place in committed(settings).values()} == {0}
