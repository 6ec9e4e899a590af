-- Tapeline in Snowflake: roles, warehouse, database, tables, calendar, grants.
--
-- Run by `python -m glue.deploy snowflake`, or pasted into a worksheet, as a user with ACCOUNTADMIN. The deployment puts
-- SNOW_DATABASE, SNOW_WAREHOUSE and SNOW_ROLE in place of their names by default, which are those below. Safe to run
-- again: nothing that holds data is dropped or replaced. What is about the account (roles, warehouse, resource
-- monitor, grants) is acknowledged and not applied by the local Snowflake.
--
-- Keys are declared, not enforced, as always in Snowflake: whoever writes keeps them.

-- Who may do what ---------------------------------------------------------------------------------------------

USE ROLE USERADMIN;
CREATE ROLE IF NOT EXISTS ROLE_STREAMING_PIPELINE COMMENT = 'Tapeline: writes facts, loads raw bins';
CREATE ROLE IF NOT EXISTS ROLE_STREAMING_READER COMMENT = 'Tapeline: BI tools, reads the marts only';

USE ROLE SECURITYADMIN;
GRANT ROLE ROLE_STREAMING_PIPELINE TO ROLE SYSADMIN;
GRANT ROLE ROLE_STREAMING_READER TO ROLE SYSADMIN;

-- What it may cost --------------------------------------------------------------------------------------------

-- An XSMALL warehouse costs a credit an hour while it runs. A flush every five minutes makes it run for a minute, 12
-- times an hour: 0.2 credits an hour, so about 150 a month for markets that never close, 28 for US sessions. The rest
-- of the quota is for people and BI tools, who wake it besides. At 100 percent the loaders wait until the month ends.
--
-- What is there is left as it is: another quota (ALTER RESOURCE MONITOR RM_STREAMING SET CREDIT_QUOTA = …), and another
-- monitor of the warehouse (ALTER WAREHOUSE WH_STREAMING_XS SET RESOURCE_MONITOR = …), as ACCOUNTADMIN.

USE ROLE ACCOUNTADMIN;
CREATE RESOURCE MONITOR IF NOT EXISTS RM_STREAMING WITH
    CREDIT_QUOTA = 250
    FREQUENCY = MONTHLY
    START_TIMESTAMP = IMMEDIATELY
    TRIGGERS
        ON 80 PERCENT DO NOTIFY
        ON 100 PERCENT DO SUSPEND
        ON 110 PERCENT DO SUSPEND_IMMEDIATE;
CREATE WAREHOUSE IF NOT EXISTS WH_STREAMING_XS WITH
    WAREHOUSE_SIZE = XSMALL
    AUTO_SUSPEND = 60
    AUTO_RESUME = TRUE
    INITIALLY_SUSPENDED = TRUE
    RESOURCE_MONITOR = RM_STREAMING
    STATEMENT_TIMEOUT_IN_SECONDS = 300
    COMMENT = 'Tapeline: minute loader, hourly COPY, marts; AUTO_SUSPEND in seconds';
GRANT USAGE, OPERATE, MODIFY, MONITOR ON WAREHOUSE WH_STREAMING_XS TO ROLE SYSADMIN;

-- Where things are --------------------------------------------------------------------------------------------

USE ROLE SYSADMIN;
USE WAREHOUSE WH_STREAMING_XS;
CREATE DATABASE IF NOT EXISTS STOCK_STREAMING COMMENT = 'Tapeline: ticks to bars';
CREATE SCHEMA IF NOT EXISTS STOCK_STREAMING.RAW COMMENT = 'As it came: 10 ms bins and dead letters';
CREATE SCHEMA IF NOT EXISTS STOCK_STREAMING.CORE COMMENT = 'Facts and dimensions';
CREATE SCHEMA IF NOT EXISTS STOCK_STREAMING.MART COMMENT = 'Views for people and BI tools';
USE DATABASE STOCK_STREAMING;
USE SCHEMA STOCK_STREAMING.CORE;

-- RAW: provenance ---------------------------------------------------------------------------------------------

CREATE FILE FORMAT IF NOT EXISTS RAW.NDJSON_GZIP
    TYPE = JSON
    COMPRESSION = GZIP
    COMMENT = 'One JSON object a line, gzip';
CREATE STAGE IF NOT EXISTS RAW.RAW_STAGE
    FILE_FORMAT = (FORMAT_NAME = 'RAW.NDJSON_GZIP')
    COMMENT = 'Files of bins, loaded into TICKS_RAW every hour';
