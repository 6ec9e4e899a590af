"""What a tick source yields: ticks, and lines that are passed on as they are."""

from collections.abc import Iterator
from typing import Protocol

import msgspec


class SourceTick(msgspec.Struct, frozen=True, gc=False):
    """One trade of a source; `event_us` = microseconds since 1970 UTC, prices in quote currency."""

    event_us: int
    symbol: str
    px: float
    sz: float
    bid: float | None = None
    ask: float | None = None


class RawLine(msgspec.Struct, frozen=True, gc=False):
    """A row that cannot be read as a tick: passed on, so that the reader can dead-letter it.

    It is served as it is, but for a recorded `seq`, in whose place the feed puts its own.
    `symbol` is the one of its file, empty when only the row itself could tell.
    """

    text: bytes
    symbol: str = ""


SourceLine = SourceTick | RawLine
Entry = tuple[int, int, SourceLine]
"""A line on its way: (clock_ms, shift_ms, line).

`clock_ms` is when it is due, in event time, and never goes back from one entry to the next. `shift_ms` is
what the loop adds to the line's own event time.
"""


class Source(Protocol):
    """A seeded or recorded stream that yields the same entries each time it is asked."""

    @property
    def identity(self) -> list[str]:
        """All that decides which lines come; what `feed_id` is made of."""

    @property
    def symbols(self) -> list[str] | None:
        """The symbols it has, None when only reading it would tell."""

    @property
    def is_finite(self) -> bool:
        """Whether it ends."""

    @property
    def first_ms(self) -> int:
        """Event time at which it starts."""

    @property
    def disorder_ms(self) -> int:
        """How far a line's event time may be behind the clock before any disturbance."""

    @property
    def estimated_bytes(self) -> int:
        """Roughly what one pass takes as NDJSON."""

    def entries(self) -> Iterator[Entry]:
        """Yield all lines from the start."""
