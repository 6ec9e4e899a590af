"""What must hold between the files of bins and bars, and within each."""

from validate.checks import Check, field_differences, missing, nulls, problems, repeated, types_of

_IS_WATERMARK = "starts_with(symbol, '~wm')"
_PRICES = {
    "low is above open": "NOT at_most(low, open)",
    "low is above close": "NOT at_most(low, close)",
    "high is below open": "NOT at_most(open, high)",
    "high is below close": "NOT at_most(close, high)",
    "low is not above 0": "NOT low > 0",
    "volume is negative": "NOT volume >= 0",
    "max_lateness_ms is not within 0 and L": "NOT max_lateness_ms BETWEEN 0 AND late_ms()",
}

_BIN_PROBLEMS = {
    **nulls("tick_bin"),
    "bin_id is not <symbol>-<start_ts_ms>": "bin_id <> symbol || '-' || start_ts_ms",
    "end_ts_ms is not start_ts_ms + window_ms": "end_ts_ms <> start_ts_ms + window_ms",
    "window_ms is not --bin-ms": "window_ms <> bin_ms()",
    "start_ts_ms is not a multiple of --bin-ms": "start_ts_ms % bin_ms() <> 0",
    "source is not replay": "source <> 'replay'",
    "a watermark record with ticks": f"{_IS_WATERMARK} AND trade_count <> 0",
    "a watermark record with prices, volume or notional": f"""{_IS_WATERMARK} AND (
        coalesce(open, high, low, close) IS NOT NULL OR volume <> 0 OR notional <> 0)""",
    "watermark_ms of a watermark record is not its start": (
        f"{_IS_WATERMARK} AND watermark_ms <> start_ts_ms"
    ),
    "trade_count 0, but no watermark record": f"NOT {_IS_WATERMARK} AND trade_count < 1",
    "a bin without prices": f"NOT {_IS_WATERMARK} AND (open + high + low + close) IS NULL",
    "notional does not fit the prices": f"""NOT {_IS_WATERMARK} AND NOT (
        at_most(low * volume, notional) AND at_most(notional, high * volume))""",
    **{problem: f"NOT {_IS_WATERMARK} AND {test}" for problem, test in _PRICES.items()},
}

_BAR_PROBLEMS = {
    **nulls("bar_1s"),
    "bar_id is not <symbol>-<start_ts_ms>": "bar_id <> symbol || '-' || start_ts_ms",
    "end_ts_ms is not start_ts_ms + 1000": "end_ts_ms <> start_ts_ms + 1000",
    "start_ts_ms is not a whole second": "start_ts_ms % 1000 <> 0",
    "source is neither ksqldb nor aggregate": "source NOT IN ('ksqldb', 'aggregate')",
    "vwap is not within low and high": "NOT (at_most(low, vwap) AND at_most(vwap, high))",
    "bin_count is not within 1 and trade_count": "NOT bin_count BETWEEN 1 AND trade_count",
    **_PRICES,
}

CHECKS = [
    Check(
        "missing_bars",
        "bars missing",
        missing("expected_bars", "bars_file", "bar_id", "bar_id, bin_count, trade_count"),
    ),
    Check(
        "extra_bars",
        "bars that no bins account for (or whose second had not closed)",
        missing("bars_once", "expected_bars", "bar_id", "bar_id, pos + 1 AS record, bin_count, trade_count"),
    ),
    Check("duplicate_bars", "bars that came again", repeated("bars_file", "bar_id")),
    Check(
        "bar_fields",
        "fields of bars that differ",
        field_differences(
            "expected_bars", "bars_once", "bar_id", types_of("bar_1s", {"bar_id", "ingest_ts_ms", "source"})
        ),
    ),
    Check(
        "bars_out_of_order",
        "bars older than an earlier one of their symbol",
        """
        SELECT bar_id, pos + 1 AS record FROM bars_file
        QUALIFY start_ts_ms < max(start_ts_ms) OVER (
            PARTITION BY symbol ORDER BY pos ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ORDER BY pos""",
    ),
    Check(
        "late_bins",
        "new bins that came after their bar had closed",
        """
        SELECT bin_id, pos + 1 AS record, newest_before AS newest_start_ts_ms FROM bins_seen
        WHERE is_after_close AND NOT is_repeat AND NOT is_watermark
        ORDER BY pos""",
    ),
    Check(
        "watermarks_going_back",
        "records whose watermark_ms is less than an earlier one's",
        """
        SELECT bin_id, pos + 1 AS record, watermark_ms FROM bins_seen WHERE NOT is_repeat
        QUALIFY watermark_ms < max(watermark_ms) OVER (
            PARTITION BY is_watermark ORDER BY pos ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ORDER BY pos""",
    ),
    Check(
        "bin_sanity",
        "bins that cannot be right in themselves",
        problems("bins_file", "bin_id", _BIN_PROBLEMS),
    ),
    Check(
        "bar_sanity",
        "bars that cannot be right in themselves",
        problems("bars_file", "bar_id", _BAR_PROBLEMS),
    ),
]
