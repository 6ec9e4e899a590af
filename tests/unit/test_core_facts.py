"""Facts: aligned windows from 1 s bars, when they are flushed, and what a restart makes of them."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from strategies import for_all

from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, MINUTE_MS, Fact, Windows
from glue.core.flushes import SILENT_MS, Flush, Loader, Position, Resumed
from glue.core.late_bars import LateWindow, Stored, Written
from glue.core.partition import Shard, partition_of

T = 1_600_000_200_000
"""A multiple of 300 s, ms since 1970 UTC."""
RAW = 3
A, B, C = sorted(next(s for s in "ABCDEFGHIJ" if partition_of(s, RAW) == p) for p in range(RAW))
"""A symbol of each raw partition."""


def bar(symbol: str, start_ms: int, px: float = 10.0, **more: Any) -> Bar:
    fields: dict[str, Any] = {
        "bar_id": f"{symbol}-{start_ms}",
        "symbol": symbol,
        "start_ts_ms": start_ms,
        "end_ts_ms": start_ms + 1000,
        "open": px,
        "high": px + 1,
        "low": px - 1,
        "close": px + 0.5,
        "volume": 100.0,
        "notional": 100 * px,
        "vwap": px,
        "trade_count": 2,
        "bin_count": 1,
        "max_lateness_ms": 7,
        "api_send_ts_ms": None,
        "source_event_ts_ms": None,
        "ingest_ts_ms": None,
    }
    return Bar(**(fields | more))


def model(bars: list[Bar], seconds: int) -> dict[str, dict[str, Any]]:
    """Make the rows of all windows of a length the slow way: a dictionary a bar id, sorted lists, fsum."""
    newest = {b.bar_id: b for b in bars}
    windows: dict[tuple[str, int], list[Bar]] = {}
    for b in newest.values():
        windows.setdefault((b.symbol, b.start_ts_ms // 1000 // seconds), []).append(b)
    rows = {}
    for (symbol, number), found in windows.items():
        ordered = sorted(found, key=lambda b: b.start_ts_ms)
        start = number * seconds * 1000
        volume, notional = (math.fsum(getattr(b, n) for b in ordered) for n in ("volume", "notional"))
        rows[f"{symbol}-{start}-{seconds}s"] = {
            "symbol": symbol,
            "start_ts_ms": start,
            "end_ts_ms": start + seconds * 1000,
            "open": ordered[0].open,
            "high": max(b.high for b in ordered),
            "low": min(b.low for b in ordered),
            "close": ordered[-1].close,
            "volume": volume,
            "notional": notional,
            "vwap": notional / volume if volume else ordered[-1].close,
            "trade_count": sum(b.trade_count for b in ordered),
            "bar_count": len(ordered),
            "max_lateness_ms": max(b.max_lateness_ms for b in ordered),
            "api_send_ts_ms": min((b.api_send_ts_ms for b in ordered if b.api_send_ts_ms), default=None),
            "source_event_ts_ms": None,
            "ingest_ts_ms": max((b.ingest_ts_ms for b in ordered if b.ingest_ts_ms), default=None),
        }
    return rows


def assert_rows(rows: dict[str, Fact], bars: list[Bar], seconds: int) -> None:
    expected = model(bars, seconds)
    assert set(rows) == set(expected)
    assert_same(rows, expected)


def assert_same(rows: dict[str, Fact], expected: dict[str, dict[str, Any]]) -> None:
    for bar_id, row in rows.items():
        for name, value in expected[bar_id].items():
            found = getattr(row, name)
            is_same = math.isclose(found, value, rel_tol=1e-9) if isinstance(value, float) else found == value
            assert is_same, (bar_id, name, found, value)


def as_written(row: Fact) -> Written:
    return Written(**{name: getattr(row, name) for name in Written.__struct_fields__})


class Estate:
    """A topic of bars, a warehouse and a loader that can be killed; the clock stands where it is put.

    `loaded` is how far the connector has come on each partition, None where it has all at once.
    """

    def __init__(self, flush_minutes: int, shard: Shard | None = None, partitions: int = 1) -> None:
        self.topic: list[list[Bar]] = [[] for _ in range(partitions)]
        self.minutes: dict[str, Fact] = {}
        self.five_minutes: dict[str, Fact] = {}
        self.committed: dict[int, Position] = {}
        self.loaded: list[int] | None = None
        self.refused: set[str] = set()
        """Bars that the connector could not write."""
        self.wall_ms = 0
        self._make = lambda: Loader(flush_minutes, RAW, shard or Shard(), self.wall_ms)
        self.restart()

    @property
    def bars(self) -> list[Bar]:
        return [b for partition in self.topic for b in partition]

    @property
    def bars_read(self) -> list[Bar]:
        return [b for partition, end in zip(self.topic, self._read, strict=True) for b in partition[:end]]

    def restart(self) -> None:
        self.loader = self._make()
        self._read = [0] * len(self.topic)
        for partition, records in enumerate(self.topic):
            position = self.committed.get(partition, Position())
            self.loader.resume(partition, Resumed(position, len(records)))
            self._read[partition] = position.offset

    def append(self, b: Bar, partition: int = 0) -> None:
        self.topic[partition].append(b)

    def read(self, most: int = 1 << 30) -> None:
        for partition, records in enumerate(self.topic):
            for offset in range(self._read[partition], min(len(records), self._read[partition] + most)):
                self.loader.add(records[offset], partition, offset, self.wall_ms)
                self._read[partition] = offset + 1

    def read_and_flush(self) -> list[str]:
        self.read()
        flush = self.loader.due(self.wall_ms)
        return [] if flush is None else self.flush(flush)

    def load(self, partition: int, records: int) -> None:
        """Let the connector write so many records of a partition more."""
        if self.loaded is None:
            self.loaded = [0] * len(self.topic)
        self.loaded[partition] = min(len(self.topic[partition]), self.loaded[partition] + records)

    def stored(self, late: LateWindow) -> tuple[list[Stored], dict[int, int]]:
        """Return what the table of 1 s bars has of a window, and the last record of each partition there."""
        bars, last = [], {}
        for partition, records in enumerate(self.topic):
            end = len(records) if self.loaded is None else self.loaded[partition]
            for offset, b in enumerate(records[:end]):
                if b.bar_id in self.refused:
                    continue
                last[partition] = offset
                if (b.symbol, b.start_ts_ms - b.start_ts_ms % FIVE_MINUTES_MS) == (
                    late.symbol,
                    late.start_ms,
                ):
                    bars.append(Stored(b, partition, offset))
        return bars, last

    def write(self, flush: Flush) -> tuple[list[str], list[LateWindow]]:
        """Put the rows into the warehouse; return their ids, and the windows that wait."""
        stored = {i: as_written(row) for i, row in (self.minutes | self.five_minutes).items()}
        every, ids, waiting = [flush.rows], [], []
        for late in flush.late:
            rows = late.rebuilt(*self.stored(late), stored)
            if rows is None:
                waiting.append(late)
            else:
                every.append(rows)
        for rows in every:
            self.minutes.update({row.bar_id: row for row in rows.minutes})
            self.five_minutes.update({row.bar_id: row for row in rows.five_minutes})
            for seconds, written in ((60, rows.minutes), (300, rows.five_minutes)):
                if written:  # and none is made from a part of what was read
                    assert_same({row.bar_id: row for row in written}, model(self.bars_read, seconds))
                ids += [row.bar_id for row in written]
                assert all(row.end_ts_ms <= flush.until_ms for row in written)
        return ids, waiting

    def flush(self, flush: Flush) -> list[str]:
        ids, waiting = self.write(flush)
        self.loader.written(flush, waiting)
        self.committed = self.loader.positions()
        return ids

    def assert_all_rows(self) -> None:
        self.read_and_flush()
        self.flush(self.loader.rest(is_final=True))
        assert_rows(self.minutes, self.bars, 60)
        assert_rows(self.five_minutes, self.bars, 300)


@pytest.mark.parametrize("minutes", [1, 5, 7])
def test_a_flush_is_due_when_every_raw_partition_has_passed_a_multiple_of_the_flush_minutes(minutes):
    estate = Estate(minutes)
    boundary = -(-(T + 1) // (minutes * MINUTE_MS)) * minutes * MINUTE_MS
    for symbol in (A, B, C):
        estate.append(bar(symbol, T))
        assert estate.read_and_flush() == []
    for symbol in (A, B):
        estate.append(bar(symbol, boundary - 1000))
        assert estate.read_and_flush() == []
    estate.append(bar(C, boundary - 2000))
    assert estate.read_and_flush() == []
    estate.append(bar(C, boundary - 1000))
    written = estate.read_and_flush()
    assert f"{A}-{T}-60s" in written
    assert f"{A}-{boundary - MINUTE_MS}-60s" in written
    assert (f"{A}-{T}-300s" in written) == (boundary >= T + FIVE_MINUTES_MS)


def test_a_partition_that_is_silent_for_ten_seconds_does_not_hold_a_flush_back():
    estate = Estate(1)
    estate.append(bar(A, T))
    estate.append(bar(B, T))
    estate.read_and_flush()
    estate.wall_ms = SILENT_MS - 1
    estate.append(bar(A, T + MINUTE_MS))
    assert estate.read_and_flush() == []  # C, which has never had a bar, may still have one
    estate.wall_ms = SILENT_MS
    assert estate.read_and_flush() == [f"{A}-{T}-60s", f"{B}-{T}-60s"]


def test_where_all_are_silent_the_newest_bar_counts():
    estate = Estate(1)
    estate.append(bar(A, T))
    estate.append(bar(B, T + MINUTE_MS))
    estate.read_and_flush()
    estate.wall_ms = SILENT_MS
    assert estate.read_and_flush() == [f"{A}-{T}-60s"]


def test_where_no_bar_comes_any_more_windows_close_when_all_bars_are_known_to_have_come():
    estate = Estate(1)
    estate.append(bar(A, T + 30_000))
    estate.read_and_flush()
    estate.wall_ms = SILENT_MS - 1
    assert not estate.loader.is_waiting(estate.wall_ms)
    estate.wall_ms = 1000 * SILENT_MS
    assert estate.read_and_flush() == []
    assert estate.loader.is_waiting(estate.wall_ms)
    assert not estate.loader.is_due(T + MINUTE_MS - 1)
    estate.loader.watermark.close(T + MINUTE_MS)
    assert not estate.loader.is_waiting(estate.wall_ms)  # for anything but the flush that is due
    estate.loader.watermark.close(T)
    assert estate.read_and_flush() == [f"{A}-{T}-60s"]
    assert estate.loader.is_waiting(estate.wall_ms)  # the five minutes are still held
    estate.loader.watermark.close(T + FIVE_MINUTES_MS)
    assert estate.read_and_flush() == [f"{A}-{T}-300s"]
    assert not estate.loader.is_waiting(estate.wall_ms)
    estate.append(bar(A, T + 31_000))
    estate.read()
    estate.wall_ms += SILENT_MS
    assert estate.loader.is_waiting(estate.wall_ms)  # with a late bar


def test_a_window_without_a_trade_has_no_row():
    estate = Estate(1)
    for start in (T, T + 3 * MINUTE_MS, T + 3 * FIVE_MINUTES_MS):
        estate.append(bar(A, start))
    estate.assert_all_rows()
    assert sorted(estate.minutes) == [
        f"{A}-{start}-60s" for start in (T, T + 3 * MINUTE_MS, T + 3 * FIVE_MINUTES_MS)
    ]
    assert sorted(estate.five_minutes) == [f"{A}-{T}-300s", f"{A}-{T + 3 * FIVE_MINUTES_MS}-300s"]


def test_a_bar_that_comes_again_counts_once_and_the_last_one_counts():
    estate = Estate(5)
    estate.append(bar(A, T, px=10))
    estate.append(bar(A, T + 1000, px=11))
    estate.append(bar(A, T, px=12))
    estate.assert_all_rows()
    assert estate.minutes[f"{A}-{T}-60s"].open == 12
    assert estate.minutes[f"{A}-{T}-60s"].trade_count == 4


def test_where_only_size_0_traded_vwap_is_the_close():
    estate = Estate(1)
    estate.append(bar(A, T, volume=0.0, notional=0.0))
    estate.assert_all_rows()
    assert estate.minutes[f"{A}-{T}-60s"].vwap == 10.5


def test_a_late_bar_rewrites_its_minute_while_the_five_minutes_are_open():
    estate = Estate(1)
    estate.append(bar(A, T, px=10))
    estate.append(bar(A, T + MINUTE_MS))
    estate.wall_ms = SILENT_MS
    assert estate.read_and_flush() == [f"{A}-{T}-60s"]
    estate.append(bar(B, T))
    estate.append(bar(A, T + 2 * MINUTE_MS))
    estate.wall_ms = 2 * SILENT_MS
    assert estate.read_and_flush() == []  # B is not silent any more, and may have more of the old minute
    estate.wall_ms = 3 * SILENT_MS
    assert estate.read_and_flush() == [f"{B}-{T}-60s", f"{A}-{T + MINUTE_MS}-60s"]
    assert estate.loader.late == {}


def test_a_late_bar_of_a_written_window_makes_it_anew_from_all_its_bars():
    estate = Estate(5)
    for start in (T, T + 1000, T + FIVE_MINUTES_MS):
        estate.append(bar(A, start))
    estate.wall_ms = SILENT_MS
    assert f"{A}-{T}-300s" in estate.read_and_flush()
    estate.append(bar(A, T + 2000, px=50))
    estate.append(bar(A, T + 2 * FIVE_MINUTES_MS))
    estate.wall_ms = 2 * SILENT_MS
    assert f"{A}-{T}-300s" in estate.read_and_flush()
    assert estate.five_minutes[f"{A}-{T}-300s"].bar_count == 3
    assert estate.five_minutes[f"{A}-{T}-300s"].high == 51


def test_what_a_late_bar_lacks_is_not_committed_until_it_is_in_a_row():
    estate = Estate(5)
    for start in (T, T + FIVE_MINUTES_MS):
        estate.append(bar(A, start))
    estate.wall_ms = SILENT_MS
    estate.read_and_flush()
    late = bar(A, T + 2000, px=50)
    estate.append(late)
    estate.append(bar(A, T + 2 * FIVE_MINUTES_MS))
    estate.read()
    estate.wall_ms = 2 * SILENT_MS
    flush = estate.loader.due(estate.wall_ms)
    assert flush is not None
    assert [list(window.bars.values()) for window in flush.late] == [[late]]
    estate.write(Flush(flush.until_ms, flush.rows, []))
    estate.loader.written(flush, waiting=flush.late)
    estate.committed = estate.loader.positions()
    assert estate.committed[0] == Position(offset=2, seen_offset=2, written_ms=flush.until_ms)
    estate.restart()
    estate.assert_all_rows()


def rows_of(*bars: Bar) -> dict[str, Written]:
    """Return the rows of some bars as the warehouse has them."""
    windows = Windows()
    for one in bars:
        windows.put(one)
    rows = windows.rows(T + FIVE_MINUTES_MS)
    return {row.bar_id: as_written(row) for row in (*rows.minutes, *rows.five_minutes)}


def late_window(trades: int = 2) -> LateWindow:
    """Return the window of T with a late bar, before which 10 records of partition 0 were read and 5 of 1."""
    late = LateWindow(A, T, {0: 10, 1: 5})
    late.add(bar(A, T + 2000, trade_count=trades), 0, 10, is_again=False)
    return late


EARLIER = [Stored(bar(A, T), 0, 8), Stored(bar(A, T + 1000), 1, 4)]


def test_a_late_window_waits_until_the_connector_has_what_was_read_of_each_partition():
    for last in ({}, {0: 9}, {0: 8, 1: 4}, {0: 9, 1: 3}):
        assert late_window().rebuilt(EARLIER, last, {}) is None
    rows = late_window().rebuilt(EARLIER, {0: 9, 1: 4}, {})
    assert rows is not None
    assert [row.bar_count for row in (*rows.minutes, *rows.five_minutes)] == [3, 3]


def test_a_row_of_more_trades_than_the_stored_one_may_lack_bars_all_the_same():
    """The connector refused an earlier bar: the many trades of the late one do not make up for it."""
    last, rows = {0: 20, 1: 20}, rows_of(bar(A, T), bar(A, T + 1000))
    minute = {f"{A}-{T}-60s": rows[f"{A}-{T}-60s"]}
    assert late_window(trades=50).rebuilt(EARLIER[:1], last, rows) is None
    assert late_window(trades=50).rebuilt(EARLIER[:1], last, minute) is None
    assert late_window(trades=50).rebuilt(EARLIER, last, rows) is not None


def test_bars_that_were_not_read_yet_do_not_make_up_for_one_that_is_missing():
    ahead = Stored(bar(A, T + 3000, trade_count=50), 0, 12)
    written = rows_of(bar(A, T), bar(A, T + 1000))
    assert late_window().rebuilt([EARLIER[0], ahead], {0: 12, 1: 9}, written) is None
    rows = late_window().rebuilt([*EARLIER, ahead], {0: 12, 1: 9}, written)
    assert rows is not None
    assert rows.five_minutes[0].bar_count == 3


def test_of_a_bar_that_is_stored_twice_the_newest_load_counts():
    newer = Stored(bar(A, T, px=99, trade_count=1), 0, 9)
    rows = late_window().rebuilt([*EARLIER, newer], {0: 9, 1: 4}, {})
    assert rows is not None
    assert (rows.five_minutes[0].open, rows.five_minutes[0].trade_count) == (99, 5)


def test_bars_of_another_topic_are_bars_all_the_same():
    assert (
        late_window().rebuilt(
            [Stored(bar(A, T)), EARLIER[1]], {0: 9, 1: 4}, rows_of(bar(A, T), bar(A, T + 1000))
        )
        is not None
    )


def test_a_late_bar_that_may_be_in_the_row_already_counts_as_one_of_it():
    written = rows_of(*(bar(A, T + i * 1000) for i in range(3)))
    late = late_window()
    assert late.rebuilt(EARLIER, {0: 9, 1: 4}, written) is None
    assert late.rebuilt(EARLIER, {0: 9, 1: 4}, {}) is not None  # and the answer to the write is lost
    assert late.rebuilt(EARLIER, {0: 9, 1: 4}, written) is not None


def test_a_loader_may_have_died_anywhere_on_each_of_several_partitions():
    late = LateWindow(A, T, {0: 10})
    for second, partition in ((2, 0), (3, 0), (4, 1)):
        late.add(bar(A, T + second * 1000, volume=2.0**second), partition, 10 + second, is_again=True)
    earlier = bar(A, T), bar(A, T + 1000)
    for seconds, is_known in (((), True), ((2,), True), ((4,), True), ((2, 4), True), ((3,), False)):
        written = rows_of(*earlier, *(bar(A, T + s * 1000, volume=2.0**s) for s in seconds))
        stored = [Stored(one, 0, offset) for offset, one in enumerate(earlier)]
        assert (late.rebuilt(stored, {0: 10}, written) is not None) == is_known, seconds


def test_a_late_bar_that_may_be_in_the_row_does_not_make_up_for_another_that_is_missing():
    """A loader before this one died with the late bar in hand, and the connector refused an earlier bar."""
    late = LateWindow(A, T, {0: 10})
    late.add(bar(A, T + 2000, volume=50.0), 0, 10, is_again=True)
    earlier = bar(A, T), bar(A, T + 1000)
    assert late.rebuilt(EARLIER[:1], {0: 10}, rows_of(*earlier)) is None
    with_it = rows_of(*earlier, bar(A, T + 2000, volume=50.0))
    assert late.rebuilt(EARLIER[:1], {0: 10}, with_it) is None
    assert late.rebuilt(EARLIER[:1], {0: 10}, rows_of(bar(A, T), bar(A, T + 2000, volume=50.0))) is not None


@pytest.mark.parametrize(("was_at", "is_known"), [(1, True), (3, False), (None, False)])
def test_a_bar_that_a_connector_had_refused_is_in_the_row_when_it_comes_again(was_at, is_known):
    estate = Estate(5)
    refused = bar(A, T + 1000)
    estate.refused.add(refused.bar_id)
    for one in (bar(A, T), refused, bar(A, T + FIVE_MINUTES_MS)):
        estate.append(one)
    estate.wall_ms = SILENT_MS
    estate.read_and_flush()
    estate.loader.add(refused, 0, 3, estate.wall_ms, was_at=was_at)
    flush = estate.loader.rest(is_final=True)
    assert [window.bars for window in flush.late] == [{refused.bar_id: refused}]
    ids, waiting = estate.write(flush)
    assert (f"{A}-{T}-300s" in ids, bool(waiting)) == (is_known, not is_known)


def test_of_a_window_that_lost_its_beginning_bars_that_were_seen_but_not_written_are_late():
    loader = Loader(5, RAW, Shard(), 0)
    loader.resume(0, Resumed(Position(100, 102, T), 103, is_partial=True))
    loader.add(bar(A, T + 1000), 0, 100, 0)
    loader.add(bar(A, T + 2000), 0, 101, 0)
    loader.add(bar(A, T + FIVE_MINUTES_MS), 0, 102, 0)
    flush = loader.due(SILENT_MS)
    assert flush is not None
    assert [list(late.bars) for late in flush.late] == [[f"{A}-{T + 1000}", f"{A}-{T + 2000}"]]


def test_a_late_window_that_has_not_ended_waits_for_its_end():
    loader = Loader(1, RAW, Shard(), 0)
    loader.resume(0, Resumed(Position(100, 100), 100, is_partial=True))
    loader.add(bar(A, T + 1000), 0, 100, 0)
    loader.add(bar(A, T + 2 * MINUTE_MS), 0, 101, 0)
    flush = loader.due(SILENT_MS)
    assert flush is not None
    assert (flush.until_ms, flush.late) == (T + 2 * MINUTE_MS, [])
    loader.written(flush)
    assert loader.positions() == {0: Position(100, 100, T + 2 * MINUTE_MS)}
    loader.add(bar(A, T + FIVE_MINUTES_MS), 0, 102, 0)
    flush = loader.due(2 * SILENT_MS)
    assert flush is not None
    assert [len(late.bars) for late in flush.late] == [2]
    loader.written(flush)
    assert loader.positions() == {0: Position(102, 103, T + FIVE_MINUTES_MS)}


def test_the_first_bar_of_the_oldest_open_five_minutes_is_committed():
    estate = Estate(1)
    for start in (T, T + FIVE_MINUTES_MS - 1000, T + FIVE_MINUTES_MS, T + FIVE_MINUTES_MS + MINUTE_MS):
        estate.append(bar(A, start))
    estate.wall_ms = SILENT_MS
    estate.read_and_flush()
    assert estate.committed == {0: Position(2, 4, T + FIVE_MINUTES_MS + MINUTE_MS)}


def test_bars_of_written_windows_that_are_read_again_after_a_restart_change_nothing():
    estate = Estate(5)
    for b in (bar(A, T), bar(A, T + FIVE_MINUTES_MS), bar(B, T), bar(B, T + FIVE_MINUTES_MS)):
        estate.append(b)
    estate.wall_ms = SILENT_MS
    estate.read_and_flush()
    assert estate.committed[0].offset == 1
    estate.restart()
    estate.read()
    assert estate.loader.repeat_count == 1
    assert estate.loader.late == {}
    assert estate.read_and_flush() == []


def test_nothing_is_flushed_until_all_that_was_seen_is_read_again():
    estate = Estate(1)
    for b in (bar(A, T), bar(A, T + MINUTE_MS), bar(B, T), bar(B, T + MINUTE_MS)):
        estate.append(b)
    estate.wall_ms = SILENT_MS
    estate.read_and_flush()
    estate.restart()
    estate.loader.add(bar(A, T), 0, 0, 0)
    estate.loader.add(bar(A, T + 9 * MINUTE_MS), 0, 1, 0)
    assert estate.loader.due(2 * SILENT_MS) is None
    estate.loader.add(bar(B, T), 0, 2, 0)
    estate.loader.add(bar(B, T + MINUTE_MS), 0, 3, 0)
    assert estate.loader.due(2 * SILENT_MS) is not None


def test_once_leaves_incomplete_windows_uncommitted_unless_it_is_final():
    estate = Estate(5)
    for start in (T, T + MINUTE_MS + 1000):
        estate.append(bar(A, start))
    estate.read()
    assert estate.flush(estate.loader.rest(is_final=False)) == [f"{A}-{T}-60s"]
    assert estate.committed == {0: Position(0, 2, T + MINUTE_MS)}
    estate.restart()
    estate.read()
    assert set(estate.flush(estate.loader.rest(is_final=True))) == {
        f"{A}-{T + MINUTE_MS}-60s",
        f"{A}-{T}-300s",
    }
    assert estate.committed == {0: Position(2, 2, T + FIVE_MINUTES_MS)}


def test_of_a_topic_that_has_lost_records_the_first_window_is_made_from_what_the_warehouse_has():
    loader = Loader(5, RAW, Shard(), 0)
    loader.resume(0, Resumed(Position(100, 100), 102, is_partial=True))
    loader.add(bar(A, T + 1000), 0, 100, 0)
    loader.add(bar(A, T + FIVE_MINUTES_MS), 0, 101, 0)
    flush = loader.due(SILENT_MS)
    assert flush is not None
    assert flush.rows.five_minutes == []
    (late,) = flush.late
    assert list(late.bars) == [f"{A}-{T + 1000}"]
    stored = [Stored(bar(A, T), 0, 99)]
    assert late.rebuilt([], {}, {}) is None
    assert late.rebuilt([], {0: 98}, {}) is None
    rows = late.rebuilt(stored, {0: 99}, {})
    assert rows is not None
    assert [row.bar_count for row in rows.five_minutes] == [2]


def test_a_position_survives_its_metadata():
    position = Position(3, 9, T)
    assert Position.parse(3, position.metadata) == position
    assert Position.parse(3, None) == Position(3, 3, 0)


PRICES = st.sampled_from([1.0, 2.25, 10.1, 99999.99, 0.00000001, 1e15])
KINDS = ["bar"] * 6 + ["late", "repeat", "pause", "close", "poll", "poll", "die"]
STEPS = st.sampled_from([0, 1000, 1000, 5000, 59_000, 60_000, 300_000, 900_000])


@st.composite
def runs(draw):
    """What happens to an estate: bars of each raw partition in order, late ones, and the rest of KINDS."""
    clocks = dict.fromkeys((A, B, C), T + draw(st.integers(0, 400)) * 1000)
    made: list[Bar] = []
    events: list[Any] = []
    for _ in range(draw(st.integers(1, 40))):
        kind = draw(
            st.sampled_from(["bar"] * 6 + ["late", "repeat", "pause", "close", "poll", "poll", "die"])
        )
        if kind == "bar" or (kind in ("late", "repeat") and not made):
            symbol = draw(st.sampled_from(sorted(clocks)))
            clocks[symbol] += draw(STEPS)
            start = clocks[symbol]
        elif kind == "late":
            symbol = draw(st.sampled_from(sorted(clocks)))
            start = max(0, clocks[symbol] - draw(STEPS) - draw(STEPS))
        elif kind == "repeat":
            symbol, start = (old := draw(st.sampled_from(made))).symbol, old.start_ts_ms
        elif kind == "close":
            events.append((kind, max(clocks.values()) + draw(STEPS)))
            continue
        else:
            events.append((kind, draw(st.integers(0, 2))))
            continue
        volume = draw(st.sampled_from([0.0, 1.0, 250.0, 0.1]))
        px = draw(PRICES)
        made.append(
            bar(
                symbol,
                start,
                px,
                volume=volume,
                notional=volume * px,
                trade_count=draw(st.integers(1, 9)),
                api_send_ts_ms=draw(st.sampled_from([None, 5, 6])),
                ingest_ts_ms=draw(st.sampled_from([None, 7, 8])),
            )
        )
        events.append(("bar", made[-1]))
    return events


def play(estate: Estate, events: list[Any]) -> None:
    partitions = len(estate.topic)
    for kind, what in events:
        if kind == "bar":
            estate.append(what, partition_of(what.bar_id, partitions))
        elif kind == "pause":
            estate.wall_ms += what * SILENT_MS // 2
        elif kind == "close":
            estate.loader.watermark.close(what)
        elif kind == "poll":
            estate.read_and_flush()
        else:  # dies before the transaction, after it and before the commit, or after the commit
            estate.read()
            flush = estate.loader.due(estate.wall_ms)
            if flush is not None and what == 1:
                estate.write(flush)
            elif flush is not None and what == 2:
                estate.flush(flush)
            estate.restart()


@for_all(st.sampled_from([1, 5, 7]), runs())
def test_whatever_happens_the_rows_are_those_of_all_bars(minutes, events):
    estate = Estate(minutes)
    play(estate, events)
    estate.assert_all_rows()


@for_all(st.sampled_from([1, 5, 7]), runs())
def test_shards_share_the_symbols_of_any_number_of_partitions(minutes, events):
    estates = [Estate(minutes, Shard(i, 2), partitions=3) for i in range(2)]
    minutes_found: dict[str, Fact] = {}
    five_found: dict[str, Fact] = {}
    for estate in estates:
        play(estate, events)
        estate.read_and_flush()
        estate.flush(estate.loader.rest(is_final=True))
        assert not minutes_found.keys() & estate.minutes.keys()
        minutes_found |= estate.minutes
        five_found |= estate.five_minutes
    if not any(kind == "bar" for kind, _ in events):
        return
    assert_rows(minutes_found, estates[0].bars, 60)
    assert_rows(five_found, estates[0].bars, 300)


@for_all(runs())
def test_the_rows_are_the_same_whatever_the_flush_minutes(events):
    found = []
    for minutes in (1, 5, 7):
        estate = Estate(minutes)
        play(estate, events)
        estate.assert_all_rows()
        found.append(
            [msgspec.structs.asdict(row) for _, row in sorted((estate.minutes | estate.five_minutes).items())]
        )
    assert found[0] == found[1] == found[2]


@st.composite
def loads(draw):
    """Bars of one window in pieces, between them what the connector loads, flushes and how these end."""
    seconds = draw(st.permutations(range(draw(st.integers(2, 12)))))
    partitions = draw(st.integers(1, 3))
    steps: list[Any] = [
        ("bar", second, draw(st.integers(1, 9)), draw(st.integers(0, 2)) % partitions) for second in seconds
    ]
    for _ in range(draw(st.integers(2, 12))):
        kind = draw(st.sampled_from(["load", "load", "flush", "flush", "flush", "die", "lost answer"]))
        what = draw(st.integers(0, 2)) % partitions, draw(st.integers(0, 4))
        steps.insert(draw(st.integers(1, len(steps))), (kind, *what))
    return partitions, steps


@for_all(loads(), st.booleans())
def test_late_bars_in_any_pieces_with_the_connector_anywhere_never_give_a_row_from_a_part(load, is_refused):
    partitions, steps = load
    estate = Estate(1, partitions=partitions)
    estate.loaded = [0] * partitions
    ticks = iter(range(T + FIVE_MINUTES_MS, T + 900 * FIVE_MINUTES_MS, FIVE_MINUTES_MS))

    def written(bar_id: str) -> int:
        return estate.five_minutes[bar_id].bar_count if bar_id in estate.five_minutes else 0

    def flush(outcome: str) -> None:
        estate.read()
        estate.wall_ms += SILENT_MS
        estate.append(bar(B, next(ticks)))  # the watermark goes on
        estate.read()
        due = estate.loader.due(estate.wall_ms)
        assert due is not None
        if outcome == "flush":
            estate.flush(due)
        elif outcome == "lost answer":
            estate.write(due)  # and it is tried again
        else:
            estate.write(due)
            estate.restart()

    row_id, before = f"{A}-{T}-300s", 0
    for kind, *what in steps:
        if kind == "bar":
            second, trades, partition = what
            volume = 2.0**second  # so that no two sets of bars make the same row
            estate.append(bar(A, T + second * 1000, trade_count=trades, volume=volume), partition)
            if is_refused and second == 0:
                estate.refused.add(f"{A}-{T}")
        elif kind == "load":
            estate.load(*what)
        else:
            flush(kind)
        assert written(row_id) >= before, "a row was replaced by one with bars missing"
        before = written(row_id)
    flush("flush")
    for partition in range(partitions):
        estate.append(bar(C, next(ticks)), partition)  # behind a bar that was refused, the next one tells
        estate.load(partition, 1 << 30)
    flush("flush")
    if not is_refused:
        assert not estate.loader.late
        assert_same({row_id: estate.five_minutes[row_id]}, model(estate.bars, 300))
        assert_same(estate.minutes, model(estate.bars, 60))
