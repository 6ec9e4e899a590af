-- Bins and watermark records as a stream.
--
-- Input:       topic ticks.raw, Avro, schemas/tick_bin.avsc, written by glue.replay
-- Key:         bin_id, as text
-- Event time:  start_ts_ms, the start of the bin; of a watermark record, the watermark
-- Output:      stream TICKS_RAW, nothing is copied
-- Grace:       none here; 02_bars_1s_windowed.sql has it

CREATE STREAM TICKS_RAW (
    RECORD_KEY         STRING KEY,
    SYMBOL             STRING,
    START_TS_MS        BIGINT,
    OPEN               DOUBLE,
    HIGH               DOUBLE,
    LOW                DOUBLE,
    CLOSE              DOUBLE,
    VOLUME             DOUBLE,
    NOTIONAL           DOUBLE,
    TRADE_COUNT        BIGINT,
    MAX_LATENESS_MS    BIGINT,
    API_SEND_TS_MS     BIGINT,
    SOURCE_EVENT_TS_MS BIGINT
) WITH (
    KAFKA_TOPIC = 'ticks.raw',
    KEY_FORMAT = 'KAFKA',
    VALUE_FORMAT = 'AVRO',
    TIMESTAMP = 'START_TS_MS'
);
