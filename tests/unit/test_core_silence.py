"""Silence of a feed, and what only looks like it."""

from glue.core.silence import Silence


def read(silence: Silence, now_s: float) -> float:
    """Look for more at a time, and return how long the feed is silent by then."""
    silence.back(now_s)
    silence.left(now_s)
    return silence.lasts(now_s)


def test_a_feed_is_silent_since_it_was_heard() -> None:
    silence = Silence(100.0)
    silence.heard(101.0)
    assert [read(silence, 101.0 + i / 2) for i in range(4)] == [0.0, 0.5, 1.0, 1.5]
    silence.heard(104.0)
    assert silence.lasts(105.0) == 1.0


def test_a_reader_that_was_away_waits_as_long_again() -> None:
    silence = Silence(100.0)
    silence.left(100.0)
    assert read(silence, 120.0) == -20.0
    silence.heard(121.0)  # what was under way already
    lasts = {s: read(silence, 120 + s) for s in range(1, 27)}
    assert lasts[19] == -1.0
    assert lasts[26] == 6.0


def test_a_short_absence_hides_no_silence() -> None:
    silence = Silence(100.0)
    silence.left(100.0)
    now_s = 100.0
    while now_s < 110.0:
        now_s += 0.9  # as when every commit takes so long
        silence.back(now_s)
        silence.left(now_s)
    assert silence.lasts(now_s) > 5
