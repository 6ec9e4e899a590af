"""The newest minutes in the warehouse, and how many rows its tables have."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from snowflake.connector.cursor import SnowflakeCursor

from glue.io.snowflake import connect
from glue.settings import Settings
from scripts.demo.board import price

NEWEST = """
    SELECT SYMBOL, START_TS, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, TRADE_COUNT
    FROM CORE.FACT_TICKS_60S ORDER BY LOAD_TS DESC, START_TS DESC, SYMBOL LIMIT 12
"""
LEFT, RIGHT = ("symbol", "minute UTC"), ("open", "high", "low", "close", "vwap", "volume", "ticks")
COUNTED = ("CORE.FACT_TICKS_60S", "CORE.FACT_TICKS_1S", "RAW.TICKS_RAW")


def newest_minutes(settings: Settings) -> RenderableType:
    """Return a table of the newest rows of CORE.FACT_TICKS_60S and a line of counts."""
    with connect(settings, "demo") as connection, connection.cursor() as cursor:
        rows = cursor.execute(NEWEST).fetchall()
        counts = [_count(cursor, table) for table in COUNTED]
    table = Table(
        title="newest rows of CORE.FACT_TICKS_60S",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in LEFT + RIGHT:
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    for symbol, start, *prices, volume, ticks in rows:
        table.title = f"newest rows of CORE.FACT_TICKS_60S, {start:%Y-%m-%d}"
        texts = (*(price(float(px)) for px in prices), _size(float(volume)), str(ticks))
        table.add_row(symbol, f"{start:%H:%M}", *texts)
    parts = [f"{n:,} in {table.partition('.')[2]}" for n, table in zip(counts, COUNTED, strict=True)]
    line = f"rows: {', '.join(parts)}"
    return Group(table, Text(line, style="bold"))


def _size(volume: float) -> str:
    return f"{volume:,.6f}".rstrip("0").rstrip(".")


def _count(cursor: SnowflakeCursor, table: str) -> int:
    [count] = cursor.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)
