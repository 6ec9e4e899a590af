"""What is not urgent waits for a flush: it has the warehouse awake, which is paid by the minute."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from glue.core.flushes import SILENT_MS
from glue.errors import TransientError
from glue.io.fact_tables import FactTables
from glue.io.raw_tables import RawTables
from glue.rollup import Rollup
from glue.settings import Settings
from glue.stage_raw import RawLoader
from tests.conftest import RunningStack
from tests.processes import NeverStopped, until
from tests.raw_bins import BinTopic, assert_rows, create_raw, some_bins
from tests.warehouse import BarTopic, create_tables, names, query, store_bars, walk

pytestmark = pytest.mark.stack
T = 1_600_000_200_000
"""A multiple of 300 s, ms since 1970 UTC."""
HOUR_MS = 3_600_000
ASK_MS = 2_000


def sleep_at_once(settings: Settings) -> None:
    query(settings, f"ALTER WAREHOUSE {settings.snow_warehouse} SUSPEND")


def test_purge_and_copy_run_in_the_shadow_of_a_flush(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = stack.settings(**names("shadow"), snowflake_flush_minutes=5)
    create_tables(settings)
    create_raw(settings)
    now_ms = [T]
    raw_tables, fact_tables = RawTables(settings), FactTables(settings)
    raw_tables.open()
    fact_tables.open()
    raw = RawLoader(settings, NeverStopped(), raw_tables, clock=lambda: now_ms[0])
    facts = Rollup(settings, NeverStopped(), fact_tables, clock=lambda: now_ms[0])
    with raw.reading(), facts.reading():
        BinTopic(settings).put(some_bins(100, T))
        until(lambda: (raw.step(), raw.fields()["bins"] == 100)[1], "the bins")
        until(lambda: (facts.step(), facts.fields()["state"] == "active")[1], "the loader of facts")
        store_bars(settings, walk(2, T - HOUR_MS, 10))
        query(settings, "UPDATE CORE.FACT_TICKS_1S SET LOAD_TS = DATEADD('hour', -25, SYSDATE())")
        sleep_at_once(settings)

        now_ms[0] += HOUR_MS
        for _ in range(5):
            raw.step()
            facts.step()
            now_ms[0] += ASK_MS
        assert raw.fields()["files_waiting"], "the files of the hour have ended"
        assert raw.fields()["execution_s"] == facts.fields()["execution_s"] == 0
        assert not raw_tables.is_awake()

        BarTopic(settings).put(walk(2, T, 400))
        until(lambda: (facts.step(), facts.fields()["bars"] == 800)[1], "the bars")
        now_ms[0] += SILENT_MS
        facts.step()
        assert facts.fields()["flushes"] == 1
        raw.step()
        assert raw.fields()["rows_loaded"] == 100
    assert query(settings, "SELECT COUNT(*) FROM CORE.FACT_TICKS_1S") == [(0,)], "not purged"
    raw_tables.close()
    fact_tables.close()
    assert len(assert_rows(settings)) == 100


def test_a_purge_that_fails_is_not_taken_for_facts_that_are_not_written(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = stack.settings(**names("purge"), snowflake_flush_minutes=1)
    create_tables(settings)
    now_ms, purges = [T], [0]

    class Tables(FactTables):
        def purge(self, *what: Any) -> None:
            purges[0] += 1
            if purges[0] == 1:
                raise TransientError("away")

    facts = Rollup(settings, NeverStopped(), Tables(settings), clock=lambda: now_ms[0])
    topic, bars, read = BarTopic(settings), walk(1, T, 400), 0
    with capture_logs() as logs, facts.reading():
        until(lambda: (facts.step(), facts.fields()["state"] == "active")[1], "the loader of facts")
        for share in (bars[:120], bars[120:200], bars[200:]):
            topic.put(share)
            read += len(share)
            until(lambda: (facts.step(), facts.fields()["bars"])[1] == read, "the bars")  # noqa: B023
            now_ms[0] += SILENT_MS
            facts.step()
    facts._tables.close()
    told = [event["event"] for event in logs]
    assert told.count("facts written") == 3
    assert told.count("old 1 s bars not deleted yet") == 1
    assert "facts not written yet" not in told
    assert purges == [2]
