"""The cases of the contract: what is published, partition by partition, and the bars it must lead to.

Records are what the core's binner makes of feeds, so they are what a worker publishes. Each case comes plain
and with deliberate repeats. Cases are laid out one after the other in event time, so that one run of an
engine answers all of them.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

import msgspec

from glue.core.bars import Bar
from glue.core.binner import Binner
from glue.core.bins import TickBin, watermark_record
from glue.core.introduction import Feed
from glue.core.partition import is_watermark, partition_of, watermark_symbols
from glue.core.watermarks import BAR_MS, Mode, Rules
from tests.contract.feeds import T, drawn_feeds, made_feeds, tick
from tests.contract.model import LATE_MS, Fields, expected_bars

GOLDEN = Path(__file__).parents[1] / "golden" / "core"
MUCH_LATER = 10**15
"""A wall clock that keeps a live feed's rules for the future out of the way."""
REPEATED = ", with repeats"
MANY_TIMES = 12
"""So often is each of the 100 bins of a second sent: beyond 1,000, which a COLLECT_LIST may be limited to."""
Streams = tuple[tuple[TickBin, ...], ...]
"""The records of each partition, in their order."""


@dataclass(frozen=True)
class Case:
    """What is published, and the bars; both at the time of the case itself."""

    name: str
    streams: Streams
    bars: tuple[Fields, ...]


@dataclass(frozen=True)
class Placed:
    """A case that was given its place in the event time of a run: no other has a bar in [start, end)."""

    streams: Streams
    bars: tuple[Fields, ...]
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Plan:
    """One run: all cases of a number of partitions, then a bar a partition that says it is through."""

    partitions: int
    placed: dict[str, Placed]
    streams: Streams
    last_bars: frozenset[str]
    """Ids of the bars that come after all others of their partition."""

    def bars_of(self, name: str, bars: Sequence[Bar]) -> list[Bar]:
        """Return those bars of a run that belong to a case."""
        place = self.placed[name]
        return [bar for bar in bars if place.start_ms <= bar.start_ts_ms < place.end_ms]

    def strays(self, bars: Sequence[Bar]) -> list[Bar]:
        """Return those bars of a run that belong to no case."""
        places = self.placed.values()
        return [
            bar
            for bar in bars
            if bar.bar_id not in self.last_bars
            and not any(place.start_ms <= bar.start_ts_ms < place.end_ms for place in places)
        ]


