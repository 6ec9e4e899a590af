"""What fakesnow 0.12 lacks to be the warehouse of Tapeline, each with its reason; goes as fakesnow grows."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from fakesnow import arrow, copy_into, info_schema, macros
from fakesnow.instance import GLOBAL_DATABASE_NAME, FakeSnow
from fakesnow.transforms import show, stage
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp, tokenize

from glue.stack import snowflake_catalog, snowflake_information

NOT_APPLIED = "acknowledged, not applied: the local Snowflake has no accounts"
"""Answer to a statement about grants, users, warehouses and the like."""
ACCOUNT_OBJECTS = ("ROLE", "WAREHOUSE", "RESOURCE", "USER", "ACCOUNT", "NETWORK", "SECURITY", "INTEGRATION")
STAGED = "_FS_STAGED"
"""Temporary view of the staged file that a COPY reads, its lines as the column C1."""
FILE_NAME, LINE_NUMBER = "METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER"


class Store(FakeSnow):
    """Databases as files in a folder.

    fakesnow keeps what spans databases (stages, file formats, comments) and staged files in memory or in the
    system's temporary folder, and attaches a database only when a session creates or names it.
    """

    def __init__(self, folder: Path) -> None:
        self.create_database_on_connect = self.create_schema_on_connect = False  # as Snowflake
        self.db_path = folder
        self.nop_regexes = None
        self.results_cache = {}
        self.duck_conn = duckdb.connect(config={"lambda_syntax": "ENABLE_SINGLE_ARROW"})
        self.duck_conn.execute(f"ATTACH '{_quoted(str(folder / 'global.duckdb'))}' AS {GLOBAL_DATABASE_NAME}")
        self.duck_conn.execute(info_schema.fs_global_creation_sql())
        self.duck_conn.execute(show.fs_global_creation_sql())
        snowflake_catalog.prepare(self.duck_conn)
        snowflake_information.prepare()
        self.duck_conn.execute("SET GLOBAL TimeZone = 'UTC'")
        for file in sorted(folder.glob("*.db")):
            self.duck_conn.execute(f"ATTACH '{_quoted(str(file))}' AS {file.stem}")
            self.duck_conn.execute(info_schema.per_db_creation_sql(file.stem))
            with suppress(duckdb.DependencyException):  # they are there, and the default of a column uses one
                self.duck_conn.execute(macros.creation_sql(file.stem))
        stage.LOCAL_BUCKET_PATH = str(folder / "stages")

    def close(self) -> None:
        """Write all to the files and let go of them."""
        self.duck_conn.close()


def _timestamps(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return timestamps as drivers take them. fakesnow forgets which are null: they would be read as 1970."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    whole = _fakesnow_timestamps(pc.fill_null(column, pa.scalar(0, pa.int64()).cast(column.type)))
    return pa.StructArray.from_arrays(whole.flatten(), fields=list(whole.type), mask=pc.is_null(column))


_fakesnow_timestamps = arrow.timestamp_to_sf_struct
arrow.timestamp_to_sf_struct = _timestamps  # type: ignore[assignment]


def _plain_reader(reader: type[copy_into.FileTypeHandler]) -> None:
    """Let a reader of COPY take a file's columns alone: of its own DuckDB adds one for `x=y` in the path."""
    read = reader.read_expression

    def read_expression(self: Any, url: str) -> exp.Expr:
        expression = read(self, url)
        expression.append("expressions", self.make_eq("hive_partitioning", False))
        return expression

    reader.read_expression = read_expression  # type: ignore[method-assign]


for _reader in (copy_into.ReadCSV, copy_into.ReadParquet, copy_into.ReadJSON):
    _plain_reader(_reader)


def is_account_level(sql: str) -> bool:
    """Tell whether a statement is about the account: fakesnow refuses these or fails at them."""
    words = [token.text.upper() for token in tokenize(sql, read="snowflake")[:6]]
    match words:
        case ["GRANT" | "REVOKE", *_] | ["USE", "ROLE" | "WAREHOUSE" | "SECONDARY", *_]:
            return True
        case ["CREATE" | "ALTER" | "DROP", *rest]:
            rest = [word for word in rest if word not in ("OR", "REPLACE", "IF", "NOT", "EXISTS", "DATABASE")]
            return bool(rest) and rest[0].split()[0] in ACCOUNT_OBJECTS
        case _:
            return False


