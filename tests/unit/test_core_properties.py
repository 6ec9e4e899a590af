"""What must hold for every feed: nothing lost, nothing doubled, in any order, cut, number of partitions."""

from collections import Counter

import msgspec
import pytest
from feed_lines import (
    MUCH_LATER,
    T,
    bins,
    dead_letters,
    reasons,
    run,
    tick_line,
    watermark_records,
)
from hypothesis import strategies as st
from strategies import QUARTERS, RULES, BadItem, EndItem, FeedCase, TickItem, feeds, for_all

from glue.core.bars import Bar, BarBuilder, fold
from glue.core.binner import NEVER, Binner, Output
from glue.core.bins import TickBin
from glue.core.introduction import Feed
from glue.core.partition import is_watermark, partition_of
from glue.core.watermarks import Rules

MANY_SYMBOLS = ["A", "B", "C", "D", "WDC", "BTCUSDT", "ES.H5", "eur/usd"]


def make(case: FeedCase, partitions: int | None = None) -> Binner:
    rules = case.rules if partitions is None else msgspec.structs.replace(case.rules, partitions=partitions)
    return Binner(Feed("feed", "live" if case.is_live else "historical"), rules, is_deterministic=True)


def outputs_of(case: FeedCase, partitions: int | None = None) -> list[Output]:
    """Return all that a feed led to; what has no end is ended."""
    binner = make(case, partitions)
    outputs = [o for item, now_ms in case.lines for o in binner.process(item.raw + b"\n", now_ms)]
    return outputs + binner.end(MUCH_LATER)


def by_partition(outputs: list[Output], partitions: int) -> list[list[TickBin]]:
    """Return each partition's records in the order they were published."""
    streams: list[list[TickBin]] = [[] for _ in range(partitions)]
    for output in outputs:
        if isinstance(output, TickBin):
            streams[partition_of(output.symbol, partitions)].append(output)
    return streams


def bars_of(records: list[TickBin], late_ms: int) -> list[Bar]:
    """Return the bars of one partition; every bin must have counted and every bar must be closed."""
    builder = BarBuilder(late_ms)
    bars = [fold(held, None) for record in records for held in builder.add(record)]
    assert builder.ignored_count == 0
    assert builder.open_bar_count == 0
    return bars


# Order


@st.composite
def displaced_feeds(draw):
    """A feed in time order, and the same lines each displaced by at most L against the newest."""
    rules = msgspec.structs.replace(draw(RULES), max_jump_ms=Rules().max_jump_ms)
    late_ms = rules.late_ms
    event_ms = T
    ticks = []
    stamps = set()
    for seq in range(draw(st.integers(2, 60))):
        event_ms += draw(st.sampled_from([0, 1, 3, 10, 10, 40, late_ms, late_ms + 1, 1000, 5000, 900_000]))
        symbol = draw(st.sampled_from(MANY_SYMBOLS))
        if (symbol, event_ms) not in stamps:
            stamps.add((symbol, event_ms))
            px, sz = draw(st.floats(0.01, 1e6)), draw(st.floats(0, 1e6))
            ticks.append(TickItem(symbol, event_ms, px, sz, seq))
    # A tick that arrives at event time + delay, delay <= L, comes after ticks at most L newer.
    delays = st.one_of(st.sampled_from([0, 0, late_ms, late_ms - 1]), st.integers(0, late_ms))
    arrival = {tick.seq: (tick.event_ms + draw(delays), -tick.event_ms) for tick in ticks}
    return rules, ticks, sorted(ticks, key=lambda tick: arrival[tick.seq])


def in_order_of_time(case_rules: Rules, ticks: list[TickItem]) -> tuple[list[Output], list[Bar]]:
    binner = Binner(Feed("feed", "historical"), case_rules, is_deterministic=True)
    outputs = run(binner, *(tick.raw for tick in ticks)) + binner.end(MUCH_LATER)
    streams = by_partition(outputs, case_rules.partitions)
    return outputs, [bar for stream in streams for bar in bars_of(stream, case_rules.late_ms)]


def same(left: TickBin | Bar, right: TickBin | Bar) -> None:
    """Compare records: sums to 1e-9, lateness and watermark aside."""
    a, b = msgspec.structs.asdict(left), msgspec.structs.asdict(right)
    for fields in (a, b):
        fields.pop("max_lateness_ms")
        fields.pop("watermark_ms", None)
    sums = ("volume", "notional", "vwap")
    for name in sums:
        assert a.pop(name, 0) == pytest.approx(b.pop(name, 0), rel=1e-9, abs=1e-9)
    assert a == b