CREATE TABLE IF NOT EXISTS RAW.TICKS_RAW (
    BIN_ID VARCHAR(64) NOT NULL COMMENT 'Key: <symbol>-<start_ts_ms>.',
    SYMBOL VARCHAR(32) NOT NULL COMMENT 'Instrument.',
    START_TS_MS NUMBER(18,0) NOT NULL COMMENT 'Start of the bin, inclusive. Unit: ms since 1970 UTC.',
    END_TS_MS NUMBER(18,0) NOT NULL COMMENT 'End of the bin, exclusive. Unit: ms since 1970 UTC.',
    WINDOW_MS NUMBER(9,0) NOT NULL COMMENT 'Bin size. Unit: ms.',
    OPEN NUMBER(28,8) NOT NULL COMMENT 'Price of the first tick. Unit: quote currency.',
    HIGH NUMBER(28,8) NOT NULL COMMENT 'Highest price. Unit: quote currency.',
    LOW NUMBER(28,8) NOT NULL COMMENT 'Lowest price. Unit: quote currency.',
    CLOSE NUMBER(28,8) NOT NULL COMMENT 'Price of the last tick. Unit: quote currency.',
    VOLUME NUMBER(38,8) NOT NULL COMMENT 'Sum of sizes. Unit: shares, contracts or base currency.',
    NOTIONAL NUMBER(38,8) NOT NULL COMMENT 'Sum of price x size. Unit: quote currency.',
    TRADE_COUNT NUMBER(18,0) NOT NULL COMMENT 'Ticks in the bin. Unit: ticks.',
    MAX_LATENESS_MS NUMBER(18,0) NOT NULL COMMENT 'Greatest lateness of a tick of the bin. Unit: ms.',
    WATERMARK_MS NUMBER(18,0) NOT NULL COMMENT 'Watermark of the feed when the bin was closed. Unit: ms since 1970 UTC.',
    API_SEND_TS_MS NUMBER(18,0) COMMENT 'Earliest time the feed sent a tick of the bin. Unit: ms since 1970 UTC.',
    SOURCE_EVENT_TS_MS NUMBER(18,0) COMMENT 'Earliest event time at the source before a replay moved it. Unit: ms since 1970 UTC.',
    INGEST_TS_MS NUMBER(18,0) COMMENT 'Wall time when the bin was closed. Unit: ms since 1970 UTC.',
    SOURCE VARCHAR(16) NOT NULL COMMENT 'Producer of the record: replay.',
    KAFKA_PARTITION NUMBER(9,0) COMMENT 'Partition of ticks.raw that the bin was read from.',
    KAFKA_OFFSET NUMBER(18,0) COMMENT 'Its offset there.',
    FILE_NAME VARCHAR(1024) COMMENT 'Staged file that the row was loaded from.',
    FILE_ROW_NUMBER NUMBER(18,0) COMMENT 'Its line there, from 1.',
    LOAD_TS TIMESTAMP_NTZ NOT NULL DEFAULT SYSDATE() COMMENT 'When the row was loaded. Unit: UTC.',
    PRIMARY KEY (BIN_ID)
) COMMENT = '10 ms bins as they were published, without watermark records: where every number comes from. Loaded hourly from RAW_STAGE.';
CREATE TABLE IF NOT EXISTS RAW.TICKS_DLT (
    DLT_ID VARCHAR(128) NOT NULL COMMENT 'Key; the same line of the same feed always gets the same one.',
    REASON VARCHAR(16) NOT NULL COMMENT 'late, closed, future or invalid.',
    DETAIL VARCHAR COMMENT 'What was wrong, for people.',
    SYMBOL VARCHAR(32) COMMENT 'Instrument, NULL when the line could not be read.',
    EVENT_TS_MS NUMBER(18,0) COMMENT 'Event time of the tick. Unit: ms since 1970 UTC.',
    LATENESS_MS NUMBER(18,0) COMMENT 'Lateness against the newest event time of the symbol. Unit: ms.',
    WATERMARK_MS NUMBER(18,0) COMMENT 'Watermark of the feed when the line was refused. Unit: ms since 1970 UTC.',
    SEQ NUMBER(18,0) COMMENT 'Number of the line in its feed, where the feed numbers them.',
    LINE VARCHAR NOT NULL COMMENT 'The line as it came, cut at 4 KiB.',
    LINE_SHA256 VARCHAR(64) NOT NULL COMMENT 'SHA-256 of the whole line, hex.',
    INGEST_TS_MS NUMBER(18,0) COMMENT 'Wall time when the line was refused. Unit: ms since 1970 UTC.',
    RECORD_METADATA VARIANT COMMENT 'Of the Kafka connector: topic, partition, offset, key, SnowflakeConnectorPushTime (ms since 1970 UTC).',
    LOAD_TS TIMESTAMP_NTZ(3) COMMENT 'When the row was written; NULL where the Kafka connector wrote it. Unit: UTC.',
    PRIMARY KEY (DLT_ID)
) COMMENT = 'Feed lines that are in no bin, and why. A line may be here more than once, with the same DLT_ID.';

