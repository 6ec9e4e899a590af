"""Lost connections and killed workers: the outcome equals that of an undisturbed run."""

from typing import Any

import msgspec
import pytest
from feed_lines import (
    END,
    MUCH_LATER,
    T,
    bins,
    dead_letters,
    make_binner,
    reasons,
    run,
    tick_line,
    watermark_records,
)
from hypothesis import assume
from hypothesis import strategies as st
from strategies import FeedCase, HeartbeatItem, Item, TickItem, feeds, for_all

from glue.core.binner import NEVER, Binner, Output
from glue.core.bins import TickBin
from glue.core.introduction import Feed
from glue.core.ticks import Control, decode_line
from glue.core.watermarks import Rules


class Server:
    """A numbered feed: sends from the first line in arrival order at or after `since_ms`, and all later."""

    def __init__(self, items: list[Item], *, sends_heartbeats_again: bool) -> None:
        self._items = items
        self._sends_heartbeats_again = sends_heartbeats_again
        self._sent = 0

    def lines(self, since_ms: int | None) -> list[tuple[int, bytes]]:
        """Return the lines of a connection, each with its place in the feed."""
        starts = (
            i
            for i, item in enumerate(self._items)
            if since_ms is None or (isinstance(item, TickItem) and item.event_ms >= since_ms)
        )
        # Where no line is that new yet, the feed goes on with what it has not sent.
        first = min(next(starts, self._sent), self._sent)
        return [
            (i, item.raw)
            for i, item in enumerate(self._items)
            if i >= first
            and (i >= self._sent or self._sends_heartbeats_again or not isinstance(item, HeartbeatItem))
        ]

    def has_sent(self, place: int) -> None:
        self._sent = max(self._sent, place + 1)


def feed_of(case: FeedCase) -> Feed:
    return Feed("feed", "live" if case.is_live else "historical", is_numbered=True)


def undisturbed(case: FeedCase, now_ms: int) -> list[Output]:
    binner = Binner(feed_of(case), case.rules, is_deterministic=True)
    return run(binner, *(item.raw for item, _ in case.lines), now_ms=now_ms) + binner.end(now_ms)


def is_control(output: Output) -> bool:
    """Tell dead letters of heartbeats and hellos: these take no place in a feed and may be refused again."""
    if isinstance(output, TickBin):
        return False
    return isinstance(decode_line(output.line.encode()), Control)


def once(outputs: list[Output]) -> list[Output]:
    """Drop repeated dead letters, which readers know by their id."""
    seen: set[str] = set()
    kept = []
    for output in outputs:
        if isinstance(output, TickBin):
            kept.append(output)
        elif output.dlt_id not in seen and not is_control(output):
            seen.add(output.dlt_id)
            kept.append(output)
    return kept


LOST_AFTER = st.lists(st.integers(0, 25), max_size=4)


@for_all(feeds(is_numbered=True, has_end=False, max_size=30), LOST_AFTER, st.booleans(), quick=150)
def test_lost_connections_change_nothing(case, lost_after, heartbeats_again):
    now_ms = MUCH_LATER + 10**10
    server = Server([item for item, _ in case.lines], sends_heartbeats_again=heartbeats_again)
    binner = Binner(feed_of(case), case.rules, is_deterministic=True)
    outputs: list[Output] = []
    since_ms: int | None = None
    for count in [*lost_after, None]:
        sent = server.lines(since_ms)[:count]
        for place, raw in sent:
            outputs += run(binner, raw, now_ms=now_ms)
            server.has_sent(place)
        if count is not None:
            binner.expect_resend()
            since_ms = binner.resume_ms
    outputs += binner.end(now_ms)
    assert once(outputs) == once(undisturbed(case, now_ms))


def by_key(outputs: list[Output]) -> dict[str, dict[str, Any]]:
    """Return what a reader that keeps the last record of each key has; W at close is left aside."""
    found = {}
    for output in outputs:
        fields = msgspec.structs.asdict(output)
        fields.pop("watermark_ms")
        if isinstance(output, TickBin):
            found[output.bin_id] = fields
        elif not is_control(output):
            found[output.dlt_id] = fields
    return found


