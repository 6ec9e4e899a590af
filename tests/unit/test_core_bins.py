"""What a bin holds: prices in event order, sums, earliest times."""

from itertools import permutations

import pytest
from feed_lines import END, MUCH_LATER, T, bins, make_binner, run, tick_line

from glue.core.bins import OpenBin, earliest, watermark_record
from glue.core.ticks import Tick


def the_bin(*lines):
    (found,) = bins(run(make_binner(), *lines, END))
    return found


def test_a_bin_of_one_tick_is_that_tick():
    b = the_bin(tick_line("A", T + 13, 2.5, 4, api_send_ts_ms=T + 20, source_event_ts_ms=T - 5))
    assert (b.bin_id, b.symbol, b.source) == (f"A-{T + 10}", "A", "replay")
    assert (b.start_ts_ms, b.end_ts_ms, b.window_ms) == (T + 10, T + 20, 10)
    assert b.open == b.high == b.low == b.close == 2.5
    assert (b.volume, b.notional, b.trade_count, b.max_lateness_ms) == (4, 10, 1, 0)
    assert (b.api_send_ts_ms, b.source_event_ts_ms, b.ingest_ts_ms) == (T + 20, T - 5, None)


def test_start_is_inclusive_and_end_is_exclusive():
    out = bins(
        run(make_binner(), tick_line("A", T + 9), tick_line("A", T + 10), tick_line("A", T + 19.999), END)
    )
    assert [(b.start_ts_ms, b.trade_count) for b in out] == [(T, 1), (T + 10, 2)]


def test_sums_highs_and_lows_are_of_all_ticks():
    b = the_bin(tick_line("A", T, 2, 1), tick_line("A", T + 1, 5, 2), tick_line("A", T + 2, 1, 4))
    assert (b.open, b.high, b.low, b.close) == (2, 5, 1, 1)
    assert (b.volume, b.notional, b.trade_count) == (7, 16, 3)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_open_and_close_go_by_event_time_whatever_came_first(order):
    ticks = [tick_line("A", T, 3), tick_line("A", T + 4, 9), tick_line("A", T + 9, 4)]
    b = the_bin(*(ticks[i] for i in order))
    assert (b.open, b.high, b.low, b.close) == (3, 9, 3, 4)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_same_stamp_goes_by_number(order):
    ticks = [tick_line("A", T, px, seq=px) for px in (1, 2, 3)]
    b = the_bin(*(ticks[i] for i in order))
    assert (b.open, b.close) == (1, 3)


def test_the_same_stamp_without_numbers_goes_by_arrival():
    b = the_bin(*(tick_line("A", T, px) for px in (2, 3, 1)))
    assert (b.open, b.close) == (2, 1)


def test_the_same_stamp_and_number_goes_by_arrival():
    b = the_bin(*(tick_line("A", T, px, seq=seq) for px, seq in ((1, 1), (2, 2), (3, 2), (4, 1))))
    assert (b.open, b.close) == (1, 3)


def test_times_on_the_way_are_the_earliest_known():
    b = the_bin(
        tick_line("A", T),
        tick_line("A", T + 1, api_send_ts_ms=9, source_event_ts_ms=8),
        tick_line("A", T + 2, api_send_ts_ms=7, source_event_ts_ms=9),
        tick_line("A", T + 3),
    )
    assert (b.api_send_ts_ms, b.source_event_ts_ms) == (7, 8)
    assert earliest(None, None) is None
    assert (earliest(0, None), earliest(None, 0), earliest(0, 1), earliest(1, 0)) == (0, 0, 0, 0)


def test_max_lateness_is_of_the_latest_tick():
    b = the_bin(tick_line("A", T + 9), tick_line("A", T + 2), tick_line("A", T + 5))
    assert b.max_lateness_ms == 7


def test_size_zero_trades_without_volume():
    b = the_bin(tick_line("A", T, 3, 0))
    assert (b.volume, b.notional, b.trade_count) == (0, 0, 1)


def test_the_bin_tells_the_watermark_it_was_closed_at():
    out = run(make_binner(), tick_line("A", T), tick_line("A", T + 530), now_ms=MUCH_LATER)
    assert [(b.start_ts_ms, b.watermark_ms) for b in bins(out)] == [(T, T + 510)]


def test_a_watermark_record_is_a_bin_without_trades_rounded_down():
    record = watermark_record("~wm3", T + 1519, 10, 5)
    assert (record.bin_id, record.symbol) == (f"~wm3-{T + 1510}", "~wm3")
    assert (record.start_ts_ms, record.end_ts_ms, record.watermark_ms) == (T + 1510, T + 1520, T + 1510)
    assert record.open is record.high is record.low is record.close is None
    assert (record.volume, record.notional, record.trade_count, record.max_lateness_ms) == (0, 0, 0, 0)
    assert (record.api_send_ts_ms, record.source_event_ts_ms, record.ingest_ts_ms) == (None, None, 5)


def test_an_open_bin_holds_no_ticks():
    open_bin = OpenBin(Tick("A", 1.0, 1.0, 0.0), 0, 0, 0)
    assert not hasattr(open_bin, "__dict__")
