"""The databases of the local Snowflake with their sessions, and with one transaction at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from glue.stack.fakesnow_gaps import Store
from glue.stack.snowflake_roles import Roles
from glue.stack.snowflake_session import Session
from glue.stack.snowflake_tokens import Tokens
from glue.stack.snowflake_turns import Warehouse, WriteLock
from glue.stack.snowflake_users import Users


class SessionStore(Store):
    """The databases, with sessions that take turns to write."""

    def __init__(self, folder: Path, users: Users, roles: Roles) -> None:
        super().__init__(folder)
        self._lock = WriteLock()
        self._users = users
        self._roles = roles
        self._warehouse = Warehouse()
        self._tokens = Tokens(folder)

    def saved_sessions(self) -> dict[str, Session]:
        """Open the sessions again that were there when the process ended, by their tokens."""
        sessions = {}
        for token, saved in self._tokens.saved.items():
            sessions[token] = session = self.connect(
                saved.database, saved.schema, autocommit=saved.autocommit
            )
            session.token, session.parameters = token, saved.parameters
            session.user, session.role = saved.user, saved.role
            session.warehouse_name = saved.warehouse
        return sessions

    @contextmanager
    def transaction(self, lock_timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a transaction as the one writer; it commits with the block, and an error rolls it back.

        Raises:
            ProgrammingError: another session's transaction is open for longer than `lock_timeout_s`.
        """
        session = self.connect()
        session.parameters = {"LOCK_TIMEOUT": lock_timeout_s, "QUERY_TAG": "snowpipe-streaming"}
        session.begin_statement()
        try:
            self._lock.acquire(session)
            duck = session._duck_conn
            duck.begin()
            try:
                yield duck
            except BaseException:
                duck.rollback()
                raise
            duck.commit()
        finally:
            session.end_statement()
            session.end()

    def connect(
        self, database: str | None = None, schema: str | None = None, nop_regexes: Any = None, **kwargs: Any
    ) -> Session:
        """Open a session."""
        return Session(
            self.duck_conn.cursor(),
            self.results_cache,
            database,
            schema,
            create_database=False,
            create_schema=False,
            db_path=self.db_path,
            lock=self._lock,
            users=self._users,
            roles=self._roles,
            warehouse=self._warehouse,
            tokens=self._tokens,
            **kwargs,
        )
