"""Channels of Snowpipe Streaming: who may write to a table, and up to which row it has written.

They are kept in the database of their table, so that rows and offset token commit in one transaction: that is
the exactly-once of whoever writes through a channel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from snowflake.connector.errors import ProgrammingError

from glue.stack import snowflake_columns as columns
from glue.stack.snowflake_catalog import CHANNELS, make_channels
from glue.stack.snowflake_requests import Claim, Table
from glue.stack.snowflake_store import SessionStore

OK, NO_TABLE, BAD_COLUMN, NO_DATABASE, RETRY, NO_CHANNEL = 0, 4, 6, 8, 10, 19
OTHER_OWNER, OUT_OF_ORDER, SIBLING, WRONG_ROW_COUNT, WRONG_COLUMNS = 20, 21, 22, 31, 40
"""Status codes of Snowflake."""
LOCK_TIMEOUT_S = 10
"""A registration waits so long for another session's transaction; then its client asks again."""


class ChannelRefused(Exception):
    """A request that cannot be served; `code` is its status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a channel is: its owner and what is committed."""

    client_sequencer: int
    row_sequencer: int
    offset_token: str | None


class Channels:
    """The channels of all databases of a store."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def open(self, table: Table, name: str, offset_token: str | None) -> tuple[Channel, list[dict[str, Any]]]:
        """Make the caller the owner of a channel; whoever had it before is refused from now on.

        Returns:
            The channel and the columns of its table.

        Raises:
            ChannelRefused: there is no such table, or it has columns that no stream can fill.
        """
        with self._transaction(table.database) as duck:
            found = columns.of_table(duck, table.database, table.schema, table.name)
            if not found:
                raise ChannelRefused(NO_TABLE, f"table {table.sql} does not exist")
            if bad := next((c for c in found if c.problem), None):
                raise ChannelRefused(BAD_COLUMN, f"column {bad.name} of {table.sql}: {bad.problem}")
            last = self._find(duck, table, name) or Channel(0, 0, None)
            token = last.offset_token if offset_token is None else offset_token
            channel = Channel(last.client_sequencer + 1, last.row_sequencer, token)
            self._put(duck, table, name, channel)
        return channel, [column.metadata for column in found]

    def find(self, table: Table, name: str) -> Channel | None:
        """Return a channel, None where there is none."""
        with self._reading() as duck:
            return self._find(duck, table, name)

    def drop(self, table: Table, name: str, client_sequencer: int | None) -> None:
        """Forget a channel and its offset token.

        Raises:
            ChannelRefused: it has another owner by now.
        """
        with self._transaction(table.database) as duck:
            last = self._find(duck, table, name)
            if last and client_sequencer not in (None, last.client_sequencer):
                raise ChannelRefused(OTHER_OWNER, f"channel {name} has another owner")
            if last:
                duck.execute(
                    f"DELETE FROM {columns.quoted(table.database)}.{CHANNELS} "
                    "WHERE schema_name = ? AND table_name = ? AND channel_name = ?",
                    [table.schema, table.name, name],
                )

    def judge(self, table: Table, claims: list[Claim]) -> dict[str, int] | None:
        """Say what can be said of a chunk without its rows; None where it is a new one."""
        with self._reading() as duck:
            return self._judge(duck, table, claims)

    def write(self, table: Table, claims: list[Claim], file: Path, rows: int) -> dict[str, int]:
        """Commit the rows of a chunk with the offset tokens of its channels, all or nothing.

        Args:
            table: where the rows go.
            claims: the channels that wrote the rows.
            file: the rows as Parquet.
            rows: how many there are.

        Returns:
            A status by channel.
        """
        try:
            with self._transaction(table.database) as duck:
                known = self._judge(duck, table, claims)
                if known is not None:
                    return known
                into = columns.of_table(duck, table.database, table.schema, table.name)
                if columns.insert(duck, table.sql, into, file) != rows:
                    raise ChannelRefused(WRONG_ROW_COUNT, f"the chunk has not {rows} rows")
                for claim in claims:
                    state = Channel(claim.client_sequencer, claim.row_sequencer, claim.offset_token)
                    self._put(duck, table, claim.name, state)
        except duckdb.Error as error:
            raise ChannelRefused(WRONG_COLUMNS, f"{table.sql} does not take the rows: {error}") from None
        return {claim.name: OK for claim in claims}

    def _judge(
        self, duck: duckdb.DuckDBPyConnection, table: Table, claims: list[Claim]
    ) -> dict[str, int] | None:
        codes = {}
        for claim in claims:
            channel = self._find(duck, table, claim.name)
            if channel is None:
                codes[claim.name] = NO_CHANNEL
            elif claim.client_sequencer != channel.client_sequencer:
                codes[claim.name] = OTHER_OWNER
            elif claim.row_sequencer > channel.row_sequencer + 1:
                codes[claim.name] = OUT_OF_ORDER
            elif claim.row_sequencer == channel.row_sequencer + 1:
                codes[claim.name] = SIBLING  # fine, unless its neighbours are not
            else:
                codes[claim.name] = OK  # it was written already
        found = set(codes.values())
        return None if found == {SIBLING} else codes

    def _find(self, duck: duckdb.DuckDBPyConnection, table: Table, name: str) -> Channel | None:
        try:
            row = duck.execute(
                f"SELECT client_sequencer, row_sequencer, offset_token "
                f"FROM {columns.quoted(table.database)}.{CHANNELS} "
                "WHERE schema_name = ? AND table_name = ? AND channel_name = ?",
                [table.schema, table.name, name],
            ).fetchone()
        except (duckdb.CatalogException, duckdb.BinderException):  # nobody has opened one in this database
            return None
        return Channel(*row) if row else None

    def _put(self, duck: duckdb.DuckDBPyConnection, table: Table, name: str, channel: Channel) -> None:
        duck.execute(
            f"INSERT INTO {columns.quoted(table.database)}.{CHANNELS} "
            "(schema_name, table_name, channel_name, client_sequencer, row_sequencer, offset_token) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "client_sequencer = excluded.client_sequencer, "
            "row_sequencer = excluded.row_sequencer, offset_token = excluded.offset_token",
            [
                table.schema,
                table.name,
                name,
                channel.client_sequencer,
                channel.row_sequencer,
                channel.offset_token,
            ],
        )

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        duck = self._store.duck_conn.cursor()
        try:
            yield duck
        finally:
            duck.close()

    @contextmanager
    def _transaction(self, database: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a transaction as the one writer, with the table of channels in the database."""
        try:
            with self._store.transaction(LOCK_TIMEOUT_S) as duck:
                known = "SELECT 1 FROM duckdb_databases() WHERE database_name = ? AND NOT internal"
                if duck.execute(known, [database]).fetchone() is None:
                    raise ChannelRefused(NO_DATABASE, f"database {database} does not exist")
                make_channels(duck, database)
                yield duck
        except ProgrammingError as error:  # another session's transaction is open for too long
            raise ChannelRefused(RETRY, str(error.msg)) from None
