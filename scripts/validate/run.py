"""One validation: load, recompute, compare."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from validate import bar_checks
from validate.checks import Check, run_check
from validate.database import load_jsonl, open_database, run_file, scalar
from validate.feed_lines import feed_mode, load_captures
from validate.files import recognise
from validate.jumps import Event, Held, JumpRule
from validate.market_files import load_market_files
from validate.pairing import BY_HASH, BY_REASON, BY_SEQ, BY_TIME, pair
from validate.progress import Progress
from validate.report import Report
from validate.rules import Rules
from validate.tick_checks import tick_checks

A_DAY_MS = 86_400_000
KEYS = (BY_HASH, BY_SEQ, BY_TIME)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to compare."""

    bins: Path
    bars: Path
    rules: Rules = field(default_factory=Rules)
    ticks: list[Path] = field(default_factory=list)
    dlt: Path | None = None
    layout: str | None = None
    symbols: list[str] = field(default_factory=list)
    regular_hours: bool = False
    mode: str | None = None
    examples: int = 5


def validate(inputs: Inputs, scratch: Path, progress: Progress) -> Report:
    """Compare all that `inputs` names; the database lives in the folder `scratch`.

    Raises:
        UnreadableError: a file cannot be read.
    """
    report = Report()
    with open_database(scratch / "validate.duckdb", inputs.rules) as con:
        progress.show("reading bins and bars")
        load_jsonl(con, "bins_file", inputs.bins, "tick_bin")
        load_jsonl(con, "bars_file", inputs.bars, "bar_1s")
        progress.show("recomputing bars")
        run_file(con, "bars.sql")
        checks = list(bar_checks.CHECKS)
        _count_bars(con, report)
        if inputs.ticks and inputs.dlt:
            load_jsonl(con, "dlt_file", inputs.dlt, "dead_letter")
            checks += _ticks(con, inputs, report, progress)
        for check in checks:
            progress.show(f"comparing: {check.title}")
            report.findings.append(run_check(con, check, inputs.examples))
        report.latency = {"bins": _latency(con, "bins"), "bars": _latency(con, "bars_file")}
    return report


def _ticks(con: duckdb.DuckDBPyConnection, inputs: Inputs, report: Report, progress: Progress) -> list[Check]:
    """Recompute bins and dead letters from the feed; return the checks that this allows."""
    layout = inputs.layout or recognise(inputs.ticks[0])
    is_capture = layout == "ndjson"
    if is_capture:
        load_captures(con, inputs.ticks, lambda lines: progress.show(f"reading ticks: {lines:,} lines"))
    else:
        progress.show("reading ticks")
        skipped = load_market_files(con, inputs.ticks, layout, inputs.symbols, inputs.regular_hours)
        report.notes.append(
            f"ticks are those of {layout} files served undisturbed, {skipped:,} rows that are no trades left "
            "out; api_send_ts_ms, source_event_ts_ms, seq and line_sha256 are not known and not compared"
        )
    is_live = (inputs.mode or (feed_mode(con, inputs.ticks) if is_capture else None)) == "live"
    con.execute(f"CREATE MACRO is_live() AS {is_live}")
    progress.show("following watermarks")
    if is_live:
        _believe_dead_letters(con, report)
        run_file(con, "expected_bins.sql")
        con.execute(
            "CREATE VIEW expected_bins AS SELECT *, NULL::BIGINT AS watermark_ms FROM expected_contents"
        )
    else:
        _find_jumps(con, inputs.rules)
        run_file(con, "judge_ticks.sql")
        progress.show("recomputing bins")
        run_file(con, "expected_bins.sql")
        run_file(con, "close_bins.sql")
        _note_cut_capture(con, report)
    progress.show("comparing dead letters")
    run_file(con, "dead_letters.sql")
    run_file(con, "compare_ticks.sql")
    pair(
        con,
        "letter_pairs",
        "expected_dead_letters",
        "dead_letters",
        KEYS if is_capture else (*KEYS, BY_REASON),
    )
    _count_ticks(con, report)
    return tick_checks(is_live=is_live, is_capture=is_capture)


