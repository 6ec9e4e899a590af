-- Windows of 1 s that have closed, each with the bins it saw.
--
-- Input:       stream TICKS_RAW (01_ticks_raw.sql)
-- Key:         SYMBOL and window; bins are on the partition of their symbol already (murmur2), so keying by
--              it leaves them there, and the watermark records of a partition close its windows
-- Event time:  start_ts_ms of the bins
-- Output:      stream BINS_BY_SYMBOL, topic ticks.agg.1s.bins, a record a bin, and
--              table BARS_1S_WINDOWED, topic ticks.agg.1s.windowed, a record a window when it closes
--              (both created before, with the partitions of ticks.raw and message.timestamp.type=LogAppendTime:
--              else the retention takes records of old ticks at once; ticks.agg.1s.windowed with retention.ms =
--              3600000, which is RETENTION below: ksqlDB refuses the topic otherwise)
-- Grace:       500 ms, which is REPLAY_MAX_LATE_MS: a watermark record at the window's end + 500 ms closes it
-- Bin size:    10 ms, which is REPLAY_BIN_MS: a window has at most 100 bins, each of which may come 50 times: COLLECT_LIST
--              keeps the first 5,000 and drops the rest without a word (a server may be set to fewer; without a
--              limit a window's list could outgrow the 1 MB of a record, which stops the query)
--
-- A bin becomes one string, `offset in the second|open|high|low|close|volume|notional|trade_count|
-- max_lateness_ms|api_send_ts_ms|source_event_ts_ms`. Strings are only collected here and folded once a window
-- in 03_bars_1s.sql: a bin that came twice can then count once, which a SUM could not undo.
-- Windows that saw only watermark records are dropped. A record without trades or without a price makes a null,
-- which is taken out of the list when the window has closed.
--
-- A window's state holds every column that its query reads, and is read and written for each bin: so the string is
-- made by a query of its own, and its topic is JSON, which is then the format of the state too (Avro takes twice the
-- time for the list). Keyed by the symbol, the window needs no repartition topic.
--
-- Latency: what a query writes is seen at its next commit, every 20 ms, and a commit that falls due while no record
-- comes waits for the poll to end, 10 ms instead of 100. A commit flushes the producers: that they linger for 20 ms costs
-- nothing and saves half their requests. One thread a query carries some 10,000 bins/s; with more (up to the number of
-- partitions) set 'ksql.streams.num.stream.threads' higher where there are cores for them: each thread commits by itself.

SET 'auto.offset.reset' = 'earliest';
SET 'processing.guarantee' = 'exactly_once_v2';
SET 'commit.interval.ms' = '20';
SET 'ksql.streams.poll.ms' = '10';
SET 'ksql.streams.num.stream.threads' = '1';
SET 'ksql.streams.__emit.interval.ms.kstreams.windowed.aggregation__' = '0';
SET 'ksql.streams.producer.linger.ms' = '20';
SET 'ksql.functions.collect_list.limit' = '5000';
SET 'ksql.streams.windowstore.changelog.additional.retention.ms' = '3153600000000';

CREATE STREAM BINS_BY_SYMBOL WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.bins',
    RETENTION_MS = 3600000,
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'JSON',
    TIMESTAMP = 'START_TS_MS'
) AS SELECT
    SYMBOL,
    START_TS_MS,
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
    END AS BIN
FROM TICKS_RAW
PARTITION BY SYMBOL
EMIT CHANGES;

CREATE TABLE BARS_1S_WINDOWED WITH (
    KAFKA_TOPIC = 'ticks.agg.1s.windowed',
    RETENTION_MS = 3600000,
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO'
) AS SELECT
    SYMBOL AS WINDOW_SYMBOL,
    AS_VALUE(SYMBOL) AS SYMBOL,
    WINDOWSTART AS START_TS_MS,
    FILTER(COLLECT_LIST(BIN), B => B IS NOT NULL) AS BINS
FROM BINS_BY_SYMBOL
WINDOW TUMBLING (SIZE 1 SECONDS, RETENTION 1 HOURS, GRACE PERIOD 500 MILLISECONDS)
GROUP BY SYMBOL
HAVING COUNT(BIN) > 0
EMIT FINAL;
