"""The local Snowflake says when a warehouse would run: for a minute after the last work."""

import duckdb
from sqlglot import exp, parse_one

from glue.stack import fakesnow_gaps as gaps
from glue.stack.snowflake_turns import AUTO_SUSPEND_S, Warehouse


def test_it_runs_for_a_minute_after_work() -> None:
    now = [0.0]
    warehouse = Warehouse(lambda: now[0])
    assert warehouse.state == "SUSPENDED"
    warehouse.work()
    now[0] += AUTO_SUSPEND_S - 1
    assert warehouse.state == "STARTED"
    warehouse.work()
    now[0] += AUTO_SUSPEND_S
    assert warehouse.state == "SUSPENDED"


def test_show_warehouses_tells_of_the_one_asked_for() -> None:
    statement = parse_one("SHOW WAREHOUSES LIKE 'wh_streaming_xs'", read="snowflake")
    assert isinstance(statement, exp.Show)
    answer = duckdb.sql(gaps.warehouses(statement, "SUSPENDED")).fetchall()
    assert answer == [("WH_STREAMING_XS", "SUSPENDED", "X-Small")]
