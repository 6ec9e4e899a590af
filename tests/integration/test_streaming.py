"""Snowpipe Streaming of the local Snowflake, by a writer that speaks it without the connector."""

import base64
import json
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from snowflake.connector.errors import ProgrammingError

from glue.io.snowflake import connect
from tests.processes import restart, until
from tests.streams import SCHEMA, Writer, der, md5, new_key, raw_token, token
from tests.warehouse import query

pytestmark = pytest.mark.stack
USER = "STREAMER"
OK, NO_TABLE, BAD_COLUMN, RETRY, MALFORMED, GONE, OTHER_OWNER, GAP, SIBLING = 0, 4, 6, 10, 11, 19, 20, 21, 22
WRONG_LENGTH, WRONG_ROW_COUNT, WRONG_NAME, WRONG_FORMAT, WRONG_COLUMNS, WRONG_VERSION = 30, 31, 34, 38, 40, 42
numbers = count(1)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "ID": Decimal(number),
        "PX": Decimal("1.12345678"),
        "NAME": "n",
        "SEEN": None,
        "META": "{}",
        "HASH": None,
    } | more


def claim(opened: dict[str, Any], row_sequencer: int, offset: str | None = None, channel: str = "c") -> dict:
    return {
        "channel_name": channel,
        "client_sequencer": opened["client_sequencer"],
        "row_sequencer": row_sequencer,
        "offset_token": offset or str(row_sequencer),
    }


@pytest.fixture(scope="module")
def key(warehouse):
    key = new_key()
    query(warehouse, f"ALTER USER {USER} SET RSA_PUBLIC_KEY = '{base64.b64encode(der(key)).decode()}'")
    return key


@pytest.fixture(scope="module")
def database(warehouse):
    name = "STREAMS"
    with connect(warehouse, "setup", role="") as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"CREATE SCHEMA {name}.S")
    return name


@pytest.fixture
def writer(warehouse, database, key):
    """A writer to a table of its own."""
    table = f"T{next(numbers)}"
    query(
        warehouse,
        f"CREATE TABLE {database}.S.{table} (ID NUMBER(38,0) NOT NULL, PX NUMBER(28,8), NAME VARCHAR(8), "
        "SEEN TIMESTAMP_NTZ, META VARIANT, HASH BINARY)",
    )
    where = urlsplit(warehouse.snow_account)
    return Writer(f"http://{where.hostname}:{where.port}", database, "S", table, token(key, USER))


def ids(settings, writer):
    found = query(settings, f"SELECT ID FROM {writer.database}.S.{writer.table} ORDER BY ID")
    return [int(number) for (number,) in found]


def test_rows_are_as_they_were_written_and_the_blob_is_gone(warehouse, writer):
    opened = writer.open()
    rows = [
        row(1),
        row(2, PX=None, NAME="é" * 8, SEEN=Decimal("1266364800.123456"), META='{"a": 1}', HASH=b"\0\xfe"),
    ]
    blob = writer.blob(opened, rows)

    assert writer.register(blob, claim(opened, 1, "77")) == [OK]

    found = query(
        warehouse,
        f"SELECT ID, PX, NAME, SEEN, META:a::NUMBER, HASH FROM STREAMS.S.{writer.table} ORDER BY ID",
    )
    assert found == [
        (1, Decimal("1.12345678"), "n", None, None, None),
        (2, None, "é" * 8, datetime.fromisoformat("2010-02-17T00:00:00.123456"), 1, b"\0\xfe"),
    ]
    assert not blob["file"].exists()
    assert writer.committed == "77"


