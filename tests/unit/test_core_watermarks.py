"""Rule 3 on historical feeds: a jump ahead is believed only when two more ticks confirm it."""

import pytest
from feed_lines import (
    END,
    T,
    bin_ids,
    bins,
    dead_letters,
    heartbeat_line,
    make_binner,
    reasons,
    run,
    tick_line,
)

from glue.core.watermarks import CONFIRM_WITHIN_MS, Rules

JUMP = Rules().max_jump_ms
MINUTE = 60_000


@pytest.fixture
def binner():
    """A historical feed that has come to T."""
    binner = make_binner("historical")
    run(binner, tick_line("A", T), tick_line("A", T))
    assert binner.newest_ms == T
    return binner


def far(by_ms=0, symbol="A"):
    """A tick more than the allowed jump ahead of T."""
    return tick_line(symbol, T + JUMP + 1 + by_ms)


def test_the_defaults_are_six_hours_and_a_minute():
    assert JUMP == 6 * 3_600_000
    assert CONFIRM_WITHIN_MS == MINUTE


def test_a_jump_of_exactly_the_limit_is_believed(binner):
    run(binner, tick_line("A", T + JUMP))
    assert binner.newest_ms == T + JUMP


def test_a_longer_jump_is_held_and_moves_nothing(binner):
    assert run(binner, far()) == []
    assert (binner.newest_ms, binner.watermark_ms, binner.tick_count) == (T, T - 20, 2)


def test_two_more_ticks_confirm_it_and_all_three_are_taken_in_order(binner):
    assert run(binner, far(), far(10)) == []
    run(binner, far(20))
    assert binner.newest_ms == T + JUMP + 21
    found = bins(run(binner, END))
    assert [(b.start_ts_ms - T - JUMP, b.trade_count) for b in found] == [(0, 1), (10, 1), (20, 1)]


def test_one_confirmation_is_not_enough(binner):
    out = run(binner, far(), far(1), tick_line("A", T + 5))
    assert reasons(out) == ["future", "future"]
    assert [letter.event_ts_ms - T - JUMP for letter in dead_letters(out)] == [1, 2]
    assert binner.newest_ms == T + 5


def test_a_tick_from_before_the_jump_refutes_it_at_once(binner):
    assert reasons(run(binner, far(), tick_line("A", T + 5))) == ["future"]
    assert binner.newest_ms == T + 5


@pytest.mark.parametrize("by_ms", [MINUTE, -MINUTE])
def test_a_tick_exactly_a_minute_away_confirms(binner, by_ms):
    out = run(binner, far(120_000), far(120_000 + by_ms), far(120_000))
    assert "future" not in reasons(out)
    assert binner.newest_ms == T + JUMP + 1 + 120_000 + max(0, by_ms)


@pytest.mark.parametrize("by_ms", [MINUTE + 1, -MINUTE - 1])
def test_a_tick_more_than_a_minute_away_refutes(binner, by_ms):
    out = run(binner, far(120_000), far(120_000 + by_ms))
    assert [letter.event_ts_ms - T - JUMP for letter in dead_letters(out)] == [120_001]
    assert binner.newest_ms == T


def test_the_minute_counts_from_the_tick_that_jumped(binner):
    out = run(binner, far(), far(MINUTE), far(MINUTE + 1))
    assert reasons(out) == ["future", "future"]


def test_a_refuting_tick_that_jumps_itself_is_held_in_turn(binner):
    assert reasons(run(binner, far(), far(MINUTE + 1))) == ["future"]
    assert binner.newest_ms == T
    assert run(binner, far(MINUTE + 1)) == []
    run(binner, far(MINUTE + 1))
    assert binner.newest_ms == T + JUMP + 1 + MINUTE + 1


def test_ticks_of_other_symbols_confirm(binner):
    run(binner, far(0, "A"), far(1, "B"), far(2, "C"))
    assert binner.newest_ms == T + JUMP + 3


def test_confirmed_ticks_are_judged_by_lateness_like_all_others(binner):
    out = run(binner, far(1000), far(499), far(1000))
    assert reasons(out) == ["late"]
    assert dead_letters(out)[0].lateness_ms == 501


def test_after_a_bad_clock_the_feed_goes_on_as_if_nothing_was(binner):
    out = run(binner, far(10**9), tick_line("A", T + 530), far(10**9), tick_line("A", T + 540))
    assert reasons(out) == ["future", "future"]
    assert bin_ids(out) == [("A", 0)]


def test_bad_lines_neither_confirm_nor_refute(binner):
    out = run(binner, far(), b"garbage", far(1), tick_line("~", T), far(2))
    assert reasons(out) == ["invalid", "invalid"]
    assert binner.newest_ms == T + JUMP + 3


