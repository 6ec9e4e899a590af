"""The clock of a source: when each of its lines is due, in event time."""

from collections.abc import Iterable, Iterator
from itertools import chain

from glue.feeds.lines import SourceLine, SourceTick

MAX_JUMP_MS = 6 * 3_600_000
CONFIRM_WITHIN_MS = 60_000
WRONG_START_MS = 366 * 86_400_000
MAX_DISORDER_MS = 60_000
"""A line further behind its clock has a wrong stamp: it is late, not disordered."""

TimedLine = tuple[int, SourceLine]


def due_ms(event_us: int) -> int:
    """Return the first whole millisecond at which a tick has happened, so that none is sent before."""
    return -(-event_us // 1000)


def timed(lines: Iterable[SourceLine]) -> Iterator[TimedLine]:
    """Yield (clock_ms, line) in the order of the lines: the clock is the highest event time so far.

    One wrong stamp must not stall a paced feed for years, so a jump of more than six hours ahead moves the
    clock only when the next tick is there too, and a start more than a year away from the next two ticks
    does not count. Such a line is due at once. The clock never goes back.
    """
    stream = iter(lines)
    head: list[SourceLine] = []
    first_times_ms: list[int] = []
    for line in stream:
        head.append(line)
        if isinstance(line, SourceTick):
            first_times_ms.append(due_ms(line.event_us))
            if len(first_times_ms) == 3:
                break
    clock_ms = _start(first_times_ms)
    jump_ms = 0
    held: list[SourceLine] = []
    for line in chain(head, stream):
        if not isinstance(line, SourceTick):
            if held:
                held.append(line)
            else:
                yield clock_ms, line
            continue
        event_ms = due_ms(line.event_us)
        if held:
            if event_ms >= jump_ms - CONFIRM_WITHIN_MS:
                clock_ms = jump_ms
            for earlier in held:
                yield clock_ms, earlier
            held.clear()
        if event_ms > clock_ms + MAX_JUMP_MS:
            jump_ms = event_ms
            held.append(line)
            continue
        if event_ms > clock_ms:
            clock_ms = event_ms
        yield clock_ms, line
    for earlier in held:
        yield clock_ms, earlier


def _start(times_ms: list[int]) -> int:
    if not times_ms:
        return 0
    middle_ms = sorted(times_ms)[(len(times_ms) - 1) // 2]
    return times_ms[0] if abs(times_ms[0] - middle_ms) <= WRONG_START_MS else middle_ms


def lag_ms(clock_ms: int, line: SourceLine) -> int:
    """Return how far a line is behind the clock, 0 for one with a wrong stamp or none."""
    if not isinstance(line, SourceTick):
        return 0
    behind_ms = clock_ms - due_ms(line.event_us)
    return behind_ms if 0 < behind_ms <= MAX_DISORDER_MS else 0
