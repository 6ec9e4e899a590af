"""Late bars: 300 s windows that were written without them, and are made anew from what the warehouse has.

Invariant: a row is made from all bars of its window that were read, or it is not made.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, product
from math import isclose

import msgspec

from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, MINUTE_MS, Fact, Rows, Windows, row_id

MOST_GUESSES = 2_000
"""Ways in which a loader before this one may have read late bars of several partitions; a second's work."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A bar as FACT_TICKS_1S has it, and the record that it came by; -1 where it is from elsewhere."""

    bar: Bar
    partition: int = -1
    offset: int = -1


class Written(msgspec.Struct, frozen=True, gc=False):
    """A row as the warehouse has it: the values by which it is known from which bars it was made."""

    trade_count: int
    bar_count: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    def is_like(self, row: Fact | None) -> bool:
        """Tell whether the row may be this one; the warehouse keeps eight decimals."""
        return row is not None and all(
            isclose(getattr(self, name), getattr(row, name), rel_tol=1e-9, abs_tol=1e-8)
            for name in self.__struct_fields__
        )


class LateWindow:
    """The late bars of a symbol's 300 s window that wait to be in its rows.

    `read_until` says, for each partition, before which offset the window's bars were read when the first of
    these was late. They are in the rows and no more in memory: to be taken from FACT_TICKS_1S. All that
    came since are here, and so are those that a connector had refused and that were sent again.
    """

    def __init__(self, symbol: str, start_ms: int, read_until: dict[int, int]) -> None:
        self.symbol = symbol
        self.start_ms = start_ms
        self.bars: dict[str, Bar] = {}
        """The newest of each bar id."""
        self.first_offsets: dict[int, int] = {}
        """The first late bar of each partition."""
        self.waits_since_ms: int | None = None
        """Wall time at which the warehouse first lacked bars of it."""
        self._read_until = read_until
        self._read_before: dict[str, Bar] = {}
        self._in_order: dict[int, list[Bar]] = {}
        """The late bars of each partition."""
        self._maybe_written: dict[int, int] = {}
        """How many of them may be in the rows."""

    def add(
        self, bar: Bar, partition: int, offset: int, *, is_again: bool, was_at: int | None = None
    ) -> None:
        """Take a late bar.

        `is_again` says that a loader before this one may have put it into rows, and `was_at` at which offset
        of the partition it was before it was sent again.
        """
        self.bars[bar.bar_id] = bar
        self.first_offsets.setdefault(partition, offset)
        if was_at is not None and was_at < self._read_until.get(partition, 0):
            self._read_before.setdefault(bar.bar_id, bar)
        bars = self._in_order.setdefault(partition, [])
        bars.append(bar)
        if is_again:
            self._maybe_written[partition] = len(bars)

    @property
    def end_ms(self) -> int:
        """End of the window, exclusive."""
        return self.start_ms + FIVE_MINUTES_MS

    def row_ids(self) -> tuple[list[str], list[str]]:
        """Return the BAR_ID of its minutes and of itself, whether there is a row or not."""
        minutes = range(self.start_ms, self.end_ms, MINUTE_MS)
        return (
            [row_id(self.symbol, start, MINUTE_MS) for start in minutes],
            [row_id(self.symbol, self.start_ms, FIVE_MINUTES_MS)],
        )

    def rebuilt(
        self, stored: Iterable[Stored], last_offsets: Mapping[int, int], written: Mapping[str, Written]
    ) -> Rows | None:
        """Return the rows from all bars that were read, None while FACT_TICKS_1S lacks some of them.

        `stored` are its bars of this window, oldest load first, and `last_offsets` the last record that it
        has of each partition, asked for before them. The connector reads a partition in order: what is before
        that offset is there, or was refused, or is purged. `written` are the rows that are stored, by
        BAR_ID. They tell of what was refused or purged: a row counts all its bars.
        """
        if any(last_offsets.get(p, -1) < until - 1 for p, until in self._read_until.items()):
            return None
        known = self._read_before | {
            s.bar.bar_id: s.bar for s in stored if s.offset < self._read_until.get(s.partition, 0)
        }
        if self._lacks(known, written):
            return None
        self._maybe_written = {partition: len(bars) for partition, bars in self._in_order.items()}
        return self._fold(known | self.bars)

    def _lacks(self, known: Mapping[str, Bar], written: Mapping[str, Written]) -> bool:
        """Tell whether a stored row may have a bar that is not here.

        It has none if the known bars have all its trades. Else a loader before this one, or a write whose
        answer was lost, may have put late bars into it: as far as they came, they make that very row.
        """
        rows = self._by_id(known)
        minutes, five_minutes = self.row_ids()
        doubtful = {
            row_id: row
            for row_id in (*minutes, *five_minutes)
            if (row := written.get(row_id))
            and (row_id not in rows or rows[row_id].trade_count < row.trade_count)
        }
        for guess in self._guesses() if doubtful else ():
            rows = self._by_id({**known, **{bar.bar_id: bar for bar in guess}})
            doubtful = {row_id: row for row_id, row in doubtful.items() if not row.is_like(rows.get(row_id))}
            if not doubtful:
                break
        return bool(doubtful)

    def _guesses(self) -> Iterator[Iterable[Bar]]:
        """Return the late bars that may be in the rows: of each partition up to some place."""
        maybe = [self._in_order[partition][:count] for partition, count in self._maybe_written.items()]
        ends = product(*(range(len(bars) + 1) for bars in maybe))
        for reached in islice(ends, MOST_GUESSES):
            yield chain.from_iterable(bars[:end] for bars, end in zip(maybe, reached, strict=True))

    def _by_id(self, bars: Mapping[str, Bar]) -> dict[str, Fact]:
        rows = self._fold(bars)
        return {row.bar_id: row for row in (*rows.minutes, *rows.five_minutes)}

    def _fold(self, bars: Mapping[str, Bar]) -> Rows:
        windows = Windows()
        for bar in bars.values():
            windows.put(bar)
        return windows.rows(self.end_ms)
