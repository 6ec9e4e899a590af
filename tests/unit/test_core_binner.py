"""Rules 1, 2, 4, 5 and 7 with their boundaries, and rule 3 on live feeds.

L = 500, S = 20, bins of 10 ms. Most examples use a live feed read long after its event times, where
neither the wall clock nor the jump rule has a say.
"""

import pytest
from feed_lines import (
    END,
    MUCH_LATER,
    T,
    bin_ids,
    bins,
    dead_letters,
    heartbeat_line,
    make_binner,
    reasons,
    run,
    tick_line,
    watermark_records,
)
from strategies import BAD_AFTER_DECODING, BAD_LINES

from glue.core.bars import BarBuilder
from glue.core.partition import partition_of


@pytest.fixture
def binner():
    return make_binner()


# Rules 1 and 2: lateness, late, closed


def test_a_tick_exactly_l_late_is_taken(binner):
    assert run(binner, tick_line("A", T + 500), tick_line("A", T)) == []
    assert binner.tick_count == 2


def test_a_tick_later_than_l_is_late(binner):
    out = run(binner, tick_line("A", T + 501), tick_line("A", T))
    assert reasons(out) == ["late"]
    assert dead_letters(out)[0].lateness_ms == 501


def test_lateness_is_measured_against_the_symbols_own_newest_tick(binner):
    out = run(binner, tick_line("A", T + 1000), tick_line("B", T + 490), tick_line("B", T + 480), END)
    assert reasons(out) == []
    lateness = {(b.symbol, b.start_ts_ms - T): b.max_lateness_ms for b in bins(out)}
    assert lateness == {("B", 480): 10, ("B", 490): 0, ("A", 1000): 0}


def test_a_tick_whose_bin_the_feed_has_closed_is_closed(binner):
    # W = T + 980: bins up to the end T + 480 are closed.
    out = run(binner, tick_line("A", T + 1000), tick_line("B", T + 479), tick_line("B", T + 480))
    assert reasons(out) == ["closed"]
    (letter,) = dead_letters(out)
    assert (letter.symbol, letter.event_ts_ms, letter.lateness_ms) == ("B", T + 479, 0)
    assert letter.watermark_ms == T + 980


def test_a_symbol_may_lag_all_others_by_l_and_s(binner):
    # W - L = T + 485 lies inside the bin [480, 490): its first tick lags by 525 ms and is taken.
    out = run(binner, tick_line("A", T + 1005), tick_line("B", T + 480), tick_line("C", T + 479))
    assert reasons(out) == ["closed"]
    assert binner.tick_count == 2


def test_a_tick_both_late_and_closed_is_late(binner):
    assert reasons(run(binner, tick_line("A", T + 1000), tick_line("A", T + 1))) == ["late"]


def test_a_tick_within_l_never_finds_its_bin_closed_by_its_own_symbol(binner):
    out = run(binner, tick_line("A", T + 515), tick_line("A", T + 15))
    assert reasons(out) == []


def test_watermarks_never_go_back(binner):
    run(binner, tick_line("A", T + 500), tick_line("A", T + 100), heartbeat_line(T))
    assert (binner.newest_ms, binner.watermark_ms) == (T + 500, T + 480)
    assert reasons(run(binner, tick_line("A", T + 50), tick_line("A", T - 1))) == ["late"]


def test_a_dead_letter_moves_no_watermark(binner):
    run(binner, heartbeat_line(T + 2000))
    before = (binner.newest_ms, binner.watermark_ms, binner.windows.symbol_watermarks())
    assert reasons(run(binner, tick_line("A", T + 1489))) == ["closed"]
    assert (binner.newest_ms, binner.watermark_ms, binner.windows.symbol_watermarks()) == before


def test_the_watermark_is_s_behind_the_newest_tick_of_any_symbol(binner):
    run(binner, tick_line("A", T + 100), tick_line("B", T + 300), tick_line("C", T + 200))
    assert (binner.newest_ms, binner.watermark_ms) == (T + 300, T + 280)


def test_a_heartbeat_is_a_watermark_without_skew(binner):
    run(binner, tick_line("A", T), heartbeat_line(T + 5))
    assert (binner.newest_ms, binner.watermark_ms) == (T, T + 5)
    run(binner, tick_line("A", T + 25))
    assert binner.watermark_ms == T + 5
    run(binner, tick_line("A", T + 26))
    assert binner.watermark_ms == T + 6


def test_a_heartbeat_makes_no_symbol_late(binner):
    out = run(binner, tick_line("A", T), heartbeat_line(T + 1000), tick_line("A", T + 500), END)
    assert reasons(out) == []
    assert [b.max_lateness_ms for b in bins(out)] == [0, 0]


# Rule 4: closing