@for_all(displaced_feeds())
def test_lines_displaced_by_at_most_l_give_the_bins_and_bars_of_time_order(feed):
    rules, ordered, displaced = feed
    newest = ordered[0].event_ms
    for tick in displaced:
        assert tick.event_ms >= newest - rules.late_ms
        newest = max(newest, tick.event_ms)
    expected, expected_bars = in_order_of_time(rules, ordered)
    got, got_bars = in_order_of_time(rules, displaced)
    assert dead_letters(got) == dead_letters(expected) == []
    for left, right in ((bins(got), bins(expected)), (got_bars, expected_bars)):
        left, right = ({(b.symbol, b.start_ts_ms): b for b in side} for side in (left, right))
        assert left.keys() == right.keys()
        for key, record in left.items():
            same(record, right[key])


@for_all(feeds(has_bad_lines=False, has_heartbeats=False, has_bad_clocks=False, has_end=False), st.data())
def test_a_tick_is_taken_exactly_if_within_l_of_its_symbol_and_its_bin_ends_after_w_minus_l(case, data):
    """One more tick, drawn around the point where it begins to be too late, after any feed."""
    binner = make(case)
    for item, now_ms in case.lines:
        binner.process(item.raw + b"\n", now_ms)
    if case.is_live is False and binner.newest_ms == NEVER:
        return
    rules = case.rules
    symbol = data.draw(st.sampled_from(MANY_SYMBOLS))
    own, watermark = binner.windows.symbol_watermarks().get(symbol), binner.watermark_ms
    if watermark == NEVER:
        return
    edges = [watermark - rules.late_ms] + ([own - rules.late_ms] if own is not None else [])
    event_ms = data.draw(st.sampled_from(edges)) + data.draw(st.integers(-rules.bin_ms - 1, rules.bin_ms + 1))
    end = event_ms // rules.bin_ms * rules.bin_ms + rules.bin_ms
    expected: list[str] = []
    if own is not None and event_ms < own - rules.late_ms:
        expected = ["late"]
    elif end <= watermark - rules.late_ms:
        expected = ["closed"]
    assert reasons(run(binner, tick_line(symbol, event_ms))) == expected


# Counting


@for_all(feeds())
def test_every_tick_is_in_one_bin_or_is_one_dead_letter(case):
    outputs = outputs_of(case)
    sent = Counter(item.symbol for item, _ in case.lines if isinstance(item, TickItem))
    ended = next((i for i, (item, _) in enumerate(case.lines) if isinstance(item, EndItem)), len(case.lines))
    after = Counter(item.symbol for item, _ in case.lines[ended:] if isinstance(item, TickItem))
    refused = Counter(letter.symbol for letter in dead_letters(outputs) if letter.symbol)
    binned: Counter[str] = Counter()
    for b in bins(outputs):
        binned[b.symbol] += b.trade_count
    assert binned + refused + after == sent
    bad = Counter(
        item.raw.decode(errors="backslashreplace") for item, _ in case.lines if isinstance(item, BadItem)
    )
    texts = Counter(letter.line for letter in dead_letters(outputs))
    assert {line: texts[line] for line in bad} == bad


@for_all(feeds(has_end=False))
def test_volume_in_is_volume_in_bins_and_dead_letters(case):
    outputs = outputs_of(case)
    by_line = Counter(letter.line for letter in dead_letters(outputs))
    volume_in = volume_refused = 0.0
    for item, _ in case.lines:
        if isinstance(item, TickItem):
            volume_in += item.sz
            if by_line[item.raw.decode()] > 0:
                by_line[item.raw.decode()] -= 1
                volume_refused += item.sz
    assert sum(b.volume for b in bins(outputs)) + volume_refused == volume_in


@for_all(feeds())
def test_no_bin_and_no_dead_letter_comes_twice(case):
    outputs = outputs_of(case)
    ids = [o.bin_id if isinstance(o, TickBin) else o.dlt_id for o in outputs]
    assert len(set(ids)) == len(ids)


@for_all(feeds(is_numbered=True))
def test_dead_letters_of_numbered_feeds_have_ids_of_their_own_too(case):
    binner = Binner(Feed("feed", "historical", is_numbered=True), case.rules, is_deterministic=True)
    outputs = [o for item, now_ms in case.lines for o in binner.process(item.raw + b"\n", now_ms)]
    ids = [letter.dlt_id for letter in dead_letters(outputs + binner.end(0))]
    assert len(set(ids)) == len(ids)


# Watermarks and order of publishing


