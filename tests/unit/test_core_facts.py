"""Facts: aligned windows from 1 s bars, when they are flushed, and what a restart makes of them."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from strategies import for_all

from glue.core.bars import Bar
from glue.core.facts import FIVE_MINUTES_MS, MINUTE_MS, Fact, incomplete, rebuilt
from glue.core.flushes import SILENT_MS, Flush, Loader, Position
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
    for bar_id, row in rows.items():
        for name, value in expected[bar_id].items():
            found = getattr(row, name)
            is_same = math.isclose(found, value, rel_tol=1e-9) if isinstance(value, float) else found == value
            assert is_same, (bar_id, name, found, value)


class Estate:
    """A topic of bars, a warehouse and a loader that can be killed; the clock stands where it is put."""

    def __init__(self, flush_minutes: int, shard: Shard | None = None, partitions: int = 1) -> None:
        self.topic: list[list[Bar]] = [[] for _ in range(partitions)]
        self.minutes: dict[str, Fact] = {}
        self.five_minutes: dict[str, Fact] = {}
        self.committed: dict[int, Position] = {}
        self.wall_ms = 0
        self._make = lambda: Loader(flush_minutes, RAW, shard or Shard(), self.wall_ms)
        self.restart()

    @property
    def bars(self) -> list[Bar]:
        return [b for partition in self.topic for b in partition]

    def restart(self) -> None:
        self.loader = self._make()
        self._read = [0] * len(self.topic)
        for partition in range(len(self.topic)):
            position = self.committed.get(partition, Position())
            self.loader.resume(partition, position)
            self._read[partition] = position.offset

    def append(self, b: Bar, partition: int = 0) -> None:
        self.topic[partition].append(b)

    def read(self) -> None:
        for partition, records in enumerate(self.topic):
            for offset in range(self._read[partition], len(records)):
                self.loader.add(records[offset], partition, offset, self.wall_ms)
            self._read[partition] = len(records)

    def read_and_flush(self) -> list[str]:
        self.read()
        flush = self.loader.due(self.wall_ms)
        return [] if flush is None else self.flush(flush)

    def write(self, flush: Flush) -> list[str]:
        """Put the rows into the warehouse; the table of 1 s bars has what is on the topic."""
        windows = {(b.symbol, b.start_ts_ms // FIVE_MINUTES_MS) for b in flush.late}
        stored = [b for b in self.bars if (b.symbol, b.start_ts_ms // FIVE_MINUTES_MS) in windows]
        ids = []
        for rows in (flush.rows, rebuilt(stored, flush.late)):
            self.minutes.update({row.bar_id: row for row in rows.minutes})
            self.five_minutes.update({row.bar_id: row for row in rows.five_minutes})
            ids += [row.bar_id for row in (*rows.minutes, *rows.five_minutes)]
        return ids

    def flush(self, flush: Flush) -> list[str]:
        ids = self.write(flush)
        self.loader.written(flush)
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


@pytest.mark.parametrize("seconds", [60, 300])
def test_a_window_is_incomplete_when_one_of_its_rows_counts_fewer_trades_than_the_stored_one(seconds):
    rows = rebuilt([bar(A, T), bar(A, T + MINUTE_MS), bar(B, T)], [])
    stored = {row.bar_id: row.trade_count for row in (*rows.minutes, *rows.five_minutes)}
    assert incomplete(rows, stored) == incomplete(rows, {}) == set()
    assert incomplete(rows, stored | {f"{A}-{T}-{seconds}s": 5}) == {(A, T)}


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
    assert flush.late == [late]
    estate.write(Flush(flush.until_ms, flush.rows, []))
    estate.loader.written(flush, unwritten_late=flush.late)
    estate.committed = estate.loader.positions()
    assert estate.committed[0] == Position(offset=2, seen_offset=2, written_ms=flush.until_ms)
    estate.restart()
    estate.assert_all_rows()


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
    loader.resume(0, Position(100), is_partial=True)
    loader.add(bar(A, T + 1000), 0, 100, 0)
    loader.add(bar(A, T + FIVE_MINUTES_MS), 0, 101, 0)
    flush = loader.due(SILENT_MS)
    assert flush is not None
    assert [b.start_ts_ms for b in flush.late] == [T + 1000]
    assert flush.rows.five_minutes == []


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
