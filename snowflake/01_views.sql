-- Tapeline in Snowflake: what people and BI tools read. Run after 00_setup.sql, any number of times.
--
-- Times are UTC. Prices and notional are in the quote currency of the symbol, volume in its shares, contracts or
-- base currency. A price below 5e-9 is stored as 0: what divides by it, or takes its logarithm, is NULL.
-- Windows count minutes of event time, not rows: a minute without trades has no row.

USE ROLE SYSADMIN;
USE WAREHOUSE WH_STREAMING_XS;
USE DATABASE STOCK_STREAMING;
USE SCHEMA STOCK_STREAMING.MART;

-- 1 s bars, each once: of a bar that was sent again the newest one counts.
CREATE OR REPLACE VIEW MART.VW_TICKS_1S (
    BAR_ID COMMENT 'Key: <symbol>-<start_ts_ms>.',
    SYMBOL COMMENT 'Instrument.',
    START_TS COMMENT 'Start of the second. Unit: UTC.',
    OPEN COMMENT 'Unit: quote currency.',
    HIGH COMMENT 'Unit: quote currency.',
    LOW COMMENT 'Unit: quote currency.',
    CLOSE COMMENT 'Unit: quote currency.',
    VOLUME COMMENT 'Unit: shares, contracts or base currency.',
    NOTIONAL COMMENT 'Sum of price x size. Unit: quote currency.',
    VWAP COMMENT 'NOTIONAL / VOLUME. Unit: quote currency.',
    TRADE_COUNT COMMENT 'Unit: ticks.',
    WRITTEN_TS COMMENT 'When it came to the warehouse. Unit: UTC.'
) COPY GRANTS COMMENT = '1 s bars of the last day, each once.' AS
WITH written AS (
    SELECT
        BAR_ID, SYMBOL, START_TS, OPEN, HIGH, LOW, CLOSE, VOLUME, NOTIONAL, VWAP, TRADE_COUNT,
        COALESCE(LOAD_TS, TO_TIMESTAMP_NTZ(RECORD_METADATA:SnowflakeConnectorPushTime::NUMBER, 3)) AS WRITTEN_TS
    FROM CORE.FACT_TICKS_1S
)
SELECT
    BAR_ID, SYMBOL, START_TS, OPEN, HIGH, LOW, CLOSE, VOLUME, NOTIONAL, VWAP, TRADE_COUNT, WRITTEN_TS
FROM written
QUALIFY ROW_NUMBER() OVER (PARTITION BY BAR_ID ORDER BY WRITTEN_TS DESC NULLS LAST) = 1;

-- The last hour of minutes, up to the newest minute of any symbol.
CREATE OR REPLACE VIEW MART.VW_PRICE_1H (
    SYMBOL COMMENT 'Instrument.',
    NAME COMMENT 'Its name, the symbol where DIM_SYMBOL has none.',
    START_TS COMMENT 'Start of the minute. Unit: UTC.',
    OPEN COMMENT 'Unit: quote currency.',
    HIGH COMMENT 'Unit: quote currency.',
    LOW COMMENT 'Unit: quote currency.',
    CLOSE COMMENT 'Unit: quote currency.',
    VWAP COMMENT 'Unit: quote currency.',
    VOLUME COMMENT 'Unit: shares, contracts or base currency.',
    TRADE_COUNT COMMENT 'Unit: ticks.',
    QUOTE_CURRENCY COMMENT 'Unit of the prices.'
) COPY GRANTS COMMENT = 'Minutes of the last hour.' AS
SELECT
    bar.SYMBOL, COALESCE(dim.NAME, bar.SYMBOL), bar.START_TS, bar.OPEN, bar.HIGH, bar.LOW, bar.CLOSE, bar.VWAP,
    bar.VOLUME, bar.TRADE_COUNT, COALESCE(dim.QUOTE_CURRENCY, 'USD')
FROM CORE.FACT_TICKS_60S AS bar
LEFT JOIN CORE.DIM_SYMBOL AS dim ON dim.SYMBOL = bar.SYMBOL
WHERE bar.START_TS > (SELECT DATEADD(MINUTE, -60, MAX(START_TS)) FROM CORE.FACT_TICKS_60S);

