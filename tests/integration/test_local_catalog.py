"""What BI tools and operators ask of the local Snowflake: about the session, the catalog, the stages."""

import pytest
from snowflake.connector.errors import ProgrammingError

from glue.io.raw_tables import RawTables
from glue.io.snowflake import connect
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import restart

pytestmark = pytest.mark.stack


@pytest.fixture
def cursor(warehouse: Settings):
    with connect(warehouse, "test") as connection, connection.cursor() as cursor:
        yield cursor


def test_a_session_tells_who_and_where_it_is(cursor):
    asked = ["WAREHOUSE", "ROLE", "USER", "ACCOUNT", "REGION", "DATABASE", "SCHEMA"]
    cursor.execute(f"SELECT {', '.join(f'CURRENT_{name}()' for name in asked)}")
    assert [column.name for column in cursor.description] == [f"CURRENT_{name}()" for name in asked]
    who = ("WH_STREAMING_XS", "ROLE_STREAMING_PIPELINE", "TAPELINE", "LOCAL", "LOCAL")
    assert cursor.fetchone() == (*who, "STOCK_STREAMING", "CORE")
    cursor.execute("SELECT COUNT(*) > 0 FROM CORE.DIM_SYMBOL WHERE CURRENT_USER() = 'TAPELINE'")
    assert cursor.fetchone() == (True,)
    session = cursor.execute("SELECT CURRENT_SESSION()").fetchone()
    assert cursor.execute("SELECT CURRENT_SESSION() AS ID").fetchone() == session
    cursor.execute("USE WAREHOUSE other")
    assert cursor.execute("SELECT CURRENT_WAREHOUSE() AS W").fetchone() == ("OTHER",)


def test_the_last_query_is_told_and_its_result_read_again(cursor):
    found = cursor.execute("SELECT SYMBOL FROM CORE.DIM_SYMBOL ORDER BY SYMBOL").fetchall()
    query_id = cursor.sfqid
    assert cursor.execute("SELECT LAST_QUERY_ID()").fetchone() == (query_id,)
    assert cursor.execute(f"SELECT * FROM TABLE(RESULT_SCAN('{query_id}'))").fetchall() == found
    assert cursor.execute("SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))").fetchall() == found


def test_views_are_among_the_tables(cursor):
    cursor.execute(
        "SELECT TABLE_TYPE, COUNT(*), COUNT(COMMENT) FROM INFORMATION_SCHEMA.TABLES "
        "WHERE TABLE_SCHEMA = 'MART' GROUP BY 1"
    )
    assert cursor.fetchall() == [("VIEW", 8, 8)]
    cursor.execute("SELECT DISTINCT TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'CORE'")
    assert cursor.fetchall() == [("BASE TABLE",)]


def test_columns_of_tables_and_views_have_their_comments(cursor):
    cursor.execute(
        "SELECT TABLE_NAME, COMMENT FROM INFORMATION_SCHEMA.COLUMNS WHERE COLUMN_NAME = 'OPEN' "
        "AND TABLE_NAME IN ('FACT_TICKS_60S', 'VW_PRICE_1H') ORDER BY TABLE_NAME"
    )
    assert cursor.fetchall() == [
        ("FACT_TICKS_60S", "Open of the first 1 s bar. Unit: quote currency."),
        ("VW_PRICE_1H", "Unit: quote currency."),
    ]
    cursor.execute(
        "SELECT COUNT(*) FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'MART' AND COMMENT IS NULL"
    )
    assert cursor.fetchone() == (0,)
    described = {row[0]: row[9] for row in cursor.execute("DESCRIBE TABLE CORE.FACT_TICKS_60S").fetchall()}
    assert described["BAR_COUNT"] == "1 s bars in the window, those that traded. Unit: bars."


def test_comments_and_the_warehouse_of_a_session_outlive_a_restart(stack: RunningStack, cursor):
    cursor.execute("CREATE TABLE RAW.NOTED (\"small\" INT COMMENT 'it''s small', B INT)")
    restart(stack, "snowflake")
    assert [row[9] for row in cursor.execute("DESC TABLE RAW.NOTED").fetchall()] == ["it's small", None]
    assert cursor.execute("SELECT CURRENT_WAREHOUSE()").fetchone() == ("WH_STREAMING_XS",)


def test_files_of_a_stage_are_listed_and_removed_by_path_and_pattern(warehouse, cursor, tmp_path):
    tables = RawTables(warehouse)
    for place, name in (("big", "0-0-9.gz"), ("big", "0-10-19.gz"), ("small", "0-0-9.gz")):
        (tmp_path / name).write_bytes(place.encode())
        tables.put(tmp_path / name, f"zz-{place}")
    tables.close()

    def listed(what: str) -> list[str]:
        return [row[0] for row in cursor.execute(f"LIST {what}").fetchall()]

    every = [f"raw_stage/zz-{name}" for name in ("big/0-0-9.gz", "big/0-10-19.gz", "small/0-0-9.gz")]
    assert listed("@RAW.RAW_STAGE/zz-") == every
    assert listed("@raw.raw_stage/zz-big/") == every[:2]
    assert listed(r"@raw.raw_stage PATTERN = 'zz.*-9[.]gz'") == [every[0], every[2]]
    assert cursor.execute("LS @RAW.RAW_STAGE/zz-small").fetchone()[1] == len(b"small")
    with pytest.raises(ProgrammingError, match=r"Stage 'STOCK_STREAMING\.RAW\.NONE' does not exist") as error:
        listed("@RAW.NONE PATTERN = '.*'")
    assert error.value.errno == 2003

    removed = cursor.execute("REMOVE @RAW.RAW_STAGE PATTERN = 'zz-.*-9[.]gz'").fetchall()
    assert removed == [(every[0], "removed"), (every[2], "removed")]
    assert listed("@RAW.RAW_STAGE/zz-") == every[1:2]
    cursor.execute("RM @RAW.RAW_STAGE/zz-")
    assert listed("@RAW.RAW_STAGE/zz-") == []
