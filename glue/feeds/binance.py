"""Binance trade dumps: `trade_id,price,qty,…,time,…`, with or without a header.

The time is in milliseconds, in newer dumps in microseconds: its magnitude tells. In the public spot,
futures and aggregate dumps it stands in different columns: the header tells, or its number of digits.
"""

from collections.abc import Iterable, Iterator

from glue.feeds.lines import RawLine, SourceLine, SourceTick

_MIN_MS = 10**12  # the year 2001
_MIN_US = 10**15
_MAX_DIGITS = 16
_MAX_US = 4 * 10**15  # the year 2096
_TIME_NAMES = {b"time", b"time_ms", b"transact_time", b"timestamp"}


def is_header(row: bytes) -> bool:
    """Tell whether the first row holds column names."""
    names = [name.strip().lower() for name in row.split(b",")]
    return b"price" in names and any(name in _TIME_NAMES for name in names)


def is_row(row: bytes) -> bool:
    """Tell whether a row has the shape of this format."""
    cells = row.split(b",")
    return cells[0].strip().isdigit() and _time_column(cells) is not None


def read(rows: Iterable[bytes], symbol: str) -> Iterator[SourceLine]:
    """Read the rows of one file in their order; a row that is none is passed on as it is."""
    px_at, sz_at = 1, 2
    time_at: int | None = None
    is_first = True
    for row in rows:
        cells = row.split(b",")
        if is_first:
            is_first = False
            if is_header(row):
                names = [cell.strip().lower() for cell in cells]
                px_at = names.index(b"price")
                sz_at = next((i for i, name in enumerate(names) if name in (b"qty", b"quantity")), 2)
                time_at = next(i for i, name in enumerate(names) if name in _TIME_NAMES)
                continue
        if time_at is None:
            time_at = _time_column(cells)
        tick = _tick(cells, symbol, px_at, sz_at, time_at)
        yield RawLine(row, symbol) if tick is None else tick


def _time_column(cells: list[bytes]) -> int | None:
    for column in range(3, len(cells)):
        cell = cells[column].strip()
        if cell.isdigit() and 13 <= len(cell) <= _MAX_DIGITS:
            return column
    return None


def _tick(cells: list[bytes], symbol: str, px_at: int, sz_at: int, time_at: int | None) -> SourceTick | None:
    if time_at is None:
        return None
    try:
        px, sz, stamp = float(cells[px_at]), float(cells[sz_at]), cells[time_at].strip()
        if not stamp.isdigit() or len(stamp) > _MAX_DIGITS or b"_" in cells[px_at] + cells[sz_at]:
            return None  # float() would take "1_000"
        event_us = int(stamp)
    except (ValueError, IndexError):
        return None
    if not (0 < px <= 1e15 and 0 <= sz <= 1e15):  # also false for NaN
        return None
    if event_us < _MIN_US:
        if event_us < _MIN_MS:
            return None
        event_us *= 1000
    if event_us > _MAX_US:
        return None
    return SourceTick(event_us, symbol, px, sz)
