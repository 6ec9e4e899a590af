"""scripts/validate_aggregates.py: ticks to bins and dead letters, each rule and each difference by hand.

L = 500, S = 20, bins of 10 ms; times are given in ms.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from validate_cases import (
    END,
    HELLO,
    LIVE_HELLO,
    Outcome,
    Validator,
    a_bar,
    a_bin,
    heartbeat,
    letter,
    mark,
    tick,
)

LATE = tick(10_009, 11.0)
BASE = Outcome(
    feed=[
        HELLO,
        tick(10_003, 10.0, 2.0),
        tick(10_007, 12.0),
        tick(10_001, 9.0),
        tick(10_510, 10.5),  # W(A) - L = 10,010 closes the first bin, W is 10,490
        LATE,  # 501 ms behind
        tick(10_010, 8.0),  # 500 ms behind: just in time, and its bin is still open
        tick(11_520, 7.0),  # W = 11,500: closes both bins, and W - L enters second 11
        END,  # W = 12,500
    ],
    bins=[
        a_bin(10_000, 10_490, (9.0, 1.0), (10.0, 2.0), (12.0, 1.0), late=6),
        a_bin(10_010, 11_500, (8.0, 1.0), late=500),
        a_bin(10_510, 11_500, (10.5, 1.0)),
        mark(11_500),
        a_bin(11_520, 12_500, (7.0, 1.0)),
        mark(12_500),
    ],
    letters=[letter(LATE, "late", lateness_ms=501, watermark_ms=10_490)],
)


@pytest.fixture
def validator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Validator:
    return Validator(tmp_path, capsys)


def test_the_outcome_computed_by_hand_passes(validator: Validator) -> None:
    report = validator.report(BASE)
    assert report["differences"] == 0, report
    assert report["totals"]["ticks"] == 7
    assert report["totals"]["dead letters: late"] == 1


CLOSED = tick(10_475, symbol="A")
BEHIND = tick(10_000, symbol="B")
BEATEN = tick(10_399)
TOO_FAR_BEAT = heartbeat(21_600_000 + 20_002)
RULES = {
    "a tick whose bin another symbol's progress has closed is closed": Outcome(
        # W = 10,980, so bins up to 10,480 are closed for all; A itself is not late.
        feed=[tick(10_000), tick(11_000, symbol="B"), CLOSED, tick(10_480), tick(10_470, symbol="C")],
        bins=[
            a_bin(10_000, 10_980, (10.0, 1.0)),
            mark(10_980),
            a_bin(10_480, 12_500, (10.0, 1.0)),
            a_bin(11_000, 12_500, (10.0, 1.0), symbol="B"),
            mark(12_500),
        ],
        letters=[
            letter(CLOSED, "closed", lateness_ms=0, watermark_ms=10_980),
            letter(tick(10_470, symbol="C"), "closed", lateness_ms=0, watermark_ms=10_980),
        ],
    ),
    "late is tested before closed": Outcome(
        # Both are 1,000 ms behind: A behind its own newest tick, C only behind the feed.
        feed=[tick(11_000), tick(10_000), tick(10_000, symbol="C")],
        bins=[a_bin(11_000, 12_500, (10.0, 1.0)), mark(12_500)],
        letters=[
            letter(tick(10_000), "late", lateness_ms=1000, watermark_ms=10_980),
            letter(tick(10_000, symbol="C"), "closed", lateness_ms=0, watermark_ms=10_980),
        ],
    ),
    "ticks of one time go by seq": Outcome(
        feed=[tick(10_001, 5.0, seq=8), tick(10_001, 6.0, seq=7), tick(10_001, 7.0, seq=9)],
        bins=[a_bin(10_000, 11_500, (6.0, 1.0), (5.0, 1.0), (7.0, 1.0)), mark(11_500)],
    ),
    "ticks of one time without seq go by arrival": Outcome(
        feed=[tick(10_001, 5.0), tick(10_001, 6.0), tick(10_000, 7.0)],
        bins=[a_bin(10_000, 11_500, (7.0, 1.0), (5.0, 1.0), (6.0, 1.0), late=1), mark(11_500)],
    ),
    "the earliest send and source times count": Outcome(
        feed=[tick(10_001, api_send_ts_ms=9, source_event_ts_ms=4), tick(10_002, api_send_ts_ms=8)],
        bins=[
            a_bin(10_000, 11_500, (10.0, 1.0), (10.0, 1.0), api_send_ts_ms=8, source_event_ts_ms=4),
            mark(11_500),
        ],
    ),
    "a heartbeat closes bins and refuses what comes too late for them": Outcome(
        # W = 10,900: bins up to 10,400 are closed. A tick refused by a heartbeat raises nothing: the next one
        # of its symbol is not late, but closed as well.
        feed=[
            tick(10_000), tick(10_001), heartbeat(10_900), heartbeat(10_800),
            BEATEN, tick(9_000, symbol="B"), tick(10_400),
        ],
        bins=[
            a_bin(10_000, 10_900, (10.0, 1.0), (10.0, 1.0)),
            mark(10_900),
            a_bin(10_400, 11_500, (10.0, 1.0)),
            mark(11_500),
        ],
        letters=[
            letter(BEATEN, "closed", lateness_ms=0, watermark_ms=10_900),
            letter(tick(9_000, symbol="B"), "closed", lateness_ms=0, watermark_ms=10_900),
        ],
    ),
    "a tick that a heartbeat has closed does not make later ones late": Outcome(
        # Taken alone, 15,000 would make 14,000 late. W(A) is still 10,001: both are closed.
        feed=[tick(10_000), tick(10_001), heartbeat(20_000), tick(15_000), tick(14_000)],
        bins=[a_bin(10_000, 20_000, (10.0, 1.0), (10.0, 1.0)), mark(20_000)],
        letters=[
            letter(tick(15_000), "closed", lateness_ms=0, watermark_ms=20_000),
            letter(tick(14_000), "closed", lateness_ms=0, watermark_ms=20_000),
        ],
    ),
    "a heartbeat beyond the allowed jump is refused": Outcome(
        feed=[tick(20_000), tick(20_001), TOO_FAR_BEAT, tick(20_002)],
        bins=[a_bin(20_000, 21_500, (10.0, 1.0), (10.0, 1.0), (10.0, 1.0)), mark(21_500)],
        letters=[letter(TOO_FAR_BEAT, "future", symbol=None, lateness_ms=None, watermark_ms=19_981)],
    ),
    "bins that close together go out in start order, whatever their symbols": Outcome(
        feed=[tick(10_020, symbol="B"), tick(10_010, symbol="C"), tick(10_000), tick(13_000)],
        bins=[
            a_bin(10_000, 12_980, (10.0, 1.0)),
            a_bin(10_010, 12_980, (10.0, 1.0), symbol="C"),
            a_bin(10_020, 12_980, (10.0, 1.0), symbol="B"),
            mark(12_980),
            a_bin(13_000, 14_500, (10.0, 1.0)),
            mark(14_500),
        ],
    ),
    "a W that leaps over seconds sends one watermark record": Outcome(
        # W = 9,980; 29,990 (second 29 of W - L, record at 29,980 of the grid); end 31,500.
        feed=[tick(10_000), tick(30_005)],
        bins=[
            a_bin(10_000, 29_985, (10.0, 1.0)),
            mark(29_980),
            a_bin(30_000, 31_500, (10.0, 1.0)),
            mark(31_500),
        ],
    ),
    "a W just after 1970 counts its seconds down to below 0": Outcome(
        # W = 0, so W - L = -500 lies in second -1. W = 500 is second 0: a record. At the end it is second 1.
        feed=[tick(20), tick(520)],
        bins=[mark(500), a_bin(20, 1_500, (10.0, 1.0)), a_bin(520, 1_500, (10.0, 1.0)), mark(1_500)],
    ),
    "the only tick of a feed is believed": Outcome(
        feed=[tick(10_000), END], bins=[a_bin(10_000, 11_500, (10.0, 1.0)), mark(11_500)]
    ),
    "a feed without ticks leaves nothing": Outcome(feed=[HELLO, END]),
    "an unconfirmed leap is a dead letter, and the feed goes on": Outcome(
        feed=[tick(10_000), tick(10_001), tick(90_000_000), tick(10_002)],
        bins=[a_bin(10_000, 11_500, (10.0, 1.0), (10.0, 1.0), (10.0, 1.0)), mark(11_500)],
        letters=[letter(tick(90_000_000), "future", lateness_ms=0, watermark_ms=9_981)],
    ),
    "a confirmed leap is believed": Outcome(
        feed=[tick(10_000), tick(10_001), tick(90_000_000), tick(90_000_004), tick(90_000_003)],
        bins=[
            a_bin(10_000, 89_999_980, (10.0, 1.0), (10.0, 1.0)),
            mark(89_999_980),
            a_bin(90_000_000, 90_001_500, (10.0, 1.0), (10.0, 1.0), (10.0, 1.0), late=1),
            mark(90_001_500),
        ],
    ),
    "a first tick with a bad clock is refused by the second": Outcome(
        feed=[tick(90_000_000), tick(10_000), tick(10_001)],
        bins=[a_bin(10_000, 11_500, (10.0, 1.0), (10.0, 1.0)), mark(11_500)],
        letters=[letter(tick(90_000_000), "future", lateness_ms=None, watermark_ms=None)],
    ),
    "sizes of 0 are ticks": Outcome(
        feed=[tick(10_000, 3.0, 0.0)], bins=[a_bin(10_000, 11_500, (3.0, 0.0)), mark(11_500)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_rule_of_the_watermarks_holds(validator: Validator, name: str) -> None:
    report = validator.report(RULES[name])
    assert report["differences"] == 0, report


def less(outcome: Outcome, n: int) -> Outcome:
    return replace(outcome, bins=outcome.bins[:n] + outcome.bins[n + 1 :])


def with_bin(outcome: Outcome, n: int, **values: object) -> Outcome:
    return replace(outcome, bins=[{**b, **values} if i == n else b for i, b in enumerate(outcome.bins)])


def with_letter(outcome: Outcome, **values: object) -> Outcome:
    return replace(outcome, letters=[{**outcome.letters[0], **values}])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda o: less(o, 1), {"missing_bins": 1, "tick_conservation": 1}, id="bin missing"),
        pytest.param(
            lambda o: replace(o, bins=[*o.bins[:4], a_bin(11_600, 12_500, (7.0, 1.0)), *o.bins[4:]]),
            {"extra_bins": 1, "tick_conservation": 1},
            id="bin without ticks",
        ),
        pytest.param(
            lambda o: with_bin(o, 0, trade_count=2, volume=3.0, notional=32.0, low=10.0, open=10.0),
            {"bin_fields": 5, "tick_conservation": 1},
            id="a lost tick",
        ),
        pytest.param(
            lambda o: with_bin(o, 1, trade_count=2),
            {"bin_fields": 1, "tick_conservation": 1},
            id="a doubled tick",
        ),
        pytest.param(lambda o: with_bin(o, 0, close=10.0), {"bin_fields": 1}, id="price"),
        pytest.param(
            lambda o: with_bin(o, 0, notional=41.0 * (1 + 1e-12)), {}, id="sum within the tolerance"
        ),
        pytest.param(lambda o: with_bin(o, 1, max_lateness_ms=0), {"bin_fields": 1}, id="lateness"),
        pytest.param(
            lambda o: with_bin(o, 4, watermark_ms=12_510), {"bin_fields": 1}, id="watermark of a bin"
        ),
        pytest.param(
            lambda o: replace(o, bins=[o.bins[i] for i in (0, 2, 1, 3, 4, 5)]),
            {"bins_out_of_order": 1},
            id="bins that close together in the wrong order",
        ),
        pytest.param(
            lambda o: replace(o, bins=[o.bins[i] for i in (0, 1, 3, 2, 4, 5)]),
            {"bins_out_of_order": 1, "late_bins": 1},
            id="watermark record before a bin that it closes",
        ),
        pytest.param(lambda o: less(o, 3), {"missing_watermarks": 1}, id="watermark record missing"),
        pytest.param(
            lambda o: replace(o, bins=[*o.bins[:3], mark(11_490), *o.bins[3:]]),
            {"extra_watermarks": 1},
            id="watermark record too many",
        ),
        pytest.param(
            lambda o: replace(o, letters=[]),
            {"missing_dead_letters": 1, "tick_conservation": 1},
            id="dead letter missing",
        ),
        pytest.param(
            lambda o: replace(o, letters=[*o.letters, letter(tick(10_007, 12.0), "late", lateness_ms=600)]),
            {"extra_dead_letters": 1, "tick_conservation": 1},
            id="dead letter of a tick that is in a bin",
        ),
        pytest.param(lambda o: with_letter(o, reason="closed"), {"wrong_reasons": 1}, id="wrong reason"),
        pytest.param(
            lambda o: with_letter(o, lateness_ms=502), {"dead_letter_fields": 1}, id="wrong lateness"
        ),
        pytest.param(
            lambda o: with_letter(o, watermark_ms=None), {"dead_letter_fields": 1}, id="no watermark"
        ),
        pytest.param(lambda o: with_letter(o, symbol="B"), {"dead_letter_fields": 1}, id="wrong symbol"),
        pytest.param(
            lambda o: with_letter(o, line_sha256="0" * 64),
            {"dead_letter_fields": 1, "dead_letter_sanity": 1},
            id="wrong hash",
        ),
        pytest.param(
            lambda o: with_letter(o, line="something else"),
            {"dead_letter_sanity": 1},
            id="not the original line",
        ),
        pytest.param(
            lambda o: with_letter(o, reason="tired"),
            {"wrong_reasons": 1, "dead_letter_sanity": 1},
            id="no reason",
        ),
        pytest.param(
            lambda o: replace(o, letters=[{**o.letters[0], "dlt_id": "same"}] * 2),
            {},
            id="dead letter sent again",
        ),
        pytest.param(lambda o: replace(o, bins=[*o.bins, o.bins[0]]), {}, id="bin sent again"),
        pytest.param(
            lambda o: replace(o, feed=[line for line in o.feed if line is not LATE]),
            {"extra_dead_letters": 1, "tick_conservation": 1},
            id="a line that the capture has not",
        ),
    ],
)
def test_each_kind_of_difference_is_found(
    validator: Validator, change: Callable[[Outcome], Outcome], expected: dict[str, int]
) -> None:
    outcome = change(BASE)
    found = validator.differences(outcome)
    about_bars = {"missing_bars", "extra_bars", "bar_fields", "bin_sanity", "bar_sanity"}
    assert {key: count for key, count in found.items() if key not in about_bars} == expected


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((0, 1, 2), {}),
        ((0, 2, 1), {}),
        ((1, 0, 2), {"bins_out_of_order": 1}),
        ((2, 0, 1), {"bins_out_of_order": 1}),
    ],
)
def test_a_watermark_record_follows_the_bins_that_w_closes(
    validator: Validator, places: tuple[int, ...], expected: dict[str, int]
) -> None:
    # 11,525 lets W - L enter second 11 at 11,005. W closes the first bin, W(A) - L = 11,025 the second too.
    records = [
        a_bin(10_990, 11_505, (10.0, 1.0)),
        mark(11_500),
        a_bin(11_000, 11_505, (10.0, 1.0)),
    ]
    outcome = Outcome(
        feed=[tick(10_990), tick(11_000), tick(11_525)],
        bins=[*(records[i] for i in places), a_bin(11_520, 12_500, (10.0, 1.0)), mark(12_500)],
    )
    found = validator.differences(outcome)
    for about_bars in ("late_bins", "extra_bars"):  # what the wrong order does to bars is not the point here
        found.pop(about_bars, None)
    assert found == expected


def test_dead_letters_are_recognised_by_seq_when_the_text_is_another(validator: Validator) -> None:
    sent = [tick(11_000, seq=1), tick(10_000, seq=2, bid=1)]
    seen = letter(tick(10_000, seq=2, bid=2), "late", lateness_ms=1000, watermark_ms=10_980)
    outcome = Outcome(feed=sent, bins=[a_bin(11_000, 12_500, (10.0, 1.0)), mark(12_500)], letters=[seen])
    assert validator.differences(outcome) == {"dead_letter_fields": 1}  # line_sha256


def test_equal_lines_are_told_apart_by_their_number(validator: Validator) -> None:
    twice = letter(tick(10_000), "late", lateness_ms=1000, watermark_ms=10_980)
    outcome = Outcome(
        feed=[tick(11_000), tick(10_000), tick(10_000)],
        bins=[a_bin(11_000, 12_500, (10.0, 1.0)), mark(12_500)],
        letters=[twice, twice],
    )
    assert validator.differences(outcome) == {}
    outcome.letters.pop()
    assert validator.differences(outcome) == {"missing_dead_letters": 1, "tick_conservation": 1}


LIVE = Outcome(
    feed=[
        LIVE_HELLO,
        tick(10_000, api_send_ts_ms=5),
        tick(10_004),
        tick(90_000_000),  # the worker's clock said: future
        tick(10_600),
        LATE,
        tick(10_700),
        tick(13_000),
    ],
    bins=[
        a_bin(10_000, 10_555, (10.0, 1.0), (10.0, 1.0), api_send_ts_ms=6),
        mark(10_560),
        a_bin(10_600, 12_980, (10.0, 1.0)),
        a_bin(10_700, 12_980, (10.0, 1.0)),
        mark(12_980),
    ],
    letters=[
        letter(tick(90_000_000), "future", lateness_ms=0, watermark_ms=9_984),
        letter(LATE, "late", lateness_ms=591, watermark_ms=10_555),
    ],
)


def test_of_a_live_feed_contents_and_conservation_are_compared(validator: Validator) -> None:
    report = validator.report(LIVE)
    assert report["differences"] == 0, report
    assert any("live feed" in note for note in report["notes"])
    assert any("1 ticks are in bins that were still open" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda o: less(o, 2), {"missing_bins": 1, "tick_conservation": 1}, id="bin missing"),
        pytest.param(lambda o: with_bin(o, 2, close=9.5), {"bin_fields": 1}, id="price"),
        pytest.param(
            lambda o: replace(o, letters=o.letters[1:]),
            # Not known as refused, the tick should be in a bin; that bin may still be open.
            {"dead_letter_fields": 0},
            id="dead letter missing for a tick beyond the end",
        ),
        pytest.param(
            lambda o: replace(o, letters=[o.letters[0], {**o.letters[1], "lateness_ms": 2_000}]),
            {"dead_letter_fields": 1},
            id="later than it can have been",
        ),
        pytest.param(
            lambda o: replace(o, letters=[*o.letters, letter(tick(10_004), "invalid")]),
            {"extra_dead_letters": 1, "tick_conservation": 1},
            id="a good tick called invalid",
        ),
    ],
)
def test_differences_of_a_live_feed_are_found(
    validator: Validator, change: Callable[[Outcome], Outcome], expected: dict[str, int]
) -> None:
    found = validator.differences(change(LIVE))
    about_bars = {"missing_bars", "extra_bars", "bar_fields", "bin_sanity", "bar_sanity"}
    assert {key: n for key, n in found.items() if key not in about_bars} == {
        k: n for k, n in expected.items() if n
    }


def test_mode_can_be_said_when_the_feed_has_no_hello(validator: Validator) -> None:
    outcome = replace(LIVE, feed=LIVE.feed[1:])
    assert validator.differences(outcome, "--mode", "live") == {}
    assert validator.differences(outcome) != {}


def test_a_capture_without_an_end_is_noted(validator: Validator) -> None:
    report = validator.report(replace(BASE, feed=BASE.feed[:-1]))
    assert report["differences"] == 0
    assert any("no end" in note for note in report["notes"])


def test_bars_of_recomputed_ticks_are_checked_too(validator: Validator) -> None:
    bars = [a_bar(10_000, "A", BASE.bins[:3]), a_bar(11_000, "A", [BASE.bins[4]], max_lateness_ms=1)]
    assert validator.differences(replace(BASE, bars=bars)) == {"bar_fields": 1}
