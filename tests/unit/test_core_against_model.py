"""The binner and the bar builder do exactly what the slow model does, line by line."""

import msgspec
from feed_lines import MUCH_LATER, T
from hypothesis import strategies as st
from reference_model import ReferenceBinner, as_outcome, reference_bars
from strategies import QUARTERS, SYMBOLS, FeedCase, HeartbeatItem, TickItem, feeds, for_all

from glue.core.bars import BarBuilder, fold
from glue.core.binner import Binner
from glue.core.bins import TickBin, watermark_record
from glue.core.introduction import Feed
from glue.core.partition import partition_of
from glue.core.watermarks import Rules

IDLE = st.lists(st.booleans(), min_size=60, max_size=60)


def compare(case: FeedCase, idle_after: list[bool] | None = None) -> None:
    mode = "live" if case.is_live else "historical"
    binner = Binner(Feed("feed", mode), case.rules, is_deterministic=True)
    model = ReferenceBinner(case.rules, is_live=case.is_live)
    for i, (item, now_ms) in enumerate(case.lines):
        steps = [(binner.process(item.raw + b"\n", now_ms), model.take(item, now_ms))]
        if idle_after is not None and idle_after[i] and not model.is_ended:
            later = now_ms + 5000
            steps.append((binner.close_idle(later), model.close_idle(later)))
        for got, expected in steps:
            assert [as_outcome(output, case.rules) for output in got] == expected
            check_state(binner, model)


def check_state(binner: Binner, model: ReferenceBinner) -> None:
    open_bins = {(t.tick.symbol, t.bin_start) for t in model.taken} - model.published
    assert binner.open_bin_count == len(open_bins)
    watermark, newest = model.watermark(), model.newest()
    assert (binner.watermark_ms if watermark is not None else None) == watermark
    assert (binner.newest_ms if newest is not None else None) == newest
    assert binner.tick_count == len(model.taken)
    assert binner.is_ended == model.is_ended
    bar_ends = [t.bin_start // 1000 * 1000 + 1000 for t in model.taken]
    assert binner.has_open_bars == any(
        watermark is None or end > watermark - model.rules.late_ms for end in bar_ends
    )


@for_all(feeds(is_live=False))
def test_a_historical_feed_gives_what_the_model_gives(case):
    compare(case)


@for_all(feeds(is_live=True))
def test_a_live_feed_gives_what_the_model_gives(case):
    compare(case)


@for_all(feeds(is_numbered=True))
def test_a_feed_with_numbers_gives_what_the_model_gives(case):
    compare(case)


@for_all(feeds(has_end=False), IDLE)
def test_a_feed_that_falls_silent_now_and_then_gives_what_the_model_gives(case, idle_after):
    compare(case, idle_after)


PRICES = st.tuples(QUARTERS, QUARTERS, QUARTERS, QUARTERS)
TIMES = st.sampled_from([None, 5, 6])


@st.composite
def partition_streams(draw):
    """Records of one partition in any order: bins, repeats, changed repeats, watermark records."""
    late_ms = draw(st.sampled_from([10, 500, 2000]))
    records, now = [], T
    for _ in range(draw(st.integers(0, 40))):
        now += draw(st.sampled_from([0, 0, 10, 500, 990, 1000, 1000 + late_ms, -10, -1000, -1010 - late_ms]))
        if draw(st.integers(0, 3)) == 3:
            records.append(watermark_record("~wm0", now, 10, None))
            continue
        symbol = draw(st.sampled_from(SYMBOLS))
        has_traded = draw(st.integers(0, 19)) != 19
        prices = draw(PRICES) if has_traded or draw(st.booleans()) else (None,) * 4
        sums = draw(st.tuples(st.one_of(st.just(0.0), QUARTERS), QUARTERS, st.integers(1, 9)))
        rest = (draw(st.integers(0, 500)), now, *draw(st.tuples(TIMES, TIMES)), None)
        key = (f"{symbol}-{now}", symbol, now, now + 10, 10)
        records.append(TickBin(*key, *prices, *(sums if has_traded else (0.0, 0.0, 0)), *rest))
        if draw(st.integers(0, 4)) == 4:
            records.append(draw(st.sampled_from(records)))
    return late_ms, records


def as_tuple(bar):
    fields = msgspec.structs.astuple(bar)
    assert fields[-2:] == (None, "aggregate")
    return fields[:-2]


@for_all(partition_streams())
def test_bars_are_the_models_bars_and_close_at_the_same_record(stream):
    late_ms, records = stream
    builder = BarBuilder(late_ms)
    got = []
    for index, record in enumerate(records):
        closed = [as_tuple(fold(bins, None)) for bins in builder.add(record, index)]
        assert [bar[2] for bar in closed] == sorted(bar[2] for bar in closed)
        got += [(index, bar) for bar in closed]
    expected, ignored = reference_bars(records, late_ms)
    assert sorted(got) == sorted(expected)
    assert builder.ignored_count == ignored


@for_all(feeds(has_bad_lines=False))
def test_bars_of_a_feed_are_the_models_bars(case):
    rules = case.rules
    binner = Binner(Feed("feed", "live" if case.is_live else "historical"), rules, is_deterministic=True)
    outputs = [o for item, now_ms in case.lines for o in binner.process(item.raw + b"\n", now_ms)]
    outputs += binner.end(MUCH_LATER)
    records = [o for o in outputs if isinstance(o, TickBin)]
    for partition in range(rules.partitions):
        stream = [r for r in records if partition_of(r.symbol, rules.partitions) == partition]
        builder = BarBuilder(rules.late_ms)
        got = [
            (index, as_tuple(fold(bins, None)))
            for index, record in enumerate(stream)
            for bins in builder.add(record)
        ]
        expected, ignored = reference_bars(stream, rules.late_ms)
        assert sorted(got) == sorted(expected)
        assert builder.ignored_count == ignored == 0
        assert builder.open_bar_count == 0


def test_the_model_itself_reads_the_rules_as_the_examples_do():
    """Guard the guard: a hand-made case of each rule, worked out on paper."""
    model = ReferenceBinner(Rules(), is_live=True)
    now = MUCH_LATER
    assert model.take(TickItem("A", T + 500), now) == []
    assert model.take(TickItem("A", T), now) == []  # exactly L late
    assert model.take(TickItem("A", T + 510), now)[0][:3] == ("bin", "A", T)  # end 10 = 510 - L
    assert model.take(TickItem("B", T), now) == []  # W = 490: open for B
    assert model.take(TickItem("A", T + 9), now)[0][1] == "late"
    # W - L goes from T - 10 to T + 9: a second is complete, no bin is.
    assert model.take(HeartbeatItem(T + 509), now) == [("watermark", 0, T + 500)]
    assert model.take(HeartbeatItem(T + 510), now)[0][:3] == ("bin", "B", T)
    assert model.take(TickItem("C", T + 9), now)[0][1] == "closed"
    out = model.take(TickItem("C", T + 1520), now)  # W = 1500: A's 500 and 510 go out, then the record
    assert [o[:3] for o in out] == [("bin", "A", T + 500), ("bin", "A", T + 510), ("watermark", 0, T + 1500)]
    assert model.take(TickItem("C", T + 1521), now) == []
