"""scripts/validate_aggregates.py: bins to bars, each kind of difference by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from validate_cases import Outcome, Record, Validator, a_bar, a_bin, mark

# Two symbols, three closed seconds of A, one of B; L = 500.
BINS = [
    a_bin(1000, 1520, (10.0, 2.0), (12.0, 1.0), (9.0, 1.0), late=3),
    a_bin(1990, 2520, (11.0, 0.5)),
    mark(2520),
    a_bin(2000, 2530, (11.0, 4.0)),
    a_bin(2500, 3020, (20.0, 1.0), symbol="B", api_send_ts_ms=77, source_event_ts_ms=5),
    a_bin(2510, 3030, (21.0, 0.0), symbol="B", api_send_ts_ms=70),
    mark(3510),
    a_bin(5000, 6500, (13.0, 1.0)),
    mark(6500),
]
BARS = [
    {
        **a_bar(1000, "A", [BINS[0], BINS[1]]),
        **{"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 4.5, "notional": 46.5},
        **{"vwap": 46.5 / 4.5, "trade_count": 4, "bin_count": 2, "max_lateness_ms": 3},
    },
    a_bar(2000, "A", [BINS[3]]),
    {
        **a_bar(2000, "B", [BINS[4], BINS[5]]),
        **{"open": 20.0, "close": 21.0, "volume": 1.0, "vwap": 20.0, "bin_count": 2},
        **{"api_send_ts_ms": 70, "source_event_ts_ms": 5},
    },
    a_bar(5000, "A", [BINS[7]]),
]


@pytest.fixture
def validator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Validator:
    return Validator(tmp_path, capsys)


def test_bars_that_fit_the_bins_pass(validator: Validator) -> None:
    report = validator.report(Outcome(bins=BINS, bars=BARS))
    assert report["differences"] == 0
    assert report["totals"] == {"bars": 4, "bins": 6, "watermark records": 3}


def without(n: int) -> Callable[[list[Record]], list[Record]]:
    return lambda records: records[:n] + records[n + 1 :]


def plus(*more: Record) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [*records, *more]


def changed(n: int, **values: Any) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [{**r, **values} if i == n else r for i, r in enumerate(records)]


def order(*places: int) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [records[i] for i in places]


def same(records: list[Record]) -> list[Record]:
    return records


@pytest.mark.parametrize(
    ("bins", "bars", "expected"),
    [
        pytest.param(same, without(1), {"missing_bars": 1}, id="missing bar"),
        pytest.param(without(3), same, {"extra_bars": 1}, id="bar without bins"),
        pytest.param(without(8), same, {"extra_bars": 1}, id="bar before its second closed"),
        pytest.param(
            plus(a_bin(6000, 6600, (1.0, 1.0))),
            same,
            {},
            id="the newest second has not closed: no bar expected",
        ),
        pytest.param(
            same,
            plus(a_bar(2520, "~wm0", [BINS[3]])),
            {"extra_bars": 1, "bar_sanity": 1},
            id="bar of a watermark record",
        ),
        pytest.param(same, plus(BARS[3]), {"duplicate_bars": 1}, id="bar that came twice"),
        pytest.param(same, changed(0, open=10.1), {"bar_fields": 1}, id="price"),
        pytest.param(same, changed(0, trade_count=5), {"bar_fields": 1}, id="count"),
        pytest.param(same, changed(2, api_send_ts_ms=77), {"bar_fields": 1}, id="earliest time"),
        pytest.param(same, changed(2, source_event_ts_ms=None), {"bar_fields": 1}, id="null for a time"),
        pytest.param(same, changed(0, volume=4.5 * (1 + 1e-12)), {}, id="sum within the tolerance"),
        pytest.param(
            same, changed(0, volume=4.5 * (1 + 1e-8)), {"bar_fields": 1}, id="sum beyond the tolerance"
        ),
        pytest.param(
            same, changed(0, max_lateness_ms=4, bin_count=1), {"bar_fields": 2}, id="two fields of one bar"
        ),
        pytest.param(same, order(1, 0, 2, 3), {"bars_out_of_order": 1}, id="bars of a symbol out of order"),
        pytest.param(same, order(0, 2, 1, 3), {}, id="symbols may interleave"),
        pytest.param(
            plus(a_bin(2800, 6500, (11.0, 1.0))), same, {"late_bins": 1}, id="new bin after its bar closed"
        ),
        pytest.param(plus(BINS[0]), same, {}, id="bin sent again after its bar closed"),
        pytest.param(order(0, 0, 1, 2, 3, 3, 4, 5, 3, 6, 7, 8), same, {}, id="bins sent again count once"),
        pytest.param(
            lambda bins: [{**bins[0], "volume": 99.0, "notional": 999.0}, *bins],
            same,
            {},
            id="the last of equal bin ids counts",
        ),
        pytest.param(
            plus({**BINS[0], "volume": 9.0, "notional": 90.0}), same, {}, id="but not once its bar has closed"
        ),
        pytest.param(
            changed(3, watermark_ms=2510), same, {"watermarks_going_back": 1}, id="watermark going back"
        ),
        pytest.param(changed(0, end_ts_ms=1020), same, {"bin_sanity": 1}, id="bin of a wrong length"),
        pytest.param(changed(0, bin_id="A-1001"), same, {"bin_sanity": 1}, id="bin with another id"),
        pytest.param(changed(2, trade_count=1), same, {"bin_sanity": 1}, id="watermark record with ticks"),
        pytest.param(
            changed(7, high=12.0),
            changed(3, high=12.0),
            {"bin_sanity": 3, "bar_sanity": 3},
            id="high below the others",
        ),
        pytest.param(
            changed(7, symbol=None), same, {"bin_sanity": 1, "extra_bars": 1}, id="null where none may be"
        ),
        pytest.param(same, changed(3, source="somebody"), {"bar_sanity": 1}, id="bar of an unknown engine"),
        pytest.param(
            same, changed(3, end_ts_ms=6010), {"bar_fields": 1, "bar_sanity": 1}, id="bar of a wrong length"
        ),
    ],
)
def test_each_kind_of_difference_is_found(
    validator: Validator,
    bins: Callable[[list[Record]], list[Record]],
    bars: Callable[[list[Record]], list[Record]],
    expected: dict[str, int],
) -> None:
    assert validator.differences(Outcome(bins=bins(BINS), bars=bars(BARS))) == expected


def test_a_mismatch_names_bar_field_expected_and_got(validator: Validator) -> None:
    report = validator.report(Outcome(bins=BINS, bars=changed(0, high=12.5)(BARS)))
    assert report["checks"]["bar_fields"]["examples"] == [
        {"bar_id": "A-1000", "field": "high", "expected": "12.0", "got": "12.5"}
    ]


def test_a_wider_tolerance_forgives(validator: Validator) -> None:
    outcome = Outcome(bins=BINS, bars=changed(0, volume=4.5001)(BARS))
    assert validator.differences(outcome, "--tolerance", "1e-3") == {}


def test_vwap_is_the_close_when_nothing_was_sold(validator: Validator) -> None:
    bins = [a_bin(1000, 1520, (10.0, 0.0)), a_bin(1010, 1530, (11.0, 0.0)), mark(2500)]
    assert (
        validator.differences(Outcome(bins=bins, bars=[{**a_bar(1000, "A", bins[:2]), "vwap": 11.0}])) == {}
    )
    assert validator.differences(Outcome(bins=bins, bars=[{**a_bar(1000, "A", bins[:2]), "vwap": 10.0}])) == {
        "bar_fields": 1
    }


def test_another_l_and_bin_size_move_the_close(validator: Validator) -> None:
    bins = [{**a_bin(1000, 2100, (10.0, 1.0)), "end_ts_ms": 1100, "window_ms": 100}]
    end = {**mark(2100), "end_ts_ms": 2200, "window_ms": 100}
    outcome = Outcome(bins=[*bins, end], bars=[a_bar(1000, "A", bins)])
    assert validator.differences(outcome, "--max-late-ms", "100", "--bin-ms", "100") == {}
    assert validator.differences(outcome, "--max-late-ms", "200", "--bin-ms", "100") == {"extra_bars": 1}


def test_empty_files_agree(validator: Validator) -> None:
    assert validator.differences(Outcome()) == {}


def test_latency_is_taken_from_the_wall_clock_fields(validator: Validator) -> None:
    bins = [a_bin(1000 + 10 * n, 1520, (10.0, 1.0), ingest_ts_ms=1010 + 10 * n + n) for n in range(100)]
    bars = [a_bar(1000, "A", bins, ingest_ts_ms=2600)]
    latency = validator.report(Outcome(bins=[*bins, mark(2500, ingest_ts_ms=9999)], bars=bars))["latency_ms"]
    assert latency == {
        "bins": {"p50": 49, "p95": 94, "max": 99},
        "bars": {"p50": 600, "p95": 600, "max": 600},
    }


@pytest.mark.parametrize("ingest", [None, 1_700_000_000_000], ids=["no wall time", "a replay of another day"])
def test_latency_of_a_historical_feed_is_not_applicable(validator: Validator, ingest: int | None) -> None:
    bins = [a_bin(1000, 1520, (10.0, 1.0), ingest_ts_ms=ingest), mark(2500)]
    bars = [a_bar(1000, "A", bins[:1], ingest_ts_ms=ingest)]
    latency = validator.report(Outcome(bins=bins, bars=bars))["latency_ms"]
    assert latency == {"bins": "n/a (historical feed)", "bars": "n/a (historical feed)"}