-- First open to last close of each symbol within the 15 minutes up to the newest minute of any symbol.
CREATE OR REPLACE VIEW MART.VW_TOP_MOVERS_15M (
    MOVER_RANK COMMENT '1 = moved most, up or down.',
    SYMBOL COMMENT 'Instrument.',
    NAME COMMENT 'Its name, the symbol where DIM_SYMBOL has none.',
    WINDOW_START_TS COMMENT 'Start of its first minute in the window. Unit: UTC.',
    WINDOW_END_TS COMMENT 'End of its last minute in the window, exclusive. Unit: UTC.',
    FIRST_OPEN COMMENT 'Open of its first minute. Unit: quote currency.',
    LAST_CLOSE COMMENT 'Close of its last minute. Unit: quote currency.',
    CHANGE COMMENT 'LAST_CLOSE - FIRST_OPEN. Unit: quote currency.',
    CHANGE_PCT COMMENT 'CHANGE / FIRST_OPEN, NULL and last in rank where FIRST_OPEN is 0. Unit: percent.',
    VOLUME COMMENT 'Unit: shares, contracts or base currency.',
    TRADE_COUNT COMMENT 'Unit: ticks.'
) COPY GRANTS COMMENT = 'Who moved most in the last 15 minutes.' AS
WITH moves AS (
    SELECT
        SYMBOL,
        MIN(START_TS) AS WINDOW_START_TS,
        DATEADD(MINUTE, 1, MAX(START_TS)) AS WINDOW_END_TS,
        MIN_BY(OPEN, START_TS) AS FIRST_OPEN,
        MAX_BY(CLOSE, START_TS) AS LAST_CLOSE,
        SUM(VOLUME) AS VOLUME,
        SUM(TRADE_COUNT) AS TRADE_COUNT
    FROM CORE.FACT_TICKS_60S
    WHERE START_TS > (SELECT DATEADD(MINUTE, -15, MAX(START_TS)) FROM CORE.FACT_TICKS_60S)
    GROUP BY SYMBOL
)
SELECT
    ROW_NUMBER() OVER (
        ORDER BY ABS(moves.LAST_CLOSE - moves.FIRST_OPEN) / NULLIF(moves.FIRST_OPEN, 0) DESC NULLS LAST,
            moves.SYMBOL
    ),
    moves.SYMBOL,
    COALESCE(dim.NAME, moves.SYMBOL),
    moves.WINDOW_START_TS,
    moves.WINDOW_END_TS,
    moves.FIRST_OPEN,
    moves.LAST_CLOSE,
    moves.LAST_CLOSE - moves.FIRST_OPEN,
    100 * (moves.LAST_CLOSE - moves.FIRST_OPEN) / NULLIF(moves.FIRST_OPEN, 0),
    moves.VOLUME,
    moves.TRADE_COUNT
FROM moves
LEFT JOIN CORE.DIM_SYMBOL AS dim ON dim.SYMBOL = moves.SYMBOL;

