-- Windows of 1 s that have closed, each with the bins it saw.
--
-- Input:       stream TICKS_RAW (01_ticks_raw.sql)
-- Key:         SYMBOL and window; bins are on the partition of their symbol already (murmur2), so grouping by
--              it leaves them there, and the watermark records of a partition close its windows
-- Event time:  start_ts_ms of the bins
-- Output:      table BARS_1S_WINDOWED, topic ticks.agg.1s.windowed, a record a window when it closes
--              (created before, with the partitions of ticks.raw and message.timestamp.type=LogAppendTime:
--              else the retention takes windows of old ticks at once)
-- Grace:       500 ms, which is REPLAY_MAX_LATE_MS: a watermark record at the window's end + 500 ms closes it
-- Bin size:    10 ms, which is REPLAY_BIN_MS: a window has at most 100 bins, and COLLECT_LIST keeps 1,000
--
-- A bin becomes one string, `offset in the second|open|high|low|close|volume|notional|trade_count|
-- max_lateness_ms|api_send_ts_ms|source_event_ts_ms`. Strings are only collected here and folded once a window
-- in 03_bars_1s.sql: a bin that came twice can then count once, which a SUM could not undo.
-- Windows that saw only watermark records are dropped. A bin without a price makes no string.

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';
SET 'commit.interval.ms' = '50';
SET 'ksql.streams.__emit.interval.ms.kstreams.windowed.aggregation__' = '0';
SET 'ksql.streams.producer.linger.ms' = '0';
SET 'ksql.streams.windowstore.changelog.additional.retention.ms' = '3153600000000';

CREATE TABLE BARS_1S_WINDOWED WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.windowed',
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
) AS SELECT
    SYMBOL AS WINDOW_SYMBOL,
    AS_VALUE(SYMBOL) AS SYMBOL,
    WINDOWSTART AS START_TS_MS,
    COLLECT_LIST(
        CASE WHEN TRADE_COUNT > 0 AND OPEN IS NOT NULL THEN
            LPAD(CAST(START_TS_MS % 1000 AS STRING), 3, '0')
            + '|' + CAST(OPEN AS STRING)
            + '|' + CAST(HIGH AS STRING)
            + '|' + CAST(LOW AS STRING)
            + '|' + CAST(CLOSE AS STRING)
            + '|' + CAST(VOLUME AS STRING)
            + '|' + CAST(NOTIONAL AS STRING)
            + '|' + CAST(TRADE_COUNT AS STRING)
            + '|' + CAST(MAX_LATENESS_MS AS STRING)
            + '|' + COALESCE(CAST(API_SEND_TS_MS AS STRING), '')
            + '|' + COALESCE(CAST(SOURCE_EVENT_TS_MS AS STRING), '')
        END
    ) AS BINS
FROM TICKS_RAW
WINDOW TUMBLING (SIZE 1 SECONDS, RETENTION 1 HOURS, GRACE PERIOD 500 MILLISECONDS)
GROUP BY SYMBOL
HAVING SUM(TRADE_COUNT) > 0
EMIT FINAL;
