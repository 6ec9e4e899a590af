"""Kibot tick files: `MM/DD/YYYY,HH:MM:SS,price[,bid,ask],size`, times in New York."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from glue.feeds.lines import RawLine, SourceLine, SourceTick

NEW_YORK = ZoneInfo("America/New_York")
REGULAR_OPEN_S = 9 * 3600 + 30 * 60
REGULAR_CLOSE_S = 16 * 3600
_NUMBER = rb"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+"
_ROW = re.compile(
    rb"\s*(\d\d/\d\d/\d{4},\d\d):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?"
    rb",(" + _NUMBER + rb")(,(" + _NUMBER + rb")?,(" + _NUMBER + rb")?)?,(" + _NUMBER + rb")\s*"
)
_AMBIGUITY_STEP_S = 1800


def is_header(row: bytes) -> bool:
    """Tell whether the first row holds column names."""
    return row.lstrip().lower().startswith(b"date")


def is_row(row: bytes) -> bool:
    """Tell whether a row has the shape of this format."""
    return _ROW.fullmatch(row) is not None


def read(rows: Iterable[bytes], symbol: str, *, include_premarket: bool = True) -> Iterator[SourceLine]:
    """Read the rows of one file in their order.

    Without `include_premarket` only the regular session comes: 09:30:00 to 16:00:00 with the whole last
    second, in which the closing auction prints. Of an hour that the end of daylight saving time repeats,
    the second one starts where the clock goes back in the file. A row that is none, or has not the columns
    of the first one, is passed on as it is.
    """
    hours = _Hours()
    has_quotes: bool | None = None
    for number, row in enumerate(rows):
        match = _ROW.fullmatch(row)
        if match is None:
            if number or not is_header(row):
                yield RawLine(row, symbol)
            continue
        hour, minute, second, fraction, px, quotes, bid, ask, size = match.groups()
        if has_quotes is None:
            has_quotes = quotes is not None
        if has_quotes != (quotes is not None):  # cut short: its last number is no size
            yield RawLine(row, symbol)
            continue
        second_of_hour = int(minute) * 60 + int(second)
        try:
            start_us = hours.start_us(hour, second_of_hour)
        except ValueError:  # no such day or hour
            yield RawLine(row, symbol)
            continue
        if not include_premarket:
            second_of_day = int(hour[-2:]) * 3600 + second_of_hour
            if not REGULAR_OPEN_S <= second_of_day <= REGULAR_CLOSE_S:
                continue
        event_us = start_us + second_of_hour * 1_000_000
        if fraction:
            event_us += int(fraction.ljust(6, b"0"))
        price, shares = float(px), float(size)
        if not 0 < price <= 1e15 or shares > 1e15:
            yield RawLine(row, symbol)
            continue
        yield SourceTick(
            event_us, symbol, price, shares, float(bid) if bid else None, float(ask) if ask else None
        )


class _Hours:
    """UTC start of each New York hour of a file, looked up once an hour and not once a row."""

    def __init__(self) -> None:
        self._key = b""
        self._start_us = 0
        self._repeat_us: int | None = None
        self._last_s = 0

    def start_us(self, key: bytes, second_of_hour: int) -> int:
        """Return the UTC microsecond at which the hour `MM/DD/YYYY,HH` starts; ValueError if none does."""
        if key != self._key:
            month, day, year, hour = int(key[:2]), int(key[3:5]), int(key[6:10]), int(key[11:])
            local = datetime(year, month, day, hour, tzinfo=NEW_YORK)
            first, second = (int(local.replace(fold=fold).timestamp()) for fold in (0, 1))
            self._key = key
            self._start_us = first * 1_000_000
            self._repeat_us = second * 1_000_000 if second > first else None
        elif self._repeat_us is not None and second_of_hour < self._last_s - _AMBIGUITY_STEP_S:
            self._start_us, self._repeat_us = self._repeat_us, None
        self._last_s = second_of_hour
        return self._start_us
