"""The scripts of snowflake/ on the local Snowflake: deployed twice, the calendar, each view by hand."""

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import exchange_calendars
import pytest
import sqlglot
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from glue.deploy import snowflake as scripts
from glue.deploy.__main__ import main
from glue.errors import SettingsError
from glue.io.snowflake import connect
from glue.query import main as query
from glue.settings import Settings
from glue.stack.fakesnow_gaps import is_account_level
from glue.stack.snowflake_roles import is_about_roles
from tests.conftest import RunningStack

pytestmark = pytest.mark.stack
STATEMENTS = scripts.read_statements(Settings(_env_file=None))
FACTS = "BAR_ID, SYMBOL, START_TS, START_TS_MS, END_TS_MS, OPEN, HIGH, LOW, CLOSE, VOLUME, NOTIONAL, VWAP, " \
    "TRADE_COUNT, BAR_COUNT, MAX_LATENESS_MS, INGEST_TS_MS, LOAD_TS"  # fmt: skip
OPEN_TS = datetime(2026, 7, 2, 13, 30)  # noqa: DTZ001 - 09:30 in New York, UTC as the warehouse has it
VIEWS = {
    "VW_TICKS_1S", "VW_PRICE_1H", "VW_TOP_MOVERS_15M", "VW_SESSION_VWAP", "VW_VOLATILITY_BANDS",
    "VW_ROLLING_VWAP", "VW_FEATURES_60S", "VW_PIPELINE_MINUTE_METRICS",
}  # fmt: skip


@pytest.fixture
def cursor(warehouse):
    """Facts are empty; what a test writes is gone after it."""
    with connect(warehouse, "test") as connection, connection.cursor() as cursor:
        for table in ("CORE.FACT_TICKS_1S", "CORE.FACT_TICKS_60S", "RAW.TICKS_DLT"):
            cursor.execute(f"DELETE FROM {table}")
        yield cursor
        cursor.execute("DELETE FROM CORE.FACT_TICKS_60S")


@pytest.fixture
def at_the_stack(stack: RunningStack, monkeypatch):
    for name, value in stack.settings_env.items():
        monkeypatch.setenv(name, value)


def ms(moment):
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def write(cursor, symbol, start, close, *, open_=None, volume=100, vwap=None, ticks=10, lateness_ms=0):
    """Write a minute as glue.rollup does."""
    open_ = close if open_ is None else open_
    vwap = close if vwap is None else vwap
    row = (
        f"{symbol}-{ms(start)}-60s", symbol, start, ms(start), ms(start) + 60_000, open_,
        max(open_, close) + 1, min(open_, close) - 1, close, volume, vwap * volume, vwap, ticks, 30,
        lateness_ms, ms(start) + 60_650, start + timedelta(seconds=75),
    )  # fmt: skip
    cursor.execute(f"INSERT INTO CORE.FACT_TICKS_60S ({FACTS}) SELECT {', '.join('?' * len(row))}", row)


def rows(cursor, sql):
    cursor.execute(sql)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_every_statement_is_snowflake_sql_that_sqlglot_knows_or_is_about_the_account():
    for statement in STATEMENTS:
        parsed = sqlglot.parse_one(statement.text, read="snowflake")
        if isinstance(parsed, exp.Command):
            assert is_account_level(statement.text), f"{statement.place}: {statement.text}"


def test_every_column_and_table_has_a_comment():
    for statement in STATEMENTS:
        created = sqlglot.parse_one(statement.text, read="snowflake", error_level=sqlglot.ErrorLevel.IGNORE)
        if isinstance(created, exp.Create) and created.kind in ("TABLE", "VIEW"):
            assert created.find(exp.SchemaCommentProperty), statement.title
            for column in created.this.expressions:
                if isinstance(column, exp.ColumnDef):
                    assert column.find(exp.CommentColumnConstraint), f"{statement.title}: {column.name}"
            if created.kind == "TABLE":
                for number in created.find_all(exp.DataType):
                    assert number.this != exp.DataType.Type.DOUBLE, statement.title


