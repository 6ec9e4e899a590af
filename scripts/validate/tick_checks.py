"""What must hold between the feed's lines and the files of bins and dead letters."""

from validate.checks import Check, field_differences, missing, nulls, problems, types_of

_LETTER_PROBLEMS = {
    **nulls("dead_letter"),
    "reason is not late, closed, future or invalid": "reason NOT IN ('late', 'closed', 'future', 'invalid')",
    "late by no more than L": "reason = 'late' AND coalesce(lateness_ms, 0) <= late_ms()",
    "line is longer than 4 KiB": "strlen(line) > CASE WHEN contains(line, '\\x') THEN 16384 ELSE 4096 END",
    # A line that was cut, or was not UTF-8, has another hash than its text.
    "line_sha256 is not the hash of line": (
        "strlen(line) < 4090 AND NOT contains(line, '\\x') AND line_sha256 <> sha256(line)"
    ),
}

# Step by step; in a step first the bins that W closes, then the watermark record. Bins that only the W(s) of
# their symbol closes may go before or after it. All bins of a step are in start order.
_ORDER = """
SELECT bin_id, pos + 1 AS record, lag(bin_id) OVER in_file AS came_after
FROM (
    SELECT bin_id, pos, start_ts_ms AS bin_start_ms, close_step,
           CASE WHEN e.end_ts_ms <= e.watermark_ms - late_ms() THEN 0 ELSE 1 END AS half
    FROM bins_seen JOIN expected_bins AS e USING (bin_id, start_ts_ms) WHERE NOT is_repeat
    UNION ALL
    SELECT bin_id, pos, NULL, close_step, 1
    FROM watermarks_seen JOIN expected_watermarks USING (start_ts_ms)
)
WINDOW in_file AS (ORDER BY pos), among_bins AS (PARTITION BY bin_start_ms IS NULL ORDER BY pos)
QUALIFY lag((close_step, half)) OVER in_file > (close_step, half)
     OR lag((close_step, bin_start_ms)) OVER among_bins > (close_step, bin_start_ms)
ORDER BY pos"""

_CONSERVATION = """
SELECT *, ticks + invalid_lines + refused_heartbeats - in_bins - in_dead_letters - in_open_bins AS lost
FROM (SELECT
    (SELECT count(*) FROM verdicts WHERE kind = 'tick') AS ticks,
    (SELECT count(*) FROM feed WHERE kind = 'invalid') AS invalid_lines,
    (SELECT count(*) FROM verdicts WHERE kind = 'heartbeat' AND verdict = 'future') AS refused_heartbeats,
    (SELECT coalesce(sum(trade_count), 0)::BIGINT FROM bins_last) AS in_bins,
    (SELECT count(*) FROM dead_letters) AS in_dead_letters,
    (SELECT coalesce(sum(trade_count), 0)::BIGINT FROM still_open) AS in_open_bins)
WHERE lost <> 0"""

_LETTER_COLUMNS = "reason, symbol, event_ts_ms, seq"