def test_columns_are_told_with_type_length_and_whether_they_may_be_null(writer):
    told = {c["name"]: c for c in writer.open()["table_columns"]}

    kinds = ("logical_type", "physical_type", "precision", "scale", "length", "nullable")
    assert {name: tuple(column[kind] for kind in kinds) for name, column in told.items()} == {
        "ID": ("FIXED", "SB16", 38, 0, None, False),
        "PX": ("FIXED", "SB16", 28, 8, None, True),
        "NAME": ("TEXT", "LOB", None, None, 8, True),
        "SEEN": ("TIMESTAMP_NTZ", "SB8", None, 6, None, True),
        "META": ("VARIANT", "LOB", None, None, None, True),
        "HASH": ("BINARY", "LOB", None, None, 8_388_608, True),
    }


def test_a_registration_that_is_repeated_adds_nothing(warehouse, writer):
    opened = writer.open()
    blob = writer.blob(opened, [row(1)])

    assert [writer.register(blob, claim(opened, 1)) for _ in range(3)] == [[OK]] * 3

    assert ids(warehouse, writer) == [1]


def test_who_lost_a_channel_is_refused_and_the_new_owner_goes_on(warehouse, writer):
    first = writer.open()
    assert writer.register(writer.blob(first, [row(1)]), claim(first, 1, "10")) == [OK]

    second = writer.open()

    assert (second["client_sequencer"], second["row_sequencer"], second["offset_token"]) == (2, 1, "10")
    assert writer.register(writer.blob(first, [row(2)]), claim(first, 2)) == [OTHER_OWNER]
    assert writer.register(writer.blob(second, [row(3)]), claim(second, 2)) == [OK]
    assert ids(warehouse, writer) == [1, 3]


def test_a_gap_in_the_rows_is_refused(warehouse, writer):
    opened = writer.open()

    assert writer.register(writer.blob(opened, [row(2)]), claim(opened, 2)) == [GAP]

    assert ids(warehouse, writer) == []
    assert writer.status()["persisted_row_sequencer"] == 0


def test_a_chunk_of_several_channels_is_written_whole_or_not_at_all(warehouse, writer):
    a, b = writer.open("a"), writer.open("b")
    stolen = writer.open("b")
    blob = writer.blob(a, [row(1), row(2)])

    assert writer.register(blob, claim(a, 1, channel="a"), claim(b, 1, channel="b")) == [SIBLING, OTHER_OWNER]
    assert ids(warehouse, writer) == []

    blob = writer.blob(a, [row(1), row(2)])
    assert writer.register(blob, claim(a, 1, channel="a"), claim(stolen, 1, channel="b")) == [OK, OK]
    assert ids(warehouse, writer) == [1, 2]


def tampered(blob):
    content = bytearray(blob["file"].read_bytes())
    content[8] ^= 1
    blob["file"].write_bytes(content)


def tampered_with_md5(blob):
    tampered(blob)
    blob["md5"] = md5(blob["file"].read_bytes())


def other_key(blob):
    """As if it had been encrypted by another key: every digest is right."""
    content = bytes(b ^ 0x55 for b in blob["file"].read_bytes())
    blob["file"].write_bytes(content)
    blob["md5"] = md5(content)
    blob["chunk"]["chunk_md5"] = md5(content[: blob["chunk"]["chunk_length"]])


def cut(blob):
    content = blob["file"].read_bytes()[:64]
    blob["file"].write_bytes(content)
    blob["md5"] = md5(content)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (tampered, WRONG_FORMAT),
        (tampered_with_md5, WRONG_FORMAT),
        (other_key, WRONG_FORMAT),
        (cut, WRONG_LENGTH),
        (lambda blob: blob["file"].unlink(), WRONG_NAME),
        (lambda blob: blob.update(path="../sessions.json"), WRONG_NAME),
        (lambda blob: blob.update(bdec_version=2), WRONG_VERSION),
        (lambda blob: blob["chunk"]["eps"].update(rows=2), WRONG_ROW_COUNT),
    ],
)
def test_a_blob_that_is_not_what_was_registered_is_refused(warehouse, writer, spoil, code):
    opened = writer.open()
    blob = writer.blob(opened, [row(1)])
    spoil(blob)

    assert writer.register(blob, claim(opened, 1)) == [code]

    assert ids(warehouse, writer) == []
    assert writer.status()["persisted_row_sequencer"] == 0
    good = writer.blob(opened, [row(2)])
    assert writer.register(good, claim(opened, 1)) == [OK], "the channel goes on"


