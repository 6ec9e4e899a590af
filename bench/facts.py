"""A flush of facts: one batch with large binds, beside the driver's executemany row by row."""

import re
import time

from bench.report import Row, compared, limited
from bench.rounds import Say, take_turns
from bench.stage import Stage
from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, MINUTE_MS, Rows, Windows
from glue.deploy.snowflake import read_statements
from glue.io.fact_tables import COLUMNS, FactTables, row_of
from glue.io.snowflake import connect
from glue.settings import Settings

T = 1_600_000_200_000
MANY_SYMBOLS = 5_000
FLUSH_LIMIT_S = 30.0
HOUR_SYMBOLS = 200
HOUR_LIMIT_S = 60.0


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Measure rows a second of a flush, and a flush of five minutes of 5,000 symbols."""
    settings = stage.settings(snow_database="BENCH_FACTS")
    make_tables(settings)
    tables = FactTables(settings)
    try:
        return [
            _rate_row(settings, tables, say, 1 if is_quick else 3, 20 if is_quick else 100),
            _large_row(tables, say, 200 if is_quick else MANY_SYMBOLS),
            _hour_row(tables, say, 10 if is_quick else HOUR_SYMBOLS),
        ]
    finally:
        tables.close()


def _rate_row(settings: Settings, tables: FactTables, say: Say, turns: int, symbols: int) -> Row:
    facts = _facts(symbols, every_s=30)
    marks = ", ".join("?" * len(COLUMNS))
    insert = f"INSERT INTO CORE.FACT_TICKS_60S ({', '.join(COLUMNS)}, START_TS) VALUES ({marks}, SYSDATE())"  # noqa: S608
    one_by_one = [row_of(fact) for fact in facts.minutes[:symbols]]

    def flush() -> float:
        began = time.perf_counter()
        tables.write(facts)
        return len(facts) / (time.perf_counter() - began)

    def executemany() -> float:
        with connect(settings, "bench") as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM CORE.FACT_TICKS_60S")
            began = time.perf_counter()
            cursor.executemany(insert, one_by_one)
            return len(one_by_one) / (time.perf_counter() - began)

    rates = take_turns({"flush": flush, "executemany": executemany}, turns, say)
    return compared(
        "facts to the local Snowflake",
        rates["flush"],
        "executemany, row by row",
        rates["executemany"],
        note=f"`FactTables.write` of {len(facts):,} rows, delete and insert of both tables in one "
        f"request and transaction; beside `executemany` of {len(one_by_one)} rows, which the local "
        "server runs one by one",
    )


def _large_row(tables: FactTables, say: Say, symbols: int) -> Row:
    say(f"folding 5 minutes of {symbols:,} symbols")
    began = time.perf_counter()
    facts = _facts(symbols, every_s=10)
    folded_s = time.perf_counter() - began
    began = time.perf_counter()
    tables.write(facts)
    written_s = time.perf_counter() - began
    return limited(
        f"one flush of {symbols:,} symbols x 5 minutes, {len(facts):,} rows",
        written_s,
        "s",
        FLUSH_LIMIT_S,
        note=f"`FactTables.write`; taking the bars in and folding the rows took {folded_s:.1f} s, a bar of "
        "each symbol every ten seconds",
    )


def _hour_row(tables: FactTables, say: Say, symbols: int) -> Row:
    say(f"an hour of {symbols:,} symbols")
    before_s = tables.execution_s
    flushes = 3_600_000 // FIVE_MINUTES_MS
    for i in range(flushes):
        tables.write(_facts(symbols, every_s=10, begin_ms=T + i * FIVE_MINUTES_MS))
    tables.purge(24)
    spent_s = tables.execution_s - before_s
    return limited(
        f"warehouse execution for an hour of {symbols:,} symbols",
        spent_s,
        "s",
        HOUR_LIMIT_S,
        note=f"{flushes} flushes and a purge, one request each; seconds as the client sees them, on the "
        "local Snowflake: a real one has other seconds a request, but the same number and size of requests",
    )


def _facts(symbols: int, every_s: int, begin_ms: int = T) -> Rows:
    windows = Windows()
    for start in range(begin_ms, begin_ms + FIVE_MINUTES_MS, every_s * 1000):
        for i in range(symbols):
            px = 10 + i % 90 + start % MINUTE_MS / 1e5
            windows.put(
                Bar(
                    f"S{i}-{start}", f"S{i}", start, start + 1000, px, px + 1, px - 1, px, 100.0, 100 * px,
                    px, 3, 1, 7, None, None, None,
                )
            )  # fmt: skip
    return windows.rows(begin_ms + FIVE_MINUTES_MS)


def make_tables(settings: Settings) -> None:
    """Make the roles, and the tables of facts in the database of the settings."""
    with connect(settings, "bench", role="") as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {settings.snow_database}")
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {settings.snow_database}.CORE")
        cursor.execute(f"USE SCHEMA {settings.snow_database}.CORE")
        for statement in read_statements(settings):
            if re.match(r"(CREATE|GRANT) ROLE|CREATE .*TABLE IF NOT EXISTS CORE\.FACT_TICKS", statement.text):
                cursor.execute(statement.text)
