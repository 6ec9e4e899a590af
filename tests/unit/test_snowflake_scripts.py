"""What snowflake/*.sql says about cost and privileges, which the local Snowflake does not apply."""

import re

import pytest

from glue.core.usage import Use, billed_s
from glue.deploy import snowflake as scripts
from glue.deploy.snowflake import read_statements
from glue.errors import SettingsError
from glue.settings import Settings

DEFAULTS = Settings(_env_file=None)
STATEMENTS = [" ".join(statement.text.split()) for statement in read_statements(DEFAULTS)]
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


def test_the_settings_names_go_in_place_of_those_by_default():
    own = DEFAULTS.model_copy(
        update={"snow_database": "Mine", "snow_warehouse": "WH_2", "snow_role": "LOADER$1"}
    )
    texts = [statement.text for statement in read_statements(own)]
    assert "CREATE DATABASE IF NOT EXISTS Mine COMMENT = 'Tapeline: ticks to bars'" in texts
    assert "GRANT USAGE ON WAREHOUSE WH_2 TO ROLE ROLE_STREAMING_READER" in texts
    assert "GRANT USAGE ON SCHEMA Mine.RAW TO ROLE LOADER$1" in texts
    assert not re.search("STOCK_STREAMING|WH_STREAMING_XS|ROLE_STREAMING_PIPELINE", " ".join(texts))
    back = {"Mine": "STOCK_STREAMING", "WH_2": "WH_STREAMING_XS", "LOADER$1": "ROLE_STREAMING_PIPELINE"}
    names = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in back))
    assert [names.sub(lambda found: back[found[0]], text) for text in texts] == [
        statement.text for statement in read_statements(DEFAULTS)
    ]


def test_a_name_is_replaced_whole_and_not_in_quotes_or_comments(tmp_path, monkeypatch):
    (tmp_path / "1.sql").write_text(
        "SELECT /* STOCK_STREAMING */ STOCK_STREAMING_2.A, 'STOCK_STREAMING', \"STOCK_STREAMING\", "
        "STOCK_STREAMING.S.T"
    )
    monkeypatch.setattr(scripts, "SNOWFLAKE_DIR", tmp_path)
    (statement,) = read_statements(DEFAULTS.model_copy(update={"snow_database": "D"}))
    assert statement.text == (
        "SELECT /* STOCK_STREAMING */ STOCK_STREAMING_2.A, 'STOCK_STREAMING', \"STOCK_STREAMING\", D.S.T"
    )


@pytest.mark.parametrize("role", ["", "AccountAdmin", "PUBLIC"])
def test_a_role_of_the_system_or_none_leaves_that_of_the_scripts(role):
    assert read_statements(DEFAULTS.model_copy(update={"snow_role": role})) == read_statements(DEFAULTS)


@pytest.mark.parametrize("name", ["MY DB", '"mine"', "A; DROP DATABASE B", "1ST"])
def test_a_name_that_would_have_to_be_quoted_is_refused_by_its_setting(name):
    with pytest.raises(SettingsError, match=r"SNOW_DATABASE=.* expected a name of letters"):
        read_statements(DEFAULTS.model_copy(update={"snow_database": name}))


def test_the_loaders_have_the_privileges_that_they_use_and_lose_those_of_before():
    def granted(to: str) -> dict[str, set[str]]:
        found = (re.fullmatch(rf"GRANT (.+) ON (.+) TO ROLE {to}", statement) for statement in STATEMENTS)
        return {match[2]: set(match[1].split(", ")) for match in found if match}

    loader, core = granted("ROLE_STREAMING_PIPELINE"), "TABLE STOCK_STREAMING.CORE"
    assert loader["WAREHOUSE WH_STREAMING_XS"] == {"USAGE"}
    for table in ("FACT_TICKS_60S", "FACT_TICKS_300S"):
        assert loader[f"{core}.{table}"] == {"SELECT", "INSERT", "DELETE"}
    revoked = [re.fullmatch(r"REVOKE (\w+) ON (.+) FROM ROLE ROLE_STREAMING_PIPELINE", s) for s in STATEMENTS]
    assert {(match[2], match[1]) for match in revoked if match} == {
        ("WAREHOUSE WH_STREAMING_XS", "OPERATE"),
        (f"{core}.FACT_TICKS_60S", "UPDATE"),
        (f"{core}.FACT_TICKS_300S", "UPDATE"),
    }
    reader = granted("ROLE_STREAMING_READER")
    assert set.union(*reader.values()) == {"USAGE", "SELECT"}


def test_both_roles_may_read_the_views_that_are_there_and_those_to_come():
    last_view = max(i for i, statement in enumerate(STATEMENTS) if "CREATE OR REPLACE VIEW" in statement)
    for role in ("ROLE_STREAMING_PIPELINE", "ROLE_STREAMING_READER"):
        to = f"VIEWS IN SCHEMA STOCK_STREAMING.MART TO ROLE {role}"
        assert f"GRANT SELECT ON FUTURE {to}" in STATEMENTS[:last_view]
        assert f"GRANT SELECT ON ALL {to}" in STATEMENTS[last_view:]
