"""NDJSON files: recorded feeds, or lines made to test a reader."""

from collections.abc import Iterable, Iterator

from glue.core.ticks import Control, Tick, decode_line, is_symbol
from glue.feeds.lines import RawLine, SourceLine, SourceTick


def is_row(row: bytes) -> bool:
    """Tell whether a row has the shape of this format."""
    return row.lstrip().startswith(b"{")


def read(rows: Iterable[bytes]) -> Iterator[SourceLine]:
    """Read the lines of one file in their order; a line that is no tick is passed on as it is.

    The hello, heartbeats and end of a recording are left out: the feed that serves it speaks its own.
    """
    for row in rows:
        line = decode_line(row)
        if isinstance(line, Tick) and is_symbol(line.symbol):
            yield SourceTick(round(line.event_ts * 1e6), line.symbol, line.px, line.sz, line.bid, line.ask)
        elif not isinstance(line, Control):
            yield RawLine(row)
