"""CORE.FACT_TICKS_60S and _300S: the rows of a flush in one request, which is one transaction of the server.

All statements of a flush go out as one batch with a few large binds, whatever the number of symbols. The
server runs the batch to its end even if the client dies, so a killed loader leaves no transaction open: its
successor waits for the rest of the batch at most, and LOCK_TIMEOUT bounds that.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
import structlog

from glue import metrics
from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, Fact, Rows, floor
from glue.core.late_bars import LateWindow, Stored, Written
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

    def last_offsets(self) -> dict[int, int]:
        """Return the newest record of each partition of ticks.agg.1s that FACT_TICKS_1S has."""
        found = self._run(
            "SELECT RECORD_METADATA:partition::NUMBER, MAX(RECORD_METADATA:offset::NUMBER) "
            "FROM CORE.FACT_TICKS_1S WHERE RECORD_METADATA:topic::VARCHAR = ? GROUP BY 1",
            [self._settings.agg_output_topic],
        )
        return {int(partition): int(offset) for partition, offset in found}

    def bars_of(self, late: Sequence[LateWindow]) -> dict[LateWindow, list[Stored]]:
        """Return what FACT_TICKS_1S has of windows, oldest load first; a bar may be there more than once."""
        windows = {(window.symbol, window.start_ms): window for window in late}
        starts = [window.start_ms for window in late]
        found = self._run(
            f"SELECT {', '.join(STORED.values())}, {_of_topic('partition')}, {_of_topic('offset')} "  # noqa: S608
            "FROM CORE.FACT_TICKS_1S "
            "WHERE START_TS BETWEEN TO_TIMESTAMP_NTZ(?, 3) AND TO_TIMESTAMP_NTZ(?, 3) "
            "AND SYMBOL IN (SELECT f.value::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) f) "
            f"ORDER BY {LOADED} NULLS FIRST, {_of_topic('offset')}",
            [
                *([self._settings.agg_output_topic] * 2),
                min(starts),
                max(starts) + FIVE_MINUTES_MS - 1,
                _json(sorted({window.symbol for window in late})),
                self._settings.agg_output_topic,
            ],
        )
        bars: dict[LateWindow, list[Stored]] = {window: [] for window in late}
        for *values, partition, offset in found:
            bar = _bar(values)
            window = windows.get((bar.symbol, floor(bar.start_ts_ms, FIVE_MINUTES_MS)))
            if window is not None:
                bars[window].append(Stored(bar, int(partition), int(offset)))
        return bars

    def written(self, late: Sequence[LateWindow]) -> dict[str, Written]:
        """Return the stored rows of windows and their minutes, by BAR_ID."""
        span = min(window.start_ms for window in late), max(window.end_ms for window in late)
        binds: list[Any] = []
        for ids in zip(*(window.row_ids() for window in late), strict=True):
            binds += [*span, _json(chain.from_iterable(ids))]
        found = self._run(" UNION ALL ".join(map(_select, ("FACT_TICKS_60S", "FACT_TICKS_300S"))), binds)
        return {
            bar_id: Written(int(trades), int(bars), *map(float, values))
            for bar_id, trades, bars, *values in found
        }

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


def _bar(row: Sequence[Any]) -> Bar:
    values = {name: float(v) if isinstance(v, Decimal) else v for name, v in zip(STORED, row, strict=True)}
    return msgspec.convert(values, Bar, strict=False)


def _of_topic(name: str) -> str:
    """Return the SQL of a record's place, -1 where the bar is not of the topic of a bind."""
    return f"IFF(RECORD_METADATA:topic::VARCHAR = ?, RECORD_METADATA:{name}::NUMBER, -1)"


_SAME_ROWS = (
    "START_TS_MS BETWEEN ? AND ? "
    "AND BAR_ID IN (SELECT f.value::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) f)"
)


def _delete(table: str) -> str:
    return f"DELETE FROM CORE.{table} WHERE {_SAME_ROWS}"  # noqa: S608


def _select(table: str) -> str:
    names = ", ".join(name.upper() for name in Written.__struct_fields__)
    return f"SELECT BAR_ID, {names} FROM CORE.{table} WHERE {_SAME_ROWS}"  # noqa: S608


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
