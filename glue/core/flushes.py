"""When facts are flushed, what a flush writes, and what may be committed after it ("Facts" in the docs).

Invariants: the bar watermark and `written_ms` never go back; what is committed for a partition is never after
the first bar of a 300 s window that is not written.
"""

from collections.abc import Iterable
from typing import Self

import msgspec

from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, MINUTE_MS, Rows, Windows, floor
from glue.core.late_bars import LateWindow
from glue.core.partition import Shard, partition_of

SILENT_MS = 10_000
"""A raw partition without bars for so long, wall time, holds the bar watermark back no longer."""


class Position(msgspec.Struct, frozen=True):
    """What is committed for a partition of bars.

    `offset` is the first record that a successor must read; up to `seen_offset` it rebuilds windows, and
    knows that what ends by `written_ms` (ms UTC) is written from these bars. `seen_offset` 0 says that no bar
    before `offset` matters any more.
    """

    offset: int = 0
    seen_offset: int = 0
    written_ms: int = 0

    @property
    def metadata(self) -> str:
        """What goes into the metadata of the committed offset."""
        return f"{self.seen_offset}:{self.written_ms}"

    @classmethod
    def parse(cls, offset: int, metadata: str | None) -> Self:
        """Return the position of a committed offset; without metadata nothing was seen after it."""
        seen, _, written = (metadata or "").partition(":")
        return cls(offset, int(seen or offset), int(written or 0))


class Resumed(msgspec.Struct, frozen=True):
    """How a loader goes on with a partition.

    `end_offset` is the partition's end then: no loader before has read further. `is_partial` says that
    records are gone before they were read: the window of the first bar that is left is made from what the
    warehouse has of it, as if its bars were late.
    """

    position: Position
    end_offset: int
    is_partial: bool = False


class BarWatermark:
    """How far the bars have come: the smallest, over the raw partitions, of the newest bar end (ms UTC).

    The raw partition of a bar is that of its symbol; bars of one come in order. One that is silent,
    `SILENT_MS` of wall time, does not count; where none counts, the newest bar of all does. It never goes
    back. Where no bar comes any more, `close` says how far they are complete.
    """

    def __init__(self, partitions: int, wall_ms: int) -> None:
        self._partitions = partitions
        self._ends = [0] * partitions
        self._heard = [wall_ms] * partitions
        self._reached_ms = 0

    def note(self, bar: Bar, wall_ms: int) -> None:
        """Take in that a bar came."""
        partition = partition_of(bar.symbol, self._partitions)
        self._ends[partition] = max(self._ends[partition], bar.end_ts_ms)
        self._heard[partition] = wall_ms

    def at(self, wall_ms: int) -> int:
        """Return the watermark at a wall time."""
        counted = [
            end for end, heard in zip(self._ends, self._heard, strict=True) if wall_ms - heard < SILENT_MS
        ]
        self._reached_ms = max(self._reached_ms, min(counted, default=max(self._ends)))
        return self._reached_ms

    def close(self, until_ms: int) -> None:
        """Take in that all bars that end by then have come."""
        self._reached_ms = max(self._reached_ms, until_ms)

    def is_silent(self, wall_ms: int) -> bool:
        """Tell whether no partition has had a bar for `SILENT_MS`."""
        return all(wall_ms - heard >= SILENT_MS for heard in self._heard)

    @property
    def newest_ms(self) -> int:
        """End of the newest bar of all."""
        return max(self._ends)


class Flush(msgspec.Struct, frozen=True):
    """What is to be written in one transaction, and committed after it."""

    until_ms: int
    rows: Rows
    late: list[LateWindow]
    """300 s windows that ended by then and have late bars."""


