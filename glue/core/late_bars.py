"""Late bars: 300 s windows that were written without them, and are made anew from what the warehouse has.

Invariant: a row is made from all bars of its window that were read, or it is not made.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, MINUTE_MS, Rows, Windows, floor, row_id


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A bar as FACT_TICKS_1S has it, and the record that it came by; -1 where it is from elsewhere."""

    bar: Bar
    partition: int = -1
    offset: int = -1


class LateWindow:
    """The late bars of a symbol's 300 s window that wait to be in its rows.

    `read_until` says, for each partition, before which offset the window's bars were read when the first of
    these was late. They are in the rows and no more in memory: to be taken from FACT_TICKS_1S. All that
    came since are here.
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
        self._maybe_written: set[str] = set()

    def add(self, bar: Bar, partition: int, offset: int, *, is_again: bool) -> None:
        """Take a late bar; `is_again` says that a loader before this one may have put it into rows."""
        self.bars[bar.bar_id] = bar
        self.first_offsets.setdefault(partition, offset)
        if is_again:
            self._maybe_written.add(bar.bar_id)

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
        self, stored: Iterable[Stored], last_offsets: Mapping[int, int], trade_counts: Mapping[str, int]
    ) -> Rows | None:
        """Return the rows from all bars that were read, None while FACT_TICKS_1S lacks some of them.

        `stored` are its bars of this window, oldest load first, and `last_offsets` the last record that it
        has of each partition, asked for before them. The connector reads a partition in order: what is before
        that offset is there, or was refused, or is purged. `trade_counts` are those of the stored rows, by
        BAR_ID. They tell of what was refused or purged: a row counts all its bars.
        """
        if any(last_offsets.get(p, -1) < until - 1 for p, until in self._read_until.items()):
            return None
        known = {s.bar.bar_id: s.bar for s in stored if s.offset < self._read_until.get(s.partition, 0)}
        if self._lacks(known, trade_counts):
            return None
        windows = Windows()
        for bar in (known | self.bars).values():
            windows.put(bar)
        self._maybe_written.update(self.bars)
        return windows.rows(self.end_ms)

    def _lacks(self, known: Mapping[str, Bar], trade_counts: Mapping[str, int]) -> bool:
        """Tell whether a stored row counts more trades than the bars that it can be made from."""
        trades = {bar_id: bar.trade_count for bar_id, bar in known.items()}
        for bar_id in self._maybe_written:
            trades[bar_id] = max(trades.get(bar_id, 0), self.bars[bar_id].trade_count)
        counted: Counter[str] = Counter()
        for bar_id, count in trades.items():
            start_ms = (known.get(bar_id) or self.bars[bar_id]).start_ts_ms
            counted[row_id(self.symbol, floor(start_ms, MINUTE_MS), MINUTE_MS)] += count
            counted[row_id(self.symbol, self.start_ms, FIVE_MINUTES_MS)] += count
        minutes, five_minutes = self.row_ids()
        return any(trade_counts.get(i, 0) > counted[i] for i in (*minutes, *five_minutes))
