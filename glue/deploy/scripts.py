"""ksql scripts as data: statements with the stream properties that the SET lines before them gave.

A script is what a user can paste into the ksql CLI: comments, SET and UNSET lines, statements ended by
semicolons. What the rest of Tapeline must agree with (window, grace, bin size) is read from its text.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glue.errors import TapelineError
from glue.io.topics import topics
from glue.settings import Settings

KSQL_DIR = Path(__file__).parents[2] / "ksql"
OPERATORS_DIR = KSQL_DIR / "operators"
BAR_SCHEMA = "tapeline.Bar1s"
"""Full name of schemas/bar_1s.avsc."""
_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|`[^`]*`|\"[^\"]*\"|[;]|[^;'`\"/-]+|[/-]", re.DOTALL)
_SET = re.compile(r"SET\s+'(?P<name>[^']+)'\s*=\s*'(?P<value>[^']*)'", re.IGNORECASE)
_UNSET = re.compile(r"UNSET\s+'(?P<name>[^']+)'", re.IGNORECASE)
_CREATE = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:SOURCE\s+)?(?P<kind>STREAM|TABLE)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"(?P<name>`[^`]+`|\w+)",
    re.IGNORECASE,
)
_TOPIC = re.compile(r"KAFKA_TOPIC\s*=\s*'(?P<topic>[^']+)'", re.IGNORECASE)
_AS_SELECT = re.compile(r"\bAS\s+SELECT\b", re.IGNORECASE)
_TIME = r"\s+(?P<count>\d+)\s+(?P<unit>MILLISECOND|SECOND|MINUTE|HOUR|DAY)S?"
_WINDOW = re.compile(r"\bWINDOW\s+(?:TUMBLING|HOPPING|SESSION)\b", re.IGNORECASE)
_SIZE = re.compile(r"\bSIZE" + _TIME, re.IGNORECASE)
_GRACE = re.compile(r"\bGRACE\s+PERIOD" + _TIME, re.IGNORECASE)
_RETENTION = re.compile(r"\bRETENTION" + _TIME, re.IGNORECASE)
_RETENTION_MS = re.compile(r"\bRETENTION_MS\s*=\s*(?P<ms>\d+)", re.IGNORECASE)
_BIN = re.compile(r"^--\s*Bin size:\s*(?P<count>\d+)\s*ms\b", re.IGNORECASE | re.MULTILINE)
_UNIT_MS = {"MILLISECOND": 1, "SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


@dataclass(frozen=True, slots=True)
class Statement:
    """One CREATE statement of a script."""

    file: str
    line: int
    """Line of the file that it begins on, from 1."""
    text: str
    """Without comments before it, with its semicolon."""
    kind: str
    """STREAM or TABLE."""
    name: str
    """Name of the stream or table as ksqlDB knows it."""
    topic: str
    is_query: bool
    """Whether it starts a query (AS SELECT) that writes to its topic."""
    properties: dict[str, str]
    """Stream properties in force, from SET lines."""

    @property
    def hash(self) -> str:
        """What changes with the text or the properties, layout aside."""
        whole = f"{sorted(self.properties.items())}{' '.join(self.text.split())}"
        return hashlib.sha256(whole.encode()).hexdigest()

    @property
    def place(self) -> str:
        """Say where it is, for messages."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Script:
    """One file of ksql/."""

    name: str
    statements: tuple[Statement, ...]
    has_window: bool
    size_ms: int | None
    """SIZE of its window, ms; None when it has no window with one."""
    grace_ms: int | None
    """GRACE PERIOD of its window, ms; None when it has no window with one."""
    bin_ms: int | None
    """Bin size its head comment says it is for, ms."""


def read_scripts(folder: Path, settings: Settings, bar_schema_id: int | None = None) -> list[Script]:
    """Return the scripts of a folder in the order of their names, with the settings' topics in them.

    With the id of schemas/bar_1s.avsc in the registry, bars are written by exactly that schema; a script that
    is pasted can name none and makes ksqlDB write one with the same fields, all nullable.

    Raises:
        TapelineError: a file is no script that `glue.deploy` can run; the text names file and line.
    """
    return [
        read_script(path.name, _adapt(path.read_text(), settings, bar_schema_id))
        for path in sorted(folder.glob("*.sql"))
    ]


