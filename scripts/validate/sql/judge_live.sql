-- Verdicts of a live feed: they depend on the worker's wall clock, so its dead letters are taken at their word.
-- In: feed, dlt_file, given (line_no, pos: which dead letter is which tick or heartbeat).   Out: verdicts.

CREATE TABLE verdicts AS
WITH told AS (
    SELECT
        line_no, kind, feed.symbol, feed.event_ts_ms, px, sz, feed.seq, api_send_ts_ms, source_event_ts_ms,
        coalesce(d.reason, CASE kind WHEN 'tick' THEN 'binned' ELSE kind END) AS verdict,
        d.lateness_ms AS told_lateness_ms
    FROM feed
    LEFT JOIN given USING (line_no)
    LEFT JOIN dlt_file AS d USING (pos)
    WHERE kind IN ('tick', 'heartbeat')
)
SELECT
    *,
    NULL::BIGINT AS w_before,
    bin_start(event_ts_ms) + bin_ms() AS bin_end_ms,
    -- The most it can have been: a clock ahead of the worker's raises its W(s) less than it does here.
    greatest(0, coalesce(max(CASE WHEN verdict = 'binned' THEN event_ts_ms END) OVER (
        PARTITION BY symbol ORDER BY line_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) - event_ts_ms, 0)) AS lateness_ms
FROM told;
