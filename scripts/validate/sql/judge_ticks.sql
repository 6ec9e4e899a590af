-- Ticks to verdicts, historical feed.   In: feed (line_no, kind, symbol, event_ts_ms, …), held (jumps.py).
-- Out: verdicts, one row per tick or heartbeat in the order in which the rules take them.
--
-- Running maxima are enough, although refused ticks must not raise them:
--  * W. A tick refused as late, or as closed by its symbol's W(s), is older than W(s) and so than M. One that
--    is closed by W is older than W - L. Neither can raise W, so W may run over all ticks but the `future` ones.
--  * W(s). Only ticks that W has closed could raise it wrongly (W may be ahead through a heartbeat), and those
--    are known once W is: W(s) runs over the others.

CREATE TABLE verdicts AS
WITH events AS (
    SELECT
        line_no, kind, symbol, event_ts_ms, px, sz, seq, api_send_ts_ms, source_event_ts_ms,
        -- A held tick is taken when its fate is known: just before the line that decided it.
        coalesce(h.decided_at, line_no) AS taken_at,
        coalesce(h.is_refuted, false) AS is_future,
        bin_start(event_ts_ms) + bin_ms() AS bin_end_ms,
        CASE WHEN is_future THEN NULL
             WHEN kind = 'tick' THEN event_ts_ms - skew_ms()
             ELSE coalesce(h.counts_as_ms, event_ts_ms) END AS raises_w_to
    FROM feed
    LEFT JOIN held AS h USING (line_no)
    WHERE kind IN ('tick', 'heartbeat')
),
with_w AS (
    SELECT
        *,
        row_number() OVER (ORDER BY taken_at, line_no) AS step,
        max(raises_w_to) OVER (
            ORDER BY taken_at, line_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS w_before,
        coalesce(bin_end_ms <= w_before - late_ms(), false) AS is_closed_by_w,
        CASE WHEN kind = 'tick' AND NOT is_future AND NOT is_closed_by_w THEN event_ts_ms END AS raises_ws_to
    FROM events
),
with_ws AS (
    SELECT
        *,
        max(raises_ws_to) OVER (
            PARTITION BY symbol ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS ws_before
    FROM with_w
)
SELECT
    * EXCLUDE (taken_at, raises_ws_to),
    greatest(raises_w_to, w_before) AS w_after,                      -- greatest and least pass NULLs over
    greatest(0, coalesce(ws_before - event_ts_ms, 0)) AS lateness_ms,
    CASE WHEN is_future THEN 'future'
         WHEN kind = 'heartbeat' THEN 'heartbeat'
         WHEN ws_before - event_ts_ms > late_ms() THEN 'late'
         WHEN bin_end_ms <= greatest(ws_before, w_before) - late_ms() THEN 'closed'
         ELSE 'binned' END AS verdict
FROM with_ws;
