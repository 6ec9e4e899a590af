"""The local Snowflake: when a warehouse would run, and its files after a restart."""

from pathlib import Path

import duckdb
import pytest
from fakesnow.transforms import stage
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp, parse_one

from glue.stack import fakesnow_gaps as gaps
from glue.stack import snowflake_batch
from glue.stack.snowflake_columns import Column, insert
from glue.stack.snowflake_roles import Roles
from glue.stack.snowflake_store import SessionStore
from glue.stack.snowflake_turns import AUTO_SUSPEND_S, LOOKS, Warehouse, WriteLock
from glue.stack.snowflake_users import Users


def test_it_runs_for_a_minute_after_work() -> None:
    now = [0.0]
    warehouse = Warehouse(lambda: now[0])
    assert warehouse.state == "SUSPENDED"
    warehouse.work()
    now[0] += AUTO_SUSPEND_S - 1
    assert warehouse.state == "STARTED"
    warehouse.work()
    now[0] += AUTO_SUSPEND_S
    assert warehouse.state == "SUSPENDED"


class Client:
    """A session whose client was silent for so long, at each time that it is asked."""

    def __init__(self, *silent_s: float) -> None:
        self.parameters = {"LOCK_TIMEOUT": 0.5}
        self.is_detached = False
        self._silent_s = iter(silent_s)

    @property
    def silent_s(self) -> float:
        return next(self._silent_s, 0.0)

    def detach(self) -> None:
        self.is_detached = True


def test_a_client_has_a_moment_to_be_heard_after_the_machine_stood_still() -> None:
    lock, holder = WriteLock(), Client(30, 30)
    lock.acquire(holder)
    with pytest.raises(ProgrammingError, match="LOCK_TIMEOUT"):
        lock.acquire(Client())
    assert not holder.is_detached


def test_a_client_that_stays_silent_is_detached() -> None:
    lock, holder = WriteLock(), Client(*[30] * LOOKS)
    lock.acquire(holder)
    other = Client()
    other.parameters["LOCK_TIMEOUT"] = 60
    lock.acquire(other)
    assert holder.is_detached


def test_the_client_of_a_batch_is_not_silent_between_two_statements() -> None:
    class Session:
        busy = 0

        def begin_statement(self) -> None:
            self.busy += 1

        def end_statement(self) -> None:
            self.busy -= 1

        def cursor(self):
            return self

        @property
        def sfqid(self):
            assert self.busy
            return "1"

        def execute(self, *args, **kwargs):
            pass

        database = schema = "D"

    session = Session()
    assert b'"success":true' in snowflake_batch._run(session, "BEGIN; COMMIT", ()).body
    assert not session.busy


def test_show_warehouses_tells_of_the_one_asked_for() -> None:
    statement = parse_one("SHOW WAREHOUSES LIKE 'wh_streaming_xs'", read="snowflake")
    assert isinstance(statement, exp.Show)
    answer = duckdb.sql(gaps.warehouses(statement, "SUSPENDED")).fetchall()
    assert answer == [("WH_STREAMING_XS", "SUSPENDED", "X-Small")]


@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")
def test_a_table_whose_default_uses_a_macro_of_fakesnow_outlives_a_restart(tmp_path: Path) -> None:
    first = gaps.Store(tmp_path)
    cursor = first.connect().cursor()
    for statement in (
        "CREATE DATABASE D",
        "CREATE SCHEMA D.S",
        "CREATE TABLE D.S.T (I INT, L TIMESTAMP_NTZ(3) DEFAULT SYSDATE()::TIMESTAMP_NTZ(3))",
        "INSERT INTO D.S.T (I) VALUES (1)",
    ):
        cursor.execute(statement)
    first.close()

    again = gaps.Store(tmp_path)
    cursor = again.connect().cursor()
    cursor.execute("INSERT INTO D.S.T (I) VALUES (2)")
    assert cursor.execute("SELECT I FROM D.S.T WHERE L IS NOT NULL ORDER BY I").fetchall() == [(1,), (2,)]
    again.close()


@pytest.mark.parametrize(
    ("sql", "binds", "named", "left"),
    [
        ("alter table identifier(?) add A INT, B INT", ["d.s.t"], "ALTER TABLE d.s.t ADD A INT, B INT", []),
        ("alter table identifier(?) drop column A", ['"D"."s.x"'], 'ALTER TABLE "D"."s.x" DROP COLUMN A', []),
        ("alter table identifier(?) rename to identifier(?)", ["a", "b"], "ALTER TABLE a RENAME TO b", []),
        ("alter table t add A INT default ?", [7], "ALTER TABLE t ADD A INT DEFAULT ?", [7]),
        (
            "alter table identifier(?) add A INT default ?, B INT",
            ["t", 7],
            "ALTER TABLE t ADD A INT DEFAULT ?, B INT",
            [7],
        ),
    ],
)
def test_a_bound_table_is_named_and_other_binds_are_left(sql, binds, named, left) -> None:
    statement = parse_one(sql, read="snowflake")
    assert isinstance(statement, exp.Alter)
    assert gaps.with_named_table(statement, binds) == (named, left)


@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")
@pytest.mark.parametrize(
    ("name", "content", "source"),
    [
        ("a.csv", "1,x\n", "@F FILE_FORMAT = (TYPE = CSV)"),
        (
            "a.json",
            '{"i": 1, "t": "x"}\n',
            "(SELECT $1:i, $1:t::VARCHAR FROM @F) FILE_FORMAT = (TYPE = JSON)",
        ),
    ],
)
def test_a_copy_takes_the_columns_of_the_file_alone(tmp_path, name, content, source) -> None:
    home = tmp_path / "v=9"  # a partition's name, to DuckDB
    home.mkdir()
    store = SessionStore(home, Users(home), Roles(home))
    cursor = store.connect().cursor()
    for statement in ("CREATE DATABASE D", "CREATE SCHEMA D.S", "USE SCHEMA D.S", "CREATE STAGE F"):
        cursor.execute(statement)
    cursor.execute("CREATE TABLE T (I INT, T VARCHAR)")
    files = Path(stage.internal_dir("D.S.F"))
    files.mkdir(parents=True)
    (files / name).write_text(content)

    cursor.execute(f"COPY INTO T FROM {source}")

    assert cursor.execute("SELECT * FROM T").fetchall() == [(1, "x")]
    store.close()


def test_rows_of_a_stream_have_the_columns_of_their_file_alone(tmp_path) -> None:
    folder = tmp_path / "v=9"
    folder.mkdir()
    duck = duckdb.connect()
    duck.execute("CREATE TABLE t (A BIGINT)")
    duck.execute(f"COPY (SELECT 1 AS A) TO '{folder / 'rows.parquet'}' (FORMAT parquet)")

    columns = [Column("A", 0, "BIGINT", is_nullable=True, default=None, length=0)]
    assert insert(duck, "t", columns, folder / "rows.parquet") == 1

    assert duck.execute("SELECT * FROM t").fetchall() == [(1,)]
