"""What snowflake/*.sql says about cost and privileges, which the local Snowflake does not apply."""

import re

from glue.core.usage import Use, billed_s
from glue.deploy.snowflake import read_statements
from glue.settings import Settings

STATEMENTS = [" ".join(statement.text.split()) for statement in read_statements()]
DAYS, HOUR_S = 31, 3600


def the(start: str) -> str:
    """Return the one statement that begins so."""
    (found,) = [statement for statement in STATEMENTS if statement.startswith(start)]
    return found


def number(name: str, statement: str) -> int:
    found = re.search(rf"\b{name} = (\d+)", statement)
    assert found, name
    return int(found[1])


def test_the_quota_is_enough_for_a_market_that_never_closes_and_warns_of_more_only():
    monitor, warehouse = the("CREATE RESOURCE MONITOR"), the("CREATE WAREHOUSE")
    assert "WAREHOUSE_SIZE = XSMALL" in warehouse, "a credit an hour"
    every_ms = Settings.model_fields["snowflake_flush_minutes"].default * 60_000
    flushes = [Use("rollup", at_ms, 3.0) for at_ms in range(0, DAYS * 24 * HOUR_S * 1000, every_ms)]
    credits = billed_s(flushes, number("AUTO_SUSPEND", warehouse)) / HOUR_S
    warns_at = re.search(r"ON (\d+) PERCENT DO NOTIFY", monitor)
    assert warns_at
    assert 140 < credits < number("CREDIT_QUOTA", monitor) * int(warns_at[1]) / 100


def test_a_deployment_leaves_quota_and_monitor_of_a_warehouse_that_is_there():
    assert " IF NOT EXISTS " in the("CREATE RESOURCE MONITOR")
    assert " IF NOT EXISTS " in the("CREATE WAREHOUSE")
    assert "RESOURCE_MONITOR = RM_STREAMING" in the("CREATE WAREHOUSE")
    assert not [s for s in STATEMENTS if s.startswith(("ALTER WAREHOUSE", "ALTER RESOURCE MONITOR"))]