KILLED = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 5), st.booleans(), st.booleans()), max_size=4)
"""Lines that a process takes, how many it does not commit, whether it is killed or only cut off, and
whether it renews its base now and then."""


@for_all(feeds(is_numbered=True, has_end=False, max_size=30), KILLED, quick=150)
def test_killed_workers_change_nothing(case, killed):
    now_ms = MUCH_LATER + 10**10
    items = [item for item, _ in case.lines]
    server = Server(items, sends_heartbeats_again=True)
    binner = Binner(feed_of(case), case.rules, is_deterministic=True)
    committed: list[Output] = []
    since_ms: int | None = None
    base, snapshot = binner.base(), binner.snapshot()
    for count, uncommitted, is_killed, renews_base in [*killed, (None, 0, False, False)]:
        sent = server.lines(since_ms)[:count]
        pending: list[Output] = []
        for i, (place, raw) in enumerate(sent):
            pending += run(binner, raw, now_ms=now_ms)
            if not is_killed or i < len(sent) - uncommitted:
                server.has_sent(place)
                committed += pending
                pending = []
                if renews_base and i % 3 == 0:
                    base = binner.base()
                snapshot = binner.snapshot()
        # Not covered either: a live feed whose heartbeats were ahead of every tick there was.
        assume(not case.is_live or binner.newest_ms != NEVER or binner.watermark_ms == NEVER)
        if is_killed:
            binner = Binner(feed_of(case), case.rules, is_deterministic=True)
            binner.restore(snapshot, base)
            since_ms = binner.resume_ms
        elif count is not None:
            binner.expect_resend()
            since_ms = binner.resume_ms
    committed += binner.end(now_ms)
    assert by_key(committed) == by_key(undisturbed(case, now_ms))
    ids = [b.bin_id for b in bins(committed)]
    assert len(ids) == len(set(ids))


# Examples of what a restored worker must not do


def restored(binner: Binner) -> Binner:
    again = Binner(binner.feed, binner.rules, is_deterministic=True)
    base = binner.base()
    again.restore(binner.snapshot(), base)
    return again


def test_an_open_bin_is_built_again_from_old_lines_and_goes_on():
    lines = [tick_line("A", T + 5 * i, px=i + 1, seq=i) for i in range(4)]
    first = make_binner(is_numbered=True)
    assert run(first, *lines[:3]) == []
    again = restored(first)
    assert (again.open_bin_count, again.has_open_bars) == (0, True)
    out = run(again, *lines) + again.end(MUCH_LATER)
    assert out == run(make_binner(is_numbered=True), *lines, END)
    assert again.resent_count == 3


def test_a_published_bin_and_a_written_dead_letter_are_not_repeated():
    lines = [tick_line("A", T, seq=0), tick_line("A", T + 1000, seq=1), tick_line("A", T, seq=2)]
    first = make_binner(is_numbered=True)
    assert reasons(run(first, *lines)) == ["late"]
    assert run(restored(first), *lines) == []


def test_an_old_tick_with_a_symbol_that_no_feed_may_use_stays_invalid():
    lines = [tick_line("A", T, seq=0), tick_line("~wm0", T, seq=1), tick_line("A B", T, seq=2)]
    first = make_binner(is_numbered=True)
    assert reasons(run(first, *lines)) == ["invalid", "invalid"]
    again = restored(first)
    assert [b.symbol for b in bins(run(again, *lines) + again.end(MUCH_LATER))] == ["A"]


def test_an_old_jump_that_was_refuted_is_not_taken():
    jump = Rules().max_jump_ms + 2
    lines = [tick_line("A", T + ms, seq=seq) for seq, ms in enumerate((0, 1, jump, 2))]
    first = make_binner("historical", is_numbered=True)
    assert reasons(run(first, *lines)) == ["future"]
    again = restored(first)
    out = run(again, *lines) + again.end(MUCH_LATER)
    assert [b.trade_count for b in bins(out)] == [3]


