-- How a feed line is judged.   In: chunk, some lines at a time.   Out: feed.

CREATE TEMP TABLE chunk (line_no BIGINT, raw VARCHAR);

-- Lines that Python has looked at: strict JSON ('null' when the line is no JSON object), and hash and beginning of
-- the original where it was no UTF-8.
CREATE TEMP TABLE odd (line_no BIGINT, json VARCHAR, sha256 VARCHAR, head VARCHAR);

-- Lines that it must look at: not plainly a flat object, or one with a key twice. There are few sets of keys.
CREATE TEMP VIEW doubtful AS
WITH shapes AS (
    SELECT line_no, raw, CASE WHEN is_plain(raw) THEN array_to_string(json_keys(raw), ' ') END AS keys
    FROM chunk
),
repeating AS (
    SELECT keys
    FROM (SELECT keys, string_split(keys, ' ') AS list FROM (SELECT DISTINCT keys FROM shapes))
    WHERE list_unique(list) < len(list)
)
SELECT line_no, raw
FROM shapes
WHERE keys IS NULL OR keys IN (FROM repeating);

CREATE MACRO is_absent(j) AS j IS NULL OR j = 'null';
CREATE MACRO is_number(j) AS j >= '0' AND j < ':' OR starts_with(j, '-');
CREATE MACRO to_count(j) AS CASE WHEN regexp_full_match(j, '[0-9]+') THEN TRY_CAST(j AS BIGINT) END;
CREATE MACRO to_finite(x) AS CASE WHEN isfinite(x) THEN x END;
CREATE MACRO to_number(j) AS CASE WHEN is_number(j) THEN to_finite(TRY_CAST(j AS DOUBLE)) END;
CREATE MACRO text_of(j) AS CASE WHEN starts_with(j, '"') THEN j[2:-2] END;

-- floor(round(event_ts * 10^6) / 1000); NULL when it is outside 1970 .. 9999.
CREATE MACRO up_to_year_9999(ms) AS CASE WHEN ms <= 253402300799999 THEN ms END;
CREATE MACRO to_ms(j) AS up_to_year_9999(to_count(j));
CREATE MACRO to_event_ms(event_ts) AS CASE
    WHEN event_ts >= 0 THEN up_to_year_9999(TRY_CAST(round(event_ts * 1e6) AS BIGINT) // 1000) END;

CREATE TABLE feed (
    line_no BIGINT, kind VARCHAR, symbol VARCHAR, event_ts_ms BIGINT, px DOUBLE, sz DOUBLE,
    seq BIGINT, api_send_ts_ms BIGINT, source_event_ts_ms BIGINT, sha256 VARCHAR, head VARCHAR, detail VARCHAR
);

CREATE TEMP VIEW judged AS
WITH extracted AS (
    SELECT
        line_no,
        coalesce(odd.sha256, sha256(raw)) AS sha256,
        coalesce(odd.head, left(raw, 1000)) AS head,
        coalesce(odd.json, raw) AS strict_json,
        strlen(raw) > 1048576 AS is_too_long,
        starts_with(ltrim(strict_json, e' \t'), '{') AS is_object,
        json_extract(strict_json, [
            '$.type', '$.symbol', '$.px', '$.sz', '$.event_ts', '$.bid', '$.ask',
            '$.seq', '$.api_send_ts_ms', '$.source_event_ts_ms'
        ])::VARCHAR[] AS f
    FROM chunk
    LEFT JOIN odd USING (line_no)
),
named AS (
    SELECT
        line_no, sha256, head, is_object, is_too_long, nullif(f[1], 'null') AS type, text_of(f[2]) AS symbol,
        to_number(f[3]) AS px, to_number(f[4]) AS sz, to_event_ms(to_number(f[5])) AS event_ts_ms,
        is_absent(f[6]) OR to_number(f[6]) IS NOT NULL AS is_bid_fine,
        is_absent(f[7]) OR to_number(f[7]) IS NOT NULL AS is_ask_fine,
        is_absent(f[8]) OR to_count(f[8]) IS NOT NULL AS is_seq_fine,
        is_absent(f[9]) OR to_ms(f[9]) IS NOT NULL AS is_api_send_fine,
        is_absent(f[10]) OR to_ms(f[10]) IS NOT NULL AS is_source_event_fine,
        to_count(f[8]) AS seq, to_ms(f[9]) AS api_send_ts_ms, to_ms(f[10]) AS source_event_ts_ms
    FROM extracted
),
faults AS (
    SELECT
        *,
        CASE
            WHEN is_too_long THEN 'longer than 1 MiB'
            WHEN NOT is_object THEN 'not a JSON object'
            WHEN type NOT IN ('"hello"', '"end"', '"heartbeat"') THEN 'unknown type'
            WHEN type IN ('"hello"', '"end"') THEN NULL
            WHEN event_ts_ms IS NULL THEN 'event_ts'
            WHEN NOT is_seq_fine THEN 'seq'
            WHEN type = '"heartbeat"' THEN NULL
            WHEN NOT coalesce(regexp_full_match(symbol, '[A-Za-z0-9_./:-]{1,32}'), false) THEN 'symbol'
            WHEN NOT coalesce(px > 0 AND px <= 1e15, false) THEN 'px'
            WHEN NOT coalesce(sz >= 0 AND sz <= 1e15, false) THEN 'sz'
            WHEN NOT is_bid_fine THEN 'bid'
            WHEN NOT is_ask_fine THEN 'ask'
            WHEN NOT is_api_send_fine THEN 'api_send_ts_ms'
            WHEN NOT is_source_event_fine THEN 'source_event_ts_ms'
        END AS detail
    FROM named
)
SELECT
    line_no,
    CASE WHEN detail IS NOT NULL THEN 'invalid' ELSE coalesce(text_of(type), 'tick') END AS kind,
    symbol, event_ts_ms, px, sz, seq, api_send_ts_ms, source_event_ts_ms, sha256,
    CASE WHEN kind = 'invalid' THEN head END AS head,
    detail
FROM faults
ORDER BY line_no;
