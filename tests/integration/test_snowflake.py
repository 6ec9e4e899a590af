"""The local Snowflake, through the driver that talks to the real one: logins, transactions, stages."""

import base64
import gzip
import json
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from snowflake.connector.errors import ProgrammingError
from snowflake.connector.network import SnowflakeRestful

from glue.errors import SettingsError, TapelineError, TransientError
from glue.io.fact_tables import FactTables
from glue.io.snowflake import connect
from glue.settings import Settings
from glue.stack import snowflake_turns
from tests.conftest import RunningStack
from tests.streams import der, new_key

pytestmark = pytest.mark.stack
COPY = """
    COPY INTO RAW.TICKS_RAW (
        BIN_ID, SYMBOL, START_TS_MS, END_TS_MS, WINDOW_MS, OPEN, HIGH, LOW, CLOSE, VOLUME, NOTIONAL,
        TRADE_COUNT, MAX_LATENESS_MS, WATERMARK_MS, SOURCE, FILE_NAME, FILE_ROW_NUMBER
    )
    FROM (
        SELECT
            $1:bin_id::VARCHAR, $1:symbol::VARCHAR, $1:start_ts_ms::NUMBER(18,0), $1:end_ts_ms::NUMBER(18,0),
            $1:window_ms::NUMBER(9,0), $1:open::NUMBER(28,8), $1:high::NUMBER(28,8), $1:low::NUMBER(28,8),
            $1:close::NUMBER(28,8), $1:volume::NUMBER(38,8), $1:notional::NUMBER(38,8),
            $1:trade_count::NUMBER(18,0), $1:max_lateness_ms::NUMBER(18,0), $1:watermark_ms::NUMBER(18,0),
            $1:source::VARCHAR, METADATA$FILENAME, METADATA$FILE_ROW_NUMBER
        FROM @RAW.RAW_STAGE
    )
    FILES = ('{file}')
    FILE_FORMAT = (FORMAT_NAME = 'RAW.NDJSON_GZIP')
"""


@pytest.fixture
def cursor(warehouse):
    with connect(warehouse, "test") as connection, connection.cursor() as cursor:
        yield cursor


def with_login(settings: Settings, **login) -> Settings:
    """The same server without the user and password in its URL."""
    scheme, _, place = settings.snow_account.partition("TAPELINE:tapeline@")
    return Settings.load(snow_account=scheme + place, snow_login_timeout_ms=1000, **login)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key, passphrase=None):
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def lines_between(text: bytes) -> str:
    return "".join(text.decode().splitlines()[1:-1])


def test_a_session_has_its_query_tag_and_is_in_utc(warehouse):
    with connect(warehouse, "rollup") as connection, connection.cursor() as cursor:
        assert connection._session_parameters["QUERY_TAG"] == "tapeline-rollup"
        local, utc = cursor.execute("SELECT TO_TIMESTAMP_NTZ(CURRENT_TIMESTAMP()), SYSDATE()").fetchone()
    assert abs((local - utc).total_seconds()) < 5


def test_a_password_and_a_token_open_a_session(warehouse):
    for login in ({"snow_user": "tapeline", "snow_password": "tapeline"}, {"snow_oauth_token": "tapeline"}):
        with connect(with_login(warehouse, **login), "test") as connection:
            assert connection.cursor().execute("SELECT 1").fetchone() == (1,)


def test_a_registered_key_opens_a_session_from_a_file_base64_and_encrypted(warehouse, cursor, key, tmp_path):
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    cursor.execute(f"ALTER USER TAPELINE SET RSA_PUBLIC_KEY = '{lines_between(public)}'")
    plain, encrypted = tmp_path / "key.p8", tmp_path / "encrypted.p8"
    plain.write_bytes(pem(key))
    encrypted.write_bytes(pem(key, b"hunter2"))
    logins = (
        {"snow_private_key_path": plain},
        {"snow_private_key": lines_between(pem(key))},
        {"snow_private_key_path": encrypted, "snow_private_key_passphrase": "hunter2"},
        {
            "snow_private_key": lines_between(pem(key, b"hunter2")),
            "snow_private_key_passphrase": "hunter2",
        },
    )
    for login in logins:
        with connect(with_login(warehouse, snow_user="tapeline", **login), "test") as connection:
            assert connection.cursor().execute("SELECT 1").fetchone() == (1,)


