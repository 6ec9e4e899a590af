"""Sessions of the local Snowflake: fakesnow's cursors, one writer at a time."""

import time
import zlib
from typing import Any

import sqlglot
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from glue.stack import fakesnow_gaps as gaps
from glue.stack import snowflake_statements
from glue.stack.snowflake_catalog import forget_dropped
from glue.stack.snowflake_context import used_warehouse, with_context
from glue.stack.snowflake_information import keep_comments
from glue.stack.snowflake_roles import Roles
from glue.stack.snowflake_statements import DONE
from glue.stack.snowflake_tokens import Saved, Tokens
from glue.stack.snowflake_turns import Warehouse, WriteLock
from glue.stack.snowflake_users import USER, UserExists, Users

READING = (exp.Select, exp.SetOperation, exp.Show, exp.Describe, exp.Use, exp.Set, exp.ListStage, exp.Put)
WORK = (exp.Select, exp.SetOperation, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Copy)
"""What a warehouse is needed for."""
TRANSACTION_ENDED = 615
"""What a statement fails with whose transaction was ended by another session."""


class Session(FakeSnowflakeConnection):
    """A session; `parameters` are of its login and of ALTER SESSION, `token` is what its client shows."""

    def __init__(
        self,
        *args: Any,
        lock: WriteLock,
        users: Users,
        roles: Roles,
        warehouse: Warehouse,
        tokens: Tokens,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lock = lock
        self.warehouse = warehouse
        self.users = users
        self.roles = roles
        self._tokens = tokens
        self.token = ""
        self.parameters: dict[str, Any] = {}
        self.user = USER
        self.role = self.warehouse_name = self.last_query_id = ""
        self.has_transaction = self._is_detached = False
        self._busy = 0
        self._heard_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """For how long its client has not been heard of, s; 0 while a statement runs."""
        return 0.0 if self._busy else time.monotonic() - self._heard_at

    @property
    def place(self) -> list[str]:
        """The current database and schema."""
        return [self.database or "", self.schema or ""]

    def with_context(self, statement: exp.Expr) -> exp.Expr:
        """Put what the session is in place of the functions that ask for it."""
        return with_context(
            statement,
            [self.database or "" if self.database_set else "", self.schema or "" if self.schema_set else ""],
            user=self.user,
            role=self.role,
            warehouse=self.warehouse_name,
            session_id=zlib.crc32(self.token.encode()),
            last=self.last_query_id,
        )

    def cursor(self, cursor_class: Any = None) -> "Cursor":
        """Return a cursor of this session."""
        return Cursor(conn=self, duck_conn=self._duck_conn)

    def begin_statement(self) -> None:
        """Note that the client is there."""
        self._busy += 1

    def end_statement(self) -> None:
        """Note when the client was heard last."""
        self._busy -= 1
        self._heard_at = time.monotonic()
        self.save()

    def save(self) -> None:
        """Keep the session for the case of a restart, but not in the middle of a transaction."""
        if not self.token:
            return
        if self.has_transaction:
            self._tokens.forget(self.token)
            return
        saved = Saved(
            database=self.database,
            schema=self.schema,
            user=self.user,
            role=self.role,
            autocommit=bool(self._autocommit),
            parameters=self.parameters,
            seen_s=time.time(),
            warehouse=self.warehouse_name,
        )
        self._tokens.save(self.token, saved)

    def abandon(self) -> None:
        """Roll back what a client left open."""
        self.has_transaction = False
        self._in_transaction = False
        self._duck_conn.rollback()

    def detach(self) -> None:
        """Roll back what a client left open that is not heard of, and tell it so when it is heard again."""
        self.abandon()
        self._is_detached = True

    def tell_if_detached(self) -> None:
        """Raise, once, what a client is told that comes back: it must not go on as in its transaction."""
        if self._is_detached:
            self._is_detached = False
            text = "the transaction was rolled back: nothing was heard of its client while another one waited"
            raise ProgrammingError(msg=text, errno=TRANSACTION_ENDED, sqlstate="40000")

    def end(self) -> None:
        """Close the session; an open transaction is rolled back."""
        self.close()
        self.lock.release(self)
        self._tokens.forget(self.token)


class Cursor(FakeSnowflakeCursor):
    """A cursor whose writes take turns, and that answers what fakesnow leaves out."""

    _conn: Session

    def execute(self, command: str, params: Any = None, *args: Any, **kwargs: Any) -> "Cursor":
        """Run one statement.

        Raises:
            ProgrammingError: whatever went wrong, in the terms of SQL.
        """
        session = self._conn
        session.begin_statement()
        is_work = False
        try:
            session.tell_if_detached()
            if session.users.take_keys(command):
                return self._answer(DONE)
            if answered := session.roles.answer(command, session.user):
                session.role = answered[1] or session.role
                return self._answer(answered[0])
            if gaps.is_suspension(command):
                session.warehouse.suspend()
                return self._answer(DONE)
            if gaps.is_account_level(command):
                session.warehouse_name = used_warehouse(command) or session.warehouse_name
                return self._answer(f"SELECT '{gaps.NOT_APPLIED}' AS status")
            binds = kwargs.get("binding_params") or params
            sql = snowflake_statements.answer(self._duck_conn, command, binds, session.place, session.role)
            if sql is not None:
                return self._answer(sql)
            statement = sqlglot.parse_one(command, read="snowflake")
            if isinstance(statement, exp.Show) and statement.name.upper() == "WAREHOUSES":
                return self._answer(gaps.warehouses(statement, session.warehouse.state))
            is_work = isinstance(statement, WORK)
            if is_work:
                session.warehouse.work()
            if isinstance(statement, READING):
                super().execute(command, params, *args, **kwargs)
                return self
            if isinstance(statement, exp.Alter) and statement.args.get("kind") == "SESSION":
                return self._alter_session(statement)
            session.lock.acquire(session)
            try:
                self._write(statement, command, params, args, kwargs)
            finally:
                if not session.has_transaction:
                    session.lock.release(session)
        except UserExists as error:
            text = f"SQL compilation error:\nObject '{error}' already exists."
            raise ProgrammingError(msg=text, errno=2002, sqlstate="42710") from None
        except ProgrammingError:
            raise
        except Exception as error:
            raise gaps.as_sql_error(error) from error
        finally:
            if is_work:
                session.warehouse.work()
            session.last_query_id = self._sfqid or session.last_query_id
            session.end_statement()
        return self

    def _transform(self, expression: exp.Expr, params: Any) -> exp.Expr:
        return super()._transform(self._conn.with_context(expression), params)

    def _write(self, statement: exp.Expr, command: str, params: Any, args: Any, kwargs: Any) -> None:
        session = self._conn
        if name := gaps.existing(self._duck_conn, statement, session.place):
            self._answer(f"SELECT '{name} already exists, statement succeeded.' AS status")
            return
        if gaps.StagedCopy.is_one(statement):
            self._copy(statement)
            return
        if isinstance(statement, exp.Create) and statement.kind == "TABLE":
            command = gaps.without_keys(statement)
        if isinstance(statement, exp.Alter) and (binds := kwargs.get("binding_params") or params):
            command, rest = gaps.with_named_table(statement, binds)
            params, kwargs = None, kwargs | {"binding_params": rest or None}
        super().execute(command, params, *args, **kwargs)
        keep_comments(self._duck_conn, statement, session.place)
        if isinstance(statement, exp.Drop | exp.Create | exp.Alter):
            forget_dropped(self._duck_conn, statement, session.place)
        if isinstance(statement, exp.Transaction):
            session.has_transaction = True
        elif isinstance(statement, exp.Commit | exp.Rollback):
            session.has_transaction = False
        elif not session._autocommit:
            session.has_transaction = session._in_transaction

    def _copy(self, statement: Any) -> None:
        copy = gaps.StagedCopy(self._duck_conn, statement, self._conn.place, self._conn.table_stages)
        is_outermost = not self._conn.has_transaction
        if is_outermost:
            self._duck_conn.begin()
        loaded = []
        try:
            for file, was_loaded in copy.files():
                rows = 0
                if not was_loaded:
                    self._execute(self._transform(copy.insert(file), None))
                    rows = self._rowcount or 0
                    copy.remember(file, rows)
                loaded.append((file, rows, was_loaded))
        except BaseException:
            if is_outermost:
                self._duck_conn.rollback()
            raise
        if is_outermost:
            self._duck_conn.commit()
        for file, _, was_loaded in loaded:
            if not was_loaded:
                copy.purge(file)
        self._answer(gaps.result_of_copy(loaded))

    def _alter_session(self, statement: exp.Expr) -> "Cursor":
        for item in statement.find_all(exp.EQ):
            self._conn.parameters[item.this.name.upper()] = item.expression.name
        return self._answer(DONE)

    def _answer(self, sql: str) -> "Cursor":
        self._execute(sqlglot.parse_one(sql, read="duckdb"))
        return self
