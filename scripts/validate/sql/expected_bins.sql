-- Binned ticks to bins.   In: verdicts.   Out: expected_contents (without watermark_ms).

CREATE TABLE expected_contents AS
SELECT
    symbol || '-' || bin_start(event_ts_ms) AS bin_id,
    symbol,
    bin_start(event_ts_ms) AS start_ts_ms,
    bin_end_ms AS end_ts_ms,
    bin_ms() AS window_ms,
    -- First and last by event time, then seq (arrival where there is none), then arrival.
    arg_min(px, (event_ts_ms, coalesce(seq, line_no), line_no)) AS open,
    max(px) AS high,
    min(px) AS low,
    arg_max(px, (event_ts_ms, coalesce(seq, line_no), line_no)) AS close,
    fsum(sz) AS volume,
    fsum(px * sz) AS notional,
    count(*) AS trade_count,
    max(lateness_ms) AS max_lateness_ms,
    min(api_send_ts_ms) AS api_send_ts_ms,
    min(source_event_ts_ms) AS source_event_ts_ms,
    'replay' AS source
FROM verdicts
WHERE verdict = 'binned'
GROUP BY symbol, bin_start(event_ts_ms), bin_end_ms;