def is_suspension(sql: str) -> bool:
    """Tell whether a statement suspends a warehouse: ALTER WAREHOUSE … SUSPEND."""
    words = [token.text.upper() for token in tokenize(sql, read="snowflake")]
    return words[:2] == ["ALTER", "WAREHOUSE"] and words[-1:] == ["SUSPEND"]


def existing(connection: duckdb.DuckDBPyConnection, statement: exp.Expr, place: list[str]) -> str:
    """Return the name of what a CREATE … IF NOT EXISTS finds there already, else "".

    fakesnow forgets the load history of such a table, so that its files would be loaded once more, and
    answers for databases and schemas as if it had created them.
    """
    if not (isinstance(statement, exp.Create) and statement.args.get("exists")):
        return ""
    table = statement.find(exp.Table)
    if table is None or statement.kind not in ("DATABASE", "SCHEMA", "TABLE"):
        return ""
    if statement.kind == "DATABASE":
        sql, name = "SELECT 1 FROM duckdb_databases() WHERE upper(database_name) = ?", [table.name.upper()]
    elif statement.kind == "SCHEMA":
        sql = "SELECT 1 FROM duckdb_schemas() WHERE upper(database_name) = ? AND upper(schema_name) = ?"
        name = [table.catalog.upper() or place[0], table.db.upper()]
    else:
        sql = (
            "SELECT 1 FROM duckdb_tables() WHERE upper(database_name) = ? AND upper(schema_name) = ? "
            "AND upper(table_name) = ?"
        )
        name = _full_name(table, place)
    return name[-1] if connection.execute(sql, name).fetchone() else ""


def without_keys(statement: exp.Expr) -> str:
    """Return a CREATE TABLE without its keys: Snowflake keeps them as a note, DuckDB would enforce them."""
    statement = statement.copy()
    for key in list(statement.find_all(exp.Constraint, exp.PrimaryKey, exp.ForeignKey)):
        key.pop()
    for column_key in list(statement.find_all(exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint)):
        (column_key.parent if isinstance(column_key.parent, exp.ColumnConstraint) else column_key).pop()
    return statement.sql(dialect="snowflake")


