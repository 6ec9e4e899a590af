-- One-minute bars for pull queries.
--
-- Input:       topic ticks.agg.1s, Avro, schemas/bar_1s.avsc
-- Key:         SYMBOL and the minute
-- Event time:  start_ts_ms of the bars
-- Output:      table BARS_1M, topic ticks.agg.1s.bars_1m; a row changes with every bar of its minute
-- Grace:       1 minute
--
-- Each bar is a string that counts once: bars that come again as they were, after the queries were made anew, change
-- nothing; one that comes again with other values counts as another bar. The newest hour of minutes is kept. Ask with
--     SELECT * FROM BARS_1M WHERE SYMBOL = 'WDC';
--     SELECT * FROM BARS_1M WHERE SYMBOL = 'WDC' AND WINDOWSTART >= '2026-01-05T14:30:00';

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';
SET 'ksql.streams.windowstore.changelog.additional.retention.ms' = '3153600000000';

CREATE STREAM BARS_1S_BY_TIME (
    RECORD_KEY  STRING KEY,
    SYMBOL      STRING,
    START_TS_MS BIGINT,
    OPEN        DOUBLE,
    HIGH        DOUBLE,
    LOW         DOUBLE,
    CLOSE       DOUBLE,
    VOLUME      DOUBLE,
    NOTIONAL    DOUBLE,
    TRADE_COUNT BIGINT
) WITH (
    KAFKA_TOPIC = 'ticks.agg.1s',
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO',
    TIMESTAMP = 'START_TS_MS'
);

CREATE TABLE BARS_1M WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.bars_1m',
    PARTITIONS = 1,
    RETENTION_MS = 3600000,
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
) AS SELECT
    SYMBOL,
    CAST(SPLIT(ARRAY_MIN(COLLECT_LIST(LPAD(CAST(START_TS_MS % 60000 AS STRING), 5, '0') + '|' + CAST(OPEN AS STRING))), '|')[2] AS DOUBLE) AS OPEN,
    MAX(HIGH) AS HIGH,
    MIN(LOW) AS LOW,
    CAST(SPLIT(ARRAY_MAX(COLLECT_LIST(LPAD(CAST(START_TS_MS % 60000 AS STRING), 5, '0') + '|' + CAST(CLOSE AS STRING))), '|')[2] AS DOUBLE) AS CLOSE,
    REDUCE(ARRAY_DISTINCT(COLLECT_LIST(CAST(START_TS_MS AS STRING) + '|' + CAST(VOLUME AS STRING))), CAST(0 AS DOUBLE), (S, B) => S + CAST(SPLIT(B, '|')[2] AS DOUBLE)) AS VOLUME,
    REDUCE(ARRAY_DISTINCT(COLLECT_LIST(CAST(START_TS_MS AS STRING) + '|' + CAST(NOTIONAL AS STRING))), CAST(0 AS DOUBLE), (S, B) => S + CAST(SPLIT(B, '|')[2] AS DOUBLE)) AS NOTIONAL,
    REDUCE(ARRAY_DISTINCT(COLLECT_LIST(CAST(START_TS_MS AS STRING) + '|' + CAST(TRADE_COUNT AS STRING))), CAST(0 AS BIGINT), (S, B) => S + CAST(SPLIT(B, '|')[2] AS BIGINT)) AS TRADE_COUNT,
    ARRAY_LENGTH(COLLECT_SET(START_TS_MS)) AS BAR_COUNT
FROM BARS_1S_BY_TIME
WINDOW TUMBLING (SIZE 1 MINUTES, RETENTION 1 HOURS, GRACE PERIOD 1 MINUTES)
GROUP BY SYMBOL
EMIT CHANGES;