def test_equal_bad_lines_before_and_after_a_kill_stay_apart():
    bad = b"garbage"
    lines = [tick_line("A", T, seq=0), bad, bad]
    first = make_binner(is_numbered=True)
    before = run(first, *lines) + first.refuse(bad, "ab" * 32, "too long", T)
    again = restored(first)
    for lost_after in (2, 3, 1):  # counted once however often the old lines come
        run(again, *lines[:lost_after])
        again.expect_resend()
    out = run(again, *lines) + again.refuse(bad, "ab" * 32, "too long", T)
    assert out == []
    after = run(again, bad) + again.refuse(bad, "ab" * 32, "too long", T)
    ids = [letter.dlt_id for letter in dead_letters(before + after)]
    assert [i.rsplit("-", 1)[1] for i in ids] == ["0", "1", "0", "2", "1"]
    assert len(set(ids)) == 5


def test_bad_lines_before_the_last_old_number_count_for_no_later_id():
    bad = b"garbage"
    lines = [tick_line("A", T, seq=0), bad, bad, tick_line("A", T, seq=1)]
    first = make_binner(is_numbered=True)
    run(first, *lines)
    again = restored(first)
    (letter,) = dead_letters(run(again, *lines, bad))
    assert letter.dlt_id.startswith("feed-1-")
    assert letter.dlt_id.endswith("-0")


def test_lines_that_build_bins_a_second_time_are_as_late_as_they_were():
    lines = [tick_line("A", T + ms, seq=ms) for ms in (0, 300, 499)]
    first = make_binner(is_numbered=True)
    run(first, *lines)
    again = restored(first)
    for lost_after in (3, 2, 3):
        run(again, *lines[:lost_after])
        again.expect_resend()
    out = run(again, *lines) + again.end(MUCH_LATER)
    assert [(b.trade_count, b.max_lateness_ms) for b in bins(out)] == [(1, 0)] * 3


def test_a_clock_that_was_ahead_of_the_wall_clock_raises_nothing_when_it_comes_again():
    # Read a second time, its event time is past; believed now, it would make all others closed.
    ahead, others = tick_line("A", T + 4000, seq=0), [tick_line("B", T + 10 * i, seq=i) for i in range(1, 9)]
    first = make_binner(is_numbered=True)
    assert run(first, ahead, *others[:4], now_ms=T + 50) == []
    again = restored(first)
    assert run(again, ahead, *others, now_ms=T + 9000) == []
    assert (again.newest_ms, again.watermark_ms) == (T + 80, T + 60)
    assert sum(b.trade_count for b in bins(again.end(T + 9000))) == 9


def test_a_clock_too_far_ahead_stays_a_dead_letter():
    lines = [tick_line("B", T, seq=0), tick_line("A", T + 5050, seq=1), tick_line("B", T + 10, seq=2)]
    first = make_binner(is_numbered=True)
    assert reasons(run(first, *lines, now_ms=T + 49)) == ["future"]
    again = restored(first)
    assert [b.symbol for b in bins(run(again, *lines, now_ms=T + 9000) + again.end(T + 9000))] == ["B", "B"]


def test_no_watermark_record_comes_twice_and_none_is_missed():
    first = make_binner(is_numbered=True)
    lines = [tick_line("A", T + 700 * i, seq=i) for i in range(12)]
    expected = [r.bin_id for r in watermark_records(run(make_binner(is_numbered=True), *lines, END))]
    got = run(first, *lines[:7])
    again = restored(first)
    got += run(again, *lines, END)
    assert [r.bin_id for r in watermark_records(got)] == expected