def test_an_unconfirmed_jump_at_the_end_of_the_feed_is_a_dead_letter(binner):
    out = run(binner, far(), far(1), END)
    assert reasons(out) == ["future", "future"]
    assert bin_ids(out) == [("A", 0)]


def test_dead_letters_of_held_ticks_keep_their_own_line():
    binner = make_binner("historical", is_numbered=True)
    lines = [tick_line("A", T, seq=1), tick_line("A", T, seq=2), tick_line("A", T + JUMP + 1, seq=3)]
    (letter,) = dead_letters(run(binner, *lines, tick_line("A", T, seq=4)))
    assert (letter.dlt_id, letter.seq, letter.line) == ("feed-3", 3, lines[2].decode())


# The very first tick has nothing to jump from


def test_the_first_tick_waits_for_the_second():
    binner = make_binner("historical")
    assert run(binner, tick_line("A", T)) == []
    assert binner.tick_count == 0
    run(binner, tick_line("B", T - 10))
    assert binner.tick_count == 2


def test_a_first_tick_far_ahead_of_the_second_was_a_bad_clock():
    binner = make_binner("historical")
    out = run(binner, tick_line("A", T + JUMP + 1), tick_line("A", T))
    assert [letter.event_ts_ms for letter in dead_letters(out)] == [T + JUMP + 1]
    assert binner.tick_count == 0  # the second is now the first
    run(binner, tick_line("A", T))
    assert binner.tick_count == 2


def test_a_first_tick_exactly_the_limit_ahead_is_believed():
    binner = make_binner("historical")
    out = run(binner, tick_line("A", T + JUMP), tick_line("B", T))
    assert reasons(out) == ["closed"]
    assert binner.newest_ms == T + JUMP


def test_a_second_tick_far_ahead_of_the_first_is_a_jump():
    binner = make_binner("historical")
    run(binner, tick_line("A", T), tick_line("A", T + JUMP + 1))
    assert binner.newest_ms == T
    run(binner, tick_line("A", T + JUMP + 1), tick_line("A", T + JUMP + 1))
    assert binner.newest_ms == T + JUMP + 1


def test_a_lone_tick_is_taken_at_the_end_of_the_feed():
    binner = make_binner("historical")
    assert bin_ids(run(binner, tick_line("A", T), END)) == [("A", 0)]


# Heartbeats of historical feeds


def test_a_heartbeat_does_not_close_the_bin_of_a_tick_that_is_held(binner):
    out = run(binner, far(), heartbeat_line(T + JUMP), far(), heartbeat_line(T + JUMP + 5000), far(), END)
    assert reasons(out) == []
    assert bins(out)[-1].trade_count == 3


def test_a_heartbeat_goes_no_further_than_the_oldest_tick_that_is_held(binner):
    # Held are A at 515 and B at 0, whose bin would be closed at a W of 515. (The first heartbeat is
    # there for the second to be within the jump that is allowed.)
    far_on = [far(514, "A"), far(-1, "B"), heartbeat_line(T + JUMP + 600), far(514, "A")]
    out = run(binner, heartbeat_line(T + 5000), *far_on, END)
    assert reasons(out) == []
    assert bins(out)[-2].symbol == "B"


def test_a_heartbeat_does_not_close_the_bin_of_the_first_tick():
    binner = make_binner("historical")
    run(binner, tick_line("A", T), heartbeat_line(T + 5000))
    assert binner.watermark_ms == T
    out = run(binner, tick_line("A", T + 5000), END)
    assert reasons(out) == []
    assert bin_ids(out) == [("A", 0), ("A", 5000)]


def test_a_heartbeat_far_ahead_is_not_believed(binner):
    out = run(binner, heartbeat_line(T + JUMP + 1))
    assert reasons(out) == ["future"]
    assert dead_letters(out)[0].symbol is None
    assert binner.watermark_ms == T - 20
    assert reasons(run(binner, heartbeat_line(T + JUMP))) == []
    assert binner.watermark_ms == T + JUMP


def test_heartbeats_walk_on_where_no_tick_comes(binner):
    out = run(binner, heartbeat_line(T + JUMP), heartbeat_line(T + 2 * JUMP), heartbeat_line(T + 3 * JUMP))
    assert reasons(out) == []
    assert binner.watermark_ms == T + 3 * JUMP


def test_a_heartbeat_before_any_tick_is_a_watermark():
    binner = make_binner("historical")
    run(binner, heartbeat_line(T + 1000))
    assert (binner.watermark_ms, binner.has_open_bars) == (T + 1000, False)
    out = run(binner, tick_line("A", T + 499), tick_line("A", T + 500))
    assert reasons(out) == ["closed"]
