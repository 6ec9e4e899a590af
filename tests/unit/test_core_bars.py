"""1 s bars: folding, repeats, closing by watermark, restart."""

import pytest
from feed_lines import T

from glue.core.bars import BarBuilder, fold
from glue.core.bins import TickBin, watermark_record

L = 500


def make_bin(start, symbol="A", *, px=1.0, volume=1.0, count=1, **changes):
    """Return a bin that starts at T + start; prices are all the same unless changed."""
    at = T + start
    fields = {
        "bin_id": f"{symbol}-{at}", "symbol": symbol,
        "start_ts_ms": at, "end_ts_ms": at + 10, "window_ms": 10,
        "open": px, "high": px, "low": px, "close": px, "volume": volume, "notional": px * volume,
        "trade_count": count, "max_lateness_ms": 0, "watermark_ms": at + L,
        "api_send_ts_ms": None, "source_event_ts_ms": None, "ingest_ts_ms": None,
    }  # fmt: skip
    return TickBin(**(fields | changes))


def watermark(at):
    return watermark_record("~wm0", T + at, 10, None)


def build(*records, builder=None):
    """Return (index of the closing record, bar) for a partition's records."""
    builder = builder or BarBuilder(L)
    return [(i, fold(bins, None)) for i, r in enumerate(records) for bins in builder.add(r, i)]


def the_bar(*bins):
    ((_, bar),) = build(*bins, watermark(5000))
    return bar


# Folding


def test_a_bar_of_one_bin_is_that_bin():
    bar = the_bar(make_bin(990, px=2.5, volume=4.0, count=3, max_lateness_ms=7))
    assert (bar.bar_id, bar.symbol, bar.source) == (f"A-{T}", "A", "aggregate")
    assert (bar.start_ts_ms, bar.end_ts_ms) == (T, T + 1000)
    assert bar.open == bar.high == bar.low == bar.close == bar.vwap == 2.5
    assert (bar.volume, bar.notional, bar.trade_count, bar.bin_count) == (4, 10, 3, 1)
    assert (bar.max_lateness_ms, bar.api_send_ts_ms, bar.source_event_ts_ms) == (7, None, None)
    assert bar.ingest_ts_ms is None


def test_open_and_close_are_of_the_earliest_and_latest_bin_whatever_came_first():
    bins = [
        make_bin(500, open=5.0, high=6.0, low=4.0, close=5.5),
        make_bin(10, open=2.0, high=9.0, low=2.0, close=3.0),
        make_bin(900, open=7.0, high=8.0, low=1.0, close=7.5),
    ]
    for order in (bins, bins[::-1], [bins[1], bins[0], bins[2]]):
        bar = the_bar(*order)
        assert (bar.open, bar.high, bar.low, bar.close) == (2, 9, 1, 7.5)
        assert bar.bin_count == 3


def test_sums_are_added_in_start_order_so_that_arrival_does_not_show():
    bins = [make_bin(10 * i, volume=v) for i, v in enumerate([0.1, 0.2, 0.3, 1e9, 1e-7])]
    assert the_bar(*bins).volume == the_bar(*reversed(bins)).volume == 0.1 + 0.2 + 0.3 + 1e9 + 1e-7


def test_vwap_is_notional_by_volume():
    bar = the_bar(make_bin(0, px=2.0, volume=1.0), make_bin(10, px=4.0, volume=3.0))
    assert (bar.volume, bar.notional, bar.vwap) == (4, 14, 3.5)


def test_vwap_is_the_close_where_only_size_0_traded():
    bar = the_bar(make_bin(0, px=2.0, volume=0.0), make_bin(10, px=4.0, volume=0.0, close=3.0))
    assert (bar.volume, bar.vwap, bar.trade_count) == (0, 3, 2)


def test_times_on_the_way_are_the_earliest_known():
    bar = the_bar(
        make_bin(0),
        make_bin(10, api_send_ts_ms=9, source_event_ts_ms=8, max_lateness_ms=4),
        make_bin(20, api_send_ts_ms=7, source_event_ts_ms=9, max_lateness_ms=3),
    )
    assert (bar.api_send_ts_ms, bar.source_event_ts_ms, bar.max_lateness_ms) == (7, 8, 4)


def test_emit_time_is_what_it_is_told():
    assert fold({T: make_bin(0)}, T + 1600).ingest_ts_ms == T + 1600


