"""When lines are due: the clock of a source, and disturbance of its order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from glue.feeds.clock import MAX_JUMP_MS, timed
from glue.feeds.disturb import LATE_MAX_MS, LATE_MIN_MS, disturb
from glue.feeds.lines import Entry, RawLine, SourceLine, SourceTick

START_MS = 1_600_000_000_000
YEAR_MS = 366 * 86_400_000


def tick(ms: int) -> SourceTick:
    return SourceTick((START_MS + ms) * 1000, "A", 1.0, 1.0)


def clocks(lines: list[SourceLine]) -> list[int]:
    return [clock_ms - START_MS for clock_ms, _ in timed(lines)]


def entries(times_ms: list[int]) -> list[Entry]:
    return [(START_MS + ms, 0, tick(ms)) for ms in times_ms]


def test_the_clock_is_the_highest_event_time_so_far() -> None:
    assert clocks([tick(0), tick(50), tick(20), tick(60)]) == [0, 50, 50, 60]


def test_a_raw_line_is_due_with_the_line_before_it() -> None:
    raw = RawLine(b"x")
    assert clocks([raw, tick(5), raw, tick(9), raw]) == [5, 5, 5, 9, 9]


def test_no_tick_is_due_before_it_happened() -> None:
    line = SourceTick(START_MS * 1000 + 1, "A", 1.0, 1.0)
    assert clocks([line]) == [1]


def test_one_clock_years_ahead_does_not_stall_the_feed() -> None:
    assert clocks([tick(0), tick(1), tick(50 * YEAR_MS), RawLine(b"x"), tick(2)]) == [0, 1, 1, 1, 2]
    assert clocks([tick(0), tick(50 * YEAR_MS)]) == [0, 0]


def test_a_night_between_two_days_is_believed() -> None:
    next_day = MAX_JUMP_MS * 3
    assert clocks([tick(0), tick(1), tick(next_day), tick(next_day + 5)]) == [0, 1, next_day, next_day + 5]


def test_a_first_line_with_a_wrong_stamp_does_not_set_the_clock() -> None:
    assert clocks([tick(-9 * YEAR_MS), tick(1), tick(2)]) == [1, 1, 2]
    assert clocks([tick(9 * YEAR_MS), tick(1), tick(2)]) == [2, 2, 2]


def test_a_source_of_raw_lines_only_still_comes() -> None:
    assert [line for _, line in timed([RawLine(b"x"), RawLine(b"y")])] == [RawLine(b"x"), RawLine(b"y")]


@given(st.lists(st.integers(-YEAR_MS * 3, YEAR_MS * 3), max_size=30))
def test_the_clock_keeps_all_lines_in_order_and_never_goes_back(times_ms: list[int]) -> None:
    lines: list[SourceLine] = [tick(ms) for ms in times_ms]
    result = list(timed(lines))
    assert [line for _, line in result] == lines
    assert [clock for clock, _ in result] == sorted(clock for clock, _ in result)


def test_without_disorder_nothing_changes() -> None:
    source = entries([0, 5, 5, 9])
    assert list(disturb(source)) == source


@given(
    st.lists(st.integers(0, 50), max_size=60),
    st.integers(0, 200),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.integers(0, 5),
)
def test_disturbance_keeps_every_line_within_its_bounds(
    steps: list[int], disorder_ms: int, late_rate: float, seed: int
) -> None:
    source = entries([sum(steps[: index + 1]) for index in range(len(steps))])
    result = list(disturb(source, disorder_ms=disorder_ms, late_rate=late_rate, seed=seed))
    assert sorted(map(id, (line for _, _, line in result))) == sorted(
        map(id, (line for _, _, line in source))
    )
    arrivals = [arrival_ms for arrival_ms, _, _ in result]
    assert arrivals == sorted(arrivals)
    for arrival_ms, _, line in result:
        assert isinstance(line, SourceTick)
        delay_ms = arrival_ms - line.event_us // 1000
        is_late = LATE_MIN_MS <= delay_ms <= LATE_MAX_MS and late_rate > 0
        assert is_late or (0 <= delay_ms <= disorder_ms and late_rate < 1)
    for (arrival_ms, _, first), (next_ms, _, second) in pairwise(result):
        if arrival_ms == next_ms:  # ties keep the order of the source
            order = [line for _, _, line in source]
            assert _place(order, first) < _place(order, second)


def _place(order: list[SourceLine], line: SourceLine) -> int:
    return next(index for index, other in enumerate(order) if other is line)


def test_disturbance_is_the_same_for_the_same_seed_only() -> None:
    source = entries(list(range(0, 5000, 3)))
    once = list(disturb(source, disorder_ms=800, late_rate=0.01, seed=7))
    assert once == list(disturb(source, disorder_ms=800, late_rate=0.01, seed=7))
    assert once != list(disturb(source, disorder_ms=800, late_rate=0.01, seed=8))


def test_disturbance_streams_and_holds_only_what_is_on_its_way() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield START_MS + taken, 0, tick(taken)

    result = disturb(endless(), disorder_ms=100, late_rate=0.01, seed=1)  # type: ignore[arg-type]
    for given_out in range(1, 20_000):
        next(result)
        assert taken - given_out <= 100 + LATE_MAX_MS