@for_all(feeds())
def test_watermarks_never_go_back_and_no_live_tick_or_word_raises_them_beyond_the_wall_clock(case):
    binner = make(case)
    newest, watermark, latest_now = NEVER, NEVER, 0
    of_symbol: dict[str, int] = {}
    for item, now_ms in case.lines:
        binner.process(item.raw + b"\n", now_ms)
        latest_now = max(latest_now, now_ms)
        assert binner.newest_ms >= newest
        assert binner.watermark_ms >= watermark
        for symbol, reached in binner.windows.symbol_watermarks().items():
            assert of_symbol.get(symbol, reached) <= reached <= binner.newest_ms
        newest, watermark, of_symbol = (
            binner.newest_ms,
            binner.watermark_ms,
            binner.windows.symbol_watermarks(),
        )
        if case.is_live and not binner.is_ended:
            assert max(newest, watermark) <= latest_now


@for_all(feeds())
def test_bins_of_a_symbol_come_in_start_order(case):
    newest: dict[str, int] = {}
    for b in bins(outputs_of(case)):
        assert b.start_ts_ms > newest.get(b.symbol, -1)
        newest[b.symbol] = b.start_ts_ms


@for_all(feeds())
def test_a_watermark_record_comes_after_every_bin_it_covers(case):
    rules = case.rules
    outputs = outputs_of(case)
    for stream in by_partition(outputs, rules.partitions):
        reached = -1
        for record in stream:
            if is_watermark(record.symbol):
                assert record.start_ts_ms > reached
                reached = record.start_ts_ms
            else:
                assert record.end_ts_ms > reached - rules.late_ms
                bar_end = record.start_ts_ms // 1000 * 1000 + 1000
                assert bar_end + rules.late_ms > reached
    # Every partition is told the same.
    streams = by_partition(outputs, rules.partitions)
    assert len({tuple(r.start_ts_ms for r in watermark_records(stream)) for stream in streams}) == 1


@for_all(feeds(has_end=False))
def test_the_end_closes_everything_and_is_told_to_every_partition(case):
    binner = make(case)
    outputs = [o for item, now_ms in case.lines for o in binner.process(item.raw + b"\n", now_ms)]
    outputs += run(binner, b'{"type":"end"}')
    assert binner.open_bin_count == 0
    assert not binner.has_open_bars
    for stream in by_partition(outputs, case.rules.partitions):
        bars_of(stream, case.rules.late_ms)


# Bars