def read_script(name: str, text: str) -> Script:
    """Return one script; see `read_scripts`."""
    bin_size = _BIN.search(text)
    statements = tuple(_statements(name, text))
    window = next((statement.text for statement in statements if _WINDOW.search(statement.text)), "")
    return Script(
        name=name,
        statements=statements,
        has_window=bool(window),
        size_ms=_milliseconds(_SIZE.search(window)),
        grace_ms=grace_ms(window),
        bin_ms=int(bin_size["count"]) if bin_size else None,
    )


def grace_ms(text: str) -> int | None:
    """Return the GRACE PERIOD in a statement, ms; None where there is none."""
    return _milliseconds(_GRACE.search(text))


def retention_ms(text: str) -> int | None:
    """Return the RETENTION of the window in a statement, ms; None where there is none."""
    return _milliseconds(_RETENTION.search(text))


def sink_retention_ms(text: str) -> int | None:
    """Return the RETENTION_MS of a statement's topic, ms; None where there is none."""
    found = _RETENTION_MS.search(text)
    return int(found["ms"]) if found else None


def _milliseconds(found: re.Match[str] | None) -> int | None:
    return int(found["count"]) * _UNIT_MS[found["unit"].upper()] if found else None


def _adapt(text: str, settings: Settings, bar_schema_id: int | None) -> str:
    default = {name: field.default for name, field in Settings.model_fields.items()}
    for name in ("kafka_topic_raw", "kafka_topic_dlt", "agg_output_topic"):  # and what is named after them
        text = text.replace(f"KAFKA_TOPIC = '{default[name]}", f"KAFKA_TOPIC = '{getattr(settings, name)}")
    bars = f"KAFKA_TOPIC = '{settings.agg_output_topic}',\n    PARTITIONS = "
    text = text.replace(f"{bars}{default['kafka_agg_partitions']}", f"{bars}{settings.kafka_agg_partitions}")
    for topic in topics(settings):  # ksqlDB refuses a topic that keeps its records for another time than this
        kept = rf"(KAFKA_TOPIC = '{re.escape(topic.name)}',[^)]*?RETENTION_MS = )\d+"
        text = re.sub(kept, rf"\g<1>{topic.config.get('retention.ms')}", text)
    if bar_schema_id is None:
        return text
    return text.replace(f"VALUE_SCHEMA_FULL_NAME = '{BAR_SCHEMA}'", f"VALUE_SCHEMA_ID = {bar_schema_id}")


def _statements(file: str, text: str) -> Iterator[Statement]:
    properties: dict[str, str] = {}
    for line, statement in split(file, text):
        bare = statement.removesuffix(";").strip()
        if found := _SET.fullmatch(bare):
            properties[found["name"]] = found["value"]
        elif found := _UNSET.fullmatch(bare):
            properties.pop(found["name"], None)
        elif found := _CREATE.match(bare):
            topic = _TOPIC.search(bare)
            if topic is None:
                raise TapelineError(f"{file}:{line}: the statement names no KAFKA_TOPIC")
            name = found["name"]
            yield Statement(
                file=file,
                line=line,
                text=statement,
                kind=found["kind"].upper(),
                name=name[1:-1] if name.startswith("`") else name.upper(),
                topic=topic["topic"],
                is_query=_AS_SELECT.search(bare) is not None,
                properties=dict(properties),
            )
        else:
            start = " ".join(bare.split()[:3])
            raise TapelineError(f"{file}:{line}: expected SET, UNSET or CREATE, found `{start}`")


def split(file: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield (line it begins on, statement with its semicolon) for each statement; comments are left out.

    Raises:
        TapelineError: the last statement has no semicolon, or a quotation has no end.
    """
    parts: list[str] = []
    line, began = 1, 0
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise TapelineError(f"{file}:{line}: a quotation that begins here has no end")
        piece = token[0]
        position = token.end()
        if piece.startswith(("--", "/*")):
            pass
        elif piece == ";":
            if parts:
                yield began, "".join(parts).strip() + ";"
            parts = []
        elif parts or piece.strip():
            if not parts:
                leading = len(piece) - len(piece.lstrip())
                began = line + piece[:leading].count("\n")
            parts.append(piece)
        line += piece.count("\n")
    if "".join(parts).strip():
        raise TapelineError(f"{file}:{began}: the statement has no semicolon")