def test_a_bin_closes_when_its_symbol_is_exactly_l_past_its_end(binner):
    assert run(binner, tick_line("A", T), tick_line("A", T + 509)) == []
    assert bin_ids(run(binner, tick_line("A", T + 510))) == [("A", 0)]


def test_a_bin_of_another_symbol_closes_s_later(binner):
    run(binner, tick_line("B", T), tick_line("A", T))
    assert bin_ids(run(binner, tick_line("A", T + 529))) == [("A", 0)]
    assert bin_ids(run(binner, tick_line("A", T + 530))) == [("B", 0)]


def test_a_symbol_ahead_of_the_feed_closes_only_its_own_bins(binner):
    run(binner, *(tick_line(s, T) for s in "ABC"))
    assert bin_ids(run(binner, tick_line("B", T + 510))) == [("B", 0)]
    assert binner.open_bin_count == 3


def test_a_symbol_closes_each_of_its_bins_once(binner):
    run(binner, *(tick_line("A", T + ms) for ms in (0, 10, 20, 30)))
    closed = [bin_ids(run(binner, tick_line("A", T + ms))) for ms in (509, 511, 525, 530, 540)]
    assert closed == [[], [("A", 0)], [("A", 10)], [("A", 20)], [("A", 30)]]


def test_a_heartbeat_closes_bins_of_all_symbols_at_exactly_l_past_their_end(binner):
    run(binner, tick_line("A", T), tick_line("B", T + 3))
    assert bin_ids(run(binner, heartbeat_line(T + 509))) == []
    assert bin_ids(run(binner, heartbeat_line(T + 510))) == [("A", 0), ("B", 0)]


def test_bins_that_close_together_go_out_in_start_order(binner):
    run(binner, *(tick_line(s, T + ms) for s, ms in (("A", 30), ("B", 10), ("C", 20), ("B", 30), ("A", 0))))
    out = run(binner, tick_line("D", T + 5000))
    assert [start for _, start in bin_ids(out)] == [0, 10, 20, 30, 30]


def test_what_a_symbol_closes_alone_comes_after_what_the_feed_closes(binner):
    run(binner, *(tick_line("A", T + ms) for ms in (0, 10, 20)), tick_line("B", T))
    # W - L = T + 13, W(A) - L = T + 33
    out = run(binner, tick_line("A", T + 533))
    assert bin_ids(out) == [("A", 0), ("B", 0), ("A", 10), ("A", 20)]


def test_a_closed_bin_never_opens_again(binner):
    run(binner, tick_line("A", T), tick_line("A", T + 510))
    assert reasons(run(binner, tick_line("A", T + 9))) == ["late"]
    run(binner, tick_line("B", T + 1000))
    assert reasons(run(binner, tick_line("C", T + 9))) == ["closed"]


def test_bins_of_the_first_instants_of_time_are_bins_too():
    binner = make_binner(partitions=1)
    out = run(binner, tick_line("A", 0), tick_line("A", 5), tick_line("A", 1520), now_ms=T)
    assert [(b.start_ts_ms, b.trade_count) for b in bins(out)] == [(0, 2)]
    assert [r.start_ts_ms for r in watermark_records(out)] == [1500]


# Rule 5: watermark records


def test_a_record_goes_out_when_the_watermark_is_exactly_l_past_a_second(binner):
    run(binner, tick_line("A", T + 600))
    assert watermark_records(run(binner, tick_line("A", T + 1519))) == []
    (record,) = watermark_records(run(binner, tick_line("A", T + 1520)))
    assert (record.start_ts_ms, record.watermark_ms) == (T + 1500, T + 1500)


def test_a_record_is_rounded_down_to_the_bin(binner):
    run(binner, tick_line("A", T + 100))
    (record,) = watermark_records(run(binner, tick_line("A", T + 1529)))
    assert record.start_ts_ms == T + 1500
    (record,) = watermark_records(run(binner, heartbeat_line(T + 2511)))
    assert record.start_ts_ms == T + 2510


