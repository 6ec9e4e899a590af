"""Dead letters: their ids, and the original text."""

import hashlib

from feed_lines import T, dead_letters, heartbeat_line, make_binner, run, tick_line

from glue.core.dead_letters import LineOccurrences, line_sha256, line_text

BAD = b'{"px":-1}'
SHA = hashlib.sha256(BAD).hexdigest()


def ids(outputs):
    return [letter.dlt_id for letter in dead_letters(outputs)]


def test_a_numbered_line_is_known_by_feed_and_number():
    binner = make_binner(is_numbered=True)
    out = run(binner, tick_line("A", T + 9000, seq=1), tick_line("A", T, seq=2), tick_line("B", T, seq=3))
    assert ids(out) == ["feed-2", "feed-3"]
    assert [letter.seq for letter in dead_letters(out)] == [2, 3]


def test_a_bad_line_is_not_known_by_the_number_it_shows_which_a_tick_may_have():
    binner = make_binner(is_numbered=True)
    bad, reserved = tick_line("A", T, px=-1, seq=2), tick_line("~wm0", T, seq=3)
    out = run(binner, tick_line("A", T, seq=1), bad, reserved, BAD)
    keys = [hashlib.sha256(raw).hexdigest()[:16] for raw in (bad, reserved, BAD)]
    assert ids(out) == [f"feed-1-{key}-0" for key in keys]
    assert [letter.seq for letter in dead_letters(out)] == [2, 3, None]


def test_an_unnumbered_line_of_a_numbered_feed_is_known_by_the_number_before_it():
    binner = make_binner(is_numbered=True)
    out = run(binner, BAD, BAD, tick_line("A", T, seq=7), BAD, BAD, tick_line("A", T, seq=8), BAD)
    key = SHA[:16]
    assert ids(out) == [
        f"feed-start-{key}-0",
        f"feed-start-{key}-1",
        f"feed-7-{key}-0",
        f"feed-7-{key}-1",
        f"feed-8-{key}-0",
    ]


def test_ids_of_unnumbered_lines_do_not_depend_on_chunks():
    lines = [BAD, tick_line("A", T, seq=7), BAD, heartbeat_line(T), BAD, tick_line("A", T, px=0, seq=8), BAD]
    together = ids(run(make_binner(is_numbered=True), *lines))
    binner = make_binner(is_numbered=True)
    assert [i for line in lines for i in ids(run(binner, line))] == together
    assert len(set(together)) == 5


def test_a_line_of_a_feed_without_numbers_is_known_by_hash_and_occurrence():
    lines = [BAD, BAD, tick_line("A", T, px=-1), BAD]
    out = ids(run(make_binner(), *lines))
    assert [out[0], out[1], out[3]] == [f"feed-{SHA[:16]}-{i}" for i in range(3)]
    assert len(set(out)) == 4
    assert ids(run(make_binner(), *lines)) == out


def test_a_feed_that_cannot_resend_has_ids_by_hash_even_where_ticks_carry_numbers():
    late = tick_line("A", T, seq=1)
    out = run(make_binner(), tick_line("A", T + 9000), late, late)
    assert len(set(ids(out))) == 2
    assert [letter.seq for letter in dead_letters(out)] == [1, 1]


def test_equal_late_ticks_are_different_dead_letters():
    late = tick_line("A", T)
    out = run(make_binner(), tick_line("A", T + 2000), late, late)
    assert len(set(ids(out))) == 2


def test_a_dead_letter_tells_what_is_known_of_the_tick():
    out = run(make_binner(), tick_line("A", T + 1000), tick_line("A", T + 499, seq=4))
    (letter,) = dead_letters(out)
    assert (letter.reason, letter.symbol, letter.event_ts_ms) == ("late", "A", T + 499)
    assert (letter.lateness_ms, letter.watermark_ms, letter.seq) == (501, T + 980, 4)
    assert letter.line == tick_line("A", T + 499, seq=4).decode()
    assert letter.line_sha256 == hashlib.sha256(tick_line("A", T + 499, seq=4)).hexdigest()
    assert letter.ingest_ts_ms is None


def test_what_is_unknown_is_null():
    (letter,) = dead_letters(run(make_binner(), b"garbage"))
    assert (letter.symbol, letter.event_ts_ms, letter.lateness_ms, letter.watermark_ms, letter.seq) == (
        None,
    ) * 5


def test_carriage_returns_do_not_belong_to_the_line():
    (letter,) = dead_letters(run(make_binner(), b"garbage\r"))
    assert letter.line == "garbage"
    assert letter.line_sha256 == hashlib.sha256(b"garbage").hexdigest()


def test_the_text_is_cut_at_4_kib_and_the_hash_is_of_the_whole_line():
    (letter,) = dead_letters(run(make_binner(), b"x" * 5000))
    assert letter.line == "x" * 4096
    assert letter.line_sha256 == line_sha256(b"x" * 5000)


def test_bytes_that_are_not_utf_8_stay_readable():
    assert line_text(b"a\xffb\xc3") == "a\\xffb\\xc3"
    assert line_text("ä€".encode()) == "ä€"


def test_a_line_too_long_to_keep_brings_its_own_hash():
    binner = make_binner(is_numbered=True)
    run(binner, tick_line("A", T, seq=3))
    (letter,) = dead_letters(binner.refuse(b"y" * 100, "ab" * 32, "longer than 1 MiB", T))
    assert (letter.reason, letter.detail, letter.line) == ("invalid", "longer than 1 MiB", "y" * 100)
    assert letter.line_sha256 == "ab" * 32
    assert letter.dlt_id == "feed-3-abababababababab-0"


def test_wall_time_is_written_unless_the_run_is_deterministic():
    binner = make_binner()
    binner._is_deterministic = False
    (letter,) = dead_letters(run(binner, BAD, now_ms=T + 5))
    assert letter.ingest_ts_ms == T + 5


def test_occurrences_count_up_and_the_oldest_line_is_forgotten_first():
    occurrences = LineOccurrences(limit=2)
    a, b, c = ("a" * 64, "b" * 64, "c" * 64)
    assert [occurrences.next(x) for x in (a, b, a, b, b)] == [0, 0, 1, 1, 2]
    assert occurrences.next(a) == 2  # now b is the older one
    assert occurrences.next(c) == 0
    assert occurrences.next(a) == 3
    assert occurrences.next(b) == 0
    occurrences.clear()
    assert occurrences.next(a) == 0
