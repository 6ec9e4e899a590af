"""A job's session in the warehouse: opened when it is needed, and anew after a failure."""

import time
from collections.abc import Sequence
from typing import Any

from snowflake.connector import SnowflakeConnection
from snowflake.connector.errors import Error, ProgrammingError

from glue.errors import TapelineError, TransientError
from glue.io.snowflake import connect, message
from glue.settings import Settings

SESSION_ENDED = {390103, 390104, *range(390110, 390116), 390195, 390400}
"""The server no longer knows the session, or does not renew it, as after hours without contact."""
PASSING = SESSION_ENDED | {603, 604, 615, 625, 630}
"""Errors of a statement that pass: besides, an incident of the server, cancelled, its transaction ended by
another, a lock not got in time, it took too long."""
QUOTA_USED = 90073
"""A resource monitor keeps the warehouse suspended."""
MISSING = {2003, 2043, 3001}
"""Something is not there, or not for this role: the server does not say which."""


class WarehouseSession:
    """A session of a job; `what` names its rows in messages."""

    job: str
    what: str

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: SnowflakeConnection | None = None
        self.execution_s = 0.0
        """Seconds that the statements took, queueing and network included."""

    def open(self) -> None:
        """Log in, unless it is done.

        Raises:
            TapelineError: the login is refused, or no server answers (TransientError).
        """
        if self._connection is None:
            self._connection = connect(self._settings, self.job)

    def close(self) -> None:
        """Log out."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close(retry=False)
            except Error:
                return  # the server ends the session by itself

    def _run(self, sql: str, binds: Sequence[Any] = (), statements: int = 1) -> list[Any]:
        """Run statements on the warehouse; return the rows of a single one."""
        began = time.monotonic()
        try:
            return self._ask(sql, binds, statements)
        finally:
            self.execution_s += time.monotonic() - began

    def _ask(self, sql: str, binds: Sequence[Any] = (), statements: int = 1) -> list[Any]:
        """Run statements that need no warehouse; otherwise as `_run`.

        Raises:
            TransientError: no answer, or one that may be better later.
            TapelineError: the server refuses the statement.
        """
        self.open()
        assert self._connection is not None  # noqa: S101
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, binds or None, num_statements=statements)
                return [] if statements > 1 else cursor.fetchall()
        except Error as error:
            self.close()
            raise self._statement_error(error) from None

    def _statement_error(self, error: Error) -> TapelineError:
        text = message(error)
        if error.errno == QUOTA_USED:
            return TransientError(
                f"the warehouse is suspended and does not take {self.what}: {text} That ends with the "
                "monitor's period, or by ALTER RESOURCE MONITOR … SET CREDIT_QUOTA = …"
            )
        if not isinstance(error, ProgrammingError) or error.errno in PASSING:
            return TransientError(f"the warehouse did not take {self.what}: {text}")
        hint = "; `python -m glue.deploy snowflake` makes the tables and the grants"
        return TapelineError(
            f"the warehouse refuses {self.what}: {text}{hint if error.errno in MISSING else ''}"
        )
