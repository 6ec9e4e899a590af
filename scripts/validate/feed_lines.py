"""Captured feed lines to the table `feed`: SQL judges them, Python only says which lines are strict JSON.

DuckDB's JSON reader forgives trailing commas and NaN and takes the first of two equal keys. A line that is
plainly a flat object of distinct keys needs no second look; every other one goes through Python's parser.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import duckdb

from validate.database import run_file, scalar
from validate.files import open_input

CHUNK_BYTES = 32 * 1024 * 1024
HEAD_CHARS = 1000
"""How much of an invalid line's text is kept, for comparison with the dead letter's."""

KEYS = (
    *("type", "symbol", "px", "sz", "event_ts", "bid", "ask"),
    *("seq", "api_send_ts_ms", "source_event_ts_ms"),
)

_TEXT = r'"[^"\\\x00-\x1f]*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_MEMBER = rf"[ \t]*{_TEXT}[ \t]*:[ \t]*(?:{_NUMBER}|{_TEXT}|true|false|null)[ \t]*"
PLAIN = rf"[ \t]*\{{{_MEMBER}(?:,{_MEMBER})*\}}[ \t\r]*"

_SPLIT = r"""
INSERT INTO chunk
SELECT $first_line + n, rtrim(line, e'\r')
FROM (
    SELECT unnest(lines) AS line, unnest(range(len(lines))) AS n
    FROM (SELECT string_split($text, chr(10)) AS lines)
)
WHERE NOT regexp_full_match(line, '[\s\v]*')
"""
_ADD_ODD = """
INSERT INTO odd
SELECT unnest($line_no::BIGINT[]), unnest($json::VARCHAR[]),
       unnest($sha256::VARCHAR[]), unnest($head::VARCHAR[])
"""


def load_captures(con: duckdb.DuckDBPyConnection, paths: list[Path], progress: Callable[[int], None]) -> None:
    """Load captures, one after the other as one stream in arrival order, into the table `feed`.

    `progress` is told the lines read so far.

    Raises:
        UnreadableError: a file cannot be opened.
    """
    con.execute(f"CREATE TEMP MACRO is_plain(line) AS regexp_full_match(line, '{PLAIN}')")
    run_file(con, "feed_lines.sql")
    first_line = 1
    for path in paths:
        with open_input(path) as file:
            for data in _chunks(file):
                first_line += _load_chunk(con, data, first_line)
                progress(first_line - 1)
    run_file(con, "feed_places.sql")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the file in pieces that end where a line ends, newlines included."""
    while data := file.read(CHUNK_BYTES):
        yield data + file.readline()


def _load_chunk(con: duckdb.DuckDBPyConnection, data: bytes, first_line: int) -> int:
    """Add the lines of one piece to `feed` and return how many lines it has."""
    data = data.removesuffix(b"\n")
    broken: dict[int, tuple[str, str]] = {}
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\n".join(_decode_each(data, first_line, broken))
    con.execute(_SPLIT, {"first_line": first_line, "text": text})
    odd = [
        (line_no, strict(raw), *broken.get(line_no, (None, None)))
        for line_no, raw in con.execute("FROM doubtful").fetchall()
    ]
    if odd:
        columns = map(list, zip(*odd, strict=True))
        con.execute(_ADD_ODD, dict(zip(("line_no", "json", "sha256", "head"), columns, strict=True)))
    con.execute("INSERT INTO feed FROM judged")
    con.execute("TRUNCATE chunk")
    con.execute("TRUNCATE odd")
    return data.count(b"\n") + 1


def _decode_each(data: bytes, first_line: int, broken: dict[int, tuple[str, str]]) -> Iterator[str]:
    """Yield each line as text; of one that is not UTF-8 `broken` keeps hash and beginning."""
    for line_no, line in enumerate(data.split(b"\n"), first_line):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raw = line.rstrip(b"\r\n")
            head = raw[: 8 * HEAD_CHARS].decode(errors="backslashreplace")[:HEAD_CHARS]
            broken[line_no] = (hashlib.sha256(raw).hexdigest(), head)
            yield "not UTF-8"


def strict(line: str) -> str:
    """Return the known members of a JSON object as plain JSON, or `null` when the line is anything else.

    NaN, Infinity, numbers too large for a double and halves of surrogate pairs are no JSON here; of two equal
    keys the last counts.
    """
    try:
        value = json.loads(line, parse_constant=_refuse)
        if not isinstance(value, dict):
            return "null"
        json.dumps(value, ensure_ascii=False).encode()
        return json.dumps({key: _flat(value[key]) for key in KEYS if key in value}, allow_nan=False)
    except (ValueError, RecursionError):
        return "null"


def _flat(value: Any) -> Any:
    """Keep scalars; a nested value is of the wrong type wherever it is, its content does not matter."""
    return value if value is None or isinstance(value, str | int | float) else {}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def feed_mode(con: duckdb.DuckDBPyConnection, paths: list[Path]) -> str | None:
    """Return the mode that the feed's hello names, None when it says nothing."""
    if scalar(con, "SELECT count(*) FROM feed WHERE kind = 'hello'") == 0:
        return None
    with open_input(paths[0]) as file:
        hello = next(line for line in file if line.strip())
    mode = json.loads(hello).get("mode")
    return mode if mode in ("live", "historical") else None
