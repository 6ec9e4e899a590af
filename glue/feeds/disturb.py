"""Disorder and lateness added to a source, seeded: what real feeds do to a reader."""

import heapq
from collections.abc import Iterable, Iterator
from random import Random

from glue.feeds.lines import Entry, SourceLine

LATE_MIN_MS = 1000
LATE_MAX_MS = 5000


def disturb(
    entries: Iterable[Entry], *, disorder_ms: int = 0, late_rate: float = 0.0, seed: int = 0
) -> Iterator[Entry]:
    """Delay each line and yield the lines by the time they are due, ties in source order.

    A line's delay is uniform in 0..`disorder_ms`; for the share `late_rate` of the lines it is uniform in
    1000..5000 ms instead. Event times stay as they are; `clock_ms` becomes the time the line arrives.
    Streams: holds no more than the lines that are on their way. Same seed, same order.
    """
    if not disorder_ms and not late_rate:
        yield from entries
        return
    uniform = Random(seed).random  # noqa: S311 - repeatable on purpose
    late_span_ms = LATE_MAX_MS - LATE_MIN_MS + 1
    on_the_way: list[tuple[int, int, int, SourceLine]] = []
    for number, (clock_ms, shift_ms, line) in enumerate(entries):
        # A later line arrives at its clock or after it: what is due by now can no longer be overtaken.
        while on_the_way and on_the_way[0][0] <= clock_ms:
            due_ms, _, shift, due = heapq.heappop(on_the_way)
            yield due_ms, shift, due
        if uniform() < late_rate:
            delay_ms = LATE_MIN_MS + int(uniform() * late_span_ms)
        else:
            delay_ms = int(uniform() * (disorder_ms + 1))
        heapq.heappush(on_the_way, (clock_ms + delay_ms, number, shift_ms, line))
    while on_the_way:
        due_ms, _, shift, due = heapq.heappop(on_the_way)
        yield due_ms, shift, due