-- CORE: facts -------------------------------------------------------------------------------------------------

-- The Kafka connector fills it by Snowpipe Streaming, for which a column must have no default: so LOAD_TS has none.
CREATE TRANSIENT TABLE IF NOT EXISTS CORE.FACT_TICKS_1S (
    BAR_ID VARCHAR(64) NOT NULL COMMENT 'Key: <symbol>-<start_ts_ms>. A bar that was sent again is here more than once; the newest LOAD_TS counts.',
    SYMBOL VARCHAR(32) NOT NULL COMMENT 'Instrument.',
    START_TS TIMESTAMP_NTZ(3) NOT NULL COMMENT 'Start of the bar, inclusive, a whole second. Unit: UTC.',
    END_TS TIMESTAMP_NTZ(3) NOT NULL COMMENT 'End of the bar, exclusive. Unit: UTC.',
    OPEN NUMBER(28,8) NOT NULL COMMENT 'Open of the earliest 10 ms bin. Unit: quote currency.',
    HIGH NUMBER(28,8) NOT NULL COMMENT 'Highest price. Unit: quote currency.',
    LOW NUMBER(28,8) NOT NULL COMMENT 'Lowest price. Unit: quote currency.',
    CLOSE NUMBER(28,8) NOT NULL COMMENT 'Close of the latest 10 ms bin. Unit: quote currency.',
    VOLUME NUMBER(38,8) NOT NULL COMMENT 'Sum of sizes. Unit: shares, contracts or base currency.',
    NOTIONAL NUMBER(38,8) NOT NULL COMMENT 'Sum of price x size. Unit: quote currency.',
    VWAP NUMBER(28,8) NOT NULL COMMENT 'NOTIONAL / VOLUME, or CLOSE when VOLUME is 0. Unit: quote currency.',
    TRADE_COUNT NUMBER(18,0) NOT NULL COMMENT 'Ticks in the bar. Unit: ticks.',
    BIN_COUNT NUMBER(9,0) NOT NULL COMMENT 'Distinct 10 ms bins in the bar. Unit: bins.',
    MAX_LATENESS_MS NUMBER(18,0) NOT NULL COMMENT 'Greatest lateness of a tick of the bar. Unit: ms.',
    API_SEND_TS_MS NUMBER(18,0) COMMENT 'Earliest time the feed sent a tick of the bar. Unit: ms since 1970 UTC.',
    SOURCE_EVENT_TS_MS NUMBER(18,0) COMMENT 'Earliest event time at the source before a replay moved it. Unit: ms since 1970 UTC.',
    INGEST_TS_MS NUMBER(18,0) COMMENT 'Wall time when the bar was emitted. Unit: ms since 1970 UTC.',
    SOURCE VARCHAR(16) NOT NULL COMMENT 'Engine that made the bar: ksqldb or aggregate.',
    RECORD_METADATA VARIANT COMMENT 'Of the Kafka connector: topic, partition, offset, key, SnowflakeConnectorPushTime (ms since 1970 UTC).',
    LOAD_TS TIMESTAMP_NTZ(3) COMMENT 'When the row was written; NULL where the Kafka connector wrote it, its push time counts then. Unit: UTC.',
    PRIMARY KEY (BAR_ID)
) DATA_RETENTION_TIME_IN_DAYS = 0 COMMENT = '1 s bars as they come from Kafka, kept for a day; MART.VW_TICKS_1S has each once.';
CREATE TABLE IF NOT EXISTS CORE.FACT_TICKS_60S (
    BAR_ID VARCHAR(64) NOT NULL COMMENT 'Key: <symbol>-<start_ts_ms>-60s.',
    SYMBOL VARCHAR(32) NOT NULL COMMENT 'Instrument.',
    START_TS TIMESTAMP_NTZ(3) NOT NULL COMMENT 'Start of the window, inclusive, aligned to whole minutes. Unit: UTC.',
    START_TS_MS NUMBER(18,0) NOT NULL COMMENT 'The same. Unit: ms since 1970 UTC.',
    END_TS_MS NUMBER(18,0) NOT NULL COMMENT 'End of the window, exclusive. Unit: ms since 1970 UTC.',
    OPEN NUMBER(28,8) NOT NULL COMMENT 'Open of the first 1 s bar. Unit: quote currency.',
    HIGH NUMBER(28,8) NOT NULL COMMENT 'Highest price. Unit: quote currency.',
    LOW NUMBER(28,8) NOT NULL COMMENT 'Lowest price. Unit: quote currency.',
    CLOSE NUMBER(28,8) NOT NULL COMMENT 'Close of the last 1 s bar. Unit: quote currency.',
    VOLUME NUMBER(38,8) NOT NULL COMMENT 'Sum of sizes. Unit: shares, contracts or base currency.',
    NOTIONAL NUMBER(38,8) NOT NULL COMMENT 'Sum of price x size. Unit: quote currency.',
    VWAP NUMBER(28,8) NOT NULL COMMENT 'NOTIONAL / VOLUME, or CLOSE when VOLUME is 0. Unit: quote currency.',
    TRADE_COUNT NUMBER(18,0) NOT NULL COMMENT 'Ticks in the window. Unit: ticks.',
    BAR_COUNT NUMBER(9,0) NOT NULL COMMENT '1 s bars in the window, those that traded. Unit: bars.',
    MAX_LATENESS_MS NUMBER(18,0) NOT NULL COMMENT 'Greatest lateness of a tick of the window. Unit: ms.',
    API_SEND_TS_MS NUMBER(18,0) COMMENT 'Earliest time the feed sent a tick of the window. Unit: ms since 1970 UTC.',
    SOURCE_EVENT_TS_MS NUMBER(18,0) COMMENT 'Earliest event time at the source before a replay moved it. Unit: ms since 1970 UTC.',
    INGEST_TS_MS NUMBER(18,0) COMMENT 'Newest wall time at which a 1 s bar of the window was emitted. Unit: ms since 1970 UTC.',
    LOAD_TS TIMESTAMP_NTZ NOT NULL DEFAULT SYSDATE() COMMENT 'When the row was written. Unit: UTC.',
    PRIMARY KEY (BAR_ID)
) COMMENT = 'One-minute bars, a row per minute and symbol that traded.';
CREATE TABLE IF NOT EXISTS CORE.FACT_TICKS_300S (
    BAR_ID VARCHAR(64) NOT NULL COMMENT 'Key: <symbol>-<start_ts_ms>-300s.',
    SYMBOL VARCHAR(32) NOT NULL COMMENT 'Instrument.',
    START_TS TIMESTAMP_NTZ(3) NOT NULL COMMENT 'Start of the window, inclusive, aligned to five minutes. Unit: UTC.',
    START_TS_MS NUMBER(18,0) NOT NULL COMMENT 'The same. Unit: ms since 1970 UTC.',
    END_TS_MS NUMBER(18,0) NOT NULL COMMENT 'End of the window, exclusive. Unit: ms since 1970 UTC.',
    OPEN NUMBER(28,8) NOT NULL COMMENT 'Open of the first 1 s bar. Unit: quote currency.',
    HIGH NUMBER(28,8) NOT NULL COMMENT 'Highest price. Unit: quote currency.',
    LOW NUMBER(28,8) NOT NULL COMMENT 'Lowest price. Unit: quote currency.',
    CLOSE NUMBER(28,8) NOT NULL COMMENT 'Close of the last 1 s bar. Unit: quote currency.',
    VOLUME NUMBER(38,8) NOT NULL COMMENT 'Sum of sizes. Unit: shares, contracts or base currency.',
    NOTIONAL NUMBER(38,8) NOT NULL COMMENT 'Sum of price x size. Unit: quote currency.',
    VWAP NUMBER(28,8) NOT NULL COMMENT 'NOTIONAL / VOLUME, or CLOSE when VOLUME is 0. Unit: quote currency.',
    TRADE_COUNT NUMBER(18,0) NOT NULL COMMENT 'Ticks in the window. Unit: ticks.',
    BAR_COUNT NUMBER(9,0) NOT NULL COMMENT '1 s bars in the window, those that traded. Unit: bars.',
    MAX_LATENESS_MS NUMBER(18,0) NOT NULL COMMENT 'Greatest lateness of a tick of the window. Unit: ms.',
    API_SEND_TS_MS NUMBER(18,0) COMMENT 'Earliest time the feed sent a tick of the window. Unit: ms since 1970 UTC.',
    SOURCE_EVENT_TS_MS NUMBER(18,0) COMMENT 'Earliest event time at the source before a replay moved it. Unit: ms since 1970 UTC.',
    INGEST_TS_MS NUMBER(18,0) COMMENT 'Newest wall time at which a 1 s bar of the window was emitted. Unit: ms since 1970 UTC.',
    LOAD_TS TIMESTAMP_NTZ NOT NULL DEFAULT SYSDATE() COMMENT 'When the row was written. Unit: UTC.',
    PRIMARY KEY (BAR_ID)
) COMMENT = 'Five-minute bars, a row per window and symbol that traded.';