def opens(warehouse, key) -> bool:
    try:
        with connect(
            with_login(warehouse, snow_user="rotating", snow_private_key=lines_between(pem(key))), "t"
        ):
            return True
    except TapelineError:
        return False


def test_two_keys_of_a_user_open_sessions_until_they_are_unset(warehouse, cursor):
    first, second = new_key(), new_key()
    one, two = (base64.b64encode(der(key)).decode() for key in (first, second))
    states = {
        f"CREATE USER ROTATING TYPE = SERVICE DEFAULT_ROLE = PUBLIC\n RSA_PUBLIC_KEY = '{one}'": [
            True,
            False,
        ],
        f"ALTER USER rotating SET RSA_PUBLIC_KEY_2 = '{two}';": [True, True],
        f"CREATE USER IF NOT EXISTS ROTATING RSA_PUBLIC_KEY = '{two}'": [True, True],
        "ALTER USER ROTATING UNSET RSA_PUBLIC_KEY": [False, True],
        "ALTER USER IF EXISTS ROTATING UNSET RSA_PUBLIC_KEY, RSA_PUBLIC_KEY_2": [False, False],
        f"ALTER USER ROTATING SET RSA_PUBLIC_KEY = '{two}' RSA_PUBLIC_KEY_2 = '{one}'": [True, True],
        "DROP USER ROTATING": [False, False],
    }
    for statement, wanted in states.items():
        cursor.execute(statement)
        assert [opens(warehouse, first), opens(warehouse, second)] == wanted, statement


def test_a_user_who_is_there_is_not_created_again(cursor):
    with pytest.raises(ProgrammingError, match="Object 'TAPELINE_CONNECT' already exists"):
        cursor.execute("CREATE USER TAPELINE_CONNECT RSA_PUBLIC_KEY = 'x'")


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ({}, "one of SNOW_PASSWORD, .* none is set"),
        ({"snow_password": "x", "snow_oauth_token": "y"}, "SNOW_PASSWORD and SNOW_OAUTH_TOKEN are set"),
        ({"snow_password": "x"}, "SNOW_USER is not set"),
        ({"snow_user": "u", "snow_private_key_path": "no.p8"}, "SNOW_PRIVATE_KEY_PATH=no.p8: No such file"),
        ({"snow_user": "u", "snow_private_key": "%%"}, "SNOW_PRIVATE_KEY is not base64"),
        ({"snow_user": "u", "snow_private_key": "AAAA"}, "SNOW_PRIVATE_KEY holds no private key in PKCS #8"),
    ],
)
def test_a_login_that_cannot_work_is_refused_by_its_setting(login, says):
    with pytest.raises(SettingsError, match=says):
        connect(Settings.load(snow_account="http://127.0.0.1:1", **login), "test")


def test_a_passphrase_too_many_missing_or_wrong_is_told(key):
    account = {"snow_account": "http://127.0.0.1:1", "snow_user": "u"}
    encrypted = lines_between(pem(key, b"hunter2"))
    for more, says in (
        ({"snow_private_key": encrypted}, "is encrypted: SNOW_PRIVATE_KEY_PASSPHRASE is not set"),
        (
            {"snow_private_key": encrypted, "snow_private_key_passphrase": "wrong"},
            "SNOW_PRIVATE_KEY_PASSPHRASE is not that of the key",
        ),
        (
            {"snow_private_key": lines_between(pem(key)), "snow_private_key_passphrase": "x"},
            "is not encrypted, but SNOW_PRIVATE_KEY_PASSPHRASE is set",
        ),
    ):
        with pytest.raises(SettingsError, match=says):
            connect(Settings.load(**account, **more), "test")


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ({"snow_user": "tapeline", "snow_password": "wrong"}, "refuses SNOW_USER or SNOW_PASSWORD"),
        ({"snow_oauth_token": "wrong"}, "refuses SNOW_OAUTH_TOKEN"),
    ],
)
def test_what_the_server_refuses_is_told_by_its_setting(warehouse, login, says):
    with pytest.raises(TapelineError, match=says) as refused:
        connect(with_login(warehouse, **login), "test")
    assert "wrong" not in str(refused.value)


