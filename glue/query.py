"""Ask the warehouse: `python -m glue.query "select …"` prints a table, JSON or CSV."""

import argparse
import csv
import math
import sys
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from snowflake.connector.errors import Error
from sqlglot import TokenType, tokenize
from sqlglot.errors import TokenError

from glue.cli import run
from glue.errors import SettingsError, TapelineError
from glue.io.snowflake import connect, message, where
from glue.settings import Settings


def main(argv: list[str]) -> int:
    """Run one statement and print what it returns."""
    options = _options(argv)
    if _is_blank(options.statement):
        raise SettingsError('the statement is blank: expected SQL, e.g. "select 1"')
    settings = Settings.load(options.target)
    with connect(settings, "query") as connection, connection.cursor() as cursor:
        try:
            cursor.execute(options.statement)
            if cursor.description is None:
                raise SettingsError("the statement has no rows to print")
            names = [column.name for column in cursor.description]
            rows = cursor.fetchall()
        except Error as error:
            raise TapelineError(f"{where(settings)} refuses the statement: {message(error)}") from None
    if options.json:
        keys = _unique(names)
        records = [dict(zip(keys, map(_json_value, row), strict=True)) for row in rows]
        encoded = msgspec.json.Encoder(decimal_format="number").encode(records)
        sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
    elif options.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([_text(value, null="") for value in row] for row in rows)
    else:
        _print_table(names, rows)
    return 0


def _is_blank(sql: str) -> bool:
    """Tell whether a text is nothing but comments and semicolons."""
    try:
        return all(token.token_type == TokenType.SEMICOLON for token in tokenize(sql, read="snowflake"))
    except TokenError:
        return False  # the server tells what is wrong


def _unique(names: list[str]) -> list[str]:
    """Return names that differ: the second A becomes A_2, or the next number that is free."""
    keys: list[str] = []
    for name in names:
        key, number = name, 1
        while key in keys or (number > 1 and key in names):
            number += 1
            key = f"{name}_{number}"
        keys.append(key)
    return keys


def _print_table(names: list[str], rows: Iterable[Any]) -> None:
    table = Table(box=box.SIMPLE)
    taken = list(rows)
    for place, name in enumerate(names):
        is_number = all(isinstance(row[place], int | float | Decimal | None) for row in taken)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in taken:
        table.add_row(*(_text(value, null="NULL") for value in row))
    # On a terminal as wide as that is; elsewhere as wide as the rows are.
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table).maximum)
    console.print(table)
    sys.stdout.write(f"{len(taken)} row{'' if len(taken) == 1 else 's'}\n")


def _text(value: Any, null: str) -> str:
    if value is None:
        return null
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _json_value(value: Any) -> Any:
    """Return a value as JSON has it: times as ISO 8601, bytes in hex, null for what is no finite number.

    A decimal keeps all its digits.
    """
    if isinstance(value, Decimal | float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value if isinstance(value, str | int | None) else str(value)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glue.query",
        description="Run SQL on the Snowflake of SNOW_ACCOUNT, local or real, and print the rows. "
        "Names without a schema are looked up in SNOW_SCHEMA of SNOW_DATABASE.",
        epilog="Exit code 1: the server refuses it or does not answer; 2: a setting or option cannot work.",
    )
    parser.add_argument("statement", help='e.g. "select * from mart.vw_top_movers_15m"')
    parser.add_argument("--target", metavar="NAME", help="read the settings from .env.NAME instead of .env")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="an array of objects")
    form.add_argument("--csv", action="store_true", help="with a line of names first")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
