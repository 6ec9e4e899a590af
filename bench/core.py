"""NDJSON to closed bins in one process, beside the plain version and beside msgspec's decoding alone."""

import time

import msgspec

from bench.plain import PlainBinner
from bench.report import Row, compared
from bench.rounds import Say, take_turns
from bench.workload import Work, chunks_of, disturbed, historical, live, lone_bins
from glue.core.binner import Binner, Output
from glue.core.ticks import Tick
from glue.core.watermarks import Rules
from glue.errors import TapelineError

RULES = Rules(partitions=6)
DENSE, SPARSE = ("WDC",), ("WDC", "AAPL", "MSFT", "TSLA")
DENSE_PER_S, SPARSE_PER_S = 20_000, 2_000
LEAST_RATIO = 3.0
MOST_GROWTH = 1.5
NOTE = (
    "in process, `Binner.process` over {chunks} of the synthetic market, times stretched to the exact rate; "
    "{ticks:,} ticks a turn. The plain version is bench/plain.py (json.loads, dictionaries); before timing, "
    "both give the same bins, watermark records and dead letters on this feed and on one with bad, late and "
    "disordered lines"
)


def rows(say: Say, *, is_quick: bool) -> list[Row]:
    """Measure all rows of the core.

    Raises:
        TapelineError: the plain version does not give what the Binner gives.
    """
    ticks, turns = (2_000, 2) if is_quick else (150_000, 5)
    feeds = [
        ("dense, 20,000 ticks/s of one symbol", historical(DENSE, DENSE_PER_S, ticks)),
        ("sparse, 2,000 ticks/s of 4 symbols", historical(SPARSE, SPARSE_PER_S, ticks)),
        ("dense, live", live(DENSE, DENSE_PER_S, ticks)),
        ("sparse, live", live(SPARSE, SPARSE_PER_S, ticks)),
    ]
    found: list[Row] = []
    for name, work in feeds:
        say(f"{name}: comparing the plain version with the Binner")
        check(work)
        check(disturbed(work))
        found += _rows(name, work, turns, say)
    found.append(_symbols_row(ticks, turns, say))
    return found


def check(work: Work) -> None:
    """Compare all that the two give, field by field.

    Raises:
        TapelineError: they differ; the text shows the first difference.
    """
    ours, plain = Binner(work.feed, RULES), PlainBinner(work.feed.mode, work.feed.feed_id)
    end_ms = work.chunks[-1][1]
    mine: list[Output] = [o for chunk, now_ms in work.chunks for o in ours.process(chunk, now_ms)]
    theirs = [o for chunk, now_ms in work.chunks for o in plain.process(chunk, now_ms)]
    mine += ours.end(end_ms)
    theirs += plain.end(end_ms)
    for one, other in zip(mine, theirs, strict=False):
        fields = msgspec.structs.asdict(one)
        if {name: fields[name] for name in other} != other:
            raise TapelineError(f"the plain version differs from the Binner: {other} is not {fields}")
    if len(mine) != len(theirs):
        raise TapelineError(f"the plain version gives {len(theirs)} records, the Binner {len(mine)}")


def _rows(name: str, work: Work, turns: int, say: Say) -> list[Row]:
    rates = take_turns(
        {
            "Binner": lambda: work.ticks / _seconds(Binner(work.feed, RULES), work),
            "plain": lambda: work.ticks / _seconds(PlainBinner(work.feed.mode), work),
            "decode": lambda: work.ticks / _decode_s(work),
        },
        turns,
        say,
    )
    is_live = work.feed.mode == "live"
    pieces = "10 ms pieces with heartbeats, as a live worker reads them," if is_live else "256-line chunks"
    what = f"NDJSON to closed bins, {name}"
    note = NOTE.format(chunks=pieces, ticks=work.ticks)
    goal = None if is_live else LEAST_RATIO
    plain = compared(
        what, rates["Binner"], "json + dict", rates["plain"], at_least=goal, aim=", aim 8x", note=note
    )
    if is_live:
        return [msgspec.structs.replace(plain, goal="")]
    limit = compared(
        f"{what}, beside the limit",
        rates["Binner"],
        "msgspec decode alone",
        rates["decode"],
        note="the limit is `decode_lines` of the same chunks into the same struct, nothing else",
    )
    return [plain, limit]


def _symbols_row(ticks: int, turns: int, say: Say) -> Row:
    few, many = lone_bins(10, ticks), lone_bins(10_000, ticks)
    ns = take_turns(
        {
            "10,000 symbols": lambda: _seconds(Binner(many.feed, RULES), many) / ticks * 1e9,
            "10 symbols": lambda: _seconds(Binner(few.feed, RULES), few) / ticks * 1e9,
        },
        turns,
        say,
        " ns",
    )
    row = compared(
        "time per tick with 10,000 symbols",
        ns["10,000 symbols"],
        "10 symbols",
        ns["10 symbols"],
        unit="ns",
        note="in process, `Binner.process`; 1,000 ticks/s, the symbols in turn, so that each tick is a bin "
        "of its own with either number of symbols",
    )
    return msgspec.structs.replace(
        row, goal=f"at most {MOST_GROWTH:g}x (flat)", is_met=row.ratio <= MOST_GROWTH
    )


def _seconds(binner: Binner | PlainBinner, work: Work) -> float:
    process = binner.process
    began = time.perf_counter()
    for chunk, now_ms in work.chunks:
        process(chunk, now_ms)
    return time.perf_counter() - began


def _decode_s(work: Work) -> float:
    decode = msgspec.json.Decoder(Tick).decode_lines
    chunks = (
        list(chunks_of(work)) if work.feed.mode == "historical" else [_ticks_only(c) for c in chunks_of(work)]
    )
    began = time.perf_counter()
    for chunk in chunks:
        decode(chunk)
    return time.perf_counter() - began


def _ticks_only(chunk: bytes) -> bytes:
    return b"".join(line for line in chunk.splitlines(keepends=True) if line.startswith(b'{"symbol"'))
