"""What the warehouse says of one symbol, and of who moved most: facts and views of MART, as rows of text."""

import time
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from snowflake.connector.errors import Error

from glue.errors import TapelineError
from glue.io.snowflake import connect, message, where
from glue.settings import Settings

QUERIES = {
    "Minutes": "SELECT START_TS AS START_UTC, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, "
    "TRADE_COUNT AS TICKS FROM CORE.FACT_TICKS_60S WHERE SYMBOL = ? ORDER BY START_TS DESC LIMIT 60",
    "Five minutes": "SELECT START_TS AS START_UTC, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, "
    "TRADE_COUNT AS TICKS FROM CORE.FACT_TICKS_300S WHERE SYMBOL = ? ORDER BY START_TS DESC LIMIT 24",
    "Top movers, 15 minutes": "SELECT MOVER_RANK AS RANK, SYMBOL, FIRST_OPEN, LAST_CLOSE, CHANGE, "
    "CHANGE_PCT, VOLUME, TRADE_COUNT AS TICKS FROM MART.VW_TOP_MOVERS_15M ORDER BY MOVER_RANK LIMIT 15",
    "Session VWAP": "SELECT SESSION_DATE, OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME, TRADE_COUNT AS TICKS "
    "FROM MART.VW_SESSION_VWAP WHERE SYMBOL = ? ORDER BY SESSION_DATE DESC LIMIT 10",
    "Volatility bands": "SELECT START_TS AS START_UTC, CLOSE, CLOSE_MA_20, LOG_RETURN, "
    "RETURN_MA_20, RETURN_LOWER_BAND, RETURN_UPPER_BAND FROM MART.VW_VOLATILITY_BANDS WHERE SYMBOL = ? "
    "ORDER BY START_TS DESC LIMIT 60",
}
"""By title; a `?` is the symbol."""


class Mart(msgspec.Struct, frozen=True):
    """One answer, as text for people; numbers without needless zeros."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def read_marts(settings: Settings, symbol: str) -> tuple[list[Mart], float]:
    """Return all answers on a symbol, and the seconds that the warehouse took for them.

    Raises:
        SettingsError: SNOW_ACCOUNT or a login is missing.
        TapelineError: the warehouse does not answer or refuses; it names what.
    """
    marts = []
    with connect(settings, "dashboard") as connection, connection.cursor() as cursor:
        began = time.monotonic()
        try:
            for title, sql in QUERIES.items():
                cursor.execute(sql, (symbol,) if "?" in sql else None)
                columns = [column.name.lower().replace("_", " ") for column in cursor.description]
                marts.append(Mart(title, columns, as_text(cursor.fetchall())))
        except Error as error:
            raise TapelineError(
                f"{where(settings)}: {message(error)}; `python -m glue.deploy snowflake` makes it"
            ) from None
        took_s = time.monotonic() - began
    return marts, took_s


def as_text(rows: list[Any]) -> list[list[str]]:
    """Return rows as text: the numbers of a column with the decimals that one of them needs, six at most."""
    columns = [list(map(_simple, column)) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*map(_column, columns), strict=True)]


def _simple(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _column(values: list[Any]) -> list[str]:
    numbers = [value for value in values if isinstance(value, float)]
    decimals = max((len(f"{n:.6f}".rstrip("0").partition(".")[2]) for n in numbers), default=0)
    return [_text(value, decimals) for value in values]


def _text(value: Any, decimals: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