def since(lines: list[tuple[int, bytes]], since_ms: int | None) -> list[bytes]:
    """Return what a feed sends again: from the first line at or after a time, all."""
    starts = (i for i, (event_ms, _) in enumerate(lines) if since_ms is None or event_ms >= since_ms)
    return [raw for _, raw in lines[next(starts, len(lines)) :]]


@pytest.mark.parametrize("mode", ["historical", "live"])
@pytest.mark.parametrize("bad_symbol", ["BAD", "A"])
def test_thousands_of_ticks_of_a_bad_clock_are_not_taken_when_they_come_again(mode, bad_symbol):
    year_ms = 365 * 86_400_000
    lines = []
    for i in range(4000):
        event_ms = T + i * 3 + (year_ms if i % 2 else 0)
        lines.append((event_ms, tick_line(bad_symbol if i % 2 else "A", event_ms, seq=i)))
    undisturbed = make_binner(mode, is_numbered=True)
    expected = run(undisturbed, *(raw for _, raw in lines)) + undisturbed.end(MUCH_LATER)
    first = make_binner(mode, is_numbered=True)
    base, before = first.base(), []
    for _, raw in lines[:3000]:
        before += run(first, raw)
        if first.needs_base:
            base = first.base()
    again = make_binner(mode, is_numbered=True)
    again.restore(first.snapshot(), base)
    after = run(again, *since(lines, again.resume_ms)) + again.end(MUCH_LATER)
    assert by_key(before + after) == by_key(expected)
    assert len(before + after) == len(expected)
    assert len(first.snapshot().marks) < 1500


def test_late_ticks_beside_a_bin_that_stays_open_do_not_make_checkpoints_grow():
    ahead_ms = 5 * 3_600_000  # believed, and its bin stays open: all that follows is late
    lines = [(T + i, tick_line("A", T + i, seq=i)) for i in range(2)]
    lines.append((T + ahead_ms, tick_line("A", T + ahead_ms, seq=2)))
    lines += [(T + i, tick_line("A", T + i, seq=i)) for i in range(3, 8000)]
    undisturbed = make_binner("historical", is_numbered=True)
    expected = run(undisturbed, *(raw for _, raw in lines)) + undisturbed.end(MUCH_LATER)
    first = make_binner("historical", is_numbered=True)
    base, before = first.base(), []
    for _, raw in lines[:6000]:
        before += run(first, raw)
        if first.needs_base:
            base = first.base()
    assert len(first.snapshot().marks) < 10
    again = make_binner("historical", is_numbered=True)
    again.restore(first.snapshot(), base)
    after = run(again, *since(lines, again.resume_ms)) + again.end(MUCH_LATER)
    assert before + after == expected


def test_a_feed_that_is_slow_to_send_old_lines_again_is_not_silent():
    lines = [(T + 10 * i, tick_line("A", T + 10 * i, seq=i)) for i in range(200)]
    first = make_binner("historical", is_numbered=True)
    run(first, *(raw for _, raw in lines[:150]))
    again = restored(first)
    old = since(lines[:150], again.resume_ms)
    for raw in old:
        assert again.close_idle(MUCH_LATER) == []
        run(again, raw)
    assert bins(again.close_idle(MUCH_LATER))  # all old ticks have come: now it is silent


@pytest.mark.parametrize("held", [T, T + 2 * 86_400_000])
def test_a_bad_line_after_a_held_tick_is_refused_once_however_often_both_come(held):
    lines = [] if held == T else [tick_line("A", T, seq=0), tick_line("A", T + 1, seq=1)]
    lines += [tick_line("A", held, seq=2), b"garbage"]
    first = make_binner("historical", is_numbered=True)
    out = run(first, *lines)
    for _ in range(2):  # a mere reconnect
        first.expect_resend()
        out += run(first, *lines)
    again = restored(first)
    out += run(again, *lines, b"garbage", tick_line("A", held + 1, seq=3), tick_line("A", held + 2, seq=4))
    ids = [letter.dlt_id for letter in dead_letters(out)]
    assert len(ids) == len(set(ids)) == 2
