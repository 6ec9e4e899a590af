-- What the bars are measured beside: a plain window of sums, highest and lowest values.
--
-- Input:       stream TICKS_RAW (ksql/01_ticks_raw.sql)
-- Key:         SYMBOL and window
-- Event time:  start_ts_ms of the bins
-- Output:      table PLAIN_1S, topic ticks.agg.1s.plain, a record a window when it closes
-- Grace:       500 ms, as in ksql/02_bars_1s_windowed.sql
--
-- No bars to be used: a bin that came twice counts twice, and there is no open, no close and no bar_id.

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';
SET 'commit.interval.ms' = '20';
SET 'ksql.streams.poll.ms' = '10';
SET 'ksql.streams.num.stream.threads' = '1';
SET 'ksql.streams.__emit.interval.ms.kstreams.windowed.aggregation__' = '0';
SET 'ksql.streams.producer.linger.ms' = '20';
SET 'ksql.streams.windowstore.changelog.additional.retention.ms' = '3153600000000';

CREATE TABLE PLAIN_1S WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.plain',
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
) AS SELECT
    SYMBOL AS WINDOW_SYMBOL,
    AS_VALUE(SYMBOL) AS `symbol`,
    WINDOWSTART AS `start_ts_ms`,
    MAX(HIGH) AS `high`,
    MIN(LOW) AS `low`,
    SUM(VOLUME) AS `volume`,
    SUM(NOTIONAL) AS `notional`,
    SUM(TRADE_COUNT) AS `trade_count`,
    COUNT(*) AS `bin_count`,
    MAX(MAX_LATENESS_MS) AS `max_lateness_ms`,
    MIN(API_SEND_TS_MS) AS `api_send_ts_ms`,
    MIN(SOURCE_EVENT_TS_MS) AS `source_event_ts_ms`
FROM TICKS_RAW
WINDOW TUMBLING (SIZE 1 SECONDS, RETENTION 1 HOURS, GRACE PERIOD 500 MILLISECONDS)
GROUP BY SYMBOL
HAVING SUM(TRADE_COUNT) > 0
EMIT FINAL;
