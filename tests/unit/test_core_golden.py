"""Golden cases: lines in; bins, watermark records, dead letters and bars out, worked out by hand."""

import json
from pathlib import Path

import pytest

from glue.core.bars import BarBuilder, fold
from glue.core.binner import Binner
from glue.core.bins import TickBin
from glue.core.introduction import Feed
from glue.core.partition import is_watermark, partition_of
from glue.core.watermarks import Rules

CASES = sorted((Path(__file__).parents[1] / "golden" / "core").glob("*.json"))


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request):
    return json.loads(request.param.read_text())


def about(value):
    return pytest.approx(value, rel=1e-9)


def published(case):
    """Run a case's lines, each as its own chunk, read long after or at the wall clock it names."""
    base, partitions = case["base_ms"], case.get("partitions", 1)
    feed = Feed("feed", case["mode"], case.get("is_numbered", False))
    binner = Binner(feed, Rules(partitions=partitions), is_deterministic=True)
    clocks = case.get("now", [10**9] * len(case["lines"]))
    outputs = []
    for line, now in zip(case["lines"], clocks, strict=True):
        outputs += binner.process(line.encode() + b"\n", base + now)
    return outputs


def as_case(output, case, *, has_id):
    """Return a record in the words of the golden files."""
    base, o = case["base_ms"], output
    if not isinstance(o, TickBin):
        w = o.watermark_ms - base if o.watermark_ms is not None else None
        words = {"dead": o.reason, "line": case["lines"].index(o.line), "w": w}
        if has_id:
            words["id"] = o.dlt_id
        if o.symbol is not None:
            words |= {"symbol": o.symbol, "at": o.event_ts_ms - base, "lateness": o.lateness_ms}
        return words
    if is_watermark(o.symbol):
        return {"watermark": o.start_ts_ms - base}
    return {
        "bin": o.symbol,
        "at": o.start_ts_ms - base,
        "ohlc": [o.open, o.high, o.low, o.close],
        "volume": about(o.volume),
        "notional": about(o.notional),
        "trades": o.trade_count,
        "lateness": o.max_lateness_ms,
        "w": o.watermark_ms - base,
    }


def test_a_golden_case_names_its_origin(case):
    assert len(case["origin"]) > 50


def test_lines_lead_to_what_was_worked_out_by_hand(case):
    partitions = case.get("partitions", 1)
    outputs = published(case)
    expected = []
    for entry in case["published"]:
        expected += [entry] * (partitions if "watermark" in entry else 1)
    assert len(outputs) == len(expected)
    for got, entry in zip(outputs, expected, strict=True):
        words = as_case(got, case, has_id="id" in entry)
        if "dead" in entry:  # the same bad line may come more than once: compare texts
            assert case["lines"][words.pop("line")] == case["lines"][entry["line"]]
            entry = {k: v for k, v in entry.items() if k != "line"}
        assert words == entry


def test_bins_lead_to_the_bars_that_were_worked_out_by_hand(case):
    base, partitions = case["base_ms"], case.get("partitions", 1)
    builders = [BarBuilder(late_ms=500) for _ in range(partitions)]
    bars = []
    for record in published(case):
        if isinstance(record, TickBin):
            closed = builders[partition_of(record.symbol, partitions)].add(record)
            bars += [fold(bins, None) for bins in closed]
    got = [
        {
            "bar": b.symbol,
            "at": b.start_ts_ms - base,
            "ohlc": [b.open, b.high, b.low, b.close],
            "volume": about(b.volume),
            "notional": about(b.notional),
            "vwap": about(b.vwap),
            "trades": b.trade_count,
            "bins": b.bin_count,
            "lateness": b.max_lateness_ms,
        }
        for b in bars
    ]

    def place(bar):
        return bar["at"], bar["bar"]

    assert sorted(got, key=place) == sorted(case["bars"], key=place)
    assert all(builder.ignored_count == builder.open_bar_count == 0 for builder in builders)
