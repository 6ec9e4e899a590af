"""The DuckDB database of one run: rule parameters as macros, SQL files, Avro schemas as column types."""

import json
from pathlib import Path
from typing import Any

import duckdb

from validate.files import open_input
from validate.rules import Rules, UnreadableError

SQL_DIR = Path(__file__).parent / "sql"
SCHEMA_DIR = Path(__file__).parents[2] / "schemas"
SQL_TYPES = {"string": "VARCHAR", "int": "INTEGER", "long": "BIGINT", "double": "DOUBLE"}


def open_database(path: Path, rules: Rules) -> duckdb.DuckDBPyConnection:
    """Open a database file (so that large inputs spill to disk) that knows the parameters of the rules."""
    con = duckdb.connect(str(path))
    con.execute("SET enable_progress_bar = false")
    con.begin()  # one transaction, never committed: nothing here has to survive
    for name, value in (
        ("late_ms", rules.late_ms),
        ("skew_ms", rules.skew_ms),
        ("bin_ms", rules.bin_ms),
        ("tolerance", f"{rules.tolerance!r}::DOUBLE"),
    ):
        con.execute(f"CREATE MACRO {name}() AS {value}")
    run_file(con, "macros.sql")
    return con


def run_file(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Run all statements of sql/<name>."""
    con.execute((SQL_DIR / name).read_text(encoding="utf-8"))


def fields(schema: str) -> dict[str, tuple[str, bool]]:
    """Return name -> (SQL type, may be null) for every field of schemas/<schema>.avsc."""
    record = json.loads((SCHEMA_DIR / f"{schema}.avsc").read_text(encoding="utf-8"))
    found = {}
    for field in record["fields"]:
        union = field["type"] if isinstance(field["type"], list) else [field["type"]]
        (avro_type,) = (t for t in union if t != "null")
        found[field["name"]] = (SQL_TYPES[avro_type], "null" in union)
    return found


def load_jsonl(con: duckdb.DuckDBPyConnection, table: str, path: Path, schema: str) -> None:
    """Load a JSONL file as `table` with the columns of its schema and `pos`, the place in the file.

    Raises:
        UnreadableError: no such file, broken JSON, or a value that does not fit its type.
    """
    columns = {name: sql_type for name, (sql_type, _) in fields(schema).items()}
    open_input(path).close()
    spec = ", ".join(f"{name}: '{sql_type}'" for name, sql_type in columns.items())
    try:
        con.execute(
            f"CREATE TABLE {table}_rows AS "
            f"FROM read_json($path, format = 'newline_delimited', columns = {{{spec}}})",
            {"path": str(path)},
        )
    except duckdb.Error as error:
        raise UnreadableError(f"{path} is not JSONL of {schema}.avsc: {first_line(error)}") from None
    con.execute(f"CREATE VIEW {table} AS SELECT rowid AS pos, * FROM {table}_rows")  # noqa: S608


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().split("\n", 1)[0]


def scalar(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    """Return the only value of a query."""
    row = con.execute(query).fetchone()
    return row[0] if row else None
