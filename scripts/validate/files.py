"""Opening input files, plain or gzip, with errors that a user can act on."""

import gzip
import re
from pathlib import Path
from typing import IO

from validate.rules import UnreadableError


def open_input(path: Path) -> IO[bytes]:
    """Open a file for reading; `.gz` is unpacked.

    Raises:
        UnreadableError: there is no such file, or it may not be read.
    """
    try:
        if path.suffix == ".gz":
            return gzip.open(path)  # type: ignore[return-value]
        return path.open("rb")
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Read a whole file as UTF-8.

    Raises:
        UnreadableError: it cannot be opened or is no text.
    """
    try:
        with open_input(path) as file:
            return file.read().decode()
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise UnreadableError(f"cannot read {path}: {error}") from None


def recognise(path: Path) -> str:
    """Tell `kibot`, `binance` or `ndjson` by the first line that is not blank."""
    with open_input(path) as file:
        first = next((line for line in file if line.strip()), b"")
    if re.match(rb"\d\d/\d\d/\d{4},", first):
        return "kibot"
    if re.match(rb"(trade_id|id|\d+),", first):
        return "binance"
    return "ndjson"