-- One row a symbol and trading session: US sessions by DIM_CALENDAR, UTC days for what trades around the clock.
-- Minutes of US symbols outside of the regular session are left out.
CREATE OR REPLACE VIEW MART.VW_SESSION_VWAP (
    SYMBOL COMMENT 'Instrument.',
    NAME COMMENT 'Its name, the symbol where DIM_SYMBOL has none.',
    SESSION_DATE COMMENT 'Trading day: New York, or UTC for what trades around the clock.',
    SESSION_OPEN_TS COMMENT 'Unit: UTC.',
    SESSION_CLOSE_TS COMMENT 'Exclusive. Unit: UTC.',
    IS_HALF_DAY COMMENT 'The session ends at 13:00 New York.',
    OPEN COMMENT 'Open of the first minute that traded. Unit: quote currency.',
    HIGH COMMENT 'Unit: quote currency.',
    LOW COMMENT 'Unit: quote currency.',
    CLOSE COMMENT 'Close of the last minute that traded. Unit: quote currency.',
    VOLUME COMMENT 'Unit: shares, contracts or base currency.',
    NOTIONAL COMMENT 'Unit: quote currency.',
    VWAP COMMENT 'NOTIONAL / VOLUME of the session, NULL when VOLUME is 0. Unit: quote currency.',
    TRADE_COUNT COMMENT 'Unit: ticks.'
) COPY GRANTS COMMENT = 'Volume-weighted average price by trading session.' AS
WITH placed AS (
    SELECT
        bar.SYMBOL,
        COALESCE(dim.NAME, bar.SYMBOL) AS NAME,
        IFF(dim.TRADING_CALENDAR = '24X7', bar.START_TS::DATE, calendar.SESSION_DATE) AS SESSION_DATE,
        IFF(
            dim.TRADING_CALENDAR = '24X7', DATE_TRUNC('DAY', bar.START_TS), calendar.SESSION_OPEN_TS
        ) AS SESSION_OPEN_TS,
        IFF(
            dim.TRADING_CALENDAR = '24X7',
            DATEADD(DAY, 1, DATE_TRUNC('DAY', bar.START_TS)),
            calendar.SESSION_CLOSE_TS
        ) AS SESSION_CLOSE_TS,
        IFF(dim.TRADING_CALENDAR = '24X7', FALSE, calendar.IS_HALF_DAY) AS IS_HALF_DAY,
        bar.START_TS, bar.OPEN, bar.HIGH, bar.LOW, bar.CLOSE, bar.VOLUME, bar.NOTIONAL, bar.TRADE_COUNT
    FROM CORE.FACT_TICKS_60S AS bar
    LEFT JOIN CORE.DIM_SYMBOL AS dim ON dim.SYMBOL = bar.SYMBOL
    LEFT JOIN CORE.DIM_CALENDAR AS calendar ON calendar.MINUTE_TS = bar.START_TS
)
SELECT
    SYMBOL, NAME, SESSION_DATE, SESSION_OPEN_TS, SESSION_CLOSE_TS, IS_HALF_DAY,
    MIN_BY(OPEN, START_TS), MAX(HIGH), MIN(LOW), MAX_BY(CLOSE, START_TS),
    SUM(VOLUME), SUM(NOTIONAL), SUM(NOTIONAL) / NULLIF(SUM(VOLUME), 0), SUM(TRADE_COUNT)
FROM placed
WHERE SESSION_DATE IS NOT NULL
GROUP BY SYMBOL, NAME, SESSION_DATE, SESSION_OPEN_TS, SESSION_CLOSE_TS, IS_HALF_DAY;

-- Bands of two standard deviations around the average of 20 one-minute returns, and around the average close.
CREATE OR REPLACE VIEW MART.VW_VOLATILITY_BANDS (
    SYMBOL COMMENT 'Instrument.',
    START_TS COMMENT 'Start of the minute. Unit: UTC.',
    CLOSE COMMENT 'Unit: quote currency.',
    LOG_RETURN COMMENT 'LN(CLOSE / CLOSE of the minute that traded before), NULL for the first one.',
    RETURN_MA_20 COMMENT 'Average of the last 20 returns, this one included.',
    RETURN_STDDEV_20 COMMENT 'Their sample standard deviation, NULL for fewer than two.',
    RETURN_LOWER_BAND COMMENT 'RETURN_MA_20 - 2 x RETURN_STDDEV_20.',
    RETURN_UPPER_BAND COMMENT 'RETURN_MA_20 + 2 x RETURN_STDDEV_20.',
    RETURN_COUNT COMMENT 'Returns in the window, 20 once it is full.',
    CLOSE_MA_20 COMMENT 'Average of the last 20 closes. Unit: quote currency.'
) COPY GRANTS COMMENT = 'Moving average and bands of one-minute returns, 20 rows a window.' AS
WITH returns AS (
    SELECT
        SYMBOL,
        START_TS,
        CLOSE,
        LN(NULLIF(CLOSE / NULLIF(LAG(CLOSE) OVER (PARTITION BY SYMBOL ORDER BY START_TS), 0), 0)) AS LOG_RETURN
    FROM CORE.FACT_TICKS_60S
),
averages AS (
    SELECT
        SYMBOL,
        START_TS,
        CLOSE,
        LOG_RETURN,
        AVG(LOG_RETURN) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
        ) AS RETURN_MA_20,
        STDDEV_SAMP(LOG_RETURN) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
        ) AS RETURN_STDDEV_20,
        COUNT(LOG_RETURN) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
        ) AS RETURN_COUNT,
        AVG(CLOSE) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
        ) AS CLOSE_MA_20
    FROM returns
)
SELECT
    SYMBOL, START_TS, CLOSE, LOG_RETURN, RETURN_MA_20, RETURN_STDDEV_20,
    RETURN_MA_20 - 2 * RETURN_STDDEV_20,
    RETURN_MA_20 + 2 * RETURN_STDDEV_20,
    RETURN_COUNT,
    CLOSE_MA_20