def test_a_role_is_for_those_to_whom_it_is_granted_themselves_or_by_another_role(warehouse, cursor):
    def may_use() -> bool:
        try:
            cursor.execute("USE ROLE TEST_READER")
        except ProgrammingError as error:
            assert error.errno == 3013
            with pytest.raises(TapelineError, match=r"refuses SNOW_ROLE=.*'TEST_READER' specified in the"):
                connect(warehouse, "test", role="test_reader")
            return False
        connect(warehouse, "test", role="test_reader").close()
        return True

    cursor.execute("CREATE ROLE TEST_READER")
    assert not may_use()
    assert cursor.execute("CREATE ROLE IF NOT EXISTS TEST_READER").fetchone()[0].endswith("succeeded.")
    cursor.execute("CREATE ROLE IF NOT EXISTS TEST_GROUP COMMENT = 'Those who read'")
    for to in ("ROLE TEST_GROUP", "USER tapeline"):
        cursor.execute(f"GRANT ROLE TEST_{'READER' if 'ROLE' in to else 'GROUP'} TO {to}")
    assert may_use()
    cursor.execute("REVOKE ROLE TEST_GROUP FROM USER TAPELINE")
    assert not may_use()
    cursor.execute("GRANT ROLE TEST_READER TO ROLE SYSADMIN")
    assert may_use()
    cursor.execute("DROP ROLE TEST_READER")
    with pytest.raises(ProgrammingError, match="'TEST_READER' does not exist"):
        cursor.execute("USE ROLE TEST_READER")
    with pytest.raises(ProgrammingError, match="'TEST_READER' does not exist"):
        cursor.execute("GRANT ROLE TEST_READER TO ROLE SYSADMIN")


def test_a_key_that_is_not_registered_is_refused(warehouse):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    settings = with_login(warehouse, snow_user="tapeline", snow_private_key=lines_between(pem(other)))
    with pytest.raises(TapelineError, match="refuses the private key of SNOW_USER=tapeline"):
        connect(settings, "test")


def test_an_account_that_is_not_set_or_not_there_is_told():
    with pytest.raises(SettingsError, match="SNOW_ACCOUNT is not set"):
        connect(Settings.load(snow_account=""), "test")
    settings = Settings.load(snow_account="http://u:hidden@127.0.0.1:1", snow_login_timeout_ms=1000)
    with pytest.raises(TransientError, match=r"SNOW_ACCOUNT=http://127\.0\.0\.1:1 does not answer") as error:
        connect(settings, "test")
    assert "hidden" not in str(error.value)


def test_https_where_http_is_spoken_is_told(warehouse):
    account = warehouse.snow_account.replace("http://", "https://")
    says = r"https://127\.0\.0\.1:\d+ answers, but does not speak TLS"
    with pytest.raises(TapelineError, match=says) as error:
        connect(Settings.load(snow_account=account, snow_login_timeout_ms=1000), "test")
    assert not isinstance(error.value, TransientError)


def staged(folder: Path, name: str, count: int) -> Path:
    """Write a file of bins as glue.stage_raw does."""
    path = folder / name
    with gzip.open(path, "wt") as lines:
        for i in range(count):
            record = {
                "bin_id": f"{name}-{i}", "symbol": "WDC", "start_ts_ms": i * 10, "end_ts_ms": i * 10 + 10,
                "window_ms": 10, "open": 1.5, "high": 2.25, "low": 1.125, "close": 42.12345678,
                "volume": 100.0, "notional": 150.0, "trade_count": 1, "max_lateness_ms": 0,
                "watermark_ms": i * 10, "source": "replay",
            }  # fmt: skip
            lines.write(json.dumps(record) + "\n")
    return path


