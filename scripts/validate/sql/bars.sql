-- Bins to bars.   In: bins_file, bars_file (pos = place in the file).   Out: bins_seen, expected_bars, bars_once.

-- Every record of the bins file with what a reader knew when it came.
-- A bar closes when a record starts at its end + L or later: what comes after that is not in the bar.
CREATE TABLE bins_seen AS
SELECT
    *,
    starts_with(symbol, '~wm') AS is_watermark,
    row_number() OVER (PARTITION BY bin_id ORDER BY pos) > 1 AS is_repeat,
    max(start_ts_ms) OVER (ORDER BY pos ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest_before,
    coalesce(bar_end(start_ts_ms) + late_ms() <= newest_before, false) AS is_after_close
FROM bins_file;

-- The bins that count: of each bin_id the last one that came in time, once.
CREATE TABLE bins AS
SELECT *
FROM bins_seen
WHERE NOT is_watermark AND NOT is_after_close
QUALIFY row_number() OVER (PARTITION BY bin_id ORDER BY pos DESC) = 1;

CREATE TABLE expected_bars AS
SELECT
    symbol || '-' || bar_start(start_ts_ms) AS bar_id,
    symbol,
    bar_start(start_ts_ms) AS start_ts_ms,
    bar_end(start_ts_ms) AS end_ts_ms,
    arg_min(open, b.start_ts_ms) AS open,
    max(high) AS high,
    min(low) AS low,
    arg_max(close, b.start_ts_ms) AS close,
    fsum(volume) AS volume,
    fsum(notional) AS notional,
    CASE WHEN fsum(volume) = 0 THEN arg_max(close, b.start_ts_ms)
         ELSE fsum(notional) / fsum(volume) END AS vwap,
    sum(trade_count)::BIGINT AS trade_count,
    count(*) AS bin_count,
    max(max_lateness_ms) AS max_lateness_ms,
    min(api_send_ts_ms) AS api_send_ts_ms,
    min(source_event_ts_ms) AS source_event_ts_ms
FROM bins AS b
GROUP BY symbol, bar_start(b.start_ts_ms), bar_end(b.start_ts_ms)
-- Only seconds that have closed; at the end of a finite feed a last watermark record closes all.
HAVING bar_end(any_value(b.start_ts_ms)) + late_ms() <= (SELECT max(start_ts_ms) FROM bins_file);

-- A bar that came again is a difference of its own; its first version is the one to compare.
CREATE TABLE bars_once AS
SELECT * FROM bars_file
QUALIFY row_number() OVER (PARTITION BY bar_id ORDER BY pos) = 1;