-- A field that the Kafka connector finds in a record and not in its table becomes a column.
ALTER TABLE RAW.TICKS_DLT SET ENABLE_SCHEMA_EVOLUTION = TRUE;
ALTER TABLE CORE.FACT_TICKS_1S SET ENABLE_SCHEMA_EVOLUTION = TRUE;

-- CORE: dimensions --------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS CORE.DIM_SYMBOL (
    SYMBOL VARCHAR(32) NOT NULL COMMENT 'Key: instrument, as in the facts.',
    NAME VARCHAR(128) NOT NULL COMMENT 'Name for people.',
    ASSET_CLASS VARCHAR(16) NOT NULL COMMENT 'equity or crypto.',
    QUOTE_CURRENCY VARCHAR(8) NOT NULL COMMENT 'Unit of prices and notional.',
    TRADING_CALENDAR VARCHAR(8) NOT NULL COMMENT 'When it trades: US (sessions of DIM_CALENDAR) or 24X7 (UTC days).',
    LOAD_TS TIMESTAMP_NTZ NOT NULL DEFAULT SYSDATE() COMMENT 'When the row was written. Unit: UTC.',
    PRIMARY KEY (SYMBOL)
) COMMENT = 'Instruments. Add your own; a symbol that is not here counts as a US equity in USD.';
CREATE TABLE IF NOT EXISTS CORE.DIM_CALENDAR (
    MINUTE_TS TIMESTAMP_NTZ(0) NOT NULL COMMENT 'Key: start of a minute in which the US market is open. Unit: UTC.',
    NEW_YORK_TS TIMESTAMP_NTZ(0) NOT NULL COMMENT 'The same minute on the clocks of New York. Unit: local time.',
    SESSION_DATE DATE NOT NULL COMMENT 'Trading day, New York.',
    SESSION_OPEN_TS TIMESTAMP_NTZ(0) NOT NULL COMMENT 'Open of the session, 09:30 New York. Unit: UTC.',
    SESSION_CLOSE_TS TIMESTAMP_NTZ(0) NOT NULL
        COMMENT 'Close of the session, exclusive, 16:00 New York or 13:00 on half days. Unit: UTC.',
    MINUTE_OF_SESSION NUMBER(3,0) NOT NULL COMMENT 'Since the open, from 0. Unit: minutes.',
    IS_HALF_DAY BOOLEAN NOT NULL COMMENT 'The session ends at 13:00 New York.',
    LOAD_TS TIMESTAMP_NTZ NOT NULL DEFAULT SYSDATE() COMMENT 'When the row was written. Unit: UTC.',
    PRIMARY KEY (MINUTE_TS)
) COMMENT = 'Minutes of the regular sessions of NYSE and Nasdaq, 2009 to 2030. A minute that is not here has no session.';

