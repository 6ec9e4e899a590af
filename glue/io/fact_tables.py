"""CORE.FACT_TICKS_60S and _300S: the rows of a flush in one request, which is one transaction of the server.

All statements of a flush go out as one batch with a few large binds, whatever the number of symbols. The
server runs the batch to its end even if the client dies, so a killed loader leaves no transaction open: its
successor waits for the rest of the batch at most, and LOCK_TIMEOUT bounds that.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import structlog

from glue import metrics
from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, Fact, Rows, floor
from glue.core.staged import LARGEST_SUM
from glue.io.warehouse_session import WarehouseSession

JOB = "rollup"
ROWS_A_STATEMENT = 20_000
"""About 5 MB as JSON; a bind may have 16 MB."""
COLUMNS = {
    "BAR_ID": "VARCHAR",
    "SYMBOL": "VARCHAR",
    "START_TS_MS": "NUMBER(18,0)",
    "END_TS_MS": "NUMBER(18,0)",
    "OPEN": "NUMBER(28,8)",
    "HIGH": "NUMBER(28,8)",
    "LOW": "NUMBER(28,8)",
    "CLOSE": "NUMBER(28,8)",
    "VOLUME": "NUMBER(38,8)",
    "NOTIONAL": "NUMBER(38,8)",
    "VWAP": "NUMBER(28,8)",
    "TRADE_COUNT": "NUMBER(18,0)",
    "BAR_COUNT": "NUMBER(9,0)",
    "MAX_LATENESS_MS": "NUMBER(18,0)",
    "API_SEND_TS_MS": "NUMBER(18,0)",
    "SOURCE_EVENT_TS_MS": "NUMBER(18,0)",
    "INGEST_TS_MS": "NUMBER(18,0)",
}
"""Columns of both tables, as the fields of a Fact, and their types; START_TS and LOAD_TS besides."""
DECIMALS = [name.lower() for name, kind in COLUMNS.items() if kind.endswith(",8)")]
LOADED = "COALESCE(LOAD_TS, TO_TIMESTAMP_NTZ(RECORD_METADATA:SnowflakeConnectorPushTime::NUMBER, 3))"
"""When a 1 s bar was written: the Kafka connector leaves LOAD_TS empty."""
log = structlog.get_logger()


class FactTables(WarehouseSession):
    """The tables of facts, in a session of the loader's job."""

    job = JOB
    what = "the facts"

    def write(self, *flushed: Rows) -> None:
        """Write rows in one transaction, in place of those of the same BAR_ID.

        A notional that its column cannot hold is the largest that it can, which is logged and counted.

        Raises:
            TransientError: nothing was written, or all of it: the answer may be what was lost.
            TapelineError: a table is missing, or not to be written by this role.
        """
        statements: list[str] = []
        binds: list[Any] = []
        for table, facts in (
            ("FACT_TICKS_60S", [fact for rows in flushed for fact in rows.minutes]),
            ("FACT_TICKS_300S", [fact for rows in flushed for fact in rows.five_minutes]),
        ):
            for i in range(0, len(facts), ROWS_A_STATEMENT):
                part = facts[i : i + ROWS_A_STATEMENT]
                statements += [_delete(table), _insert(table)]
                binds += [*_span(part), _ids(part), _json(map(row_of, part))]
        if statements:
            self._run("; ".join(["BEGIN", *statements, "COMMIT"]), binds, len(statements) + 2)
        facts = [fact for rows in flushed for fact in (*rows.minutes, *rows.five_minutes)]
        if cut := [fact.bar_id for fact in facts if fact.notional > LARGEST_SUM]:
            metrics.NOTIONAL_CUT.labels(JOB).inc(len(cut))
            log.warning("NOTIONAL is stored as the largest number that fits", bar_ids=cut[:20], rows=len(cut))

    def bars_of(self, late: Sequence[Bar]) -> list[Bar]:
        """Return the bars that FACT_TICKS_1S has of the windows of late bars, each once: the newest load."""
        starts = sorted({floor(bar.start_ts_ms, FIVE_MINUTES_MS) for bar in late})
        windows = {(bar.symbol, floor(bar.start_ts_ms, FIVE_MINUTES_MS)) for bar in late}
        found = self._run(
            f"SELECT {', '.join(STORED.values())} FROM CORE.FACT_TICKS_1S "  # noqa: S608
            "WHERE START_TS BETWEEN TO_TIMESTAMP_NTZ(?, 3) AND TO_TIMESTAMP_NTZ(?, 3) "
            "AND SYMBOL IN (SELECT f.value::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) f) "
            f"QUALIFY ROW_NUMBER() OVER (PARTITION BY BAR_ID ORDER BY {LOADED} DESC) = 1",
            [starts[0], starts[-1] + FIVE_MINUTES_MS - 1, _json(sorted({bar.symbol for bar in late}))],
        )
        bars = [_bar(row) for row in found]
        return [b for b in bars if (b.symbol, floor(b.start_ts_ms, FIVE_MINUTES_MS)) in windows]

    def trade_counts(self, rows: Rows) -> dict[str, int]:
        """Return the trades that the stored rows of the same BAR_ID count, by that."""
        found = self._run(
            " UNION ALL ".join(_count(table) for table in ("FACT_TICKS_60S", "FACT_TICKS_300S")),
            [bind for facts in (rows.minutes, rows.five_minutes) for bind in (*_span(facts), _ids(facts))],
        )
        return {bar_id: int(count) for bar_id, count in found}

    def purge(self, keep_hours: int) -> None:
        """Delete 1 s bars that were loaded more than `keep_hours` ago."""
        self._run(
            f"DELETE FROM CORE.FACT_TICKS_1S WHERE {LOADED} < DATEADD('hour', ?, SYSDATE())",  # noqa: S608
            [-keep_hours],
        )


