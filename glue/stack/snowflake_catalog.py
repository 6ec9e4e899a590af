"""What the local Snowflake notes of tables beside fakesnow: their channels, and whether they may evolve."""

import re

import duckdb
from fakesnow.transforms import show
from sqlglot import exp

CHANNELS = "_fs_information_schema._fs_channels"
"""Table of a database's channels."""
EVOLVING = "_fs_global._fs_information_schema._fs_evolving"
"""Table of the tables whose ENABLE_SCHEMA_EVOLUTION is set."""
_SHOW_TABLES = "_fs_global._fs_information_schema._fs_show_tables"
_FLAG = "'N' as enable_schema_evolution"


def prepare(duck: duckdb.DuckDBPyConnection) -> None:
    """Make the table of evolving tables, and let SHOW TABLES tell it."""
    duck.execute(
        f"CREATE TABLE IF NOT EXISTS {EVOLVING} (database_name VARCHAR, schema_name VARCHAR, "
        "table_name VARCHAR, PRIMARY KEY (database_name, schema_name, table_name))"
    )
    view = re.sub("create view if not exists", "CREATE OR REPLACE VIEW", show.SQL_CREATE_VIEW_SHOW_TABLES)
    found = (
        f"CASE WHEN (table_catalog, table_schema, table_name) IN (SELECT * FROM {EVOLVING}) "
        "THEN 'Y' ELSE 'N' END AS enable_schema_evolution"
    )
    if _FLAG not in view:
        raise RuntimeError(f"fakesnow's view {_SHOW_TABLES} has changed")
    duck.execute(view.replace(_FLAG, found))


def set_evolving(duck: duckdb.DuckDBPyConnection, names: list[str], is_on: bool) -> None:
    """Note ENABLE_SCHEMA_EVOLUTION of a table, given by database, schema and name."""
    duck.execute(f"DELETE FROM {EVOLVING} WHERE (database_name, schema_name, table_name) = (?, ?, ?)", names)
    if is_on:
        duck.execute(f"INSERT INTO {EVOLVING} VALUES (?, ?, ?)", names)


def make_channels(duck: duckdb.DuckDBPyConnection, database: str) -> None:
    """Make the table of channels in a database, where it is missing."""
    duck.execute(
        f'CREATE TABLE IF NOT EXISTS "{database}".{CHANNELS} (schema_name VARCHAR, table_name VARCHAR, '
        "channel_name VARCHAR, client_sequencer BIGINT, row_sequencer BIGINT, offset_token VARCHAR, "
        "created_on TIMESTAMPTZ DEFAULT now(), PRIMARY KEY (schema_name, table_name, channel_name))"
    )


def forget_dropped(duck: duckdb.DuckDBPyConnection, statement: exp.Expr, place: list[str]) -> None:
    """Forget channels and flags of the tables that a statement has taken away, renamed or made anew.

    Args:
        duck: the session's connection, after the statement.
        statement: a DROP, CREATE or ALTER.
        place: current database and schema.
    """
    tables = "SELECT database_name, schema_name, table_name FROM duckdb_tables()"
    gone = duck.execute(
        f"SELECT * FROM {EVOLVING} WHERE (database_name, schema_name, table_name) NOT IN ({tables})"
    ).fetchall()
    with_channels = duck.execute(
        "SELECT database_name FROM duckdb_tables() WHERE schema_name || '.' || table_name = ?", [CHANNELS]
    ).fetchall()
    for (database,) in with_channels:
        gone += duck.execute(
            f'SELECT DISTINCT ?, schema_name, table_name FROM "{database}".{CHANNELS} '
            f"WHERE (?, schema_name, table_name) NOT IN ({tables})",
            [database, database],
        ).fetchall()
    if isinstance(statement, exp.Create) and statement.args.get("replace") and statement.kind == "TABLE":
        gone.append(_names(statement, place))
    for names in gone:
        database, *table = names
        if (database,) in with_channels:
            duck.execute(
                f'DELETE FROM "{database}".{CHANNELS} WHERE (schema_name, table_name) = (?, ?)', table
            )
        set_evolving(duck, list(names), False)


def _names(statement: exp.Expr, place: list[str]) -> tuple[str, ...]:
    """Return database, schema and name of the table that a statement is about."""
    table = statement.find(exp.Table)
    assert table is not None  # noqa: S101 - a statement about a table names it
    parts = [p.name if isinstance(p, exp.Identifier) and p.quoted else p.name.upper() for p in table.parts]
    return (*place[: 3 - len(parts)], *parts)
