-- Market data files as a feed that serves them would, undisturbed.
-- In: rows (file_no, row_no, symbol, event_ts_ms, px, sz), NULL where a field cannot be read.
-- Out: feed. One file keeps its line order, several are merged by event time.

CREATE TABLE feed AS
SELECT
    row_number() OVER (
        ORDER BY CASE WHEN file_count > 1 THEN event_ts_ms END, file_no, row_no
    ) AS line_no,
    CASE WHEN detail IS NULL THEN 'tick' ELSE 'invalid' END AS kind,
    symbol, event_ts_ms, px, sz,
    NULL::BIGINT AS seq,                    -- what the feed adds to a line is not known here
    NULL::BIGINT AS api_send_ts_ms,
    NULL::BIGINT AS source_event_ts_ms,
    NULL::VARCHAR AS sha256,
    NULL::VARCHAR AS head,
    detail
FROM (
    SELECT
        *,
        (SELECT count(DISTINCT file_no) FROM rows) AS file_count,
        CASE WHEN NOT (px > 0 AND px <= 1e15) THEN 'px'
             WHEN NOT (sz >= 0 AND sz <= 1e15) THEN 'sz' END AS detail
    FROM rows
    WHERE event_ts_ms >= 0 AND px IS NOT NULL AND sz IS NOT NULL
)
ORDER BY line_no;