STORED = {name: name.upper() for name in Bar.__struct_fields__ if name != "source"} | {
    "start_ts_ms": "DATE_PART(EPOCH_MILLISECOND, START_TS)",
    "end_ts_ms": "DATE_PART(EPOCH_MILLISECOND, END_TS)",
}
"""Fields of a Bar that facts are made from, as SQL over the columns of FACT_TICKS_1S."""


def _bar(row: tuple[Any, ...]) -> Bar:
    values = {name: float(v) if isinstance(v, Decimal) else v for name, v in zip(STORED, row, strict=True)}
    return msgspec.convert(values, Bar, strict=False)


_SAME_ROWS = (
    "START_TS_MS BETWEEN ? AND ? "
    "AND BAR_ID IN (SELECT f.value::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) f)"
)


def _delete(table: str) -> str:
    return f"DELETE FROM CORE.{table} WHERE {_SAME_ROWS}"  # noqa: S608


def _count(table: str) -> str:
    return f"SELECT BAR_ID, TRADE_COUNT FROM CORE.{table} WHERE {_SAME_ROWS}"  # noqa: S608


def _insert(table: str) -> str:
    values = ", ".join(f"f.value[{i}]::{kind}" for i, kind in enumerate(COLUMNS.values()))
    return (
        f"INSERT INTO CORE.{table} ({', '.join(COLUMNS)}, START_TS, LOAD_TS) "  # noqa: S608
        f"SELECT {values}, TO_TIMESTAMP_NTZ(f.value[2]::NUMBER(18,0), 3), SYSDATE() "
        "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) f"
    )


def row_of(fact: Fact) -> tuple[Any, ...]:
    """Return a row's values; decimals as text, rounded to the eight places of their columns, or what fits."""
    values = msgspec.structs.asdict(fact)
    values |= {name: f"{min(values[name], LARGEST_SUM):.8f}" for name in DECIMALS}
    return tuple(values.values())


def _span(facts: Sequence[Fact]) -> tuple[int, int]:
    """Return the first and the last start: the server need not look at other partitions of the table."""
    starts = [fact.start_ts_ms for fact in facts]
    return min(starts), max(starts)


def _ids(facts: Sequence[Fact]) -> str:
    return _json([fact.bar_id for fact in facts])


def _json(values: Iterable[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()
