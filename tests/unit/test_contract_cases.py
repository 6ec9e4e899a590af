"""The contract's own cases: any feed on the local engine without a broker, and what the suite relies on."""

from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import strategies as st
from strategies import for_all

from glue.core.bars import BarBuilder, fold
from glue.core.partition import is_watermark, partition_of
from tests.contract.cases import REPEATED, contract_cases, plan, published, with_repeats
from tests.contract.feeds import IN_2010, feeds, made_feeds
from tests.contract.model import LATE_MS, differences, expected_bars


def local_bars(stream):
    """Return the bars that the local engine makes of one partition; none may stay open."""
    builder = BarBuilder(LATE_MS)
    bars = [fold(bins, None) for record in stream for bins in builder.add(record)]
    assert builder.open_bar_count == 0
    return bars


@for_all(feeds(), st.integers(1, 6), st.integers(0, 2**32))
def test_any_feed_gives_the_bars_of_the_model_with_any_repeats_and_exact_ones_change_nothing(
    lines, partitions, number
):
    plain = published(lines, partitions)
    repeated = with_repeats(plain, Random(number))
    exactly = with_repeats(plain, Random(number), is_exact=True)
    for stream, again, exact in zip(plain, repeated, exactly, strict=True):
        bars = expected_bars(stream)
        assert differences(bars, local_bars(stream)) == []
        assert differences(bars, local_bars(exact)) == []
        assert differences(expected_bars(again), local_bars(again)) == []


@pytest.mark.parametrize("partitions", [1, 6])
def test_cases_are_laid_out_in_time_and_the_oldest_are_of_2010(partitions):
    cases = contract_cases(partitions)
    laid_out = plan(cases, partitions)
    places = list(laid_out.placed.values())
    assert places[0].start_ms < IN_2010 + 60_000
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(places))
    assert len(places) == len(cases)
    for partition, stream in enumerate(laid_out.streams):
        assert all(partition_of(record.symbol, partitions) == partition for record in stream)
    bars = [bar for stream in laid_out.streams for bar in expected_bars(stream)]
    assert len(bars) == sum(len(place.bars) for place in places) + partitions


def test_cases_with_repeats_have_exact_ones_other_numbers_disorder_and_some_after_the_bar():
    for case in contract_cases(1):
        if case.name not in (f"steady{REPEATED}", f"2010{REPEATED}"):
            continue
        records = [r for r in case.streams[0] if not is_watermark(r.symbol)]
        versions = {}
        for record in records:
            versions.setdefault(record.bin_id, []).append(record)
        assert any(len(sent) > len(set(map(str, sent))) for sent in versions.values())
        assert any(len(set(map(str, sent))) > 1 for sent in versions.values())
        starts = [sent[0].start_ts_ms for sent in versions.values() if sent[0].symbol == "WDC"]
        assert starts != sorted(starts)
        builder = BarBuilder(LATE_MS)
        for record in case.streams[0]:
            builder.add(record)
        assert builder.ignored_count > 5


def test_what_differs_is_told_by_bar_and_field():
    (stream,) = published(made_feeds()["one tick"], 1)
    expected, bars = expected_bars(stream), local_bars(stream)
    assert differences(expected, bars) == []
    assert differences(expected, []) == [f"{bars[0].bar_id} is missing: {expected[0]}"]
    assert differences([], bars) == [f"{bars[0].bar_id} is extra: {bars[0]}"]
    assert differences(expected, bars * 2) == [f"{bars[0].bar_id} comes twice"]
    wrong = msgspec.structs.replace(bars[0], close=bars[0].close * (1 + 2e-9), bin_count=9)
    assert [text.split()[1] for text in differences(expected, [wrong])] == ["close", "bin_count"]
    near = msgspec.structs.replace(bars[0], volume=bars[0].volume * (1 + 1e-10))
    assert differences(expected, [near]) == []
