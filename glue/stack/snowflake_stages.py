"""LIST with a path or a pattern, and REMOVE, of files on a stage of the local Snowflake."""

import re
from pathlib import Path

import duckdb
from fakesnow.transforms import stage

_OPTIONS = r"(?:\s+pattern\s*=\s*'(?P<pattern>(?:[^']|'')*)')?\s*;?\s*"
_STAGE = r"(?P<quote>'?)@(?P<stage>[^\s'/%]+)(?:/(?P<path>[^\s']*))?(?P=quote)"
LIST = re.compile(rf"\s*(?:list|ls)\s+{_STAGE}{_OPTIONS}", re.IGNORECASE)
REMOVE = re.compile(rf"\s*(?:remove|rm)\s+{_STAGE}{_OPTIONS}", re.IGNORECASE)
COLUMNS = ("name", "size", "md5", "last_modified")
_STAGES = "_fs_global._fs_information_schema._fs_stages"


def listed(duck: duckdb.DuckDBPyConnection, found: re.Match[str], place: list[str]) -> str:
    """Return the SELECT of a LIST's answer.

    Raises:
        ProgrammingError: there is no such stage.
    """
    files = _files(duck, found, place)
    if not files:
        return f"SELECT {', '.join(f'NULL AS {name}' for name in COLUMNS)} WHERE FALSE"
    paths = ", ".join(f"'{_quoted(str(file))}'" for file in files)
    told = ", ".join(f"('{_quoted(str(f))}', '{_quoted(stage.internal_file_name(str(f)))}')" for f in files)
    return (
        "SELECT name, size, md5(content) AS md5, "
        "strftime(last_modified, '%a, %d %b %Y %H:%M:%S GMT') AS last_modified "
        f"FROM read_blob([{paths}]) JOIN (VALUES {told}) AS told(filename, name) USING (filename) "
        "ORDER BY name"
    )


def removed(duck: duckdb.DuckDBPyConnection, found: re.Match[str], place: list[str]) -> str:
    """Remove files from a stage and return the SELECT of the answer.

    Raises:
        ProgrammingError: there is no such stage.
    """
    names = []
    for file in _files(duck, found, place):
        names.append(stage.internal_file_name(str(file)))
        file.unlink(missing_ok=True)
    if not names:
        return "SELECT NULL AS name, NULL AS result WHERE FALSE"
    rows = ", ".join(f"('{_quoted(name)}', 'removed')" for name in names)
    return f"SELECT * FROM (VALUES {rows}) AS t(name, result)"


def _files(duck: duckdb.DuckDBPyConnection, found: re.Match[str], place: list[str]) -> list[Path]:
    """Return the files of a stage whose path begins with the one given and is as the pattern, by name."""
    names = stage.parts_from_var(found["stage"], *place)
    known = f"SELECT 1 FROM {_STAGES} WHERE (database_name, schema_name, name) = (?, ?, ?)"
    if duck.execute(known, list(names)).fetchone() is None:
        raise stage.not_found_error(".".join(names))
    root = Path(stage.internal_dir(".".join(names)))
    pattern = re.compile((found["pattern"] or ".*").replace("''", "'").replace("\\\\", "\\"))
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    inner = {path: path.relative_to(root).as_posix() for path in paths}
    return [p for p in paths if inner[p].startswith(found["path"] or "") and pattern.fullmatch(inner[p])]


def _quoted(text: str) -> str:
    return text.replace("'", "''")