INSERT INTO CORE.DIM_SYMBOL (SYMBOL, NAME, ASSET_CLASS, QUOTE_CURRENCY, TRADING_CALENDAR)
SELECT known.SYMBOL, known.NAME, known.ASSET_CLASS, known.QUOTE_CURRENCY, known.TRADING_CALENDAR
FROM (
    VALUES
        ('AAPL', 'Apple', 'equity', 'USD', 'US'),
        ('MSFT', 'Microsoft', 'equity', 'USD', 'US'),
        ('WDC', 'Western Digital', 'equity', 'USD', 'US'),
        ('BTCUSDT', 'Bitcoin / Tether', 'crypto', 'USDT', '24X7')
) AS known (SYMBOL, NAME, ASSET_CLASS, QUOTE_CURRENCY, TRADING_CALENDAR)
LEFT JOIN CORE.DIM_SYMBOL AS present ON present.SYMBOL = known.SYMBOL
WHERE present.SYMBOL IS NULL;

-- Sessions by the rules of NYSE. Good Friday by Gauss (valid 1900 to 2099). Days that no rule gives are listed:
-- hurricane Sandy and the days of mourning for Presidents Bush and Carter. Only days that are missing are added.
INSERT INTO CORE.DIM_CALENDAR (
    MINUTE_TS, NEW_YORK_TS, SESSION_DATE, SESSION_OPEN_TS, SESSION_CLOSE_TS, MINUTE_OF_SESSION, IS_HALF_DAY
)
WITH numbers AS (
    SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) - 1 AS N
    FROM TABLE(GENERATOR(ROWCOUNT => 8035))
),
days AS (
    SELECT DATEADD(DAY, N, '2009-01-01'::DATE) AS D
    FROM numbers
),
parts AS (
    SELECT
        D,
        YEAR(D) AS Y,
        MONTH(D) AS M,
        DAY(D) AS DOM,
        DAYOFWEEKISO(D) AS DOW,
        CEIL(DAY(D) / 7) AS WEEK_OF_MONTH,
        MOD(19 * MOD(YEAR(D), 19) + 24, 30) AS MOON
    FROM days
),
easter AS (
    SELECT
        D, Y, M, DOM, DOW, WEEK_OF_MONTH, MOON,
        MOD(2 * MOD(Y, 4) + 4 * MOD(Y, 7) + 6 * MOON + 5, 7) AS SUNDAY
    FROM parts
),
rules AS (
    SELECT
        D, M, DOM, DOW, WEEK_OF_MONTH,
        -- Easter Sunday is March 22 + MOON + SUNDAY, a week earlier in two cases; Good Friday two days before.
        DATEADD(
            DAY,
            MOON + SUNDAY - 2
                - IFF(SUNDAY = 6 AND (MOON = 29 OR (MOON = 28 AND MOD(Y, 19) > 10)), 7, 0),
            DATE_FROM_PARTS(Y, 3, 22)
        ) AS GOOD_FRIDAY,
        -- A fixed day on Saturday is observed on Friday, on Sunday on Monday; New Year's Day never on Friday.
        (M = 1 AND (DOM = 1 OR (DOM = 2 AND DOW = 1)))
        OR (M = 6 AND Y >= 2022 AND (DOM = 19 OR (DOM = 18 AND DOW = 5) OR (DOM = 20 AND DOW = 1)))
        OR (M = 7 AND (DOM = 4 OR (DOM = 3 AND DOW = 5) OR (DOM = 5 AND DOW = 1)))
        OR (M = 12 AND (DOM = 25 OR (DOM = 24 AND DOW = 5) OR (DOM = 26 AND DOW = 1))) AS IS_FIXED_HOLIDAY,
        (DOW = 1 AND M IN (1, 2) AND WEEK_OF_MONTH = 3)
        OR (DOW = 1 AND M = 5 AND DOM > 24)
        OR (DOW = 1 AND M = 9 AND WEEK_OF_MONTH = 1)
        OR (DOW = 4 AND M = 11 AND WEEK_OF_MONTH = 4) AS IS_MOVING_HOLIDAY,
        D IN ('2012-10-29'::DATE, '2012-10-30'::DATE, '2018-12-05'::DATE, '2025-01-09'::DATE) AS IS_CLOSED_ONCE,
        -- The day after Thanksgiving, Christmas Eve, and the eve of Independence Day.
        (DOW = 5 AND M = 11 AND DOM BETWEEN 23 AND 29)
        OR (DOW < 5 AND M = 12 AND DOM = 24)
        OR (DOW < 5 AND M = 7 AND DOM = 3) AS IS_HALF_DAY
    FROM easter
),
sessions AS (
    SELECT
        D AS SESSION_DATE,
        IS_HALF_DAY,
        DATEADD(MINUTE, 570, D::TIMESTAMP_NTZ) AS NEW_YORK_OPEN,
        IFF(IS_HALF_DAY, 210, 390) AS MINUTES
    FROM rules
    WHERE DOW < 6
        AND NOT IS_FIXED_HOLIDAY
        AND NOT IS_MOVING_HOLIDAY
        AND NOT IS_CLOSED_ONCE
        AND D <> GOOD_FRIDAY
        AND D NOT IN (SELECT SESSION_DATE FROM CORE.DIM_CALENDAR)
),
opens AS (
    SELECT
        SESSION_DATE, IS_HALF_DAY, NEW_YORK_OPEN, MINUTES,
        CONVERT_TIMEZONE('America/New_York', 'UTC', NEW_YORK_OPEN) AS OPEN_TS
    FROM sessions
)
SELECT
    DATEADD(MINUTE, numbers.N, opens.OPEN_TS),
    DATEADD(MINUTE, numbers.N, opens.NEW_YORK_OPEN),
    opens.SESSION_DATE,
    opens.OPEN_TS,
    DATEADD(MINUTE, opens.MINUTES, opens.OPEN_TS),
    numbers.N,
    opens.IS_HALF_DAY
