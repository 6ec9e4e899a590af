"""Columns of a table as writers of Snowpipe Streaming are told them, and how their Parquet goes into it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

LONGEST_TEXT = 16_777_216
LONGEST_BINARY = 8_388_608
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_WHOLE = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 38, "HUGEINT": 38}
"""DuckDB's whole numbers, with the precision that fakesnow tells for them."""
_KINDS = {
    # DuckDB's type: (type, logical type, physical type, scale)
    "DOUBLE": ("FLOAT", "REAL", "DOUBLE", None),
    "BOOLEAN": ("BOOLEAN", "BOOLEAN", "SB1", None),
    "DATE": ("DATE", "DATE", "SB4", None),
    "TIME": ("TIME(6)", "TIME", "SB8", 6),
    # With scale 9 eight bytes would end in the year 2262, and clients refuse it.
    "TIMESTAMP": ("TIMESTAMP_NTZ(6)", "TIMESTAMP_NTZ", "SB8", 6),
    "JSON": ("VARIANT", "VARIANT", "LOB", None),
    "BLOB": (f"BINARY({LONGEST_BINARY})", "BINARY", "LOB", None),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column by DuckDB's word; `length` is that of a VARCHAR in characters."""

    name: str
    ordinal: int
    type: str
    is_nullable: bool
    default: str | None
    length: int

    @property
    def problem(self) -> str:
        """Why no stream can fill a table with this column; empty where one can."""
        if self.default is not None:
            return "a column with a default cannot be streamed to"
        if self._kind is None:
            return f"the local Snowflake takes no stream of {self.type}"
        return ""

    @property
    def metadata(self) -> dict[str, Any]:
        """What a writer is told."""
        assert self._kind is not None  # noqa: S101 - `problem` was asked before
        kind, logical, physical, precision, scale = self._kind
        return {
            "name": self.name if re.fullmatch(r"[A-Z_][A-Z0-9_$]*", self.name) else quoted(self.name),
            "type": kind,
            "logical_type": logical,
            "physical_type": physical,
            "precision": precision,
            "scale": scale,
            "byte_length": {"TEXT": min(self.length * 4, LONGEST_TEXT), "BINARY": LONGEST_BINARY}.get(
                logical
            ),
            "length": {"TEXT": self.length, "BINARY": LONGEST_BINARY}.get(logical),
            "nullable": self.is_nullable,
            "collation": None,
            "ordinal": self.ordinal,
        }

    @property
    def value(self) -> str:
        """The column's value in SQL, from the column of the same name in a writer's Parquet."""
        name = quoted(self.name)
        match self.type:
            case "TIMESTAMP":  # decimal seconds since 1970
                return f"make_timestamp(({name}::DECIMAL(24,6) * 1000000)::BIGINT)"
            case "TIME":  # decimal seconds of the day
                return f"TIME '00:00:00' + to_microseconds(({name}::DECIMAL(24,6) * 1000000)::BIGINT)"
            case _:
                return f"{name}::{self.type}"

    @property
    def _kind(self) -> tuple[str, str, str, int | None, int | None] | None:
        """Type, logical type, physical type, precision and scale as Snowflake names them."""
        if decimal := _DECIMAL.fullmatch(self.type):
            precision, scale = int(decimal[1]), int(decimal[2])
            return f"NUMBER({precision},{scale})", "FIXED", "SB16", precision, scale
        if self.type in _WHOLE:
            return f"NUMBER({_WHOLE[self.type]},0)", "FIXED", "SB16", _WHOLE[self.type], 0
        if self.type == "VARCHAR":
            return f"VARCHAR({self.length})", "TEXT", "LOB", None, None
        if self.type in _KINDS:
            kind, logical, physical, found = _KINDS[self.type]
            return kind, logical, physical, None, found
        return None


def quoted(name: str) -> str:
    """Return a name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def of_table(duck: duckdb.DuckDBPyConnection, database: str, schema: str, table: str) -> list[Column]:
    """Return the columns of a table in their order; none where there is no such table."""
    found = duck.execute(
        """
        SELECT c.column_name, c.column_index, c.data_type, c.is_nullable, c.column_default,
               coalesce(e.ext_character_maximum_length, ?)
        FROM duckdb_columns() AS c
        JOIN duckdb_tables() AS t USING (database_name, schema_name, table_name)
        LEFT JOIN _fs_global._fs_information_schema._fs_columns_ext AS e
            ON e.ext_table_catalog = c.database_name AND e.ext_table_schema = c.schema_name
            AND e.ext_table_name = c.table_name AND e.ext_column_name = c.column_name
        WHERE database_name = ? AND schema_name = ? AND table_name = ?
        ORDER BY c.column_index
        """,
        [LONGEST_TEXT, database, schema, table],
    )
    return [Column(*row) for row in found.fetchall()]


def insert(duck: duckdb.DuckDBPyConnection, table: str, columns: list[Column], file: Path) -> int:
    """Insert the rows of a Parquet file into a table (its name in SQL) and return how many they are.

    Raises:
        duckdb.Error: they are not rows of this table.
    """
    quoted_file = str(file).replace("'", "''")
    # Of its own DuckDB takes `x=y` in a path for a further column.
    source = f"read_parquet('{quoted_file}', hive_partitioning = false)"
    described = duck.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    known = {column.name: column for column in columns}
    missing = [name for name, *_ in described if name not in known]
    if missing:
        raise duckdb.BinderException(f"{table} has no column {', '.join(missing)}")
    used = [known[name] for name, *_ in described]
    inserted = duck.execute(
        f"INSERT INTO {table} ({', '.join(quoted(c.name) for c in used)}) "
        f"SELECT {', '.join(c.value for c in used)} FROM {source}"
    ).fetchone()
    assert inserted is not None  # noqa: S101 - an INSERT answers with its count
    return int(inserted[0])
