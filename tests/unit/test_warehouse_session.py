"""What a job makes of the warehouse's errors: those that pass, and what is said of the others."""

import pytest
from snowflake.connector.errors import OperationalError, ProgrammingError

from glue.errors import TransientError
from glue.io.fact_tables import FactTables
from glue.settings import Settings

TABLES = FactTables(Settings.load())


def told(number: int, text: str) -> tuple[bool, str]:
    """Return whether the answer to a statement passes, and what is said of it."""
    error = TABLES._statement_error(ProgrammingError(msg=text, errno=number))
    return isinstance(error, TransientError), str(error)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (390104, "User must login again to access the service."),
        (390111, "Session no longer exists. New login required to access the service."),
        (390114, "Authentication token has expired. The user must authenticate again."),
        (390195, "The provided ID Token is invalid."),
        (603, "SQL execution internal error: Processing aborted; incident 7185034."),
        (604, "SQL execution canceled"),
    ],
)
def test_a_session_that_ended_and_what_befell_a_statement_pass(number, text):
    passes, says = told(number, text)
    assert passes
    assert text in says


def test_no_answer_passes():
    error = TABLES._statement_error(OperationalError(msg="250003: no answer", errno=250003))
    assert isinstance(error, TransientError)


def test_a_quota_that_is_used_up_passes_and_the_monitor_is_named():
    passes, says = told(
        90073,
        "Warehouse 'WH_STREAMING_XS' cannot be resumed because resource monitor 'RM_STREAMING' has exceeded "
        "its quota.",
    )
    assert passes
    assert "resource monitor 'RM_STREAMING' has exceeded its quota" in says
    assert "ALTER RESOURCE MONITOR … SET CREDIT_QUOTA" in says
    assert "glue.deploy" not in says


@pytest.mark.parametrize(
    ("number", "text", "is_hinted"),
    [
        (2003, "Object 'CORE.FACT_TICKS_60S' does not exist or not authorized.", True),
        (2043, "Object does not exist, or operation cannot be performed.", True),
        (3001, "Insufficient privileges to operate on table 'FACT_TICKS_60S'.", True),
        (904, "invalid identifier 'CLOSE'", False),
        (100038, "Numeric value 'x' is not recognized", False),
    ],
)
def test_the_deployment_is_named_where_something_is_missing_only(number, text, is_hinted):
    passes, says = told(number, text)
    assert not passes
    assert text in says
    assert ("`python -m glue.deploy snowflake` makes the tables" in says) is is_hinted
