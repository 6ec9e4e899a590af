"""scripts/validate_aggregates.py: the jump rule of historical feeds, line by line."""

import pytest
import validate_cases  # noqa: F401 - puts scripts/ on the path

# isort: split
from validate.jumps import Event, Held, JumpRule
from validate.rules import Rules

RULE = Rules(jump_ms=1_000_000)
BEAT = "beat"

# Event times in seconds; a jump is more than 1,000 s. Then (line, decided at line, refuted).
CASES = {
    "an even feed holds its first tick until the second": ([1, 2, 3], [(1, 2, False)]),
    "a single tick is believed at the end": ([1], [(1, 2, False)]),
    "a second tick a jump behind refutes the first": ([5000, 1, 2], [(1, 2, True), (2, 3, False)]),
    "a second tick just a jump behind does not": ([1001, 1, 2], [(1, 2, False)]),
    "two bad clocks in a row are both refused": (
        [9000, 5000, 1],
        [(1, 2, True), (2, 3, True), (3, 4, False)],
    ),
    "a jump of just the limit is no jump": ([1, 1001], [(1, 2, False)]),
    "the second tick may be a candidate itself": ([1, 1001.001, 2], [(1, 2, False), (2, 3, True)]),
    "a candidate at the end is refuted": ([1, 2, 5000], [(1, 2, False), (3, 4, True)]),
    "a candidate with one witness at the end is refuted": (
        [1, 2, 5000, 5001],
        [(1, 2, False), (3, 5, True), (4, 5, True)],
    ),
    "two witnesses confirm": (
        [1, 2, 5000, 5060, 4940, 5061],
        [(1, 2, False), (3, 5, False), (4, 5, False), (5, 5, False)],
    ),
    "a witness is within a minute of the first": (
        # 5060.001 does not confirm 5000; it is a candidate of its own, which 5120 and 5000.001 confirm.
        [1, 2, 5000, 5060.001, 5120, 5000.001],
        [(1, 2, False), (3, 4, True), (4, 6, False), (5, 6, False), (6, 6, False)],
    ),
    "the one that refutes is judged afresh": (
        [1, 2, 5000, 9000, 3],
        [(1, 2, False), (3, 4, True), (4, 5, True)],
    ),
    "one that does not confirm refutes the witness too": (
        [1, 2, 5000, 5001, 3],
        [(1, 2, False), (3, 5, True), (4, 5, True)],
    ),
    "a refuted candidate leaves no trace": ([1, 2, 5000, 3, 1002.5], [(1, 2, False), (3, 4, True)]),
    "a believed jump is the new base": (
        [1, 2, 5000, 5000, 5000, 6000, 6000.5],
        [(1, 2, False), (3, 5, False), (4, 5, False), (5, 5, False)],
    ),
    "heartbeats do not decide": (
        [1, (BEAT, 0.9), 2, 5000, (BEAT, 3), 5001, (BEAT, 4), 5002],
        [(1, 3, False), (4, 8, False), (6, 8, False), (8, 8, False)],
    ),
    "a heartbeat far ahead is refused": ([1, 2, (BEAT, 1002.001), 3], [(1, 2, False), (3, 3, True)]),
    "a heartbeat just a jump ahead is not": ([1, 2, (BEAT, 1002), 1001.999], [(1, 2, False)]),
    "heartbeats may climb": ([1, 2, (BEAT, 1002), (BEAT, 2002), 3], [(1, 2, False)]),
    "but ticks are measured by ticks": ([1, 2, (BEAT, 1002), 1002.5], [(1, 2, False), (4, 5, True)]),
    "before any tick a heartbeat is believed": ([(BEAT, 5000), 5000.1, 5000.2], [(2, 3, False)]),
    "a tick that a heartbeat has closed is no base": (
        # 1 and 2 are closed by 5000; so 5001, though far ahead of them, is the first accepted one.
        [(BEAT, 5000), 1, 2, 5001, 5002],
        [(2, 3, False), (3, 4, False), (4, 5, False)],
    ),
}


def events(feed: list[float | tuple[str, float]]) -> list[Event]:
    return [
        Event(n, False, round(one[1] * 1000)) if isinstance(one, tuple) else Event(n, True, round(one * 1000))
        for n, one in enumerate(feed, 1)
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_jump_rule_decides(name: str) -> None:
    feed, expected = CASES[name]
    lines = events(feed)
    times = [event.event_ts_ms for event in lines]
    held = list(JumpRule(RULE).follow(lines, max(times) - min(times)))
    assert sorted(held) == [Held(*one) for one in expected]


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        ([2, (BEAT, 9), (BEAT, 2), 3], [Held(1, 4, False), Held(2, 2, False, 2_000)]),
        (
            [1, 2, 5000, (BEAT, 1000), 4999, (BEAT, 2000), (BEAT, 3000), (BEAT, 4000), (BEAT, 4999.1), 5001],
            [
                Held(1, 2, False),
                *(Held(n, 10, False) for n in (3, 5)),
                Held(9, 9, False, 4_999_000),
                Held(10, 10, False),
            ],
        ),
    ],
    ids=["the first tick", "candidates"],
)
def test_a_heartbeat_does_not_pass_held_ticks(
    feed: list[float | tuple[str, float]], expected: list[Held]
) -> None:
    assert sorted(JumpRule(RULE).follow(events(feed), 10**9)) == expected


def test_a_feed_too_short_for_a_jump_is_left_early() -> None:
    feed = iter(events([1, 2, 3, 4]))
    assert list(JumpRule(RULE).follow(feed, 3000)) == [Held(1, 2, False)]
    assert [event.line_no for event in feed] == [3, 4]
