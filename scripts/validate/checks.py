"""A check is a query whose rows are the differences; here are the kinds of queries."""

from dataclasses import dataclass
from typing import Any

import duckdb

from validate.database import fields


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of difference."""

    key: str
    title: str
    query: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: how many differences, and the first of them."""

    key: str
    title: str
    count: int
    examples: list[dict[str, Any]]


def run_check(con: duckdb.DuckDBPyConnection, check: Check, examples: int) -> Finding:
    """Run one check and keep at most `examples` of its differences."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE differences AS {check.query}")
    (count,) = con.execute("SELECT count(*) FROM differences").fetchone() or (0,)
    cursor = con.execute("FROM differences ORDER BY rowid LIMIT $n", {"n": examples})
    names = [column[0] for column in cursor.description or []]
    return Finding(
        check.key, check.title, count, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    )


def missing(expected: str, got: str, key: str, columns: str) -> str:
    """Return a query for the rows of `expected` that `got` has not."""
    return f"SELECT {columns} FROM {expected} ANTI JOIN {got} USING ({key}) ORDER BY start_ts_ms, {key}"  # noqa: S608


def repeated(table: str, key: str) -> str:
    """Return a query for the rows whose key came before in the file."""
    return f"""
        SELECT {key}, pos + 1 AS record FROM {table}
        QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY pos) > 1 ORDER BY pos"""  # noqa: S608


def field_differences(expected: str, got: str, key: str, names: dict[str, str]) -> str:
    """Return a query for differing fields of rows with equal keys; doubles may differ by the tolerance.

    `names` maps each field to its SQL type.
    """
    tests = []
    for name, sql_type in names.items():
        is_same = (
            f"same_double(e.{name}, g.{name})"
            if sql_type == "DOUBLE"
            else f"e.{name} IS NOT DISTINCT FROM g.{name}"
        )
        tests.append(
            f"CASE WHEN NOT ({is_same}) "
            f"THEN {{field: '{name}', expected: e.{name}::VARCHAR, got: g.{name}::VARCHAR}} END"
        )
    return f"""
        SELECT {key}, d.field AS field, d.expected AS expected, d.got AS got
        FROM (
            SELECT {key}, unnest(list_filter([{", ".join(tests)}], lambda t: t IS NOT NULL)) AS d
            FROM {expected} AS e JOIN {got} AS g USING ({key})
        )
        ORDER BY {key}, field"""  # noqa: S608


def problems(table: str, key: str, tests: dict[str, str]) -> str:
    """Return a query for rows on which a test is true; `tests` maps the problem in words to its SQL."""
    cases = ", ".join(f"CASE WHEN {test} THEN '{problem}' END" for problem, test in tests.items())
    return f"""
        SELECT {key}, record, problem
        FROM (
            SELECT {key}, pos + 1 AS record,
                   unnest(list_filter([{cases}], lambda t: t IS NOT NULL)) AS problem
            FROM {table}
        )
        ORDER BY record"""  # noqa: S608


def nulls(schema: str) -> dict[str, str]:
    """Return tests for fields that are null though the schema forbids it."""
    return {
        f"{name} is null": f"{name} IS NULL" for name, (_, optional) in fields(schema).items() if not optional
    }


def types_of(schema: str, leave_out: set[str]) -> dict[str, str]:
    """Return the fields of a schema with their SQL types, without some."""
    return {name: sql_type for name, (sql_type, _) in fields(schema).items() if name not in leave_out}
