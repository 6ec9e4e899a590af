"""What is an old line when a numbered feed sends again, and what the feed must send again."""

import pytest
from feed_lines import (
    END,
    T,
    bin_ids,
    dead_letters,
    heartbeat_line,
    make_binner,
    reasons,
    run,
    tick_line,
)

from glue.core.resume import Position, ResentLines, advance
from glue.core.ticks import BadLine, Control, Tick
from glue.core.watermarks import Rules

JUMP = Rules().max_jump_ms
BAD, HEARTBEAT = BadLine("bad"), Control("heartbeat", 1.0)


def tick(seq=None):
    return Tick("A", 1.0, 1.0, 1.0, seq)


def numbered(seq, event_ms, symbol="A"):
    return tick_line(symbol, event_ms, seq=seq)


# Positions


def test_a_position_is_the_last_number_and_the_bad_lines_after_it():
    assert advance(Position(), []) == Position(None, 0)
    assert advance(Position(), [BAD, BAD]) == Position(None, 2)
    assert advance(Position(None, 2), [tick(5)]) == Position(5, 0)
    assert advance(Position(5, 1), [BAD, BAD]) == Position(5, 3)
    assert advance(Position(5, 3), [BAD, tick(6), BAD, tick(7), BAD]) == Position(7, 1)


def test_the_number_of_a_bad_line_is_no_place():
    assert advance(Position(5, 3), [BadLine("bad", 6), BAD]) == Position(5, 5)
    assert told_apart(Position(5, 1), [BadLine("bad", 900), tick(5), BadLine("bad", 900), BAD]) == (
        [True, True, True, False],
        False,
    )


def test_heartbeats_take_no_place():
    assert advance(Position(5, 1), [HEARTBEAT, BAD, HEARTBEAT]) == Position(5, 2)


def test_advancing_by_parts_is_advancing_at_once():
    lines = [BAD, tick(1), BAD, HEARTBEAT, BAD, tick(2), tick(3), BAD]
    for cut in range(len(lines) + 1):
        assert advance(advance(Position(), lines[:cut]), lines[cut:]) == Position(3, 1)


def told_apart(position, lines):
    resent = ResentLines(position)
    return [resent.is_resent(line) for line in lines], resent.is_over


def test_lines_up_to_the_position_are_old():
    lines = [tick(4), tick(5), tick(6), tick(7)]
    assert told_apart(Position(5), lines) == ([True, True, False, False], True)


def test_bad_lines_between_old_ones_are_old_and_as_many_after_as_came():
    lines = [BAD, tick(4), BAD, tick(5), BAD, BAD, BAD]
    assert told_apart(Position(5, 2), lines) == ([True, True, True, True, True, True, False], False)


def test_without_a_number_yet_only_the_bad_lines_that_came_are_old():
    assert told_apart(Position(None, 1), [BAD, BAD, tick(0)]) == ([True, False, False], True)
    assert told_apart(Position(), [tick(0)]) == ([False], True)


def test_it_is_over_only_at_a_new_number():
    assert told_apart(Position(5), [tick(5), BAD]) == ([True, False], False)


def test_heartbeats_up_to_the_last_old_number_were_heard_before():
    assert told_apart(Position(5), [HEARTBEAT, tick(5), HEARTBEAT]) == ([True, True, False], False)
    assert told_apart(Position(None, 1), [HEARTBEAT, BAD]) == ([False, True], False)


# The binner after a reconnect


def test_old_lines_are_skipped_and_open_bins_go_on():
    binner = make_binner(is_numbered=True)
    first = [numbered(1, T), numbered(2, T + 5), b"garbage"]
    assert reasons(run(binner, *first)) == ["invalid"]
    binner.expect_resend()
    out = run(binner, *first, b"garbage", numbered(3, T + 9), END)
    assert [letter.dlt_id[-2:] for letter in dead_letters(out)] == ["-1"]
    (found,) = [o for o in out if o.symbol == "A"]
    assert (found.trade_count, found.max_lateness_ms) == (3, 0)
    assert binner.resent_count == 3


def test_a_feed_without_numbers_takes_every_line_as_new():
    binner = make_binner()
    run(binner, tick_line("A", T))
    binner.expect_resend()
    run(binner, tick_line("A", T))
    assert binner.tick_count == 2


def test_held_ticks_are_dropped_and_come_again():
    binner = make_binner("historical", is_numbered=True)
    lines = [numbered(1, T), numbered(2, T), numbered(3, T + JUMP + 1), numbered(4, T + JUMP + 1)]
    assert run(binner, *lines) == []
    binner.expect_resend()
    out = run(binner, *lines, numbered(5, T + JUMP + 1))
    assert reasons(out) == []
    assert binner.tick_count == 5
    assert bin_ids(out) == [("A", 0)]


def test_the_first_tick_held_comes_again_too():
    binner = make_binner("historical", is_numbered=True)
    assert reasons(run(binner, b"garbage", numbered(1, T))) == ["invalid"]
    binner.expect_resend()
    assert reasons(run(binner, b"garbage", numbered(1, T), numbered(2, T + 1))) == []
    assert binner.tick_count == 2


