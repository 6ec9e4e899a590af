"""A loader killed at any point of a flush, or without its warehouse: the rows of an undisturbed run."""

import random
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest

from glue.io.fact_tables import FactTables
from glue.rollup import Rollup
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.faults.warehouse_proxy import Point, WarehouseProxy, warehouse_proxy
from tests.processes import Command, NeverStopped, env_of, until
from tests.warehouse import BarTopic, assert_facts, create_tables, facts, names, walk

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
T = 1_600_000_200_000
NUMBERS = count(1)
TEN_MINUTES_MS = 600_000


@pytest.fixture
def warehouse(stack: RunningStack) -> Callable[..., Settings]:
    def make(**overrides: Any) -> Settings:
        settings = stack.settings(**names(f"f{next(NUMBERS)}"), **overrides)
        create_tables(settings)
        return settings

    return make


def rollup(settings: Settings, cwd: Path, proxy: WarehouseProxy, *options: str) -> Command:
    env = env_of(settings) | {"SNOW_ACCOUNT": proxy.account}
    return Command("-m", "glue.rollup", *options, cwd=cwd, env=env)


def test_a_loader_killed_at_each_point_of_a_flush_changes_no_row(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(snowflake_flush_minutes=1)
    topic, bars = BarTopic(settings), walk(5, T, 1500, every_s=2)
    with warehouse_proxy(settings.snow_account) as proxy:
        points = get_args(Point)
        for i, point in enumerate(points):
            share = len(bars) // len(points)
            topic.put(bars[i * share : (i + 1) * share])
            proxy.hold(point)
            command = rollup(settings, tmp_path, proxy, "--once")
            until(proxy.held.is_set, f"a flush held {point}")
            assert command.stop(signal.SIGKILL) == -signal.SIGKILL
        last = rollup(settings, tmp_path, proxy, "--once", "--final")
        assert last.wait() == 0, last.output
    assert_facts(settings, bars)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_a_loader_killed_at_random_changes_no_row(
    kills: int, warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    rng = random.Random(f"rollup {kills}")
    settings = warehouse(snowflake_flush_minutes=1)
    topic, bars = BarTopic(settings), walk(5, T, 600 * kills, every_s=3)
    share = -(-len(bars) // kills)
    with warehouse_proxy(settings.snow_account) as proxy:
        for i in range(kills):
            topic.put(bars[i * share : (i + 1) * share])
            command = rollup(settings, tmp_path, proxy)
            command.wait_for('"active"')
            time.sleep(rng.uniform(0, 2.5))
            command.stop(signal.SIGKILL)
        last = rollup(settings, tmp_path, proxy, "--once", "--final")
        assert last.wait() == 0, last.output
    assert_facts(settings, bars)


def test_a_warehouse_that_is_away_for_fifteen_seconds_misses_nothing(
    warehouse: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = warehouse(snowflake_flush_minutes=1, snow_login_timeout_ms=3_000)
    topic, bars = BarTopic(settings), walk(9, T, 600)
    with warehouse_proxy(settings.snow_account) as proxy:
        command = rollup(settings, tmp_path, proxy)
        command.wait_for('"active"')
        proxy.is_down = True
        topic.put(bars)
        until(lambda: proxy.refused, "a refused request")
        time.sleep(15)
        proxy.is_down = False
        until(lambda: len(facts(settings, 300)) >= 9, "the facts of five minutes", 120)
        assert command.stop() == 0, command.output
        assert "Traceback" not in command.output
        last = rollup(settings, tmp_path, proxy, "--once", "--final")
        assert last.wait() == 0, last.output
    assert_facts(settings, bars)


def test_after_ten_minutes_without_the_warehouse_all_is_written_and_memory_was_bounded(
    warehouse: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("glue.rollup.MOST_MINUTES", 40)
    settings = warehouse(snowflake_flush_minutes=1, snow_login_timeout_ms=1_000)
    topic, now_ms = BarTopic(settings), [0]
    with warehouse_proxy(settings.snow_account) as proxy:
        behind = settings.model_copy(update={"snow_account": proxy.account})
        tables = FactTables(behind)
        tables.open()
        loader = Rollup(behind, NeverStopped(), tables, clock=lambda: now_ms[0])
        put = []
        with loader.reading():
            until(lambda: (loader.step(), loader.fields()["state"] == "active")[1], "the group")
            proxy.is_down = True
            for minute in range(20):  # of market time; half a minute each of the clock
                bars = walk(5, T + minute * 60_000, 60, every_s=6)
                topic.put(bars)
                put += bars
                now_ms[0] += TEN_MINUTES_MS // 20
                for _ in range(3):
                    loader.step()
                assert int(str(loader.fields()["held_minutes"])) <= 40 + 5 * 4
            until(lambda: (loader.step(), proxy.refused)[1], "a refused flush")
            assert loader.fields()["flushes"] == 0
            proxy.is_down = False
            deadline = time.monotonic() + 60
            while len(facts(settings, 60)) < 5 * 19 and time.monotonic() < deadline:
                now_ms[0] += 6_000
                loader.step()
    last = Command("-m", "glue.rollup", "--once", "--final", cwd=tmp_path, env=env_of(settings))
    assert last.wait() == 0, last.output
    assert_facts(settings, put)
