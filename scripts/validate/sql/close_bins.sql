-- When each bin closes and each watermark record goes out, historical feed.
-- In: verdicts, expected_contents.   Out: feed_end, expected_bins, expected_watermarks.

-- At the end of a finite feed W jumps so far that the newest bar closes.
CREATE TABLE feed_end AS
SELECT
    w_last,
    greatest(w_last, newest_bar_end + late_ms()) AS w_end,
    (SELECT coalesce(max(step), 0) + 1 FROM verdicts) AS step
FROM (SELECT max(w_after) AS w_last FROM verdicts),
     (SELECT max(bar_end(start_ts_ms)) AS newest_bar_end FROM expected_contents);

-- The steps at which W, and W(s) of a symbol, rose; each value appears once, at the first step that had it.
CREATE TABLE w_rises AS
SELECT step, w_after AS w
FROM verdicts
WHERE w_after > coalesce(w_before, w_after - 1);

CREATE TABLE ws_rises AS
SELECT step, symbol, event_ts_ms AS ws, w_after
FROM verdicts
WHERE verdict = 'binned' AND event_ts_ms > coalesce(ws_before, event_ts_ms - 1);

-- A bin closes at the first step with end + L <= max(W(s), W); at the end of the feed if there is none.
CREATE TABLE expected_bins AS
SELECT
    b.*,
    least(of_feed.step, of_symbol.step, feed_end.step) AS close_step,
    CASE close_step
        WHEN of_feed.step THEN of_feed.w
        WHEN of_symbol.step THEN of_symbol.w_after
        ELSE w_end END AS watermark_ms
FROM expected_contents AS b
CROSS JOIN feed_end
ASOF LEFT JOIN w_rises AS of_feed
    ON b.end_ts_ms + late_ms() <= of_feed.w
ASOF LEFT JOIN ws_rises AS of_symbol
    ON b.symbol = of_symbol.symbol AND b.end_ts_ms + late_ms() <= of_symbol.ws;

-- One record whenever W - L enters a new second, however far it went, once W is defined.
CREATE TABLE expected_watermarks AS
SELECT step AS close_step, bin_start(w) AS start_ts_ms
FROM (
    SELECT step, w_before AS before, w_after AS w FROM verdicts
    UNION ALL
    SELECT step, w_last, w_end FROM feed_end
)
WHERE closed_second(w) > closed_second(before);
