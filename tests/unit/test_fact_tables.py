"""The rows of a flush as they go to the warehouse."""

from collections.abc import Sequence
from typing import Any

import msgspec
from structlog.testing import capture_logs

from glue import metrics
from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, Rows, Windows
from glue.core.late_bars import LateWindow
from glue.core.staged import LARGEST_SUM
from glue.io.fact_tables import COLUMNS, LOADED, FactTables
from glue.settings import Settings

T = 1_600_000_200_000


class Written(FactTables):
    """Tables that keep what they are given in mind."""

    def __init__(self) -> None:
        super().__init__(Settings.load())
        self.rows: list[dict[str, Any]] = []

    def _run(self, sql: str, binds: Sequence[Any] = (), statements: int = 1) -> list[Any]:
        rows = [row for bind in binds[3::4] for row in msgspec.json.decode(bind)]
        self.rows += [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return []


def some_rows(notional: float) -> Rows:
    prices = (1e15, 1e15, 1e-8, 0.1 + 0.2)
    bar = Bar(f"A-{T}", "A", T, T + 1000, *prices, 1e15, notional, 1e15, 1, 1, 0, None, None, None)
    windows = Windows()
    windows.put(bar)
    return windows.rows(T + FIVE_MINUTES_MS)


def cut() -> float:
    return metrics.NOTIONAL_CUT.labels("rollup")._value.get()


def test_decimals_are_rounded_to_the_places_of_their_columns():
    tables = Written()
    tables.write(some_rows(9e29))
    assert {row["CLOSE"] for row in tables.rows} == {"0.30000000"}
    assert {row["LOW"] for row in tables.rows} == {"0.00000001"}
    assert {float(row["NOTIONAL"]) for row in tables.rows} == {9e29}


def test_a_notional_that_its_column_cannot_hold_is_the_largest_it_can_and_is_told():
    tables, before = Written(), cut()
    with capture_logs() as logs:
        tables.write(some_rows(9e29))
        assert not logs
        tables.write(some_rows(1e30))
    assert {float(row["NOTIONAL"]) for row in tables.rows} == {9e29, LARGEST_SUM}
    (event,) = logs
    assert event["bar_ids"] == [f"A-{T}-60s", f"A-{T}-300s"]
    assert event["log_level"] == "warning"
    assert cut() == before + 2


def test_stored_bars_come_oldest_load_first_and_one_without_a_time_is_the_oldest():
    asked: list[str] = []

    class Asked(FactTables):
        def _run(self, sql: str, binds: Sequence[Any] = (), statements: int = 1) -> list[Any]:
            asked.append(sql)
            assert sql.count("?") == len(binds)
            return []

    window = LateWindow("A", T, {0: 1})
    assert Asked(Settings.load()).bars_of([window]) == {window: []}
    assert f"ORDER BY {LOADED} NULLS FIRST" in asked[0]
