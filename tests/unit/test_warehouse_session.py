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
