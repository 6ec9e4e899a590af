"""The snowflake step: snowflake/*.sql, statement by statement, the same on the real and the local one."""

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
from glue.errors import SettingsError, TapelineError
from glue.io.snowflake import message
from glue.settings import Settings

SNOWFLAKE_DIR = Path(__file__).parents[2] / "snowflake"
STEP = "snowflake"
TITLE_LENGTH = 70
NOT_APPLIED = "acknowledged, not applied"
"""How the local Snowflake begins its answer to what is about an account."""
NAMED = ("snow_database", "snow_warehouse", "snow_role")
"""Settings whose default values are the names in the scripts."""
SYSTEM_ROLES = {"ACCOUNTADMIN", "ORGADMIN", "SECURITYADMIN", "SYSADMIN", "USERADMIN", "PUBLIC"}
"""Roles that every account has: they are not made, and need not be given to others."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
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


def read_statements(settings: Settings) -> list[Statement]:
    """Return the statements of all scripts, in the order of their names, with the settings' names in them.

    A script has the names that database, warehouse and role have by default. Where SNOW_ROLE is a role of the
    system, or a setting is empty, the name by default stays.

    Raises:
        SettingsError: a name would have to be quoted.
    """
    names = _names(settings)
    return [found for path in sorted(SNOWFLAKE_DIR.glob("*.sql")) for found in _split(path, names)]


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


def _names(settings: Settings) -> dict[str, str]:
    """Return what stands for each name in the scripts."""
    names = {}
    for setting in NAMED:
        name, default = str(getattr(settings, setting)), str(Settings.model_fields[setting].default)
        if name and not _NAME.fullmatch(name):
            raise SettingsError(
                f"{setting.upper()}={name}: expected a name of letters, digits, _ and $, "
                f"which goes in place of {default} into snowflake/*.sql"
            )
        is_kept = not name or (setting == "snow_role" and name.upper() in SYSTEM_ROLES)
        names[default] = default if is_kept else name
    return names


def _split(path: Path, names: dict[str, str]) -> Iterator[Statement]:
    text = path.read_text()
    tokens: list[Token] = []
    for token in [*tokenize(text, read="snowflake"), None]:
        if token is not None and token.token_type is not TokenType.SEMICOLON:
            tokens.append(token)
        elif tokens:
            yield Statement(path.name, tokens[0].line, _named(text, tokens, names))
            tokens = []


def _named(text: str, tokens: list[Token], names: dict[str, str]) -> str:
    """Return the text of a statement's tokens with its names replaced, but not in quotes or comments."""
    parts, end = [], tokens[0].start
    for token in tokens:
        if token.token_type is TokenType.VAR and token.text in names:
            parts += [text[end : token.start], names[token.text]]
            end = token.end + 1
    return "".join(parts) + text[end : tokens[-1].end + 1]
