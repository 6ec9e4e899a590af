"""What the warehouse says of one symbol, and of who moved most: facts and views of MART, as rows of text."""

import time
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from glue.errors import TapelineError
from glue.settings import Settings

QUERIES = {
    "Minutes": "SELECT START_TS AS START, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, "
    "TRADE_COUNT AS TICKS FROM CORE.FACT_TICKS_60S WHERE SYMBOL = ? ORDER BY START_TS DESC LIMIT 60",
    "Five minutes": "SELECT START_TS AS START, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, "
    "TRADE_COUNT AS TICKS FROM CORE.FACT_TICKS_300S WHERE SYMBOL = ? ORDER BY START_TS DESC LIMIT 24",
    "Top movers, 15 minutes": "SELECT MOVER_RANK AS RANK, SYMBOL, FIRST_OPEN, LAST_CLOSE, CHANGE, "
    "CHANGE_PCT, VOLUME, TRADE_COUNT AS TICKS FROM MART.VW_TOP_MOVERS_15M "
    "ORDER BY MOVER_RANK LIMIT 15",
    "Session VWAP": "SELECT SESSION_DATE, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, TRADE_COUNT AS TICKS "
    "FROM MART.VW_SESSION_VWAP WHERE SYMBOL = ? ORDER BY SESSION_DATE DESC LIMIT 10",
    "Volatility bands": "SELECT START_TS AS START, CLOSE, CLOSE_MA_20, 100 * LOG_RETURN AS LOG_RETURN_PCT, "
    "100 * RETURN_MA_20 AS MA_20_PCT, 100 * RETURN_LOWER_BAND AS LOWER_BAND_PCT, "
    "100 * RETURN_UPPER_BAND AS UPPER_BAND_PCT FROM MART.VW_VOLATILITY_BANDS WHERE SYMBOL = ? "
    "ORDER BY START_TS DESC LIMIT 60",
}
"""By title; a `?` is the symbol."""
_CANDLES = ("START", "OPEN", "HIGH", "LOW", "CLOSE", "VWAP")
_BANDS = ("START", "LOG_RETURN_PCT", "MA_20_PCT", "LOWER_BAND_PCT", "UPPER_BAND_PCT")
DRAWN = {"Minutes": _CANDLES, "Five minutes": _CANDLES, "Volatility bands": _BANDS}
"""Columns that are drawn, the time first."""
MOST_DECIMALS = 8
"""Those of the columns of facts."""
PRICES = frozenset(("OPEN", "HIGH", "LOW", "CLOSE", "FIRST_OPEN", "LAST_CLOSE", "CHANGE"))
LEAST_OF_PRICE = 2
AVERAGES = frozenset(("VWAP", "CLOSE_MA_20"))
MORE_OF_AVERAGE = 2
PERCENT, OF_PERCENT = "_PCT", 2
_PRICE = "price"


class Mart(msgspec.Struct, frozen=True):
    """One answer, as text for people."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    """Newest first; times are ISO 8601, UTC."""
    points: list[list[float | None]]
    """The columns of DRAWN, oldest first; times in s since 1970."""


def read_marts(settings: Settings, symbol: str) -> tuple[list[Mart], float]:
    """Return all answers on a symbol, and the seconds that the warehouse took for them.

    Raises:
        SettingsError: SNOW_ACCOUNT or a login is missing.
        TapelineError: the warehouse does not answer or refuses; it names what.
    """
    # Here: the driver takes longer to import than all else, and a start need not wait for it.
    from snowflake.connector.errors import Error

    from glue.io.snowflake import connect, message, where

    marts = []
    with connect(settings, "dashboard") as connection, connection.cursor() as cursor:
        began = time.monotonic()
        try:
            for title, sql in QUERIES.items():
                cursor.execute(sql, (symbol,) if "?" in sql else None)
                names = [column.name for column in cursor.description]
                rows = cursor.fetchall()
                drawn = [names.index(name) for name in DRAWN.get(title, ())]
                columns = [name.lower().replace("_pct", " %").replace("_", " ") for name in names]
                marts.append(Mart(title, columns, as_text(names, rows), as_points(rows, drawn)))
        except Error as error:
            raise TapelineError(
                f"{where(settings)}: {message(error)}; `python -m glue.deploy snowflake` makes it"
            ) from None
        took_s = time.monotonic() - began
    return marts, took_s


def as_text(names: list[str], rows: list[Any]) -> list[list[str]]:
    """Return rows as text; `names` are those of the columns.

    The prices of a symbol have the decimals that one of them needs, two to eight; averages at most two more;
    percents two; other numbers of a column what one of them needs. Rows without a symbol are of one.
    """
    by = names.index("SYMBOL") if "SYMBOL" in names else None
    symbols = [None if by is None else row[by] for row in rows]
    needs: defaultdict[tuple[Any, str], int] = defaultdict(int)
    for symbol, row in zip(symbols, rows, strict=True):
        for name, value in zip(names, row, strict=True):
            if isinstance(value, float | Decimal):
                key = symbol, _kind(name)
                needs[key] = max(needs[key], _decimals(value))

    def decimals(symbol: Any, name: str) -> int:
        price = max(LEAST_OF_PRICE, needs[symbol, _PRICE])
        if name in PRICES:
            return price
        if name in AVERAGES:
            return min(max(price, needs[symbol, name]), price + MORE_OF_AVERAGE)
        return OF_PERCENT if name.endswith(PERCENT) else needs[symbol, name]

    return [
        [_text(value, decimals(symbol, name)) for name, value in zip(names, row, strict=True)]
        for symbol, row in zip(symbols, rows, strict=True)
    ]


def as_points(rows: list[Any], columns: list[int]) -> list[list[float | None]]:
    """Return some columns as numbers, the last row first; no columns, no points."""
    return [[_number(row[i]) for i in columns] for row in reversed(rows)] if columns else []


def _number(value: Any) -> float | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).timestamp()
    return None if value is None else float(value)


def _kind(name: str) -> str:
    return _PRICE if name in PRICES else name


def _decimals(number: float | Decimal) -> int:
    return len(f"{number:.{MOST_DECIMALS}f}".rstrip("0").partition(".")[2])


def _text(value: Any, decimals: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, float | Decimal):
        return f"{value:,.{decimals}f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:%Y-%m-%dT%H:%MZ}" if isinstance(value, datetime) else str(value)
