"""What is measured with: feed lines, in the very bytes that the mock API sends."""

import random
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice

import msgspec

from glue.core.introduction import Feed
from glue.feeds.chunks import CHUNK_LINES, ChunkEncoder
from glue.feeds.lines import Entry, SourceTick
from glue.feeds.market import first_symbols
from glue.feeds.synthetic import SyntheticSource

START_MS = 1_709_562_600_000
"""Monday 4 March 2024, 09:30 in New York: the default of the mock API."""
HEARTBEAT_MS = 100
LIVE_CHUNK_MS = 10
"""A live feed sends what is due; a reader that works in between finds some milliseconds of it."""

Timed = tuple[bytes, int]
"""A chunk of whole lines and the wall clock (ms) at which the worker reads it."""


class Work(msgspec.Struct, frozen=True):
    """Chunks of one feed, to be given to a binner in their order."""

    feed: Feed
    chunks: list[Timed]
    ticks: int
    per_second: float


def market(symbols: Sequence[str], per_second: float, ticks: int) -> list[SourceTick]:
    """Return the first ticks of the synthetic market, their times stretched to the exact average rate.

    The market is bursty and twice as busy after its opening; only the scale of its time is changed.
    """
    source = SyntheticSource(symbols, rate=per_second, seed=1, start_ms=START_MS)
    found = list(islice(source.ticks(), ticks))
    first_us = found[0].event_us
    factor = (ticks / per_second * 1e6) / (found[-1].event_us - first_us)
    return [
        msgspec.structs.replace(tick, event_us=first_us + int((tick.event_us - first_us) * factor))
        for tick in found
    ]


def historical(symbols: Sequence[str], per_second: float, ticks: int) -> Work:
    """Return a recorded feed as the mock API sends it at speed 0: CHUNK_LINES lines at a time."""
    encoder = ChunkEncoder()
    entries = [_entry(tick) for tick in market(symbols, per_second, ticks)]
    now_ms = START_MS + 86_400_000
    chunks = [
        (encoder.encode(entries[i : i + CHUNK_LINES]).data, now_ms) for i in range(0, ticks, CHUNK_LINES)
    ]
    return Work(Feed("bench-historical", "historical", True), chunks, ticks, per_second)


def live(symbols: Sequence[str], per_second: float, ticks: int) -> Work:
    """Return a live feed: lines with send times, in pieces of LIVE_CHUNK_MS, heartbeats in between."""
    encoder = ChunkEncoder(offset_ms=0)
    chunks: list[Timed] = []
    piece: list[Entry] = []
    due_ms = START_MS + LIVE_CHUNK_MS
    for tick in [*market(symbols, per_second, ticks), None]:
        while piece and (tick is None or tick.event_us // 1000 >= due_ms):
            data = encoder.stamp(encoder.encode(piece).data, due_ms)
            chunks.append((data + _heartbeat(due_ms), due_ms))
            piece, tick_ms = [], due_ms if tick is None else tick.event_us // 1000
            due_ms = max(due_ms, tick_ms - tick_ms % LIVE_CHUNK_MS) + LIVE_CHUNK_MS
        if tick is not None:
            piece.append(_entry(tick))
    return Work(Feed("bench-live", "live", True), chunks, ticks, per_second)


def lone_bins(symbols: int, ticks: int) -> Work:
    """Return ticks 1 ms apart, the symbols in turn: from 10 symbols on every tick has its own bin."""
    names = first_symbols(symbols)
    entries = [
        _entry(SourceTick((START_MS + i) * 1000, names[i % symbols], 100 + i % 7, 100.0))
        for i in range(ticks)
    ]
    encoder = ChunkEncoder()
    now_ms = START_MS + 86_400_000
    chunks = [
        (encoder.encode(entries[i : i + CHUNK_LINES]).data, now_ms) for i in range(0, ticks, CHUNK_LINES)
    ]
    return Work(Feed("bench-lone", "historical", True), chunks, ticks, 1_000)


def disturbed(work: Work) -> Work:
    """Return the feed with bad lines, lines in disorder and lines too late, for checking results."""
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose
    bad_lines = BAD_LINES + ((FUTURE_LINE,) if work.feed.mode == "live" else ())
    reach = int(work.per_second * MOST_DELAY_S)
    delayed: list[tuple[int, bytes]] = []  # a heap: (number of the line before which it comes, line)
    chunks: list[Timed] = []
    number = 0
    for chunk, now_ms in work.chunks:
        lines: list[bytes] = []
        for line in chunk.splitlines():
            number += 1
            while delayed and delayed[0][0] <= number:
                lines.append(heappop(delayed)[1])
            draw = chance.random()
            if draw < 0.02 and b'"symbol"' in line:
                heappush(delayed, (number + chance.randint(1, reach), line))
            else:
                lines.append(line)
            if draw > 0.99:
                lines.append(chance.choice(bad_lines))
        chunks.append((b"".join(line + b"\n" for line in lines), now_ms))
    return msgspec.structs.replace(work, chunks=chunks)


MOST_DELAY_S = 0.9
FUTURE_LINE = b'{"symbol":"WDC","px":1,"sz":1,"event_ts":1999999999.5}'
BAD_LINES = (
    b'{"symbol":"WDC","px":1.5,',
    b'{"symbol":"WDC","px":-1,"sz":1,"event_ts":1709562600.5}',
    b'{"symbol":"W D C","px":1,"sz":1,"event_ts":1709562600.5}',
    b'{"symbol":"WDC","px":"1","sz":1,"event_ts":1709562600.5}',
    b'{"symbol":"WDC","sz":1,"event_ts":1709562600.5}',
    b"[1,2]",
    b"",
)


def _entry(tick: SourceTick) -> Entry:
    return tick.event_us // 1000, 0, tick


def _heartbeat(now_ms: int) -> bytes:
    if now_ms % HEARTBEAT_MS:
        return b""
    return b'{"type":"heartbeat","event_ts":%d.%03d}\n' % divmod(now_ms, 1000)


def chunks_of(work: Work) -> Iterator[bytes]:
    """Yield the bytes alone."""
    return (chunk for chunk, _ in work.chunks)
