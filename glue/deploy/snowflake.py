"""The snowflake step: snowflake/*.sql, statement by statement, unchanged on the real and the local one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snowflake.connector import SnowflakeConnection
from snowflake.connector.cursor import SnowflakeCursor
from snowflake.connector.errors import Error
from sqlglot import tokenize
from sqlglot.tokenizer_core import Token, TokenType

from glue.deploy.report import Report
from glue.errors import TapelineError
from glue.io.snowflake import message

SNOWFLAKE_DIR = Path(__file__).parents[2] / "snowflake"
STEP = "snowflake"
TITLE_LENGTH = 70
NOT_APPLIED = "acknowledged, not applied"
"""How the local Snowflake begins its answer to what is about an account."""
_VIEW = re.compile(r"CREATE OR REPLACE VIEW (?P<schema>\w+)\.(?P<name>\w+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script, without its semicolon and the comments around it."""

    file: str
    line: int
    """Where it begins, from 1."""
    text: str

    @property
    def place(self) -> str:
        """Say where it is, for messages."""
        return f"{self.file}:{self.line}"

    @property
    def title(self) -> str:
        """Return its first words, up to the name of what it is about."""
        return " ".join(self.text.partition("(")[0].split())[:TITLE_LENGTH]


def read_statements() -> list[Statement]:
    """Return the statements of all scripts, in the order of their names."""
    return [found for path in sorted(SNOWFLAKE_DIR.glob("*.sql")) for found in _split(path)]


def plan(statements: list[Statement], report: Report) -> None:
    """Tell what would be run; no server is asked."""
    for statement in statements:
        report.change(STEP, statement.title, "run", statement.place)


def run(connection: SnowflakeConnection, statements: list[Statement], report: Report) -> None:
    """Run the statements one by one and tell of each what became of it.

    Raises:
        TapelineError: the server refuses one; the text names file and line and has the server's own words.
    """
    for statement in statements:
        try:
            with connection.cursor() as cursor:
                is_replaced = _has_view(cursor, statement)
                cursor.execute(statement.text)
                answer = _answer(cursor)
        except Error as error:
            raise TapelineError(f"snowflake/{statement.place}: {statement.title}: {message(error)}") from None
        _tell(statement, answer, report, is_replaced=is_replaced)


def _has_view(cursor: SnowflakeCursor, statement: Statement) -> bool:
    """Tell whether the view is there that a statement replaces: the server's answer does not."""
    if not (found := _VIEW.match(statement.text)):
        return False
    cursor.execute(f"SHOW VIEWS LIKE '{found['name']}' IN SCHEMA {found['schema']}")  # _ is any character
    return any(isinstance(row, tuple) and row[1] == found["name"] for row in cursor.fetchall())


def _answer(cursor: SnowflakeCursor) -> str:
    row = cursor.fetchone()
    return str(row[0]) if isinstance(row, tuple) and row else ""


def _tell(statement: Statement, answer: str, report: Report, *, is_replaced: bool) -> None:
    place, title = statement.place, statement.title
    if answer.startswith(NOT_APPLIED):
        report.not_applied(STEP, title, place)
    elif title.startswith("INSERT") and answer != "0":
        report.change(STEP, title, "created", f"{place}: {int(answer):,} rows")
    elif is_replaced:
        report.change(STEP, title, "replaced", place)
    elif title.startswith("CREATE") and "successfully created" in answer:
        report.change(STEP, title, "created", place)
    else:
        report.exists(STEP, title, place)


def _split(path: Path) -> Iterator[Statement]:
    text = path.read_text()
    tokens: list[Token] = []
    for token in [*tokenize(text, read="snowflake"), None]:
        if token is not None and token.token_type is not TokenType.SEMICOLON:
            tokens.append(token)
        elif tokens:
            yield Statement(path.name, tokens[0].line, text[tokens[0].start : tokens[-1].end + 1])
            tokens = []