@for_all(feeds(symbols=MANY_SYMBOLS, max_size=60))
def test_every_bin_reaches_its_bar_with_any_number_of_partitions(case):
    all_bars = []
    for partitions in (1, 6, 12):
        outputs = outputs_of(case, partitions)
        bars = [
            b for stream in by_partition(outputs, partitions) for b in bars_of(stream, case.rules.late_ms)
        ]
        expected: Counter[tuple[str, int]] = Counter()
        volume: Counter[tuple[str, int]] = Counter()
        for b in bins(outputs):
            key = (b.symbol, b.start_ts_ms // 1000 * 1000)
            expected[key] += b.trade_count
            volume[key] += b.volume  # type: ignore[assignment]
        assert {(b.symbol, b.start_ts_ms): b.trade_count for b in bars} == expected
        assert {(b.symbol, b.start_ts_ms): b.volume for b in bars} == volume
        for symbol in MANY_SYMBOLS:
            starts = [b.start_ts_ms for b in bars if b.symbol == symbol]
            assert starts == sorted(set(starts))
        all_bars.append({b.bar_id: b for b in bars})
    assert all_bars[0] == all_bars[1] == all_bars[2]


@st.composite
def skewed_feeds(draw):
    """Symbols that each run in order but far apart from each other, as long as none is late or closed.

    How far a symbol may lag is what rule 4 allows: its bin's end after W - L.
    """
    rules = draw(RULES)
    lag = rules.late_ms + rules.skew_ms
    newest = T
    own = dict.fromkeys(MANY_SYMBOLS, T)
    lines = []
    for _ in range(draw(st.integers(1, 80))):
        symbol = draw(st.sampled_from(MANY_SYMBOLS))
        earliest = max(own[symbol], newest - lag)
        step = draw(st.sampled_from([0, 0, 1, 9, 10, rules.skew_ms, rules.late_ms, 1000]))
        event_ms = earliest + step
        own[symbol], newest = event_ms, max(newest, event_ms)
        lines.append((TickItem(symbol, event_ms, draw(QUARTERS), draw(QUARTERS)), MUCH_LATER))
    return FeedCase(rules, True, tuple(lines))


@for_all(skewed_feeds())
def test_symbols_may_lag_by_l_and_s_without_losing_a_bin(case):
    bars = []
    for partitions in (1, 6, 12):
        outputs = outputs_of(case, partitions)
        assert dead_letters(outputs) == []
        streams = by_partition(outputs, partitions)
        bars.append({b.bar_id: b for stream in streams for b in bars_of(stream, case.rules.late_ms)})
    assert bars[0] == bars[1] == bars[2]
    assert sum(b.trade_count for b in bars[0].values()) == len(case.lines)


@for_all(feeds(max_size=50), st.randoms(use_true_random=False))
def test_bins_and_watermark_records_sent_again_anywhere_change_nothing(case, random):
    for stream in by_partition(outputs_of(case), case.rules.partitions):
        expected = bars_of(stream, case.rules.late_ms)
        repeated = list(stream)
        for record in random.choices(stream, k=random.randint(0, 20)) if stream else []:
            after_first = next(i for i, r in enumerate(repeated) if r is record)
            repeated.insert(random.randint(after_first + 1, len(repeated)), record)
        builder = BarBuilder(case.rules.late_ms)
        got = [fold(held, None) for record in repeated for held in builder.add(record)]
        assert got == expected


@for_all(feeds(max_size=50), st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_an_engine_that_restarts_anywhere_emits_each_bar_once_and_whole(case, stops):
    late_ms = case.rules.late_ms
    for stream in by_partition(outputs_of(case), case.rules.partitions):
        expected = bars_of(stream, late_ms)
        got: list[Bar] = []
        begin, stream_time = 0, -1
        for stop in [*sorted(stops), len(stream)]:
            builder = BarBuilder(late_ms, stream_time)
            for offset in range(begin, min(stop, len(stream))):
                got += [fold(held, None) for held in builder.add(stream[offset], offset)]
            if stop > begin:  # what is committed with the bars
                begin = builder.oldest_offset if builder.oldest_offset is not None else min(stop, len(stream))
                stream_time = builder.stream_time_ms
        assert got == expected


@st.composite
def busy_and_thin(draw):
    """One symbol every few milliseconds, many others once in a while; all in time order."""
    rules = draw(RULES)
    event_ms, lines = T, [TickItem("BUSY", T), TickItem("BUSY", T)]
    for i in range(draw(st.integers(1, 120))):
        event_ms += draw(st.sampled_from([1, 3, 10, 50, 200]))
        is_thin = draw(st.integers(0, 7)) == 7
        lines.append(TickItem(f"THIN{i}" if is_thin else "BUSY", event_ms))
    lines += [TickItem("BUSY", event_ms + ms) for ms in range(0, 1500 + rules.late_ms + rules.skew_ms, 100)]
    return rules, lines


@for_all(busy_and_thin())
def test_a_thin_symbols_bar_closes_as_soon_as_the_feed_is_l_and_s_past_its_end(case):
    rules, lines = case
    rules = msgspec.structs.replace(rules, partitions=6)
    binner = Binner(Feed("feed", "historical"), rules, is_deterministic=True)
    builders = [BarBuilder(rules.late_ms) for _ in range(6)]
    waiting: dict[tuple[str, int], int] = {}
    newest = T
    for tick in lines:
        if tick.symbol != "BUSY":
            waiting[tick.symbol, tick.event_ms // 1000 * 1000] = tick.event_ms // 1000 * 1000 + 1000
        newest = max(newest, tick.event_ms)
        for record in run(binner, tick.raw):
            for held in builders[partition_of(record.symbol, 6)].add(record):
                bar = fold(held, None)
                end = waiting.pop((bar.symbol, bar.start_ts_ms), None)
                assert end is None or newest >= end + rules.late_ms + rules.skew_ms
        assert all(newest < end + rules.late_ms + rules.skew_ms for end in waiting.values())


# Chunks


@for_all(feeds(is_live=False), st.lists(st.integers(1, 7), min_size=1), st.booleans())
def test_batching_is_invisible(case, sizes, is_numbered):
    raws = [item.raw for item, _ in case.lines]
    feed = Feed("feed", "historical", is_numbered)
    one_by_one, together, in_chunks = (Binner(feed, case.rules, is_deterministic=True) for _ in range(3))
    expected = [o for raw in raws for o in run(one_by_one, raw)]
    assert run(together, *raws) == expected
    got, rest = [], list(raws)
    while rest:
        sizes = sizes[1:] + sizes[:1]
        got += run(in_chunks, *rest[: sizes[0]])
        rest = rest[sizes[0] :]
    assert got == expected
    assert one_by_one.end(0) == together.end(0) == in_chunks.end(0)
    assert one_by_one.snapshot() == together.snapshot() == in_chunks.snapshot()
