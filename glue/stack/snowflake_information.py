"""What INFORMATION_SCHEMA and DESCRIBE tell beside fakesnow: views among the tables, comments of columns."""

from string import Template

import duckdb
from fakesnow import info_schema
from fakesnow.transforms import transforms
from sqlglot import exp

_TABLES = info_schema.SQL_CREATE_INFORMATION_SCHEMA_TABLES_VIEW.template
_CHANGES = [
    ("create view if not exists", "CREATE OR REPLACE VIEW"),
    ("'BASE TABLE' AS", "tables.table_type AS"),
    (
        "from duckdb_tables tables",
        """FROM (
            SELECT database_name, schema_name, table_name, estimated_size, 'BASE TABLE' AS table_type
            FROM duckdb_tables
            UNION ALL
            SELECT database_name, schema_name, view_name, NULL, 'VIEW' FROM duckdb_views WHERE NOT internal
        ) AS tables""",
    ),
]
_DESCRIBED = transforms.SQL_DESCRIBE_TABLE.template
_NO_COMMENT = 'NULL::VARCHAR AS "comment"'


def prepare() -> None:
    """Make fakesnow tell views among the tables, and the comments of columns. Before a database is opened."""
    tables = _TABLES
    for old, new in _CHANGES:
        if old not in tables:
            raise RuntimeError("fakesnow's view of tables has changed")
        tables = tables.replace(old, new)
    if _NO_COMMENT not in _DESCRIBED:
        raise RuntimeError("fakesnow's DESCRIBE has changed")
    info_schema.SQL_CREATE_INFORMATION_SCHEMA_TABLES_VIEW = Template(tables)
    transforms.SQL_DESCRIBE_TABLE = Template(_DESCRIBED.replace(_NO_COMMENT, 'comment AS "comment"'))


def keep_comments(duck: duckdb.DuckDBPyConnection, statement: exp.Expr, place: list[str]) -> None:
    """Note the comments that a CREATE has on its columns; fakesnow leaves them out.

    Args:
        duck: the session's connection, after the statement.
        statement: any statement.
        place: current database and schema.
    """
    if not isinstance(statement, exp.Create) or not isinstance(statement.this, exp.Schema):
        return
    parts = [*place[: 3 - len(statement.this.this.parts)], *map(_name, statement.this.this.parts)]
    table = ".".join(map(_quoted, parts))
    for column in statement.this.expressions:
        comment = column.find(exp.CommentColumnConstraint) if isinstance(column, exp.ColumnDef) else None
        if comment is not None:
            text = comment.this.name.replace("'", "''")
            duck.execute(f"COMMENT ON COLUMN {table}.{_quoted(_name(column.this))} IS '{text}'")


def _name(part: exp.Expr) -> str:
    return part.name if part.args.get("quoted") else part.name.upper()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