@pytest.mark.parametrize("rows", [[row(1, ID=None)], [row(1) | {"MORE": "x"}]])
def test_rows_that_do_not_fit_the_table_are_refused(warehouse, writer, rows):
    opened = writer.open()
    blob = writer.blob(
        opened, rows, SCHEMA.append(pa.field("MORE", pa.string())) if "MORE" in rows[0] else None
    )

    assert writer.register(blob, claim(opened, 1)) == [WRONG_COLUMNS]
    assert ids(warehouse, writer) == []


def test_a_table_that_no_stream_can_fill_is_refused(warehouse, writer):
    assert (
        writer.post("channels/open", writer.place | {"table": "NOWHERE", "channel": "c"})["status_code"]
        == NO_TABLE
    )
    query(warehouse, f"ALTER TABLE STREAMS.S.{writer.table} ADD COLUMN D NUMBER(9,0) DEFAULT 1")
    assert writer.open()["status_code"] == BAD_COLUMN


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE OR REPLACE TABLE {table} (ID NUMBER(38,0))"],
        ["DROP TABLE {table}"],
        ["ALTER TABLE {table} RENAME TO {schema}.OLD"],
        ["DROP SCHEMA {schema}", "CREATE SCHEMA {schema}"],
    ],
)
def test_channels_are_forgotten_with_their_table(warehouse, writer, statements):
    writer.schema = f"GONE{next(numbers)}"
    schema = f"{writer.database}.{writer.schema}"
    table = f"{schema}.T"
    with connect(warehouse, "setup", role="") as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        writer.table = "STAYS"
        cursor.execute(f"CREATE TABLE {schema}.STAYS (ID NUMBER(38,0))")
        writer.open()
        writer.table = "T"
        cursor.execute(f"CREATE TABLE {table} (ID NUMBER(38,0))")
        cursor.execute(f"ALTER TABLE {table} SET ENABLE_SCHEMA_EVOLUTION = TRUE")
        opened = writer.open(offset_token="7")  # noqa: S106
        assert writer.committed == "7"

        for statement in statements:
            cursor.execute(statement.format(table=table, schema=schema))
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} (ID NUMBER(38,0))")

        assert writer.status()["status_code"] == GONE
        assert writer.register(writer.blob(opened, [row(2)]), claim(opened, 1)) == [GONE]
        assert writer.open()["offset_token"] is None
        cursor.execute(f"USE SCHEMA {schema}")
        shown = {shown["name"]: shown for shown in dicts(cursor.execute("SHOW TABLES LIKE 'T'"))}
        assert shown["T"]["enable_schema_evolution"] == "N"
        if "TABLE" in statements[0]:
            writer.table = "STAYS"
            assert writer.status()["status_code"] == OK