def with_named_table(statement: exp.Alter, binds: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return an ALTER TABLE IDENTIFIER(?) with the table's name in it, and the binds that are left.

    fakesnow splits one that adds several columns, and names the table in one of the parts only. It takes a
    name of several quoted parts for one part.
    """
    statement, rest = statement.copy(), list(binds)
    for table in list(statement.find_all(exp.Table)):
        bound = table.this.this if isinstance(table.this, exp.DynamicIdentifier) else None
        if isinstance(bound, exp.Placeholder):
            order = [id(found) for found in statement.find_all(exp.Placeholder, bfs=False)]
            table.replace(exp.to_table(str(rest.pop(order.index(id(bound)))), dialect="snowflake"))
    return statement.sql(dialect="snowflake"), rest


class StagedCopy:
    """COPY INTO from a stage with a transforming SELECT, for NDJSON, which fakesnow does not run.

    Every file is one INSERT whose SELECT reads the file through a temporary view. Rows and load history
    are in one transaction, and a file that is in the history is skipped, as Snowflake does.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        statement: exp.Copy,
        place: list[str],
        stages: stage.TableStages,
    ) -> None:
        self._duck = connection
        self._target = copy_into._extract_table(statement.this)
        self._into = statement.this
        self._select: exp.Select = statement.args["files"][0].this
        self._catalog, self._schema, self._table = _full_name(self._target, place)
        self._options = {param.name.upper(): param for param in statement.args.get("params") or []}
        source = copy_into._from_source(statement).removeprefix("@")
        database, schema = place

        def location(of: str) -> str:
            return copy_into.stage_url_from_var(of, connection, database, schema, stages, self._target)

        self._prefix, self._root = location(source), location(source.partition("/")[0])

    @staticmethod
    def is_one(statement: exp.Expr) -> bool:
        """Tell whether a statement is such a COPY."""
        return isinstance(statement, exp.Copy) and isinstance(statement.args["files"][0], exp.Subquery)

    def files(self) -> list[tuple[str, bool]]:
        """Return (file, whether it was loaded before) in the order of their names."""
        wanted = self._option_files()
        pattern = self._option("PATTERN")
        files = []
        for path in sorted(Path(self._root).rglob("*")):
            name = str(path)
            if not path.is_file() or not name.startswith(self._prefix):
                continue
            if wanted is not None and name.removeprefix(self._prefix.rstrip("/") + "/") not in wanted:
                continue
            if pattern and not re.fullmatch(pattern, name.removeprefix(self._root)):
                continue
            files.append((name, not self._is_forced and self._is_loaded(name)))
        return files

    def insert(self, file: str) -> exp.Insert:
        """Return the INSERT for one file, after making the view that it reads."""
        name = stage.internal_file_name(file)
        self._duck.execute(
            f"CREATE OR REPLACE TEMP VIEW {STAGED} AS SELECT json AS C1, '{_quoted(name)}' "
            f'AS "{FILE_NAME}", row_number() OVER () AS "{LINE_NUMBER}" '
            f"FROM read_json_objects('{_quoted(file)}', format = 'newline_delimited', "
            "hive_partitioning = false)"
        )
        select = self._select.copy()
        for parameter in list(select.find_all(exp.Parameter)):
            parameter.replace(exp.column("C1"))
        for source in list(select.find_all(exp.Table)):
            alias = source.alias
            source.replace(exp.table_(STAGED, db="MAIN", catalog="TEMP", alias=alias or None))
        return exp.Insert(this=self._into.copy(), expression=select)

    def remember(self, file: str, rows: int) -> None:
        """Write a file into the load history."""
        self._duck.execute(
            f"INSERT INTO {self._catalog}._fs_information_schema._fs_load_history VALUES "
            "(?, ?, ?, now(), 'LOADED', ?, ?, NULL, NULL, NULL, NULL, 0, 1)",
            [self._schema, file, self._table, rows, rows],
        )

    def purge(self, file: str) -> None:
        """Remove a loaded file from the stage where the statement says so."""
        if self._is_true("PURGE"):
            Path(file).unlink(missing_ok=True)

    @property
    def _is_forced(self) -> bool:
        return self._is_true("FORCE")

    def _is_loaded(self, file: str) -> bool:
        sql = (
            f"SELECT 1 FROM {self._catalog}._fs_information_schema._fs_load_history "
            "WHERE schema_name = ? AND table_name = ? AND file_name = ?"
        )
        return self._duck.execute(sql, [self._schema, self._table, file]).fetchone() is not None

    def _is_true(self, name: str) -> bool:
        return self._option(name).upper() == "TRUE"

    def _option(self, name: str) -> str:
        param = self._options.get(name)
        if param is None:
            return ""
        value = param.args.get("expression")
        return value.name if isinstance(value, (exp.Literal, exp.Var)) else str(value)

    def _option_files(self) -> set[str] | None:
        param = self._options.get("FILES")
        return {literal.name for literal in param.find_all(exp.Literal)} if param is not None else None


def result_of_copy(loaded: list[tuple[str, int, bool]]) -> str:
    """Return the SELECT of a COPY's answer from (file, rows, whether it was loaded before)."""
    if not loaded:
        return "SELECT 'Copy executed with 0 files processed.' AS status"
    columns = (
        "file, status, rows_parsed, rows_loaded, error_limit, errors_seen, first_error, first_error_line, "
        "first_error_character, first_error_column_name"
    )
    rows = ", ".join(
        f"('{_quoted(stage.internal_file_name(file))}', "
        f"'{'LOAD_SKIPPED' if was_loaded else 'LOADED'}', {rows}, {rows}, 1, {int(was_loaded)}, "
        f"{chr(39) + 'File was loaded before.' + chr(39) if was_loaded else 'NULL'}, NULL, NULL, NULL)"
        for file, rows, was_loaded in loaded
    )
    return f"SELECT * FROM (VALUES {rows}) AS t({columns})"


def warehouses(statement: exp.Show, state: str) -> str:
    """Return the SELECT of the answer to SHOW WAREHOUSES LIKE …: the one asked for, in a state of its own.

    To fakesnow it always runs, under a name of its own.
    """
    like = statement.args.get("like")
    name = like.name if isinstance(like, exp.Expr) else str(like or "LOCAL")
    return f"SELECT '{_quoted(name.upper())}' AS name, '{state}' AS state, 'X-Small' AS size"


def as_sql_error(error: Exception) -> ProgrammingError:
    """Return any failure as an error of SQL: fakesnow's HTTP 500 makes drivers try again without an end."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ProgrammingError(msg=text, errno=1003, sqlstate="42000")


def _full_name(table: exp.Table, place: list[str]) -> list[str]:
    """Return database, schema and name of a table that may be named by less of them."""
    parts = [part.name.upper() for part in table.parts]
    return [*place[: 3 - len(parts)], *parts]


def _quoted(text: str) -> str:
    return text.replace("'", "''")