def test_a_staged_file_is_loaded_for_real_and_once(cursor, tmp_path):
    path = staged(tmp_path, "0-0-499.ndjson.gz", 500)
    put = cursor.execute(f"PUT 'file://{path}' @RAW.RAW_STAGE AUTO_COMPRESS = FALSE").fetchone()
    assert put[6] == "UPLOADED"
    assert [row[0] for row in cursor.execute("LIST @RAW.RAW_STAGE").fetchall()] == [f"raw_stage/{path.name}"]
    copy = COPY.format(file=path.name)

    assert cursor.execute(copy).fetchone()[1:4] == ("LOADED", 500, 500)
    assert cursor.execute(copy).fetchone()[1:4] == ("LOAD_SKIPPED", 0, 0)
    cursor.execute("CREATE TABLE IF NOT EXISTS RAW.TICKS_RAW (BIN_ID VARCHAR)")
    assert cursor.execute(copy).fetchone()[1] == "LOAD_SKIPPED", "as after another deployment"

    found = cursor.execute(
        "SELECT COUNT(*), MAX(CLOSE)::VARCHAR, MIN(FILE_NAME), MAX(FILE_ROW_NUMBER), COUNT(LOAD_TS) "
        "FROM RAW.TICKS_RAW WHERE FILE_NAME LIKE '%0-0-499%'"
    ).fetchone()
    assert found == (500, "42.12345678", f"raw_stage/{path.name}", 500, 500)


def test_a_file_that_cannot_be_loaded_leaves_no_row_and_no_history(cursor, tmp_path):
    path = staged(tmp_path, "0-500-999.ndjson.gz", 5)
    with gzip.open(path, "at") as lines:
        lines.write('{"bin_id": "bad", "start_ts_ms": "no number"}\n')
    cursor.execute(f"PUT 'file://{path}' @RAW.RAW_STAGE AUTO_COMPRESS = FALSE")
    copy = COPY.format(file=path.name)
    with pytest.raises(ProgrammingError):
        cursor.execute(copy)
    count = "SELECT COUNT(*) FROM RAW.TICKS_RAW WHERE BIN_ID LIKE '0-500-999%'"
    assert cursor.execute(count).fetchone() == (0,)

    path = staged(tmp_path, "0-500-999.ndjson.gz", 5)
    cursor.execute(f"PUT 'file://{path}' @RAW.RAW_STAGE AUTO_COMPRESS = FALSE OVERWRITE = TRUE")
    assert cursor.execute(copy).fetchone()[1:4] == ("LOADED", 5, 5)


def test_a_transaction_is_whole_or_not_at_all_and_keys_are_not_enforced(cursor):
    cursor.execute("CREATE TABLE IF NOT EXISTS RAW.PAIRS (K VARCHAR PRIMARY KEY, V NUMBER(9,0))")
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO RAW.PAIRS VALUES ('a', 1)")
    cursor.execute("ROLLBACK")
    assert cursor.execute("SELECT COUNT(*) FROM RAW.PAIRS").fetchone() == (0,)
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO RAW.PAIRS VALUES ('a', 1)")
    cursor.execute("DELETE FROM RAW.PAIRS WHERE K = 'a'")
    cursor.execute("INSERT INTO RAW.PAIRS VALUES ('a', 2), ('a', 3)")
    cursor.execute("COMMIT")
    assert cursor.execute("SELECT V FROM RAW.PAIRS ORDER BY V").fetchall() == [(2,), (3,)]


def test_two_writers_at_once_wait_for_each_other_and_lose_nothing(warehouse, cursor):
    cursor.execute("CREATE TABLE IF NOT EXISTS RAW.COUNTERS (N NUMBER(9,0))")
    cursor.execute("DELETE FROM RAW.COUNTERS")
    cursor.execute("INSERT INTO RAW.COUNTERS VALUES (0)")
    failures = []

    def count_up():
        try:
            with connect(warehouse, "counter") as connection, connection.cursor() as own:
                for _ in range(10):
                    own.execute("BEGIN")
                    (n,) = own.execute("SELECT N FROM RAW.COUNTERS").fetchone()
                    own.execute("UPDATE RAW.COUNTERS SET N = ?", (n + 1,))
                    own.execute("COMMIT")
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=count_up) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert cursor.execute("SELECT N FROM RAW.COUNTERS").fetchone() == (30,)


def test_a_writer_that_waits_too_long_is_told_by_whose_query_tag(warehouse, cursor):
    cursor.execute("CREATE TABLE IF NOT EXISTS RAW.HELD (N NUMBER(9,0))")
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO RAW.HELD VALUES (1)")
    impatient = warehouse.model_copy(update={"snow_lock_timeout_ms": 1000})
    with connect(impatient, "other") as connection, connection.cursor() as other:
        with pytest.raises(ProgrammingError, match=r"(?s)tapeline-test.*LOCK_TIMEOUT"):
            other.execute("INSERT INTO RAW.HELD VALUES (2)")
        cursor.execute("COMMIT")
        other.execute("INSERT INTO RAW.HELD VALUES (2)")
    assert cursor.execute("SELECT COUNT(*) FROM RAW.HELD").fetchone() == (2,)