def test_a_tick_taken_when_a_later_one_began_to_be_held_is_not_taken_again():
    binner = make_binner("historical", is_numbered=True)
    lines = [numbered(1, T), numbered(2, T + JUMP + 1), numbered(3, T + 1)]
    run(binner, *lines[:2])  # the second jumps from the first: the first is taken, the second held
    assert binner.tick_count == 1
    binner.expect_resend()
    assert reasons(run(binner, *lines)) == ["future"]
    assert binner.tick_count == 2


def test_bad_lines_between_held_ticks_are_not_refused_again_when_they_come_again():
    def ids(outputs):
        return [letter.dlt_id for letter in dead_letters(outputs)]

    lines = [b"bad", numbered(1, T), numbered(2, T), b"bad", numbered(3, T + JUMP + 1), b"bad", b"bad"]
    binner = make_binner("historical", is_numbered=True)
    before = ids(run(binner, *lines))
    binner.expect_resend()
    after = ids(run(binner, *lines, b"bad", numbered(4, T)))
    assert len(before + after) == len(set(before + after)) == 6  # five bad lines and the jump
    assert after[-1] == "feed-3"


def test_a_line_too_long_is_old_like_any_other():
    binner = make_binner(is_numbered=True)
    run(binner, numbered(1, T))
    assert len(binner.refuse(b"x", "00" * 32, "too long", T)) == 1
    binner.expect_resend()
    run(binner, numbered(1, T))
    assert binner.refuse(b"x", "00" * 32, "too long", T) == []
    (letter,) = binner.refuse(b"x", "00" * 32, "too long", T)
    assert letter.dlt_id.endswith("-1")


def test_a_connection_lost_while_old_lines_come_changes_nothing():
    binner = make_binner(is_numbered=True)
    lines = [numbered(seq, T + 100 * seq) for seq in range(1, 9)]
    out = run(binner, *lines[:6])
    for lost_at in (3, 0, 6, 5):
        binner.expect_resend()
        out += run(binner, *lines[:lost_at])
    binner.expect_resend()
    out += run(binner, *lines, END)
    assert out == run(make_binner(is_numbered=True), *lines, END)


def test_a_heartbeat_that_was_not_believed_is_not_believed_when_it_comes_again():
    binner = make_binner("historical", is_numbered=True)
    lines = [numbered(1, T), numbered(2, T), heartbeat_line(T + JUMP + 1), numbered(3, T + 1)]
    assert reasons(run(binner, *lines)) == ["future"]
    binner.expect_resend()
    assert run(binner, *lines) == []
    assert binner.watermark_ms == T - 19


# What to ask for


def test_a_feed_that_said_nothing_is_asked_from_its_start():
    for mode in ("live", "historical"):
        assert make_binner(mode).resume_ms is None
    binner = make_binner("historical", is_numbered=True)
    run(binner, numbered(1, T))
    assert binner.resume_ms is None  # held: it must come again


def test_the_oldest_open_bin_must_come_again():
    binner = make_binner()
    run(binner, tick_line("A", T + 497), tick_line("B", T + 5), tick_line("A", T + 515))
    assert binner.resume_ms == T - 10  # a late tick may still open a bin: W - L = T - 5
    run(binner, tick_line("A", T + 1000))
    assert binner.resume_ms == T + 480
    binner = make_binner()
    run(binner, tick_line("A", T), heartbeat_line(T + 505))
    assert binner.resume_ms == T


def test_a_heartbeat_ahead_of_all_ticks_hides_no_late_line():
    # The feed sends from the first line at or after X on: asked for W - L, it would begin after the
    # lines that are older than that and came while the connection was lost.
    binner = make_binner()
    run(binner, tick_line("A", T + 8), heartbeat_line(T + 5000))
    assert binner.open_bin_count == 0
    assert binner.resume_ms == T


def test_an_idle_close_hides_no_late_line():
    binner = make_binner("historical")
    run(binner, tick_line("A", T), tick_line("A", T + 8))
    binner.close_idle(T + 5000)
    assert binner.resume_ms == T


def test_only_heartbeats_yet():
    live, historical = make_binner("live"), make_binner("historical")
    for binner in (live, historical):
        run(binner, heartbeat_line(T + 5))
    assert live.resume_ms == T - 500  # "now" of the first connection, as far as it is known
    assert historical.resume_ms is None


def test_event_time_0_is_not_asked_for_as_less():
    binner = make_binner()
    run(binner, tick_line("A", 5), now_ms=T)
    assert binner.resume_ms == 0


@pytest.mark.parametrize("seq", [0, 7, 2**63 - 1])
def test_numbers_may_start_anywhere(seq):
    binner = make_binner(is_numbered=True)
    assert run(binner, heartbeat_line(T + 9000)) == []
    assert dead_letters(run(binner, numbered(seq, T)))[0].dlt_id == f"feed-{seq}"
    binner.expect_resend()
    assert run(binner, numbered(seq, T)) == []


def test_a_wrong_number_on_a_bad_line_does_not_make_good_lines_old():
    binner = make_binner(is_numbered=True)
    broken = tick_line("A", T, px=-1, seq=10**9)
    run(binner, numbered(1, T), broken)
    binner.expect_resend()
    assert run(binner, numbered(1, T), broken, numbered(2, T)) == []
    assert binner.tick_count == 2
