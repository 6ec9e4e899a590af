-- 1 s bars from closed windows, each bin counted once.
--
-- Input:       topic ticks.agg.1s.windowed (02_bars_1s_windowed.sql), a record a closed window
-- Key:         in: symbol and window, not read; out: bar_id = <symbol>-<start_ms>
-- Event time:  none is needed: every record is a whole bar
-- Output:      stream BARS_1S, topic ticks.agg.1s, schemas/bar_1s.avsc
-- Grace:       none; the window had it
--
-- A window's strings are folded here: AS_MAP keeps the last one of each bin, MAP_VALUES gives them back, and
-- ordered by their first field, the bin's offset in the second, the first has the open and the last the close.
-- TRANSFORM(ARRAY[x], L => ...)[1] gives x a name: the strings are split once for the vwap.
-- A window without a bin, and whatever bears the reserved symbol of watermark records, makes no bar.
-- ticks.agg.1s has one partition (KAFKA_AGG_PARTITIONS): by bar_id the bars of a symbol would scatter.

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';
SET 'commit.interval.ms' = '20';
SET 'ksql.streams.poll.ms' = '10';
SET 'ksql.streams.num.stream.threads' = '1';
SET 'ksql.streams.producer.linger.ms' = '20';

-- The windows again, as a stream without a key: a windowed table cannot be keyed anew.
CREATE STREAM BARS_1S_CLOSED (
    SYMBOL      STRING,
    START_TS_MS BIGINT,
    BINS        ARRAY<STRING>
) WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.windowed',
    VALUE_FORMAT = 'AVRO'
);

CREATE STREAM BARS_1S WITH (
    KAFKA_TOPIC = 'ticks.agg.1s',
    PARTITIONS = 1,
    RETENTION_MS = 3600000,
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO',
    VALUE_SCHEMA_FULL_NAME = 'tapeline.Bar1s'
) AS SELECT
    SYMBOL + '-' + CAST(START_TS_MS AS STRING) AS BAR_KEY,
    AS_VALUE(SYMBOL + '-' + CAST(START_TS_MS AS STRING)) AS `bar_id`,
    SYMBOL AS `symbol`,
    START_TS_MS AS `start_ts_ms`,
    START_TS_MS + 1000 AS `end_ts_ms`,
    CAST(SPLIT(ARRAY_MIN(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS))), '|')[2] AS DOUBLE) AS `open`,
    ARRAY_MAX(TRANSFORM(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), B => CAST(SPLIT(B, '|')[3] AS DOUBLE))) AS `high`,
    ARRAY_MIN(TRANSFORM(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), B => CAST(SPLIT(B, '|')[4] AS DOUBLE))) AS `low`,
    CAST(SPLIT(ARRAY_MAX(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS))), '|')[5] AS DOUBLE) AS `close`,
    REDUCE(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), CAST(0 AS DOUBLE), (S, B) => S + CAST(SPLIT(B, '|')[6] AS DOUBLE)) AS `volume`,
    REDUCE(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), CAST(0 AS DOUBLE), (S, B) => S + CAST(SPLIT(B, '|')[7] AS DOUBLE)) AS `notional`,
    TRANSFORM(
        ARRAY[TRANSFORM(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), B => SPLIT(B, '|'))],
        L => CASE WHEN REDUCE(L, CAST(0 AS DOUBLE), (S, F) => S + CAST(F[6] AS DOUBLE)) > 0
            THEN REDUCE(L, CAST(0 AS DOUBLE), (S, F) => S + CAST(F[7] AS DOUBLE))
                / REDUCE(L, CAST(0 AS DOUBLE), (S, F) => S + CAST(F[6] AS DOUBLE))
            ELSE CAST(SPLIT(ARRAY_MAX(TRANSFORM(L, F => F[1] + '|' + F[5])), '|')[2] AS DOUBLE) END
    )[1] AS `vwap`,
    REDUCE(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), CAST(0 AS BIGINT), (S, B) => S + CAST(SPLIT(B, '|')[8] AS BIGINT)) AS `trade_count`,
    CAST(ARRAY_LENGTH(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS))) AS BIGINT) AS `bin_count`,
    ARRAY_MAX(TRANSFORM(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), B => CAST(SPLIT(B, '|')[9] AS BIGINT))) AS `max_lateness_ms`,
    ARRAY_MIN(TRANSFORM(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), B => CAST(NULLIF(SPLIT(B, '|')[10], '') AS BIGINT))) AS `api_send_ts_ms`,
    ARRAY_MIN(TRANSFORM(MAP_VALUES(AS_MAP(TRANSFORM(BINS, B => SUBSTRING(B, 1, 3)), BINS)), B => CAST(NULLIF(SPLIT(B, '|')[11], '') AS BIGINT))) AS `source_event_ts_ms`,
    UNIX_TIMESTAMP() AS `ingest_ts_ms`,
    'ksqldb' AS `source`
FROM BARS_1S_CLOSED
WHERE ARRAY_LENGTH(BINS) > 0 AND SYMBOL NOT LIKE '~wm%'
PARTITION BY SYMBOL + '-' + CAST(START_TS_MS AS STRING)
EMIT CHANGES;
