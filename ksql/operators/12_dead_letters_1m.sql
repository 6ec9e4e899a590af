-- Refused lines by reason and minute.
--
-- Input:       topic ticks.dlt, Avro, schemas/dead_letter.avsc, written by glue.replay
-- Key:         REASON and the minute
-- Event time:  none: minutes of wall time, by when the letters were written
-- Output:      table DEAD_LETTERS_1M, topic ticks.dlt.by_reason_1m
-- Grace:       0
--
-- LAST_LINE is the newest of them, LAST_DETAIL what was wrong with it. Look with
--     SELECT * FROM DEAD_LETTERS_1M WHERE REASON = 'late';

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';

CREATE STREAM DEAD_LETTERS (
    RECORD_KEY   STRING KEY,
    REASON       STRING,
    DETAIL       STRING,
    SYMBOL       STRING,
    EVENT_TS_MS  BIGINT,
    LATENESS_MS  BIGINT,
    WATERMARK_MS BIGINT,
    LINE         STRING
) WITH (
    KAFKA_TOPIC = 'ticks.dlt',
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
);

CREATE TABLE DEAD_LETTERS_1M WITH (
    KAFKA_TOPIC = 'ticks.dlt.by_reason_1m',
    PARTITIONS = 1,
    RETENTION_MS = 604800000,
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
) AS SELECT
    REASON,
    COUNT(*) AS LINES,
    COUNT_DISTINCT(SYMBOL) AS SYMBOLS,
    MAX(LATENESS_MS) AS MAX_LATENESS_MS,
    LATEST_BY_OFFSET(LINE) AS LAST_LINE,
    LATEST_BY_OFFSET(COALESCE(DETAIL, '')) AS LAST_DETAIL
FROM DEAD_LETTERS
WINDOW TUMBLING (SIZE 1 MINUTES, RETENTION 7 DAYS, GRACE PERIOD 0 SECONDS)
GROUP BY REASON
EMIT CHANGES;
