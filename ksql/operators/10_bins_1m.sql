-- What came to the bars, by minute: repeated bins, lateness, and how near a window was to its limit.
--
-- Input:       stream BARS_1S_CLOSED (../03_bars_1s.sql), a record a closed window with the bins it saw
-- Key:         SYMBOL and the minute
-- Event time:  none: minutes of wall time, by the broker's append time of the closed windows
-- Output:      table BINS_1M, topic ticks.agg.1s.bins_1m
-- Grace:       0, append times are in order
--
-- REPEATED_BINS came more than once and count once. MAX_LATENESS_MS near REPLAY_MAX_LATE_MS: ticks are about to be
-- refused as late. MOST_BINS_A_SECOND counts repeats too and must stay below the 5,000 that
-- ../02_bars_1s_windowed.sql lets COLLECT_LIST keep: beyond that bins are dropped. Look with
--     SELECT * FROM BINS_1M WHERE SYMBOL = 'WDC';

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';

CREATE TABLE BINS_1M WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.bins_1m',
    PARTITIONS = 1,
    RETENTION_MS = 86400000,
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
) AS SELECT
    SYMBOL,
    COUNT(*) AS BARS,
    SUM(ARRAY_LENGTH(ARRAY_DISTINCT(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3))))) AS BINS,
    SUM(ARRAY_LENGTH(BINS) - ARRAY_LENGTH(ARRAY_DISTINCT(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3))))) AS REPEATED_BINS,
    MAX(ARRAY_LENGTH(BINS)) AS MOST_BINS_A_SECOND,
    MAX(ARRAY_MAX(TRANSFORM(BINS, B => CAST(SPLIT(B, '|')[9] AS BIGINT)))) AS MAX_LATENESS_MS
FROM BARS_1S_CLOSED
WINDOW TUMBLING (SIZE 1 MINUTES, RETENTION 1 DAYS, GRACE PERIOD 0 SECONDS)
GROUP BY SYMBOL
EMIT CHANGES;
