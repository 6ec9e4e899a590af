"""Tick files as a source: recognised, digested, merged by event time, looped."""

import gzip
import hashlib
import heapq
import itertools
import re
import zlib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import IO, Literal, cast

import structlog

from glue.core.ticks import is_symbol
from glue.errors import TapelineError
from glue.feeds import binance, kibot, ndjson
from glue.feeds.clock import TimedLine, lag_ms, timed
from glue.feeds.lines import Entry, RawLine, SourceLine, SourceTick

Format = Literal["kibot", "binance", "ndjson"]
FORMATS: dict[Format, str] = {
    "kibot": "MM/DD/YYYY,HH:MM:SS,price[,bid,ask],size",
    "binance": "trade_id,price,qty,time_ms,...",
    "ndjson": '{"symbol":...,"px":...,"sz":...,"event_ts":...}',
}
_IS_ROW = {"kibot": kibot.is_row, "binance": binance.is_row, "ndjson": ndjson.is_row}
_IS_HEADER = {"kibot": kibot.is_header, "binance": binance.is_header}
_MAX_ROW_WARNINGS = 5
_NDJSON_GROWTH = 3
"""A row of a CSV grows about so much as an NDJSON line; gzip shrinks it about as much again."""
log = structlog.get_logger()


def symbol_of(path: Path) -> str:
    """Take the symbol from a file name: WDC_tickbidask.txt.gz -> WDC, BTCUSDT-trades-2021.csv -> BTCUSDT."""
    name = path.name.removesuffix(".gz").removesuffix(".zip")
    stem = re.sub(r"\.(txt|csv|tsv|dat)$", "", name, flags=re.IGNORECASE)
    return re.split(r"_|-(?:agg)?trades", stem, maxsplit=1, flags=re.IGNORECASE)[0]


def looks_like(row: bytes) -> Format | None:
    """Name the format that a first row has, None for one that is in no known format."""
    for name in FORMATS:
        if _IS_ROW[name](row) or (name in _IS_HEADER and _IS_HEADER[name](row)):
            return name
    return None


class TickFile:
    """One file of ticks, plain or gzip; opened anew for each reading.

    Raises:
        TapelineError: the file is not there, is empty, or its first row is not in the format; the text
            names the file and the format it looks like.
    """

    def __init__(
        self,
        path: Path,
        format_name: Format | None = None,
        symbol: str = "",
        *,
        include_premarket: bool = True,
    ) -> None:
        self.path = path
        self._include_premarket = include_premarket
        self._warnings_left = _MAX_ROW_WARNINGS
        try:
            first = next(self._rows(), None)
            with path.open("rb") as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.size = path.stat().st_size * (_NDJSON_GROWTH if path.suffix == ".gz" else 1)
        except (OSError, EOFError, zlib.error) as error:
            raise TapelineError(f"{path}: {_reason(error)}") from None
        if first is None:
            raise TapelineError(f"{path}: the file is empty")
        self.format: Format = self._recognise(first, format_name)
        self.symbol = "" if self.format == "ndjson" else symbol or symbol_of(path)
        if self.format != "ndjson" and not is_symbol(self.symbol):
            raise TapelineError(f"{path}: no symbol can be read from the file name; give it with --symbol")

    @property
    def identity(self) -> str:
        """What decides its lines: name, content and how it is read."""
        session = "all" if self._include_premarket or self.format != "kibot" else "regular"
        return f"{self.path.name} sha256:{self._digest} {self.format} {self.symbol} {session}"

    def lines(self) -> Iterator[SourceLine]:
        """Read the file in its order; warn of the first few rows that are no ticks.

        Raises:
            TapelineError: the file cannot be read to its end.
        """
        try:
            for line in self._read():
                if isinstance(line, RawLine) and self._warnings_left:
                    self._warnings_left -= 1
                    row = line.text[:120].decode(errors="replace")
                    log.warning("row is no tick, served as it is", file=self.path.name, row=row)
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise TapelineError(f"{self.path}: {_reason(error)}") from None

    def _read(self) -> Iterator[SourceLine]:
        if self.format == "kibot":
            return kibot.read(self._rows(), self.symbol, include_premarket=self._include_premarket)
        if self.format == "binance":
            return binance.read(self._rows(), self.symbol)
        return ndjson.read(self._rows())

    def _rows(self) -> Iterator[bytes]:
        opener = gzip.open if self.path.suffix == ".gz" else open
        with cast("IO[bytes]", opener(self.path, "rb")) as file:
            first = file.readline().removeprefix(b"\xef\xbb\xbf")
            for row in itertools.chain((first,), file):
                stripped = row.rstrip(b"\r\n")
                if stripped and not stripped.isspace():
                    yield stripped

    def _recognise(self, first: bytes, wanted: Format | None) -> Format:
        found = looks_like(first)
        if wanted is None:
            if found is None:
                raise TapelineError(
                    f"{self.path}, line 1: {_shown(first)} is in no known format; known are "
                    + ", ".join(f"{name} ({shape})" for name, shape in FORMATS.items())
                )
            return found
        if wanted == found or (wanted == "ndjson" and found is None):  # bad NDJSON is for the reader to judge
            return wanted
        hint = f"it looks like {found}: use --format {found}" if found else f"expected {FORMATS[wanted]}"
        raise TapelineError(f"{self.path}, line 1: {_shown(first)} is no {wanted} row; {hint}")


class FileSource:
    """One file in its own order, or several merged by event time; with `loop` again and again.

    Each pass adds the span of the files, rounded up to a whole second, so that time goes on. With `survey`
    (live feeds need it) the files are read once at the start to learn how disordered they are.
    """

    def __init__(self, files: list[TickFile], *, loop: bool = False, survey: bool = False) -> None:
        self._files = files
        self._loop = loop
        self.is_finite = not loop
        self.disorder_ms = 0
        self.symbols: list[str] | None = None
        if all(file.symbol for file in files):
            self.symbols = sorted({file.symbol for file in files})
        self.estimated_bytes = sum(
            file.size * (1 if file.format == "ndjson" else _NDJSON_GROWTH) for file in files
        )
        self.first_ms = next(self._merged(), (0,))[0]
        self._span_ms = 0
        if loop or survey:
            self._survey()

    @property
    def identity(self) -> list[str]:
        """The files in their order, and whether they loop."""
        return [*(file.identity for file in self._files), *(["loop"] if self._loop else [])]

    def entries(self) -> Iterator[Entry]:
        """Yield all lines from the start."""
        shift_ms = 0
        while True:
            for clock_ms, line in self._merged():
                yield clock_ms + shift_ms, shift_ms, line
            if not self._loop:
                return
            shift_ms += self._span_ms

    def _merged(self) -> Iterator[TimedLine]:
        streams = [timed(file.lines()) for file in self._files]
        return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0))

    def _survey(self) -> None:
        clock_ms = self.first_ms
        symbols: set[str] = set()
        for clock_ms, line in self._merged():
            self.disorder_ms = max(self.disorder_ms, lag_ms(clock_ms, line))
            if isinstance(line, SourceTick):
                symbols.add(line.symbol)
        if not symbols and self._loop:
            raise TapelineError(f"{self._files[0].path}: no tick in it, nothing to loop")
        self.symbols = self.symbols or sorted(symbols)
        self._span_ms = (clock_ms - self.first_ms) // 1000 * 1000 + 1000


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged: {error}"


def _shown(row: bytes) -> str:
    text = row.decode(errors="replace")
    return repr(text if len(text) <= 80 else text[:77] + "...")