def test_a_default_has_the_precision_of_its_column():
    """Snowflake refuses SYSDATE(), which has nine digits, as the default of a column with fewer."""
    found = 0
    for statement in STATEMENTS:
        created = sqlglot.parse_one(statement.text, read="snowflake", error_level=sqlglot.ErrorLevel.IGNORE)
        for column in created.find_all(exp.ColumnDef):
            default = column.find(exp.DefaultColumnConstraint)
            if default is not None and default.sql("snowflake") == "DEFAULT SYSDATE()":
                assert column.kind.sql("snowflake") == "TIMESTAMPNTZ", f"{statement.title}: {column.name}"
                found += 1
    assert found


def test_nothing_that_holds_data_is_dropped_or_replaced():
    for statement in STATEMENTS:
        words = statement.text.upper().split()
        assert words[0] in ("USE", "CREATE", "GRANT", "REVOKE", "ALTER", "INSERT"), statement.place
        if words[:3] == ["CREATE", "OR", "REPLACE"]:
            assert words[3] == "VIEW", statement.place


def test_a_second_deployment_changes_nothing_and_loses_nothing(cursor, at_the_stack, capsys):
    write(cursor, "WDC", OPEN_TS, 42)
    cursor.execute("UPDATE CORE.DIM_SYMBOL SET NAME = 'Mine' WHERE SYMBOL = 'WDC'")
    tables = ("CORE.FACT_TICKS_60S", "CORE.DIM_SYMBOL", "CORE.DIM_CALENDAR", "RAW.TICKS_RAW")
    before = [cursor.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in tables]
    cursor.execute("DROP VIEW MART.VW_PRICE_1H")
    capsys.readouterr()

    assert main(["snowflake", "--json"]) == 0

    outcomes = json.loads(capsys.readouterr().out)
    assert len(outcomes) == len(STATEMENTS)
    views = {o["name"]: o["state"] for o in outcomes if o["name"].startswith("CREATE OR REPLACE VIEW")}
    assert views.pop("CREATE OR REPLACE VIEW MART.VW_PRICE_1H") == "created"
    assert len(views) > 5
    assert set(views.values()) == {"replaced"}
    others = {o["state"] for o in outcomes if "VIEW MART." not in o["name"]}
    assert others == {"exists", "not applied"}
    not_applied = [o["detail"] for o in outcomes if o["state"] == "not applied"]
    assert not_applied == [
        s.place for s in STATEMENTS if is_account_level(s.text) and not is_about_roles(s.text)
    ]
    assert [cursor.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in tables] == before
    assert rows(cursor, "SELECT NAME FROM CORE.DIM_SYMBOL WHERE SYMBOL = 'WDC'") == [{"NAME": "Mine"}]
    cursor.execute("UPDATE CORE.DIM_SYMBOL SET NAME = 'Western Digital' WHERE SYMBOL = 'WDC'")


def test_database_warehouse_and_role_of_the_settings_are_made_and_used(warehouse, at_the_stack, monkeypatch):
    own = {"snow_database": "own_db", "snow_warehouse": "own_wh", "snow_role": "own_role"}
    settings = warehouse.model_copy(update=own)
    with pytest.raises(scripts.TapelineError, match=r"SNOW_ROLE=own_role"):
        connect(settings, "test")
    for name, value in own.items():
        monkeypatch.setenv(name.upper(), value)

    assert main(["snowflake", "--json"]) == 0

    with connect(settings, "test") as connection, connection.cursor() as cursor:
        place = (connection.database, connection.warehouse, connection.role)
        assert place == ("OWN_DB", "OWN_WH", "OWN_ROLE")
        assert cursor.execute("SELECT COUNT(*) FROM MART.VW_PRICE_1H").fetchone() == (0,)
    says = r"SNOW_DATABASE=no_db is not there, or not for SNOW_ROLE=own_role; .*deploy"
    with pytest.raises(scripts.TapelineError, match=says):
        connect(settings.model_copy(update={"snow_database": "no_db"}), "test")


