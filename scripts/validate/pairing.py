"""Which dead letter is which line of the feed."""

import duckdb

BY_HASH = "line_sha256"
BY_SEQ = "seq"
BY_TIME = "symbol || '-' || event_ts_ms"
BY_REASON = "CASE WHEN reason = 'invalid' THEN reason END"


def pair(con: duckdb.DuckDBPyConnection, table: str, lines: str, letters: str, keys: tuple[str, ...]) -> None:
    """Create `table` (line_no, pos): lines and dead letters that belong together.

    `keys` are tried in turn on what is still unpaired; the n-th line of a key goes with its n-th letter.
    """
    con.execute(f"CREATE TABLE {table} (line_no BIGINT, pos BIGINT)")
    for key in keys:
        con.execute(
            f"""
            INSERT INTO {table}
            SELECT line_no, pos
            FROM (
                SELECT line_no, {key} AS key, row_number() OVER (PARTITION BY {key} ORDER BY line_no) AS n
                FROM {lines} ANTI JOIN {table} USING (line_no)
            )
            JOIN (
                SELECT pos, {key} AS key, row_number() OVER (PARTITION BY {key} ORDER BY pos) AS n
                FROM {letters} ANTI JOIN {table} USING (pos)
            ) USING (key, n)
            """  # noqa: S608 - the names are this program's own
        )
