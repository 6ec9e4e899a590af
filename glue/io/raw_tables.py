"""RAW.RAW_STAGE and RAW.TICKS_RAW: files of bins are put there, loaded, and counted."""

from collections.abc import Sequence
from pathlib import Path

import structlog

from glue import metrics
from glue.core.staged import Span
from glue.errors import TapelineError
from glue.io.spool import Spool
from glue.io.warehouse_session import WarehouseSession

JOB = "stage_raw"
STAGE = "RAW_STAGE"
COLUMNS = {
    "bin_id": "VARCHAR",
    "symbol": "VARCHAR",
    "start_ts_ms": "NUMBER(18,0)",
    "end_ts_ms": "NUMBER(18,0)",
    "window_ms": "NUMBER(9,0)",
    "open": "NUMBER(28,8)",
    "high": "NUMBER(28,8)",
    "low": "NUMBER(28,8)",
    "close": "NUMBER(28,8)",
    "volume": "NUMBER(38,8)",
    "notional": "NUMBER(38,8)",
    "trade_count": "NUMBER(18,0)",
    "max_lateness_ms": "NUMBER(18,0)",
    "watermark_ms": "NUMBER(18,0)",
    "api_send_ts_ms": "NUMBER(18,0)",
    "source_event_ts_ms": "NUMBER(18,0)",
    "ingest_ts_ms": "NUMBER(18,0)",
    "source": "VARCHAR",
    "kafka_partition": "NUMBER(9,0)",
    "kafka_offset": "NUMBER(18,0)",
}
"""Fields of a line, which are columns of the table, and their types."""
AWAKE = ("STARTED", "RESUMING")
log = structlog.get_logger()


class RawTables(WarehouseSession):
    """The stage of raw bins and their table, in a session of the job; `folder` is that of a topic's files."""

    job = JOB
    what = "the raw bins"

    def is_awake(self) -> bool | None:
        """Tell whether the warehouse runs, without waking it; None where that is not to be known."""
        name = self._settings.snow_warehouse.replace("'", "''")
        rows = self._ask(f"SHOW WAREHOUSES LIKE '{name}'")  # where _ is any character
        states = [state for found, state, *_ in rows if str(found).upper() == name.upper()]
        return states[0] in AWAKE if states else None

    def bring(self, spans: Sequence[Span], spool: Spool, doubtful: set[str]) -> int:
        """Load files that the table has not yet, make sure that it has them all, and return their rows.

        Those named in `doubtful` may be there already; what is tried here joins them.

        Raises:
            TransientError: no answer; some may be loaded.
            TapelineError: one is not loaded, and another try would not help.
        """
        folder = spool.folder.name
        known = [span for span in spans if span.name in doubtful]
        there = self.rows_of(known, folder) if known else {}
        missing = [span for span in spans if not there.get(span.name)]
        wanted = [span for span in missing if spool.has(span)]
        for span in wanted:
            self.put(spool.path(span), folder)
        if wanted:
            doubtful.update(span.name for span in wanted)
            self.load(wanted, folder)
            there |= self.rows_of(wanted, folder)
        for span in spans:
            count = there.get(span.name, 0)
            if count > span.rows:
                log.error("a file was loaded more than once", file=span.name, rows=span.rows, found=count)
            elif span in missing and span not in wanted:
                metrics.BINS_MISSED.labels(span.partition).inc()
                log.error("bins are in no row, in no file and no more on the topic", file=span.name)
            elif count < span.rows:
                raise TapelineError(
                    f"RAW.TICKS_RAW has {count:,} of the {span.rows:,} rows of {span.name}, and COPY loads "
                    f"no more; the file stays in {spool.folder}. Were rows deleted there?"
                )
        return sum(there.values())

    def put(self, path: Path, folder: str) -> None:
        """Upload a file; the same file once more changes nothing. It needs no warehouse."""
        place = str(path.resolve()).replace("\\", "\\\\").replace("'", "\\'")
        self._ask(f"PUT 'file://{place}' @RAW.{STAGE}/{folder}/ AUTO_COMPRESS = FALSE")

    def load(self, spans: Sequence[Span], folder: str) -> None:
        """Load uploaded files, all or none; one that is in the table's load history is skipped.

        Raises:
            TapelineError: it loaded other rows of a file than there are.
        """
        files = ", ".join(f"'{span.name}'" for span in spans)
        values = ", ".join(f"$1:{name}::{kind}" for name, kind in COLUMNS.items())
        names = ", ".join(COLUMNS).upper()
        report = self._run(
            f"COPY INTO RAW.TICKS_RAW ({names}, FILE_NAME, FILE_ROW_NUMBER) "  # noqa: S608
            f"FROM (SELECT {values}, METADATA$FILENAME, METADATA$FILE_ROW_NUMBER "
            f"FROM @RAW.{STAGE}/{folder}/) FILES = ({files}) "
            "FILE_FORMAT = (FORMAT_NAME = 'RAW.NDJSON_GZIP')"
        )
        rows = {span.name: span.rows for span in spans}
        for file, status, _, loaded, *_ in (row for row in report if len(row) > 1):
            name = str(file).rpartition("/")[2]
            if status == "LOADED" and loaded != rows.get(name, loaded):
                raise TapelineError(f"COPY loaded {loaded:,} rows of {name}, which has {rows[name]:,}")

    def rows_of(self, spans: Sequence[Span], folder: str) -> dict[str, int]:
        """Return how many rows of some files the table has, by file name; files without are left out."""
        # Snowflake tells a file's path with or without the stage's name before it, by how it was asked for.
        paths = [f"{stage}{folder}/{span.name}" for span in spans for stage in ("", f"{STAGE.lower()}/")]
        found = self._run(
            "SELECT FILE_NAME, COUNT(*) FROM RAW.TICKS_RAW WHERE KAFKA_OFFSET BETWEEN ? AND ? "  # noqa: S608
            f"AND FILE_NAME IN ({', '.join('?' * len(paths))}) GROUP BY FILE_NAME",
            [min(span.first for span in spans), max(span.last for span in spans), *paths],
        )
        return {str(path).rpartition("/")[2]: int(count) for path, count in found}
