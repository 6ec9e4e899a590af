"""The newest rows of the warehouse, and how many its tables have."""

import time

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from snowflake.connector.cursor import SnowflakeCursor

from glue.errors import TapelineError
from glue.io.snowflake import connect
from glue.settings import Settings
from scripts.demo.board import price

MINUTES, SECONDS, BINS = "CORE.FACT_TICKS_60S", "CORE.FACT_TICKS_1S", "RAW.TICKS_RAW"
NEWEST = {
    # table: rows that are shown, in which order, format of their times
    MINUTES: (12, "LOAD_TS DESC, START_TS DESC, SYMBOL", "%H:%M"),
    SECONDS: (
        4,
        "RECORD_METADATA:SnowflakeConnectorPushTime::NUMBER DESC NULLS LAST, START_TS DESC",
        "%H:%M:%S",
    ),
}
COLUMNS = "SYMBOL, START_TS, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, TRADE_COUNT"
LEFT, RIGHT = ("symbol", "start UTC"), ("open", "high", "low", "close", "vwap", "volume", "ticks")
WRITTEN_WITHIN_S = 120.0
POLL_S = 0.5


def newest_rows(settings: Settings) -> RenderableType:
    """Return the newest rows of minutes and seconds as tables, and a line of counts."""
    with connect(settings, "demo") as connection, connection.cursor() as cursor:
        tables = [table for name in NEWEST if (table := _newest(cursor, name)).row_count]
        counts = {name: _count(cursor, name) for name in (MINUTES, SECONDS, BINS)}
    parts = [f"{count:,} in {name.partition('.')[2]}" for name, count in counts.items()]
    return Group(*tables, Text(f"rows: {', '.join(parts)}", style="bold"))


def count_of_seconds(settings: Settings) -> int:
    """Return how many rows CORE.FACT_TICKS_1S has."""
    with connect(settings, "demo") as connection, connection.cursor() as cursor:
        return _count(cursor, SECONDS)


def await_seconds(settings: Settings, before: int) -> None:
    """Wait until CORE.FACT_TICKS_1S has more rows than before.

    Raises:
        TapelineError: it has not within two minutes.
    """
    deadline = time.monotonic() + WRITTEN_WITHIN_S
    while count_of_seconds(settings) <= before:
        if time.monotonic() > deadline:
            raise TapelineError(
                f"bars were made, but none is in {SECONDS} after {WRITTEN_WITHIN_S:g} s: the connector "
                "writes nothing; see `python -m glue.stack logs connect` and `logs snowflake`"
            )
        time.sleep(POLL_S)


def _newest(cursor: SnowflakeCursor, name: str) -> Table:
    limit, order, clock = NEWEST[name]
    title = f"newest rows of {name}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in LEFT + RIGHT:
        table.add_column(column, justify="left" if column in LEFT else "right", no_wrap=True)
    sql = f"SELECT {COLUMNS} FROM {name} ORDER BY {order} LIMIT {limit}"  # noqa: S608
    for symbol, start, *prices, volume, ticks in cursor.execute(sql).fetchall():
        table.title = f"{title}, {start:%Y-%m-%d}"
        texts = (*(price(float(px)) for px in prices), _size(float(volume)), str(ticks))
        table.add_row(symbol, f"{start:{clock}}", *texts)
    return table


def _size(volume: float) -> str:
    return f"{volume:,.6f}".rstrip("0").rstrip(".")


def _count(cursor: SnowflakeCursor, table: str) -> int:
    [count] = cursor.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)