def _find_jumps(con: duckdb.DuckDBPyConnection, rules: Rules) -> None:
    """Create the table `held`: ticks that were held back or refused by the jump rule."""
    con.execute(
        "CREATE TABLE held (line_no BIGINT, decided_at BIGINT, is_refuted BOOLEAN, counts_as_ms BIGINT)"
    )
    kinds = "kind IN ('tick', 'heartbeat')"
    span_ms = scalar(con, f"SELECT max(event_ts_ms) - min(event_ts_ms) FROM feed WHERE {kinds}") or 0  # noqa: S608
    held = list(JumpRule(rules).follow(_events(con, kinds), span_ms))
    if held:
        columns = map(list, zip(*held, strict=True))
        con.execute(
            "INSERT INTO held SELECT unnest($line_no::BIGINT[]), unnest($decided_at::BIGINT[]), "
            "unnest($is_refuted::BOOLEAN[]), unnest($counts_as_ms::BIGINT[])",
            dict(zip(Held._fields, columns, strict=True)),
        )


def _events(con: duckdb.DuckDBPyConnection, kinds: str) -> Iterator[Event]:
    """Yield valid ticks and heartbeats in arrival order."""
    query = f"SELECT line_no, kind = 'tick', event_ts_ms FROM feed WHERE {kinds} ORDER BY line_no"  # noqa: S608
    cursor = con.execute(query)
    while rows := cursor.fetchmany(100_000):
        yield from map(Event._make, rows)


def _believe_dead_letters(con: duckdb.DuckDBPyConnection, report: Report) -> None:
    """Let the dead-letter file say which ticks of a live feed were late, closed or future."""
    con.execute(
        "CREATE VIEW told_letters AS SELECT * FROM dlt_file WHERE reason IN ('late', 'closed', 'future') "
        "QUALIFY row_number() OVER (PARTITION BY dlt_id ORDER BY pos DESC) = 1"
    )
    con.execute(
        "CREATE VIEW told_lines AS "
        "SELECT *, sha256 AS line_sha256 FROM feed WHERE kind IN ('tick', 'heartbeat')"
    )
    pair(con, "given", "told_lines", "told_letters", KEYS)
    run_file(con, "judge_live.sql")
    report.notes.append(
        "live feed: what its worker did with the wall clock cannot be recomputed, so dead letters late, "
        "closed and future are believed; watermarks, max_lateness_ms and api_send_ts_ms are not compared; "
        "contents of bins and the conservation of ticks are"
    )


def _note_cut_capture(con: duckdb.DuckDBPyConnection, report: Report) -> None:
    """Say so when a capture ends without the feed's word that it is complete."""
    is_cut = scalar(
        con, "SELECT count(*) FILTER (kind = 'hello') > 0 AND count(*) FILTER (kind = 'end') = 0 FROM feed"
    )
    if is_cut:
        report.notes.append("the capture has a hello but no end: it is taken as the whole feed all the same")


def _count_bars(con: duckdb.DuckDBPyConnection, report: Report) -> None:
    report.totals |= {
        "bars": scalar(con, "SELECT count(*) FROM bars_once"),
        "bins": scalar(con, "SELECT count(DISTINCT bin_id) FROM bins_seen WHERE NOT is_watermark"),
        "watermark records": scalar(con, "SELECT count(*) FROM bins_seen WHERE is_watermark"),
    }
    if repeats := scalar(con, "SELECT count(*) FROM bins_seen WHERE is_repeat"):
        report.notes.append(
            f"{repeats:,} records of the bins file repeat a bin_id; the last in time counts, once"
        )


def _count_ticks(con: duckdb.DuckDBPyConnection, report: Report) -> None:
    for kind, title in (("tick", "ticks"), ("heartbeat", "heartbeats"), ("invalid", "invalid lines")):
        report.totals[title] = scalar(con, f"SELECT count(*) FROM feed WHERE kind = '{kind}'")  # noqa: S608
    letters = con.execute(
        "SELECT reason, count(*) FROM dead_letters GROUP BY reason ORDER BY reason"
    ).fetchall()
    report.totals |= {f"dead letters: {reason}": count for reason, count in letters}
    if repeats := scalar(con, "SELECT count(*) - count(DISTINCT dlt_id) FROM dlt_file"):
        report.notes.append(f"{repeats:,} dead letters repeat a dlt_id; each counts once")
    if open_ticks := scalar(con, "SELECT sum(trade_count) FROM still_open"):
        report.notes.append(f"{open_ticks:,} ticks are in bins that were still open when the files ended")


def _latency(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, int] | None:
    """Return p50, p95 and max of ingest_ts_ms - end_ts_ms; None when the events are of another day."""
    row = con.execute(
        f"""
        SELECT quantile_disc(ms, 0.5), quantile_disc(ms, 0.95), max(ms)
        FROM (SELECT ingest_ts_ms - end_ts_ms AS ms FROM {table})"""  # noqa: S608
    ).fetchone()
    if row is None or row[0] is None or row[0] > A_DAY_MS:
        return None
    return dict(zip(("p50", "p95", "max"), row, strict=True))
