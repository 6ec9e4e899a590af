-- The two sides of the comparison.   In: bins_seen, dead_letters, expected_bins, expected_watermarks.
-- Out: bins_last, watermarks_seen, closed_bins, still_open.

-- What the file holds in the end: of each bin_id the last.
CREATE TABLE bins_last AS
SELECT * FROM bins_seen
WHERE NOT is_watermark
QUALIFY row_number() OVER (PARTITION BY bin_id ORDER BY pos DESC) = 1;

CREATE TABLE watermarks_seen AS
SELECT start_ts_ms, pos, bin_id FROM bins_seen WHERE is_watermark AND NOT is_repeat;

-- A capture of a live feed may be cut where bins are still open: those beyond the file's W - L may be missing.
CREATE TABLE closed_bins AS
SELECT * FROM expected_bins
WHERE NOT is_live() OR end_ts_ms <= (SELECT max(watermark_ms) FROM bins_file) - late_ms();

CREATE TABLE still_open AS
SELECT * FROM expected_bins ANTI JOIN closed_bins USING (bin_id) ANTI JOIN bins_last USING (bin_id);

CREATE MACRO same_or_unknown(reason, a, b) AS
    a IS NOT DISTINCT FROM b OR (reason = 'invalid' AND (a IS NULL OR b IS NULL));