FROM opens
INNER JOIN numbers ON numbers.N < opens.MINUTES;

-- Least privilege ---------------------------------------------------------------------------------------------

USE ROLE SECURITYADMIN;
GRANT USAGE ON WAREHOUSE WH_STREAMING_XS TO ROLE ROLE_STREAMING_PIPELINE;
GRANT USAGE ON WAREHOUSE WH_STREAMING_XS TO ROLE ROLE_STREAMING_READER;
GRANT USAGE ON DATABASE STOCK_STREAMING TO ROLE ROLE_STREAMING_PIPELINE;
GRANT USAGE ON DATABASE STOCK_STREAMING TO ROLE ROLE_STREAMING_READER;
GRANT USAGE ON SCHEMA STOCK_STREAMING.RAW TO ROLE ROLE_STREAMING_PIPELINE;
GRANT USAGE ON SCHEMA STOCK_STREAMING.CORE TO ROLE ROLE_STREAMING_PIPELINE;
GRANT USAGE ON SCHEMA STOCK_STREAMING.MART TO ROLE ROLE_STREAMING_PIPELINE;
GRANT USAGE ON SCHEMA STOCK_STREAMING.MART TO ROLE ROLE_STREAMING_READER;
GRANT USAGE ON FILE FORMAT STOCK_STREAMING.RAW.NDJSON_GZIP TO ROLE ROLE_STREAMING_PIPELINE;
GRANT READ, WRITE ON STAGE STOCK_STREAMING.RAW.RAW_STAGE TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT, INSERT ON TABLE STOCK_STREAMING.RAW.TICKS_RAW TO ROLE ROLE_STREAMING_PIPELINE;
-- EVOLVE SCHEMA is what the Kafka connector asks for before it writes.
GRANT SELECT, INSERT, EVOLVE SCHEMA ON TABLE STOCK_STREAMING.RAW.TICKS_DLT TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT, INSERT, DELETE, EVOLVE SCHEMA ON TABLE STOCK_STREAMING.CORE.FACT_TICKS_1S
    TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT, INSERT, DELETE ON TABLE STOCK_STREAMING.CORE.FACT_TICKS_60S TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT, INSERT, DELETE ON TABLE STOCK_STREAMING.CORE.FACT_TICKS_300S TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT ON TABLE STOCK_STREAMING.CORE.DIM_SYMBOL TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT ON TABLE STOCK_STREAMING.CORE.DIM_CALENDAR TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT ON FUTURE VIEWS IN SCHEMA STOCK_STREAMING.MART TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT ON FUTURE VIEWS IN SCHEMA STOCK_STREAMING.MART TO ROLE ROLE_STREAMING_READER;

-- What earlier versions granted and nothing uses; where it was not granted, this changes nothing.
REVOKE OPERATE ON WAREHOUSE WH_STREAMING_XS FROM ROLE ROLE_STREAMING_PIPELINE;
REVOKE UPDATE ON TABLE STOCK_STREAMING.CORE.FACT_TICKS_60S FROM ROLE ROLE_STREAMING_PIPELINE;
REVOKE UPDATE ON TABLE STOCK_STREAMING.CORE.FACT_TICKS_300S FROM ROLE ROLE_STREAMING_PIPELINE;