FROM averages;

-- VWAP of the last 15 and 60 minutes of event time.
CREATE OR REPLACE VIEW MART.VW_ROLLING_VWAP (
    SYMBOL COMMENT 'Instrument.',
    START_TS COMMENT 'Start of the minute. Unit: UTC.',
    CLOSE COMMENT 'Unit: quote currency.',
    VWAP_15M COMMENT 'Of this minute and the 14 before; NULL when nothing but size 0 traded. Unit: quote currency.',
    VWAP_60M COMMENT 'Of this minute and the 59 before; likewise. Unit: quote currency.',
    VOLUME_15M COMMENT 'Unit: shares, contracts or base currency.',
    VOLUME_60M COMMENT 'Unit: shares, contracts or base currency.'
) COPY GRANTS COMMENT = 'Rolling volume-weighted average prices.' AS
WITH sums AS (
    SELECT
        SYMBOL,
        START_TS,
        CLOSE,
        SUM(NOTIONAL) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS
            RANGE BETWEEN INTERVAL '14 MINUTES' PRECEDING AND CURRENT ROW
        ) AS NOTIONAL_15M,
        SUM(VOLUME) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS
            RANGE BETWEEN INTERVAL '14 MINUTES' PRECEDING AND CURRENT ROW
        ) AS VOLUME_15M,
        SUM(NOTIONAL) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS
            RANGE BETWEEN INTERVAL '59 MINUTES' PRECEDING AND CURRENT ROW
        ) AS NOTIONAL_60M,
        SUM(VOLUME) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS
            RANGE BETWEEN INTERVAL '59 MINUTES' PRECEDING AND CURRENT ROW
        ) AS VOLUME_60M
    FROM CORE.FACT_TICKS_60S
)
SELECT
    SYMBOL,
    START_TS,
    CLOSE,
    NOTIONAL_15M / NULLIF(VOLUME_15M, 0),
    NOTIONAL_60M / NULLIF(VOLUME_60M, 0),
    VOLUME_15M,
    VOLUME_60M
FROM sums;

-- What models take: one row a symbol and minute, from the past only.
CREATE OR REPLACE VIEW MART.VW_FEATURES_60S (
    SYMBOL COMMENT 'Instrument.',
    ASSET_CLASS COMMENT 'equity or crypto; equity where DIM_SYMBOL has no row.',
    START_TS COMMENT 'Start of the minute. Unit: UTC.',
    CLOSE COMMENT 'Unit: quote currency.',
    LOG_RETURN_1 COMMENT 'LN of CLOSE over the close one traded minute before.',
    LOG_RETURN_5 COMMENT 'LN of CLOSE over the close five traded minutes before.',
    RANGE_PCT COMMENT '(HIGH - LOW) / OPEN. Unit: percent.',
    VWAP_GAP_PCT COMMENT '(CLOSE - VWAP) / VWAP. Unit: percent.',
    VOLUME_RATIO_20 COMMENT 'VOLUME over the average of the 20 traded minutes before; NULL where that is 0.',
    TRADE_COUNT COMMENT 'Unit: ticks.'
) COPY GRANTS COMMENT = 'Features by minute.' AS
WITH past AS (
    SELECT
        SYMBOL,
        START_TS,
        OPEN,
        HIGH,
        LOW,
        CLOSE,
        VWAP,
        VOLUME,
        TRADE_COUNT,
        LAG(CLOSE, 1) OVER (PARTITION BY SYMBOL ORDER BY START_TS) AS CLOSE_1,
        LAG(CLOSE, 5) OVER (PARTITION BY SYMBOL ORDER BY START_TS) AS CLOSE_5,
        AVG(VOLUME) OVER (
            PARTITION BY SYMBOL ORDER BY START_TS ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING
        ) AS VOLUME_BEFORE
    FROM CORE.FACT_TICKS_60S
)
SELECT
    past.SYMBOL,
    COALESCE(dim.ASSET_CLASS, 'equity'),
    past.START_TS,
    past.CLOSE,
    LN(NULLIF(past.CLOSE / NULLIF(past.CLOSE_1, 0), 0)),
    LN(NULLIF(past.CLOSE / NULLIF(past.CLOSE_5, 0), 0)),
    100 * (past.HIGH - past.LOW) / NULLIF(past.OPEN, 0),
    100 * (past.CLOSE - past.VWAP) / NULLIF(past.VWAP, 0),
    past.VOLUME / NULLIF(past.VOLUME_BEFORE, 0),
    past.TRADE_COUNT