@pytest.mark.parametrize("setting", ["snow_database", "snow_warehouse"])
def test_a_setting_that_is_empty_is_named(warehouse, setting):
    with pytest.raises(scripts.TapelineError, match=f"{setting.upper()} is not set"):
        connect(warehouse.model_copy(update={setting: ""}), "test")


def test_a_dry_run_asks_the_server_nothing(at_the_stack, capsys, monkeypatch):
    monkeypatch.setenv("SNOW_ACCOUNT", "http://127.0.0.1:1")
    capsys.readouterr()
    assert main(["snowflake", "--dry-run", "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)
    assert len(outcomes) == len(STATEMENTS)
    assert {outcome["state"] for outcome in outcomes} == {"would be run"}


def test_a_statement_that_fails_is_named_with_file_line_and_the_servers_words(
    at_the_stack, tmp_path, monkeypatch
):
    (tmp_path / "07_mine.sql").write_text(
        "SELECT ';' AS A; -- one; two\n\nCREATE VIEW MART.V AS\nSELECT * FROM NO_T;"
    )
    monkeypatch.setattr(scripts, "SNOWFLAKE_DIR", tmp_path)
    with pytest.raises(scripts.TapelineError, match=r"snowflake/07_mine\.sql:3: CREATE VIEW MART\.V .*NO_T"):
        main(["snowflake"])


@pytest.mark.filterwarnings("ignore:Series.values")
def test_the_calendar_has_exactly_the_sessions_of_the_exchange(cursor):
    exchange = exchange_calendars.get_calendar("XNYS", start="2009-01-01", end="2030-12-31")
    expected = [
        (
            label.date(),
            opens.to_pydatetime().replace(tzinfo=None),
            closes.to_pydatetime().replace(tzinfo=None),
        )
        for label, opens, closes in zip(
            exchange.schedule.index, exchange.schedule["open"], exchange.schedule["close"], strict=True
        )
    ]
    found = cursor.execute(
        "SELECT SESSION_DATE, MIN(MINUTE_TS), DATEADD(MINUTE, 1, MAX(MINUTE_TS)), MIN(SESSION_OPEN_TS), "
        "MAX(SESSION_CLOSE_TS), COUNT(*), COUNT(DISTINCT MINUTE_TS), MAX(MINUTE_OF_SESSION) + 1, "
        "MAX(NEW_YORK_TS)::TIME::VARCHAR, MAX(IS_HALF_DAY) FROM CORE.DIM_CALENDAR GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [row[:3] for row in found] == expected
    for day, opens, closes, open_ts, close_ts, count, distinct, minutes, last, is_half in found:
        assert (opens, closes) == (open_ts, close_ts), day
        assert count == distinct == minutes == (210 if is_half else 390), day
        assert last.startswith("12:59" if is_half else "15:59"), day


def test_a_bar_that_was_sent_again_counts_once_and_the_newest_wins(cursor):
    insert = (
        "INSERT INTO CORE.FACT_TICKS_1S (BAR_ID, SYMBOL, START_TS, END_TS, OPEN, HIGH, LOW, CLOSE, "
        "VOLUME, NOTIONAL, VWAP, TRADE_COUNT, BIN_COUNT, MAX_LATENESS_MS, SOURCE, RECORD_METADATA, LOAD_TS) "
        "SELECT 'A-1000', 'A', TO_TIMESTAMP_NTZ(1), TO_TIMESTAMP_NTZ(2), 1, 1, 1, ?, 5, 5, 1, 1, 1, 0, "
        "'aggregate', PARSE_JSON(?), ?"
    )
    pushed = json.dumps({"SnowflakeConnectorPushTime": ms(datetime(2026, 1, 2, 12))})  # noqa: DTZ001
    cursor.execute(insert, (10, None, datetime(2026, 1, 2, 11)))  # noqa: DTZ001
    cursor.execute(insert, (12, pushed, None))
    cursor.execute(insert, (11, None, datetime(2026, 1, 2, 11, 59)))  # noqa: DTZ001
    (row,) = rows(cursor, "SELECT * FROM MART.VW_TICKS_1S")
    assert (row["BAR_ID"], row["CLOSE"], row["START_TS"]) == ("A-1000", 12, datetime(1970, 1, 1, 0, 0, 1))  # noqa: DTZ001


def test_top_movers_go_from_the_first_open_to_the_last_close(cursor):
    write(cursor, "WDC", OPEN_TS - timedelta(minutes=15), 500)  # before the window
    write(cursor, "WDC", OPEN_TS - timedelta(minutes=14), 105, open_=100)
    write(cursor, "WDC", OPEN_TS - timedelta(minutes=5), 130)  # higher than where it ends
    write(cursor, "WDC", OPEN_TS, 110)
    write(cursor, "NEW", OPEN_TS - timedelta(minutes=2), 80, open_=100)
    found = rows(cursor, "SELECT * FROM MART.VW_TOP_MOVERS_15M ORDER BY MOVER_RANK")
    assert [(r["MOVER_RANK"], r["SYMBOL"], r["NAME"]) for r in found] == [
        (1, "NEW", "NEW"),
        (2, "WDC", "Western Digital"),
    ]
    assert [(float(r["CHANGE"]), float(r["CHANGE_PCT"])) for r in found] == [(-20, -20), (10, 10)]
    assert found[1]["WINDOW_START_TS"] == OPEN_TS - timedelta(minutes=14)
    assert found[1]["WINDOW_END_TS"] == OPEN_TS + timedelta(minutes=1)
    assert (found[1]["VOLUME"], found[1]["TRADE_COUNT"]) == (300, 30)


def test_session_vwap_goes_by_us_sessions_and_by_utc_days_around_the_clock(cursor):
    half_day_open = datetime(2026, 11, 27, 14, 30)  # noqa: DTZ001
    write(cursor, "WDC", OPEN_TS - timedelta(minutes=1), 999)  # before the open
    write(cursor, "WDC", OPEN_TS, 10, open_=9, volume=100)
    write(cursor, "WDC", OPEN_TS + timedelta(minutes=389), 20, volume=300)
    write(cursor, "WDC", OPEN_TS + timedelta(minutes=390), 999)  # after the close
    write(cursor, "WDC", half_day_open, 30, volume=0)
    write(cursor, "WDC", half_day_open + timedelta(minutes=210), 999)  # after the early close
    write(cursor, "BTCUSDT", datetime(2026, 7, 4, 23, 59), 50_000)  # noqa: DTZ001 - a holiday
    found = rows(cursor, "SELECT * FROM MART.VW_SESSION_VWAP ORDER BY SYMBOL, SESSION_DATE")
    btc, day, half = found
    assert (btc["SYMBOL"], btc["SESSION_DATE"], float(btc["VWAP"])) == ("BTCUSDT", date(2026, 7, 4), 50_000)
    assert (btc["SESSION_OPEN_TS"], btc["SESSION_CLOSE_TS"]) == (datetime(2026, 7, 4), datetime(2026, 7, 5))  # noqa: DTZ001
    assert (day["SESSION_DATE"], float(day["VWAP"]), day["VOLUME"]) == (date(2026, 7, 2), 17.5, 400)
    assert (day["OPEN"], day["CLOSE"], day["HIGH"], day["LOW"]) == (9, 20, 21, 8)
    assert (half["IS_HALF_DAY"], half["VWAP"]) == (True, None)


def test_volatility_bands_are_two_deviations_around_the_mean_of_returns(cursor):
    for minute, close in enumerate((100, 110, 99)):
        write(cursor, "WDC", OPEN_TS + timedelta(minutes=minute), close)
    first, _, last = rows(cursor, "SELECT * FROM MART.VW_VOLATILITY_BANDS ORDER BY START_TS")
    up, down = math.log(1.1), math.log(0.9)
    mean, deviation = (up + down) / 2, abs(up - down) / math.sqrt(2)
    assert (first["LOG_RETURN"], first["RETURN_COUNT"]) == (None, 0)
    assert last["LOG_RETURN"] == pytest.approx(down)
    assert last["RETURN_MA_20"] == pytest.approx(mean)
    assert last["RETURN_LOWER_BAND"] == pytest.approx(mean - 2 * deviation)
    assert last["RETURN_UPPER_BAND"] == pytest.approx(mean + 2 * deviation)
    assert (last["RETURN_COUNT"], float(last["CLOSE_MA_20"])) == (2, pytest.approx(103))


def test_rolling_vwap_goes_by_minutes_of_event_time_not_by_rows(cursor):
    for minute, close, volume in ((0, 10, 100), (15, 20, 100), (29, 30, 300), (60, 40, 0)):
        write(cursor, "WDC", OPEN_TS + timedelta(minutes=minute), close, volume=volume)
    found = rows(cursor, "SELECT * FROM MART.VW_ROLLING_VWAP ORDER BY START_TS")
    assert [r["VWAP_15M"] and float(r["VWAP_15M"]) for r in found] == [10, 20, 27.5, None]
    assert [float(r["VWAP_60M"]) for r in found] == [10, 15, 24, 27.5]
    assert [r["VOLUME_60M"] for r in found] == [100, 200, 500, 400]


def test_features_come_from_the_past_only(cursor):
    for minute in range(6):
        write(cursor, "BTCUSDT", OPEN_TS + timedelta(minutes=minute), 100 + minute, volume=minute)
    last = rows(cursor, "SELECT * FROM MART.VW_FEATURES_60S ORDER BY START_TS")[-1]
    assert last["ASSET_CLASS"] == "crypto"
    assert last["LOG_RETURN_1"] == pytest.approx(math.log(105 / 104))
    assert last["LOG_RETURN_5"] == pytest.approx(math.log(1.05))
    assert float(last["RANGE_PCT"]) == pytest.approx(100 * 2 / 105)
    assert float(last["VOLUME_RATIO_20"]) == pytest.approx(5 / 2)
    assert float(last["VWAP_GAP_PCT"]) == 0


def test_a_price_that_is_stored_as_0_gives_null_and_leads_no_view(cursor):
    for minute, close in enumerate((0, 0, 5, 0)):
        write(cursor, "DUST", OPEN_TS + timedelta(minutes=minute), close)
    write(cursor, "WDC", OPEN_TS + timedelta(minutes=3), 110, open_=100)
    movers = rows(cursor, "SELECT * FROM MART.VW_TOP_MOVERS_15M ORDER BY MOVER_RANK")
    assert [(r["SYMBOL"], r["CHANGE_PCT"] and float(r["CHANGE_PCT"])) for r in movers] == [
        ("WDC", 10),
        ("DUST", None),
    ]
    bands = rows(cursor, "SELECT * FROM MART.VW_VOLATILITY_BANDS WHERE SYMBOL = 'DUST' ORDER BY START_TS")
    assert [(r["LOG_RETURN"], r["RETURN_COUNT"], r["RETURN_MA_20"]) for r in bands] == [(None, 0, None)] * 4
    features = rows(cursor, "SELECT * FROM MART.VW_FEATURES_60S WHERE SYMBOL = 'DUST' ORDER BY START_TS")
    names = ("LOG_RETURN_1", "LOG_RETURN_5", "RANGE_PCT", "VWAP_GAP_PCT")
    assert [[r[name] and float(r[name]) for name in names] for r in features] == [
        [None] * 4,
        [None] * 4,
        [None, None, 40, 0],
        [None] * 4,
    ]


def test_the_last_hour_ends_with_the_newest_minute(cursor):
    for minute in (0, 1, 60):
        write(cursor, "WDC", OPEN_TS + timedelta(minutes=minute), 42)
    found = rows(cursor, "SELECT * FROM MART.VW_PRICE_1H ORDER BY START_TS")
    assert [r["START_TS"] for r in found] == [OPEN_TS + timedelta(minutes=m) for m in (1, 60)]
    assert (found[0]["NAME"], found[0]["QUOTE_CURRENCY"]) == ("Western Digital", "USD")


def test_pipeline_metrics_count_symbols_delays_and_dead_letters(cursor):
    write(cursor, "WDC", OPEN_TS, 42, ticks=7, lateness_ms=120)
    write(cursor, "AAPL", OPEN_TS, 42, ticks=5, lateness_ms=80)
    for dlt_id, moment in (
        ("a", OPEN_TS),
        ("a", OPEN_TS),
        ("b", OPEN_TS),
        ("c", OPEN_TS + timedelta(minutes=1)),
    ):
        cursor.execute(
            "INSERT INTO RAW.TICKS_DLT (DLT_ID, REASON, EVENT_TS_MS, LINE, LINE_SHA256) "
            "SELECT ?, 'late', ?, '', ''",
            (dlt_id, ms(moment) + 500),
        )
    found = rows(cursor, "SELECT * FROM MART.VW_PIPELINE_MINUTE_METRICS ORDER BY START_TS")
    both, refused = ({k: v and float(v) for k, v in r.items() if k != "START_TS"} for r in found)
    assert both == {
        "SYMBOL_COUNT": 2, "TRADE_COUNT": 12, "BAR_COUNT": 60, "MAX_LATENESS_MS": 120, "BAR_DELAY_MS": 650,
        "LOAD_DELAY_S": 15, "DEAD_LETTER_COUNT": 2,
    }  # fmt: skip
    assert (found[1]["START_TS"], refused["DEAD_LETTER_COUNT"]) == (OPEN_TS + timedelta(minutes=1), 1)


def test_no_view_is_left_out_of_this_file(cursor):
    made = {s.title.split()[4].removeprefix("MART.") for s in STATEMENTS if "OR REPLACE VIEW" in s.title}
    assert made == VIEWS


def test_a_query_prints_a_table_json_or_csv(cursor, at_the_stack, capsys):
    sql = "SELECT SYMBOL, 1.50::NUMBER(28,8) AS PX, NULL AS NOTHING FROM DIM_SYMBOL WHERE SYMBOL = 'WDC'"
    capsys.readouterr()
    assert query([sql]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()][3] == ["WDC", "1.50000000", "NULL"]
    assert query(["--json", sql]) == 0
    assert json.loads(capsys.readouterr().out) == [{"SYMBOL": "WDC", "PX": 1.5, "NOTHING": None}]
    assert query(["--csv", sql]) == 0
    assert capsys.readouterr().out.splitlines() == ["SYMBOL,PX,NOTHING", "WDC,1.50000000,"]


def test_a_query_that_is_refused_is_told_in_the_servers_words(warehouse, at_the_stack):
    with pytest.raises(
        scripts.TapelineError, match=r"SNOW_ACCOUNT=http://127.* refuses the statement: .*NOWHERE"
    ):
        query(["SELECT * FROM NOWHERE"])


@pytest.mark.parametrize("blank", ["", "  ", "-- a comment", "/* one */ ; "])
def test_a_blank_query_is_refused_before_a_login(blank):
    with pytest.raises(SettingsError, match="the statement is blank"):
        query([blank])


def test_two_statements_are_refused_at_once_as_snowflake_does(warehouse, at_the_stack, cursor):
    with pytest.raises(
        ProgrammingError, match=r"Actual statement count 2 did not match .* count 1\."
    ) as error:
        cursor.execute("SELECT 1; SELECT 2")
    assert error.value.errno == 8
    with pytest.raises(scripts.TapelineError, match="Actual statement count 2"):
        query(["SELECT 1; SELECT 2"])
    with pytest.raises(ProgrammingError, match="Empty SQL statement"):
        cursor.execute("-- nothing")
    assert cursor.execute("SELECT ';'; -- one").fetchall() == [(";",)]


def test_json_keeps_columns_of_one_name_and_has_no_value_that_json_lacks(warehouse, at_the_stack, capsys):
    capsys.readouterr()
    sql = (
        "SELECT 1 AS A, 2 AS A, 'NaN'::FLOAT AS N, '-inf'::FLOAT AS I, TO_BINARY('00FF', 'HEX') AS B, "
        "12345678901234567890.12345678::NUMBER(28,8) AS D"
    )
    assert query(["--json", sql]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail, parse_float=Decimal)
    number = Decimal("12345678901234567890.12345678")
    assert found == [{"A": 1, "A_2": 2, "N": None, "I": None, "B": "00ff", "D": number}]