def test_symbols_and_seconds_do_not_mix():
    bars = build(make_bin(0), make_bin(0, "B"), make_bin(999 // 10 * 10), make_bin(1000), watermark(9000))
    assert [(bar.bar_id, bar.bin_count) for _, bar in bars] == [
        (f"A-{T}", 2),
        (f"B-{T}", 1),
        (f"A-{T + 1000}", 1),
    ]


# Repeats


def test_a_bin_sent_again_counts_once_and_the_last_one_counts():
    bar = the_bar(make_bin(0, volume=1.0), make_bin(10), make_bin(0, volume=5.0, count=2))
    assert (bar.volume, bar.trade_count, bar.bin_count) == (6, 3, 2)


def test_a_bin_sent_again_after_its_bar_changes_nothing():
    builder = BarBuilder(L)
    bars = build(make_bin(0), watermark(1500), make_bin(0), make_bin(10), watermark(9000), builder=builder)
    assert len(bars) == 1
    assert builder.ignored_count == 2
    assert builder.open_bar_count == 0


def test_a_watermark_sent_again_or_older_changes_nothing():
    records = [make_bin(0), watermark(1500), make_bin(1000), watermark(1500), watermark(500), make_bin(1010)]
    bars = build(*records, watermark(2500))
    assert [(i, bar.bin_count) for i, bar in bars] == [(1, 1), (6, 2)]


# Closing


def test_a_bar_closes_at_exactly_l_past_its_end():
    assert build(make_bin(0), watermark(1490)) == []
    ((index, _),) = build(make_bin(0), watermark(1490), watermark(1500))
    assert index == 2


def test_a_bin_moves_stream_time_like_a_watermark_record():
    assert build(make_bin(0), make_bin(1490, "B")) == []
    ((_, bar),) = build(make_bin(0), make_bin(1500, "B"))
    assert bar.symbol == "A"


def test_a_bin_before_the_watermark_record_is_in_its_bar():
    ((_, bar),) = build(make_bin(1490, "B"), make_bin(0), make_bin(990), watermark(1500))
    assert (bar.symbol, bar.bin_count) == ("A", 2)


def test_bars_that_close_together_come_in_start_order():
    bars = build(make_bin(1000), make_bin(0, "B"), make_bin(1400, "B"), make_bin(990), watermark(9000))
    assert [bar.start_ts_ms - T for _, bar in bars] == [0, 0, 1000, 1000]


def test_no_bar_comes_from_a_watermark_record_or_anything_like_one():
    lookalikes = [
        make_bin(0, "~wm0"),
        make_bin(0, "~other", count=0),
        make_bin(10, count=0),
        make_bin(20, open=None, high=None, low=None, close=None),
    ]
    builder = BarBuilder(L)
    assert [b for _, b in build(watermark(0), *lookalikes[:1], *lookalikes[2:], builder=builder)] == []
    assert build(watermark(9000), builder=builder) == []
    assert builder.ignored_count == 0
    assert builder.open_bar_count == 0


def test_lateness_allowed_is_the_same_as_the_workers():
    assert build(make_bin(0), watermark(1000), builder=BarBuilder(0))[0][0] == 1
    assert build(make_bin(0), watermark(2990), builder=BarBuilder(2000)) == []
    assert len(build(make_bin(0), watermark(3000), builder=BarBuilder(2000))) == 1


# Offsets and restart


def test_the_oldest_offset_is_of_the_first_record_of_any_open_bar():
    builder = BarBuilder(L)
    assert builder.oldest_offset is None
    builder.add(make_bin(1000), 7)
    builder.add(make_bin(0), 8)
    builder.add(make_bin(0, "B"), 9)
    assert builder.oldest_offset == 7
    assert builder.open_bar_count == 3
    builder.add(watermark(1500), 10)
    assert builder.oldest_offset == 7
    builder.add(make_bin(2000), 11)
    builder.add(watermark(2500), 12)
    assert builder.oldest_offset == 11
    builder.add(watermark(3500), 13)
    assert builder.oldest_offset is None


def test_a_restarted_builder_emits_no_bar_again():
    builder = BarBuilder(L, stream_time_ms=T + 1500)
    bars = build(
        make_bin(0), make_bin(500, "B"), make_bin(1000), watermark(1500), watermark(2500), builder=builder
    )
    assert [bar.bar_id for _, bar in bars] == [f"A-{T + 1000}"]
    assert builder.ignored_count == 2


@pytest.mark.parametrize("stream_time", [T + 1490, T + 1500])
def test_a_restored_stream_time_is_exact(stream_time):
    builder = BarBuilder(L, stream_time_ms=stream_time)
    bars = build(make_bin(0), watermark(1500), builder=builder)
    assert len(bars) == (1 if stream_time < T + 1500 else 0)


# Records that were lost before they were read


def test_no_bar_comes_from_a_part_of_its_bins():
    builder = BarBuilder(L, is_partial=True)
    early = [make_bin(1990), make_bin(2000), watermark(2510), make_bin(2020), make_bin(2990)]
    late = [make_bin(3000), make_bin(3500), watermark(3500), watermark(4500)]
    bars = [bar for _, bar in build(*early, *late, builder=builder)]
    assert [(bar.start_ts_ms - T, bar.bin_count) for bar in bars] == [(3000, 2)]
    assert builder.ignored_count == 4


def test_what_a_lost_record_leaves_out_stays_left_out_after_a_restart():
    first = BarBuilder(L, T + 1000, is_partial=True)
    build(watermark(2510), builder=first)
    assert not first.is_partial
    again = BarBuilder(L, first.stream_time_ms)
    bars = build(make_bin(2990), make_bin(3000), watermark(4500), builder=again)
    assert [bar.start_ts_ms - T for _, bar in bars] == [3000]


def test_time_that_was_reached_before_a_gap_is_never_given_up():
    builder = BarBuilder(L, T + 9500, is_partial=True)
    records = [watermark(2510), make_bin(8990), make_bin(9990), watermark(10_500)]
    assert [bar.start_ts_ms - T for _, bar in build(*records, builder=builder)] == [9000]