def dicts(cursor):
    names = [column.name for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def test_a_dropped_channel_is_gone(writer):
    opened = writer.open()
    body = writer.place | {"channel": "c", "client_sequencer": opened["client_sequencer"] + 1}
    assert writer.post("channels/drop", body)["status_code"] == OTHER_OWNER
    body["client_sequencer"] -= 1
    assert writer.post("channels/drop", body)["status_code"] == OK
    assert writer.status()["status_code"] == GONE


def test_channels_are_shown_by_sql(warehouse, writer):
    opened = writer.open("x_0")
    writer.register(writer.blob(opened, [row(1)]), claim(opened, 1, "41", "x_0"))

    found = query(warehouse, f"SHOW CHANNELS IN TABLE STREAMS.S.{writer.table}")

    assert [r[1:] for r in found] == [("x_0", "STREAMS", "S", writer.table, 1, 1, "41")]


@pytest.mark.parametrize(
    "bad",
    [
        lambda key: token(new_key(), USER),
        lambda key: token(key, "TAPELINE"),
        lambda key: token(key, USER, exp=datetime.now(UTC) - timedelta(minutes=5)),
        lambda key: token(key, USER, exp=None),
        lambda key: token(key, USER, exp=datetime.now(UTC) + timedelta(hours=1, minutes=1)),
        lambda key: token(key, USER, iat=datetime.now(UTC) - timedelta(hours=1)),
        lambda key: token(key, USER, sub=None),
        lambda key: token(key, USER, sub="127.TAPELINE"),
        lambda key: token(key, USER, sub=f"128.{USER}"),
        lambda key: "nonsense",
        lambda key: raw_token(key, iss=5),
        lambda key: raw_token(key, iss=["127", USER, "SHA256:x"]),
        lambda key: token(key, USER, exp=[1]),
        lambda key: token(key, USER, nbf=float("inf")),
    ],
)
def test_only_a_registered_key_opens_the_door(writer, key, bad):
    writer.token = bad(key)
    with pytest.raises(urllib.error.HTTPError) as refused:
        writer.open()
    assert refused.value.code == 401
    refused.value.close()


def test_an_hour_from_issue_to_expiry_is_fine(writer, key):
    now = datetime.now(UTC)
    writer.token = token(key, USER, iat=now - timedelta(minutes=1), exp=now + timedelta(minutes=58))
    assert writer.open()["status_code"] == OK


def log_in(writer, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{writer.url}/session/v1/login-request", body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def log_in_by(writer, token: str, **more: Any) -> dict[str, Any]:
    data = {"AUTHENTICATOR": "SNOWFLAKE_JWT", "TOKEN": token, "SESSION_PARAMETERS": {}} | more
    status, answer = log_in(writer, json.dumps({"data": data}).encode())
    assert status == 200
    return answer


@pytest.mark.parametrize("claims", [{"iss": 5}, {"iss": ["127", USER]}])
def test_a_login_by_a_token_of_another_form_is_refused(writer, key, claims):
    assert log_in_by(writer, raw_token(key, **claims), LOGIN_NAME=USER)["code"] == "390144"


@pytest.mark.parametrize("name", ["TAPELINE", "NOBODY"])
def test_a_login_by_the_token_of_another_is_refused(writer, key, name):
    answer = log_in_by(writer, token(key, USER), LOGIN_NAME=name)
    assert (answer["code"], answer["message"]) == ("390144", "JWT token is invalid.")


def test_a_login_by_a_token_without_end_is_refused(writer, key):
    assert log_in_by(writer, token(key, USER, exp=None), LOGIN_NAME=USER)["code"] == "390144"


@pytest.mark.parametrize("named", [{"LOGIN_NAME": USER}, {"LOGIN_NAME": USER.lower()}, {}])
def test_who_has_the_key_logs_in(writer, key, named):
    assert log_in_by(writer, token(key, USER), **named)["success"]


DEEP = b'{"unknown": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("body", [b"", b"no json", b"{}", b"[]", b'{"data": 5}', b'{"data": "\xff"}', DEEP])
def test_a_login_of_another_form_is_told_as_such(writer, body):
    status, answer = log_in(writer, body)
    assert (status, answer["code"], answer["success"]) == (400, "390400", False)


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", DEEP])
def test_a_query_of_another_form_is_told_as_an_error_of_sql(writer, body):
    request = urllib.request.Request(f"{writer.url}/queries/v1/query-request", body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert not json.loads(answer.read())["success"]


@pytest.mark.parametrize("body", [b"", b"no json", b'{"database": "FZ\xff"}', DEEP])
def test_a_body_that_is_no_json_is_told_as_such(writer, body):
    assert writer.post_bytes("channels/open", body)["status_code"] == MALFORMED


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("client/configure", []),
        ("channels/open", {"channel": "c"}),
        ("channels/open", {"channel": "c", "database": "STREAMS", "schema": "S", "table": "T\0"}),
        ("channels/open", {"channel": 5, "database": "STREAMS", "schema": "S", "table": "T"}),
        ("channels/status", {"channels": [5]}),
        ("channels/status", {"channels": 5}),
        ("channels/drop", {"channel": "c", "database": "STREAMS", "schema": None, "table": "T"}),
        ("channels/write/blobs", {"blobs": [5]}),
        ("channels/write/blobs", {"blobs": []}),
        ("channels/write/blobs", {"blobs": [{"path": "a\0.bdec"}]}),
        ("channels/write/blobs", {}),
    ],
)
def test_a_request_of_another_form_is_told_as_such(writer, path, body):
    assert writer.post(path, body)["status_code"] == MALFORMED


@pytest.mark.parametrize("wrong", [{"client_sequencer": "abc"}, {"row_sequencer": None}, {"channel_name": 5}])
def test_a_claim_of_another_form_is_told_as_such(warehouse, writer, wrong):
    opened = writer.open()
    blob = writer.blob(opened, [row(1)])
    chunk = writer.place | blob["chunk"] | {"channels": [claim(opened, 1) | wrong]}
    told = {key: blob[key] for key in ("path", "md5", "bdec_version")} | {"chunks": [chunk]}
    assert writer.post("channels/write/blobs", {"blobs": [told]})["status_code"] == MALFORMED
    assert writer.register(blob, claim(opened, 1)) == [OK], "the blob is still there"
    assert ids(warehouse, writer) == [1]


def test_a_path_too_long_for_a_file_is_refused(writer):
    opened = writer.open()
    blob = writer.blob(opened, [row(1)]) | {"path": "x" * 5000 + ".bdec"}
    assert writer.register(blob, claim(opened, 1)) == [WRONG_NAME]


def test_a_writer_waits_for_an_open_transaction_and_is_told_to_try_again(warehouse, writer):
    opened = writer.open()
    blob = writer.blob(opened, [row(1)])
    with connect(warehouse, "test") as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO STREAMS.S.{writer.table} (ID) VALUES (9)")

        def keep_busy() -> bool:
            cursor.execute("SELECT 1")
            return True

        answers: list[list[int]] = []
        thread = threading.Thread(target=lambda: answers.append(writer.register(blob, claim(opened, 1))))
        thread.start()
        until(lambda: keep_busy() and not thread.is_alive(), "an answer")
        assert answers == [[RETRY]]
        assert blob["file"].exists(), "the writer will ask for it again"
        cursor.execute("ROLLBACK")
    assert writer.register(blob, claim(opened, 1)) == [OK]
    assert ids(warehouse, writer) == [1]


def test_a_kill_loses_no_channel_no_key_and_no_session(stack, warehouse, writer):
    opened = writer.open()
    assert writer.register(writer.blob(opened, [row(1)]), claim(opened, 1, "5")) == [OK]
    pending = writer.blob(opened, [row(2)])
    with connect(warehouse, "test") as idle, connect(warehouse, "test") as busy:
        idle.cursor().execute("USE SCHEMA STREAMS.S")
        busy.cursor().execute("BEGIN")
        busy.cursor().execute(f"INSERT INTO STREAMS.S.{writer.table} (ID) VALUES (9)")
        restart(stack, "snowflake")

        assert writer.register(pending, claim(opened, 2, "6")) == [OK]
        assert writer.committed == "6"
        found = idle.cursor().execute(f"SELECT ID FROM {writer.table} ORDER BY ID").fetchall()
        assert found == [(1,), (2,)], "the session goes on, in its schema; what was not committed is gone"
        with pytest.raises(ProgrammingError, match="Authentication token has expired"):
            busy.cursor().execute("COMMIT")
