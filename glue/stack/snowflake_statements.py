"""Statements of the Kafka connector and of operators that fakesnow does not know."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
from snowflake.connector.errors import ProgrammingError

from glue.stack import snowflake_stages
from glue.stack.snowflake_catalog import CHANNELS, set_evolving

DONE = "SELECT 'Statement executed successfully.' AS status"
NOTHING_TO_MIGRATE = 51
_NAME = r"(?:identifier\s*\(\s*(?P<bound>\?|'[^']+')\s*\)|(?P<name>[\w$.\"]+))"
_END = r"\s*;?\s*"


def answer(
    duck: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any] | None, place: list[str], role: str
) -> str | None:
    """Do what such a statement asks for and return the SELECT of its answer; None for any other.

    Args:
        duck: the session's connection.
        sql: the statement.
        params: its binds.
        place: current database and schema.
        role: the session's role.

    Raises:
        ProgrammingError: the table that it names does not exist.
    """
    for pattern, act in _KNOWN:
        if found := pattern.fullmatch(sql):
            return act(duck, found, params, place, role)
    return None


def _evolve(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Any, place: list[str], role: str
) -> str:
    set_evolving(duck, _table(duck, found, params, place), found["value"].upper() == "TRUE")
    return DONE


def _grants(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Any, place: list[str], role: str
) -> str:
    """Answer that the session's role owns the table: the local Snowflake has no grants."""
    name = ".".join(_table(duck, found, params, place))
    return (
        "SELECT now() AS created_on, 'OWNERSHIP' AS privilege, 'TABLE' AS granted_on, "
        f"'{_quoted(name)}' AS name, 'ROLE' AS granted_to, '{_quoted(role)}' AS grantee_name, "
        f"'true' AS grant_option, '{_quoted(role)}' AS granted_by"
    )


def _migrate(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Any, place: list[str], role: str
) -> str:
    """Answer that no channel has an older name: that was before the connector's version 2."""
    found_none = f'{{"responseCode": {NOTHING_TO_MIGRATE}, "responseMessage": "no such channel"}}'
    return f"SELECT '{found_none}' AS answer"


def _channels(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Any, place: list[str], role: str
) -> str:
    """Answer with the channels of a table, else of the current schema."""
    if found["bound"] or found["name"]:
        database, schema, table = _table(duck, found, params, place)
        where = f"schema_name = '{_quoted(schema)}' AND table_name = '{_quoted(table)}'"
    else:
        database, schema = place
        where = f"schema_name = '{_quoted(schema)}'"
    if not _exists(duck, database):
        names = ["created_on", "name", "database_name", "schema_name", "table_name"]
        names += ["client_sequencer", "row_sequencer", "offset_token"]
        return f"SELECT {', '.join(f'NULL AS {name}' for name in names)} WHERE FALSE"
    return (
        f"SELECT created_on, channel_name AS name, '{_quoted(database)}' AS database_name, schema_name, "
        f'table_name, client_sequencer, row_sequencer, offset_token FROM "{database}".{CHANNELS} '
        f"WHERE {where} ORDER BY table_name, channel_name"
    )


def _list(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Any, place: list[str], role: str
) -> str:
    return snowflake_stages.listed(duck, found, place)


def _remove(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Any, place: list[str], role: str
) -> str:
    return snowflake_stages.removed(duck, found, place)


_Act = Callable[[duckdb.DuckDBPyConnection, re.Match[str], Any, list[str], str], str]
_KNOWN: list[tuple[re.Pattern[str], _Act]] = [
    (
        re.compile(
            rf"\s*alter\s+table\s+{_NAME}\s+set\s+enable_schema_evolution\s*=\s*(?P<value>true|false){_END}",
            re.IGNORECASE,
        ),
        _evolve,
    ),
    (re.compile(rf"\s*show\s+grants\s+on\s+table\s+{_NAME}{_END}", re.IGNORECASE), _grants),
    (
        re.compile(
            rf"\s*select\s+system\$snowpipe_streaming_migrate_channel_offset_token\s*\(.*\){_END}",
            re.IGNORECASE | re.DOTALL,
        ),
        _migrate,
    ),
    (
        re.compile(rf"\s*show\s+channels(?:\s+in\s+(?:schema|(?:table\s+)?{_NAME}))?{_END}", re.IGNORECASE),
        _channels,
    ),
    (snowflake_stages.LIST, _list),
    (snowflake_stages.REMOVE, _remove),
]


def _table(
    duck: duckdb.DuckDBPyConnection, found: re.Match[str], params: Sequence[Any] | None, place: list[str]
) -> list[str]:
    """Return database, schema and name of the table that a statement is about."""
    bound = found["bound"]
    text = str(params[0]) if bound == "?" and params else (bound or found["name"]).strip("'")
    parts = [
        part[1:-1] if part.startswith('"') else part.upper() for part in re.findall(r'"[^"]+"|[^."]+', text)
    ]
    names = [*place[: 3 - len(parts)], *parts]
    known = "SELECT 1 FROM duckdb_tables() WHERE (database_name, schema_name, table_name) = (?, ?, ?)"
    if duck.execute(known, names).fetchone() is None:
        raise ProgrammingError(
            msg=f"Object '{'.'.join(names)}' does not exist or not authorized.", errno=2003, sqlstate="42S02"
        )
    return names


def _exists(duck: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Tell whether a channel was ever opened in a database."""
    sql = "SELECT 1 FROM duckdb_tables() WHERE database_name = ? AND schema_name || '.' || table_name = ?"
    return duck.execute(sql, [database, CHANNELS]).fetchone() is not None


def _quoted(text: str) -> str:
    return text.replace("'", "''")