def plan(cases: Sequence[Case], partitions: int) -> Plan:
    """Lay cases out one after the other: at their own time if it is still to come, else moved to later."""
    placed: dict[str, Placed] = {}
    ready_ms = 0
    for case in sorted(cases, key=lambda case: _span(case)[0]):
        first_ms, last_ms = _span(case)
        later_ms = max(0, ready_ms - first_ms)
        # By whole seconds: a bar that begins where stream time stands has its end and L before it.
        end_ms = -(-(last_ms + later_ms + 1) // BAR_MS) * BAR_MS
        placed[case.name] = Placed(
            streams=tuple(tuple(moved(r, later_ms) for r in stream) for stream in case.streams),
            bars=tuple(_moved_bar(bar, later_ms) for bar in case.bars),
            start_ms=first_ms + later_ms,
            end_ms=end_ms,
        )
        ready_ms = end_ms
    last = [_last_records(partition, partitions, ready_ms) for partition in range(partitions)]
    return Plan(
        partitions=partitions,
        placed=placed,
        streams=tuple(
            tuple(r for place in placed.values() for r in place.streams[p]) + last[p]
            for p in range(partitions)
        ),
        last_bars=frozenset(f"{records[0].symbol}-{ready_ms}" for records in last),
    )


@cache
def contract_cases(partitions: int) -> tuple[Case, ...]:
    """Return all cases, each plain and with repeats."""
    found = []
    for name, lines in made_feeds().items():
        found += _both(name, published(lines, partitions))
    for i, lines in enumerate(drawn_feeds()):
        found += _both(f"drawn {i}", published(lines, partitions))
    found += _both("records that are no bins", foreign_records(partitions))
    found.append(_case(f"every bin of a second {MANY_TIMES} times", sent_again(partitions, MANY_TIMES)))
    for path in sorted(GOLDEN.glob("*.json")):
        found += golden_cases(path, partitions)
    return tuple(found)


def _both(name: str, streams: Streams) -> list[Case]:
    again = with_repeats(streams, Random(name))
    return [_case(name, streams), _case(name + REPEATED, again)]


def _case(name: str, streams: Streams) -> Case:
    return Case(name, streams, tuple(bar for stream in streams for bar in expected_bars(stream)))


def golden_cases(path: Path, partitions: int) -> list[Case]:
    """Return a golden case, whose bars were worked out by hand, plain and with exact repeats."""
    golden = json.loads(path.read_text())
    base_ms = golden["base_ms"]
    clocks = [base_ms + now for now in golden.get("now", [])]
    lines = [line.encode() for line in golden["lines"]]
    streams = published(
        lines, partitions, golden["mode"], clocks, is_numbered=golden.get("is_numbered", False)
    )
    bars = tuple(_bar_of_golden(bar, base_ms) for bar in golden["bars"])
    name = f"golden {path.stem}"
    again = with_repeats(streams, Random(name), is_exact=True)
    return [Case(name, streams, bars), Case(name + REPEATED, again, bars)]


# Records


def published(
    lines: Sequence[bytes],
    partitions: int,
    mode: Mode = "historical",
    clocks: Sequence[int] = (),
    *,
    is_numbered: bool = False,
) -> Streams:
    """Return what a worker publishes of a feed that ends: bins and watermark records by partition."""
    binner = Binner(Feed("feed", mode, is_numbered), Rules(partitions=partitions), is_deterministic=True)
    outputs = []
    for i, line in enumerate(lines):
        outputs += binner.process(line + b"\n", clocks[i] if clocks else MUCH_LATER)
    outputs += binner.end(MUCH_LATER)
    return by_partition([o for o in outputs if isinstance(o, TickBin)], partitions)


def by_partition(records: Sequence[TickBin], partitions: int) -> Streams:
    """Return records as the streams of their partitions, in their order."""
    streams: list[list[TickBin]] = [[] for _ in range(partitions)]
    for record in records:
        streams[partition_of(record.symbol, partitions)].append(record)
    return tuple(map(tuple, streams))


def with_repeats(streams: Streams, random: Random, *, is_exact: bool = False) -> Streams:
    """Return the streams with bins sent again.

    While their bar is open: as they were, and (unless `is_exact`) with other numbers, in any order, up to the
    very record that closes the bar. Some come late only, so that bins are out of order. After the close: with
    other numbers, which must change nothing. Watermark records too come again, however late.
    """
    return tuple(tuple(_repeated(stream, random, is_exact=is_exact)) for stream in streams)


def sent_again(partitions: int, times: int) -> Streams:
    """Return all bins of one second sent over and over, each time with other numbers."""
    random = Random(times)
    lines = [tick("FULL", T + 10 * i, 50 + i, 10) for i in range(BAR_MS // 10)]
    streams = []
    for stream in published(lines, partitions):
        bins = [record for record in stream if not is_watermark(record.symbol)]
        again = [_other_numbers(record, random) for _ in range(times - 1) for record in bins]
        streams.append((*bins, *again, *stream[len(bins) :]))
    return tuple(streams)


def _repeated(stream: Sequence[TickBin], random: Random, *, is_exact: bool) -> list[TickBin]:
    reached = list(accumulate((record.start_ts_ms for record in stream), max))
    before: dict[int, list[TickBin]] = defaultdict(list)
    kept: list[TickBin | None] = list(stream)
    for i, record in enumerate(stream):
        if is_watermark(record.symbol):
            if random.random() < 0.3:
                before[random.randint(i + 1, len(stream))].append(record)
            continue
        bar_end_ms = record.start_ts_ms // BAR_MS * BAR_MS + BAR_MS
        closing = bisect_left(reached, bar_end_ms + LATE_MS)
        if record.open is None or record.trade_count == 0 or closing <= i:
            continue
        times = random.choice((0, 1, 1, 2, 3))
        if times and random.random() < 0.3:
            kept[i] = None
        for _ in range(times):
            again = record if is_exact or random.random() < 0.5 else _other_numbers(record, random)
            before[random.choice((i + 1, closing, random.randint(i + 1, closing)))].append(again)
        if random.random() < 0.15:
            before[random.randint(closing + 1, len(stream))].append(_other_numbers(record, random))
    out: list[TickBin] = []
    for i in range(len(stream) + 1):
        random.shuffle(before[i])
        out += before[i]
        out += [record for record in kept[i : i + 1] if record is not None]
    return out


def _other_numbers(record: TickBin, random: Random) -> TickBin:
    """Return the bin as a worker that saw other ticks of it would have sent it."""
    assert record.open is not None
    assert record.high is not None
    assert record.low is not None
    assert record.close is not None
    by, more = random.choice((0.5, 0.75, 1.25, 2.0)), random.choice((0.0, 1.0, 250.0))
    return msgspec.structs.replace(
        record,
        open=record.open * by,
        high=record.high * by,
        low=record.low * by,
        close=record.close * by,
        volume=record.volume + more,
        notional=record.notional * by + record.close * by * more,
        trade_count=record.trade_count + random.randint(1, 5),
        max_lateness_ms=random.randint(0, LATE_MS),
        api_send_ts_ms=random.choice((None, record.start_ts_ms + random.randint(-20, 20))),
        source_event_ts_ms=random.choice((None, record.start_ts_ms + random.randint(-20, 20))),
    )


def foreign_records(partitions: int) -> Streams:
    """Return bins among records that no worker publishes and no bar may come from.

    They have no trade, no price, or the reserved symbol; but like all records they move stream time.
    """
    lines = [tick(symbol, T + ms, 2.5, 4) for ms in (0, 20, 990) for symbol in ("A", "WDC")]
    no_price = {"open": None, "high": None, "low": None, "close": None}
    reserved = watermark_symbols(partitions)
    records: list[TickBin] = []
    marks: list[TickBin] = []
    for record in (r for stream in published(lines, partitions) for r in stream):
        if is_watermark(record.symbol):
            marks.append(record)
            continue
        between = moved(record, -10 if record.start_ts_ms > T else 10)
        records += [
            record,
            msgspec.structs.replace(record, **no_price),
            msgspec.structs.replace(between, trade_count=0),
            msgspec.structs.replace(between, **no_price),
            # Symbols that have nothing else make no bar.
            msgspec.structs.replace(between, symbol="NOTRADE", trade_count=0),
            msgspec.structs.replace(between, symbol="NOPRICE", **no_price),
            msgspec.structs.replace(between, symbol=reserved[partition_of(record.symbol, partitions)]),
        ]
    for symbol in ("A", "WDC"):
        last = next(r for r in reversed(records) if r.symbol == symbol)
        closing = moved(msgspec.structs.replace(last, **no_price), BAR_MS + LATE_MS)
        too_late = next(r for r in records if r.symbol == symbol)
        records += [closing, msgspec.structs.replace(too_late, high=1000.0)]
    return by_partition(records + marks, partitions)


def moved(record: TickBin, later_ms: int) -> TickBin:
    """Return a record at a later time."""
    if later_ms == 0:
        return record
    start_ms = record.start_ts_ms + later_ms
    return msgspec.structs.replace(
        record,
        bin_id=f"{record.symbol}-{start_ms}",
        start_ts_ms=start_ms,
        end_ts_ms=record.end_ts_ms + later_ms,
        watermark_ms=record.watermark_ms + later_ms,
    )


def _moved_bar(bar: Fields, later_ms: int) -> Fields:
    start_ms = bar["start_ts_ms"] + later_ms
    times = {"start_ts_ms": start_ms, "end_ts_ms": start_ms + BAR_MS}
    return bar | times | {"bar_id": f"{bar['symbol']}-{start_ms}"}


def _bar_of_golden(bar: Fields, base_ms: int) -> Fields:
    start_ms = base_ms + bar["at"]
    open_, high, low, close = map(float, bar["ohlc"])
    return {
        "bar_id": f"{bar['bar']}-{start_ms}",
        "symbol": bar["bar"],
        "start_ts_ms": start_ms,
        "end_ts_ms": start_ms + BAR_MS,
        "open": open_,
        "high": high,
        "low": low,
        "close": close,
        "volume": float(bar["volume"]),
        "notional": float(bar["notional"]),
        "vwap": float(bar["vwap"]),
        "trade_count": bar["trades"],
        "bin_count": bar["bins"],
        "max_lateness_ms": bar["lateness"],
    }


def _span(case: Case) -> tuple[int, int]:
    """Return the second that the case's first bar may begin in, and its newest start."""
    starts = [record.start_ts_ms for stream in case.streams for record in stream] or [T]
    return min(starts) // BAR_MS * BAR_MS, max(starts)


def _last_records(partition: int, partitions: int, at_ms: int) -> tuple[TickBin, TickBin]:
    """Return a bin on a partition and the watermark record that closes its bar."""
    symbol = next(s for s in (f"LAST{i}" for i in range(1000)) if partition_of(s, partitions) == partition)
    record = TickBin(
        bin_id=f"{symbol}-{at_ms}",
        symbol=symbol,
        start_ts_ms=at_ms,
        end_ts_ms=at_ms + 10,
        window_ms=10,
        open=1.0,
        high=1.0,
        low=1.0,
        close=1.0,
        volume=1.0,
        notional=1.0,
        trade_count=1,
        max_lateness_ms=0,
        watermark_ms=at_ms + LATE_MS,
        api_send_ts_ms=None,
        source_event_ts_ms=None,
        ingest_ts_ms=None,
    )
    closing_ms = at_ms + BAR_MS + LATE_MS
    return record, watermark_record(watermark_symbols(partitions)[partition], closing_ms, 10, None)
