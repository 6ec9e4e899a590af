-- Which dead letters there should be.   In: feed, verdicts, dlt_file.   Out: dead_letters, expected_dead_letters.

-- The file is at-least-once: of each dlt_id the last one counts.
CREATE TABLE dead_letters AS
SELECT * FROM dlt_file
QUALIFY row_number() OVER (PARTITION BY dlt_id ORDER BY pos DESC) = 1;

CREATE TABLE expected_dead_letters AS
SELECT
    line_no,
    verdict AS reason,
    v.symbol,
    v.event_ts_ms,
    v.lateness_ms,
    v.w_before AS watermark_ms,
    v.seq,
    sha256 AS line_sha256,
    NULL AS head
FROM verdicts AS v
JOIN feed USING (line_no)
WHERE verdict IN ('late', 'closed', 'future')
UNION ALL
-- Of an invalid line the worker may know the symbol, time and number or not.
SELECT line_no, 'invalid', symbol, event_ts_ms, NULL, NULL, seq, sha256, head
FROM feed
WHERE kind = 'invalid';