class Loader:
    """Takes bars with their offsets and says what to write when. All times are ms.

    A bar of a 300 s window that is written is late: its window is made anew, from what the warehouse has of
    it and the bar. Until the warehouse has enough, it waits and nothing after it is committed. Bars of other
    symbols than the shard's only move the watermark.
    """

    def __init__(self, flush_minutes: int, raw_partitions: int, shard: Shard, wall_ms: int) -> None:
        self.watermark = BarWatermark(raw_partitions, wall_ms)
        self.late: dict[tuple[str, int], LateWindow] = {}
        """Late bars that are in no row yet, by symbol and start of their window."""
        self.repeat_count = 0
        """Bars read again that are in rows already."""
        self._flush_ms = flush_minutes * MINUTE_MS
        self._shard = shard
        self._windows = Windows()
        self._written_ms = 0
        self._resumed: dict[int, Resumed] = {}
        self._next_offsets: dict[int, int] = {}
        self._seen_offsets: dict[int, int] = {}
        self._first_offsets: dict[int, dict[int, int]] = {}
        self._partial: set[int] = set()
        self._whole_from_ms = 0

    @property
    def minute_count(self) -> int:
        """Minutes of symbols that are held in memory."""
        return self._windows.minute_count

    @property
    def written_ms(self) -> int:
        """What ends by then is written."""
        return self._written_ms

    def resume(self, partition: int, resumed: Resumed) -> None:
        """Go on with a partition; before its first bar."""
        position = resumed.position
        self._resumed[partition] = resumed
        self._next_offsets[partition] = position.offset
        self._seen_offsets[partition] = position.seen_offset
        self._written_ms = max(self._written_ms, position.written_ms)
        if resumed.is_partial:
            self._partial.add(partition)

    def add(self, bar: Bar, partition: int, offset: int, wall_ms: int, *, was_at: int | None = None) -> None:
        """Take a bar; `was_at` is the offset of one that a connector had refused and that was sent again."""
        resumed = self._resumed[partition]
        is_seen = offset < resumed.position.seen_offset
        read_before = self._seen_offsets[partition]
        self._next_offsets[partition] = offset + 1
        self._seen_offsets[partition] = max(read_before, offset + 1)
        self.watermark.note(bar, wall_ms)
        window = floor(bar.start_ts_ms, FIVE_MINUTES_MS)
        if partition in self._partial:
            self._partial.remove(partition)
            self._whole_from_ms = max(self._whole_from_ms, window + FIVE_MINUTES_MS)
        if self._shard.count > 1 and partition_of(bar.symbol, self._shard.count) != self._shard.index:
            return
        if window >= self._whole_from_ms and window + FIVE_MINUTES_MS > self._written_ms:
            minute_end = floor(bar.start_ts_ms, MINUTE_MS) + MINUTE_MS
            self._windows.put(bar, is_written=is_seen and minute_end <= self._written_ms)
            self._first_offsets.setdefault(window, {}).setdefault(partition, offset)
        elif is_seen and window + FIVE_MINUTES_MS <= self._written_ms:
            self.repeat_count += 1
        else:
            key = bar.symbol, window
            if key not in self.late:
                read_until = self._seen_offsets | {partition: read_before}
                self.late[key] = LateWindow(bar.symbol, window, read_until)
            is_again = offset < resumed.end_offset
            self.late[key].add(bar, partition, offset, is_again=is_again, was_at=was_at)

    def due(self, wall_ms: int) -> Flush | None:
        """Return the flush that is due, if the watermark has passed a multiple of the flush minutes."""
        watermark_ms = self.watermark.at(wall_ms)
        if self._is_rereading or not self.is_due(watermark_ms):
            return None
        return self._flush(floor(watermark_ms, self._flush_ms))

    def is_due(self, watermark_ms: int) -> bool:
        """Tell whether a flush is due once the bar watermark is there."""
        return floor(watermark_ms, self._flush_ms) > self._written_ms

    def is_waiting(self, wall_ms: int) -> bool:
        """Tell whether bars are held, late ones too, no flush is due, and no further bar comes."""
        if not (self.minute_count or self.late) or not self.watermark.is_silent(wall_ms):
            return False
        return not self.is_due(self.watermark.at(wall_ms))

    def rest(self, *, is_final: bool) -> Flush:
        """Return the flush of all that ends by the newest bar: the topic is read to its end.

        `is_final` also takes the windows that have not ended: nothing more is to come for them.
        """
        newest_ms = self.watermark.newest_ms
        if is_final:
            return self._flush(-(-newest_ms // FIVE_MINUTES_MS) * FIVE_MINUTES_MS)
        return self._flush(max(self._written_ms, floor(newest_ms, MINUTE_MS)))

    def written(self, flush: Flush, waiting: Iterable[LateWindow] = ()) -> None:
        """Take in that a flush is in the warehouse, but for the late bars of some windows."""
        self._windows.forget(flush.until_ms)
        self._written_ms = flush.until_ms
        for window in [w for w in self._first_offsets if w + FIVE_MINUTES_MS <= flush.until_ms]:
            del self._first_offsets[window]
        done = {(w.symbol, w.start_ms) for w in flush.late} - {(w.symbol, w.start_ms) for w in waiting}
        self.late = {key: window for key, window in self.late.items() if key not in done}

    def positions(self) -> dict[int, Position]:
        """Return what the group may commit after `written`."""
        found = {}
        for partition, next_offset in self._next_offsets.items():
            late = [at for w in self.late.values() if (at := w.first_offsets.get(partition)) is not None]
            seen = min([self._seen_offsets[partition], *late])
            firsts = [offsets[partition] for offsets in self._first_offsets.values() if partition in offsets]
            found[partition] = Position(min([next_offset, *late, *firsts]), seen, self._written_ms)
        return found

    @property
    def _is_rereading(self) -> bool:
        """Whether records that an earlier process saw are still to come: windows lack their bars."""
        return any(self._next_offsets[p] < at.position.seen_offset for p, at in self._resumed.items())

    def _flush(self, until_ms: int) -> Flush:
        late = [window for window in self.late.values() if window.end_ms <= until_ms]
        return Flush(until_ms, self._windows.rows(until_ms), late)
