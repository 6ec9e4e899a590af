"""Kibot and Binance files to the table `feed`, in the order in which a feed serves them undisturbed."""

import re
from pathlib import Path

import duckdb

from validate.database import run_file, scalar
from validate.files import read_text
from validate.rules import UnreadableError

ROWS = {
    # MM/DD/YYYY,HH:MM:SS,price,bid,ask,size in New York time
    "kibot": """
        SELECT
            row_no,
            epoch_ms(timezone('America/New_York', traded_at)) AS event_ts_ms,
            TRY_CAST(f[3] AS DOUBLE) AS px,
            TRY_CAST(f[6] AS DOUBLE) AS sz
        FROM (SELECT *, try_strptime(f[1] || ' ' || f[2], '%m/%d/%Y %H:%M:%S') AS traded_at FROM split)
        WHERE NOT $regular_hours OR traded_at IS NULL
           OR (traded_at::TIME >= TIME '09:30:00' AND traded_at::TIME < TIME '16:00:00')
    """,
    # trade_id,price,qty,time_ms,…
    "binance": """
        SELECT
            row_no,
            TRY_CAST(f[4] AS BIGINT) AS event_ts_ms,
            TRY_CAST(f[2] AS DOUBLE) AS px,
            TRY_CAST(f[3] AS DOUBLE) AS sz
        FROM split
        WHERE NOT $regular_hours OR true
    """,
}

_LOAD = """
INSERT INTO rows
WITH split AS (
    SELECT row_no, string_split(rtrim(line, e'\\r'), ',') AS f
    FROM (
        SELECT unnest(lines) AS line, unnest(range(len(lines))) AS row_no
        FROM (SELECT string_split($text, chr(10)) AS lines)
    )
    WHERE NOT regexp_full_match(line, '\\s*')
)
SELECT $file_no, row_no, $symbol, event_ts_ms, px, sz FROM ({rows})
"""


def symbol_of(path: Path) -> str:
    """Return the symbol that a file's name begins with: WDC_tickbidask.txt -> WDC."""
    found = re.match(r"[A-Za-z]+", path.name)
    if not found:
        raise UnreadableError(f"the name of {path} does not begin with a symbol: give --symbol")
    return found[0]


def load_market_files(
    con: duckdb.DuckDBPyConnection, paths: list[Path], layout: str, symbols: list[str], regular_hours: bool
) -> int:
    """Load files of one layout (`kibot` or `binance`) into `feed`; return how many rows are no trades.

    Raises:
        UnreadableError: a file cannot be read or its symbol is not known.
    """
    con.execute(
        "CREATE TABLE rows (file_no INTEGER, row_no BIGINT, symbol VARCHAR, "
        "event_ts_ms BIGINT, px DOUBLE, sz DOUBLE)"
    )
    names = symbols * len(paths) if len(symbols) == 1 else symbols or [symbol_of(path) for path in paths]
    for file_no, (path, symbol) in enumerate(zip(paths, names, strict=True)):
        con.execute(
            _LOAD.format(rows=ROWS[layout]),
            {
                "text": read_text(path),
                "file_no": file_no,
                "symbol": symbol,
                "regular_hours": regular_hours,
            },
        )
    run_file(con, "market_files.sql")
    return int(scalar(con, "SELECT count(*) FROM rows") - scalar(con, "SELECT count(*) FROM feed"))