FROM past
LEFT JOIN CORE.DIM_SYMBOL AS dim ON dim.SYMBOL = past.SYMBOL;

-- How the pipeline did, minute by minute of event time, over all symbols.
CREATE OR REPLACE VIEW MART.VW_PIPELINE_MINUTE_METRICS (
    START_TS COMMENT 'Start of the minute. Unit: UTC.',
    SYMBOL_COUNT COMMENT 'Symbols that traded.',
    TRADE_COUNT COMMENT 'Unit: ticks.',
    BAR_COUNT COMMENT '1 s bars. Unit: bars.',
    MAX_LATENESS_MS COMMENT 'Greatest lateness of a tick that counted. Unit: ms.',
    BAR_DELAY_MS COMMENT 'Longest from the end of the minute until its newest 1 s bar was emitted. Unit: ms.',
    LOAD_DELAY_S COMMENT 'Longest from the end of the minute until its row was written. Unit: s.',
    DEAD_LETTER_COUNT COMMENT 'Lines of that minute of event time that were refused. Unit: lines.'
) COPY GRANTS COMMENT = 'Ticks, lateness, delays and dead letters by minute.' AS
WITH refused AS (
    SELECT DATE_TRUNC('MINUTE', TO_TIMESTAMP_NTZ(EVENT_TS_MS, 3)) AS START_TS, COUNT(DISTINCT DLT_ID) AS LETTERS
    FROM RAW.TICKS_DLT
    WHERE EVENT_TS_MS IS NOT NULL
    GROUP BY 1
),
taken AS (
    SELECT
        START_TS,
        COUNT(SYMBOL) AS SYMBOL_COUNT,
        SUM(TRADE_COUNT) AS TRADE_COUNT,
        SUM(BAR_COUNT) AS BAR_COUNT,
        MAX(MAX_LATENESS_MS) AS MAX_LATENESS_MS,
        MAX(INGEST_TS_MS - END_TS_MS) AS BAR_DELAY_MS,
        MAX(DATEDIFF(MILLISECOND, START_TS, LOAD_TS)) / 1000 - 60 AS LOAD_DELAY_S
    FROM CORE.FACT_TICKS_60S
    GROUP BY START_TS
)
SELECT
    COALESCE(taken.START_TS, refused.START_TS),
    COALESCE(taken.SYMBOL_COUNT, 0),
    COALESCE(taken.TRADE_COUNT, 0),
    COALESCE(taken.BAR_COUNT, 0),
    taken.MAX_LATENESS_MS,
    taken.BAR_DELAY_MS,
    taken.LOAD_DELAY_S,
    COALESCE(refused.LETTERS, 0)
FROM taken
FULL OUTER JOIN refused ON refused.START_TS = taken.START_TS;

-- A role that was made anew has none of the grants that COPY GRANTS keeps, and future grants are for views to come.
USE ROLE SECURITYADMIN;
GRANT SELECT ON ALL VIEWS IN SCHEMA STOCK_STREAMING.MART TO ROLE ROLE_STREAMING_PIPELINE;
GRANT SELECT ON ALL VIEWS IN SCHEMA STOCK_STREAMING.MART TO ROLE ROLE_STREAMING_READER;