def test_there_is_one_record_a_second_however_many_ticks(binner):
    ticks = [tick_line("A", T + 100 + 7 * i) for i in range(1000)]  # to T + 7093, W - L to T + 6573
    records = watermark_records(run(binner, *ticks))
    assert [(r.start_ts_ms - T) // 1000 for r in records] == [0, 1, 2, 3, 4, 5, 6]


def test_several_seconds_at_once_are_one_record(binner):
    run(binner, tick_line("A", T + 100))
    (record,) = watermark_records(run(binner, tick_line("A", T + 60_000)))
    assert record.start_ts_ms == T + 59_980


def test_the_first_watermark_crosses_nothing(binner):
    assert run(binner, tick_line("A", T + 100)) == []


@pytest.mark.parametrize("partitions", [1, 6, 12])
def test_every_partition_gets_the_record_under_a_symbol_that_falls_on_it(partitions):
    binner = make_binner(partitions=partitions)
    out = run(binner, tick_line("A", T + 100), tick_line("A", T + 1520))
    records = watermark_records(out)
    assert [partition_of(r.symbol, partitions) for r in records] == list(range(partitions))
    assert {(r.start_ts_ms, r.trade_count, r.open) for r in records} == {(T + 1500, 0, None)}


def test_the_record_comes_after_all_bins_of_the_seconds_it_completes(binner):
    run(binner, tick_line("A", T + 900), tick_line("B", T + 990), tick_line("C", T + 950))
    out = run(binner, tick_line("D", T + 1520))
    assert [o.symbol for o in out] == ["A", "C", "B", "~wm0"]


def test_a_bin_of_the_next_second_may_come_before_or_after_the_record(binner):
    run(binner, tick_line("A", T + 990), tick_line("A", T + 1000))
    out = run(binner, tick_line("A", T + 1520))  # W(A) - L = T + 1020 closes [1000, 1010) as well
    assert bin_ids(out) == [("A", 990), ("A", 1000)]
    assert [o.symbol for o in out].index("~wm0") >= 1


# Rule 3 on live feeds


def test_a_clock_exactly_at_the_limit_ahead_is_taken(binner):
    assert reasons(run(binner, tick_line("A", T + 5000), now_ms=T)) == []
    assert binner.tick_count == 1


def test_a_clock_further_ahead_is_future(binner):
    out = run(binner, tick_line("A", T + 5001), now_ms=T)
    assert reasons(out) == ["future"]
    assert dead_letters(out)[0].event_ts_ms == T + 5001
    assert binner.newest_ms < 0


def test_no_tick_raises_a_watermark_beyond_the_wall_clock(binner):
    run(binner, tick_line("A", T + 4000), now_ms=T)
    assert (binner.newest_ms, binner.watermark_ms, binner.windows.watermark_of("A")) == (T, T - 20, T)


def test_a_clock_ahead_makes_neither_itself_nor_others_late(binner):
    run(binner, tick_line("A", T + 4000), now_ms=T)
    out = run(binner, tick_line("A", T - 500), tick_line("B", T - 520), now_ms=T)
    assert reasons(out) == []
    assert reasons(run(binner, tick_line("A", T - 501), now_ms=T)) == ["late"]


def test_a_bin_ahead_of_the_wall_clock_closes_when_the_time_comes(binner):
    run(binner, tick_line("A", T + 4000), now_ms=T)
    assert bin_ids(run(binner, tick_line("B", T + 4529), now_ms=T + 4529)) == []
    assert bin_ids(run(binner, tick_line("B", T + 4530), now_ms=T + 4530)) == [("A", 4000)]


def test_a_heartbeat_ahead_of_the_wall_clock_is_cut_to_it(binner):
    run(binner, heartbeat_line(T + 100_000), now_ms=T)
    assert binner.watermark_ms == T


def test_a_wall_clock_that_steps_back_takes_no_watermark_with_it(binner):
    run(binner, tick_line("A", T), now_ms=T)
    run(binner, tick_line("A", T), heartbeat_line(T), now_ms=T - 3000)
    assert (binner.newest_ms, binner.watermark_ms) == (T, T - 20)


def test_a_clock_years_behind_stops_nobody(binner):
    out = run(
        binner, tick_line("A", T - 10**11), tick_line("B", T), tick_line("A", T - 10**11), END, now_ms=T
    )
    assert reasons(out) == ["closed"]
    assert [b.symbol for b in bins(out)] == ["A", "B"]


# Rule 7: ends and silence


def test_the_end_of_the_feed_closes_every_bin_and_every_bar():
    binner = make_binner(partitions=2)
    out = run(binner, tick_line("A", T + 10), tick_line("B", T + 1999), tick_line("A", T + 1500), END)
    assert bin_ids(out) == [("A", 10), ("A", 1500), ("B", 1990)]
    assert [r.start_ts_ms for r in watermark_records(out)[-2:]] == [T + 2500, T + 2500]
    assert binner.is_ended
    assert not binner.has_open_bars
    assert binner.open_bin_count == 0


def test_the_last_record_closes_the_last_bar_in_the_engine(binner):
    builder = BarBuilder(late_ms=500)
    closed = []
    for record in run(binner, tick_line("A", T), tick_line("A", T + 2999), END):
        closed += builder.add(record)
    assert [next(iter(bar.values())).start_ts_ms - T for bar in closed] == [0, 2990]
    assert builder.open_bar_count == 0


def test_a_feed_that_just_stops_ends_the_same_way():
    ticks = [tick_line("A", T), tick_line("B", T + 700)]
    with_end, without = make_binner("historical"), make_binner("historical")
    assert run(without, *ticks) + without.end(MUCH_LATER) == run(with_end, *ticks, END)


def test_the_end_of_a_live_feed_goes_beyond_the_wall_clock(binner):
    out = run(binner, tick_line("A", T + 4000), END, now_ms=T)
    assert bin_ids(out) == [("A", 4000)]
    assert not binner.has_open_bars


def test_nothing_more_comes_out_of_a_second_end(binner):
    run(binner, tick_line("A", T), END)
    assert binner.end(MUCH_LATER) == []
    assert binner.close_idle(MUCH_LATER) == []


def test_an_empty_feed_ends_with_nothing():
    for mode in ("live", "historical"):
        binner = make_binner(mode)
        assert not binner.has_open_bars
        assert run(binner, END) == []
        assert binner.is_ended
        assert not binner.has_open_bars


def test_a_line_after_the_end_is_invalid(binner):
    out = run(binner, tick_line("A", T), END, tick_line("A", T + 1), heartbeat_line(T + 9000), END, b"x")
    assert reasons(out) == ["invalid"] * 4
    assert binner.tick_count == 1


@pytest.mark.parametrize("mode", ["live", "historical"])
def test_silence_closes_bins_and_bars(mode):
    binner = make_binner(mode)
    run(binner, tick_line("A", T), tick_line("A", T + 100))
    assert binner.has_open_bars
    out = binner.close_idle(T + 5100)
    assert bin_ids(out) == [("A", 0), ("A", 100)]
    assert [r.start_ts_ms for r in watermark_records(out)] == [T + 1500]
    assert not binner.has_open_bars
    assert not binner.is_ended


def test_silence_closes_nothing_twice(binner):
    run(binner, tick_line("A", T))
    binner.close_idle(T + 5000)
    assert binner.close_idle(T + 10_000) == []
    assert make_binner().close_idle(T) == []


def test_a_feed_that_speaks_again_goes_on_after_what_silence_closed(binner):
    run(binner, tick_line("A", T))
    binner.close_idle(T + 5000)  # W = T + 1500
    out = run(
        binner, tick_line("B", T + 999), tick_line("B", T + 1000), tick_line("A", T + 9000), now_ms=T + 9000
    )
    assert reasons(out) == ["closed"]
    assert bin_ids(out) == [("B", 1000)]


def test_silence_on_a_live_feed_closes_no_further_than_the_wall_clock(binner):
    run(binner, tick_line("A", T), tick_line("B", T + 4999), now_ms=T)
    out = binner.close_idle(T + 5000)
    assert bin_ids(out) == [("A", 0)]
    assert binner.watermark_ms == T + 5000
    assert binner.has_open_bars
    # Ticks of now are still welcome, and a longer silence closes the rest.
    assert reasons(run(binner, tick_line("A", T + 5001), now_ms=T + 5001)) == []
    assert bin_ids(binner.close_idle(T + 6500)) == [("B", 4990), ("A", 5000)]
    assert not binner.has_open_bars


# Bad lines


@pytest.mark.parametrize("name", sorted(BAD_LINES | BAD_AFTER_DECODING))
@pytest.mark.parametrize("mode", ["live", "historical"])
def test_a_bad_line_is_a_dead_letter_with_its_text_and_the_stream_goes_on(mode, name):
    raw = (BAD_LINES | BAD_AFTER_DECODING)[name]
    binner = make_binner(mode)
    out = run(binner, tick_line("A", T), raw, tick_line("A", T + 10), END)
    (letter,) = dead_letters(out)
    assert letter.reason == "invalid"
    assert letter.detail
    assert letter.symbol is None
    assert letter.line == raw[:4096].decode(errors="backslashreplace")
    assert bin_ids(out) == [("A", 0), ("A", 10)]


def test_blank_lines_are_nothing(binner):
    out = run(binner, b"", tick_line("A", T), b"  ", b"\r", b"\t", END)
    assert reasons(out) == []
    assert binner.line_count == 2


def test_lines_may_end_with_carriage_returns(binner):
    out = run(binner, tick_line("A", T) + b"\r", heartbeat_line(T) + b"\r", END + b"\r")
    assert reasons(out) == []
    assert bin_ids(out) == [("A", 0)]


def test_wall_time_is_written_into_bins_and_records_unless_the_run_is_deterministic():
    binner = make_binner()
    binner._is_deterministic = False
    out = run(binner, tick_line("A", T), tick_line("A", T + 1520), now_ms=T + 2000)
    assert {o.ingest_ts_ms for o in out} == {T + 2000}
    assert len(out) == 2