def test_what_a_vanished_client_left_open_is_rolled_back_for_the_next_one(warehouse, cursor):
    cursor.execute("CREATE TABLE IF NOT EXISTS RAW.ORPHANS (N NUMBER(9,0))")
    lost = connect(warehouse, "lost")
    lost.cursor().execute("BEGIN")
    began = time.monotonic()
    lost.cursor().execute("INSERT INTO RAW.ORPHANS VALUES (1)")
    cursor.execute("INSERT INTO RAW.ORPHANS VALUES (2)")  # before the LOCK_TIMEOUT, or it would be refused
    assert time.monotonic() - began > snowflake_turns.DETACHED_AFTER_S
    with pytest.raises(ProgrammingError, match="the transaction was rolled back"):  # should it come back
        lost.cursor().execute("INSERT INTO RAW.ORPHANS VALUES (3)")
    assert cursor.execute("SELECT N FROM RAW.ORPHANS").fetchall() == [(2,)]
    lost.cursor().execute("INSERT INTO RAW.ORPHANS VALUES (4)")
    lost.close()
    assert cursor.execute("SELECT N FROM RAW.ORPHANS ORDER BY N").fetchall() == [(2,), (4,)]


def test_a_statement_that_fails_is_an_error_of_sql_at_once(cursor, monkeypatch):
    request, requests = SnowflakeRestful._request_exec, []

    def noted(rest, *args, **kwargs):
        requests.append(kwargs["full_url"])
        return request(rest, *args, **kwargs)

    monkeypatch.setattr(SnowflakeRestful, "_request_exec", noted)
    statements = ("SELECT * FROM RAW.NOWHERE", "selec 1", "SELECT 'x'::NUMBER", "DROP TABLE RAW.NOWHERE")
    for statement in statements:
        with pytest.raises(ProgrammingError):
            cursor.execute(statement)
    assert len(requests) == len(statements), "none was tried again"


@pytest.mark.parametrize("name", ["RAW.GROWN", 'RAW."GROWN"', '"RAW"."GROWN"'])
def test_several_columns_are_added_at_once_to_a_table_that_is_bound(cursor, name):
    cursor.execute("CREATE OR REPLACE TABLE RAW.GROWN (N NUMBER(9,0))")
    cursor.execute(
        "alter table identifier(?) add column if not exists \"QTY\" DOUBLE comment 'as the connector', "
        'if not exists "FLAG" BOOLEAN comment \'what for?\', if not exists "N" VARCHAR, '
        'if not exists "small" VARIANT',
        (name,),
    )
    columns = [column[:2] for column in cursor.execute("DESC TABLE RAW.GROWN").fetchall()]
    assert columns[1:] == [("QTY", "FLOAT"), ("FLAG", "BOOLEAN"), ("small", "VARIANT")]
    cursor.execute("alter table identifier(?) add column LAST VARCHAR", (name,))
    assert "LAST" in [column[0] for column in cursor.execute("DESC TABLE RAW.GROWN").fetchall()]


def test_a_session_that_the_server_has_ended_is_refused_as_by_snowflake_and_opened_anew(warehouse):
    tables = FactTables(warehouse)
    tables.open()
    with tables._connection.cursor() as cursor:
        rest = tables._connection.rest
        assert rest.request("/session?delete=true", {})["success"]
        with pytest.raises(ProgrammingError, match="Authentication token has expired") as error:
            cursor.execute("SELECT 1")
        assert error.value.errno == 390114
    with pytest.raises(TransientError, match="the warehouse did not take the facts"):
        tables.purge(24)
    tables.purge(24)
    tables.close()


def test_the_stack_names_the_whole_way_in_in_one_setting(stack: RunningStack):
    assert stack.settings_env["SNOW_ACCOUNT"].startswith("http://TAPELINE:tapeline@127.0.0.1:")