def tick_checks(*, is_live: bool, is_capture: bool) -> list[Check]:
    """Return the checks that the kind of feed allows.

    A live feed's watermarks and lateness depend on the worker's wall clock. A market file (no capture) does
    not have what its feed added to the lines.
    """
    leave_out = {"bin_id", "ingest_ts_ms"}
    if is_live:
        leave_out |= {"watermark_ms", "max_lateness_ms", "api_send_ts_ms"}
    if not is_capture:
        leave_out |= {"api_send_ts_ms", "source_event_ts_ms"}
    checks = [
        Check(
            "missing_bins",
            "bins missing",
            missing("closed_bins", "bins_last", "bin_id", "bin_id, trade_count"),
        ),
        Check(
            "extra_bins",
            "bins that no ticks account for",
            missing("bins_last", "expected_bins", "bin_id", "bin_id, pos + 1 AS record, trade_count"),
        ),
        Check(
            "bin_fields",
            "fields of bins that differ",
            field_differences("expected_bins", "bins_last", "bin_id", types_of("tick_bin", leave_out)),
        ),
        Check("tick_conservation", "lines in = ticks in bins + dead letters does not hold", _CONSERVATION),
        Check(
            "missing_dead_letters",
            "dead letters missing",
            f"""
            SELECT line_no, {_LETTER_COLUMNS}
            FROM expected_dead_letters ANTI JOIN letter_pairs USING (line_no)
            ORDER BY line_no""",  # noqa: S608
        ),
        Check(
            "extra_dead_letters",
            "dead letters that no line accounts for",
            f"""
            SELECT pos + 1 AS record, {_LETTER_COLUMNS}, left(line, 200) AS line
            FROM dead_letters ANTI JOIN letter_pairs USING (pos)
            ORDER BY pos""",  # noqa: S608
        ),
        Check(
            "wrong_reasons",
            "dead letters with a wrong reason",
            """
            SELECT line_no, g.pos + 1 AS record, e.reason AS expected, g.reason AS got, g.detail AS detail
            FROM letter_pairs
            JOIN expected_dead_letters AS e USING (line_no)
            JOIN dead_letters AS g USING (pos)
            WHERE e.reason <> g.reason
            ORDER BY line_no""",
        ),
        Check(
            "dead_letter_fields", "fields of dead letters that differ", _letter_fields(is_live, is_capture)
        ),
        Check(
            "dead_letter_sanity",
            "dead letters that cannot be right in themselves",
            problems("dlt_file", "dlt_id", _LETTER_PROBLEMS),
        ),
    ]
    if not is_live:
        checks += [
            Check(
                "missing_watermarks",
                "watermark records missing",
                missing("expected_watermarks", "watermarks_seen", "start_ts_ms", "start_ts_ms"),
            ),
            Check(
                "extra_watermarks",
                "watermark records that should not be",
                missing("watermarks_seen", "expected_watermarks", "start_ts_ms", "bin_id, pos + 1 AS record"),
            ),
            Check("bins_out_of_order", "records that should have gone out earlier", _ORDER),
        ]
    return checks


def _letter_fields(is_live: bool, is_capture: bool) -> str:
    """Return a query for differing fields of dead letters whose reason is right."""
    same = {
        "symbol": "same_or_unknown(e.reason, e.symbol, g.symbol)",
        "event_ts_ms": "same_or_unknown(e.reason, e.event_ts_ms, g.event_ts_ms)",
    }
    if is_live:
        same["lateness_ms"] = "e.reason <> 'late' OR g.lateness_ms <= e.lateness_ms"
    else:
        same["lateness_ms"] = (
            "e.reason = 'invalid' OR coalesce(e.lateness_ms, 0) = coalesce(g.lateness_ms, 0)"
        )
        same["watermark_ms"] = "e.reason = 'invalid' OR e.watermark_ms IS NOT DISTINCT FROM g.watermark_ms"
    if is_capture:
        same["seq"] = "same_or_unknown(e.reason, e.seq, g.seq)"
        same["line"] = "e.head IS NULL OR starts_with(lower(g.line), lower(e.head))"
        if not is_live:
            same["line_sha256"] = "e.line_sha256 = g.line_sha256"
    tests = ", ".join(
        f"CASE WHEN NOT ({is_same}) THEN {{field: '{name}', expected: left(e.{column}::VARCHAR, 200), "
        f"got: left(g.{name}::VARCHAR, 200)}} END"
        for name, is_same in same.items()
        for column in ["head" if name == "line" else name]
    )
    return f"""
        SELECT line_no, record, reason, d.field AS field, d.expected AS expected, d.got AS got
        FROM (
            SELECT line_no, g.pos + 1 AS record, e.reason,
                   unnest(list_filter([{tests}], lambda t: t IS NOT NULL)) AS d
            FROM letter_pairs
            JOIN expected_dead_letters AS e USING (line_no)
            JOIN dead_letters AS g USING (pos)
            WHERE e.reason = g.reason
        )
        ORDER BY line_no, field"""  # noqa: S608
