"""The dashboard's cache: each bar once and in order, however bars come, and no more than it may hold."""

import random
import sys

import pytest

from tests.unit.dashboard_bars import T0, bar
from webapp.cache import BarCache


def starts(cache: BarCache, symbol: str = "WDC") -> list[int]:
    return [(cached.bar.start_ts_ms - T0) // 1000 for cached in cache.bars(symbol)]


def filled(seconds: list[int], most: int = 600) -> BarCache:
    cache = BarCache(most)
    for second in seconds:
        cache.add(bar(second), T0, None)
    return cache


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"volume": 0.0, "notional": 0.0},
        {"api_send_ts_ms": None, "ingest_ts_ms": None},
        {"source_event_ts_ms": 0, "source": "ksqldb"},
    ],
)
def test_a_bar_comes_out_as_it_went_in(fields):
    cache = BarCache(600)
    given = bar(1, **fields)
    cache.add(given, T0 + 1600, T0 + 1604)
    (cached,) = cache.bars("WDC")
    assert cached.bar == given
    assert (cached.append_ms, cached.receive_ms) == (T0 + 1600, T0 + 1604)


def test_the_oldest_bar_goes_when_there_are_600():
    cache = filled(list(range(601)))
    assert starts(cache) == list(range(1, 601))
    assert cache.bar_count == 600


def test_symbols_do_not_push_each_other_out():
    cache = filled(list(range(600)))
    cache.add(bar(5, "AAPL"), T0, None)
    assert cache.symbols() == ["AAPL", "WDC"]
    assert len(starts(cache)) == 600


def test_a_bar_that_comes_again_replaces_itself():
    cache = filled([1, 2, 3])
    cache.add(bar(2, close=77.0), T0 + 9, None)
    assert starts(cache) == [1, 2, 3]
    assert cache.bars("WDC")[1].bar.close == 77.0


def test_a_bar_read_from_the_past_gives_way_to_one_that_is_there():
    cache = filled([1, 2])
    assert not cache.add(bar(2, close=77.0), T0, None, is_older=True)
    assert cache.bars("WDC")[1].bar.close == 42.25
    assert cache.add(bar(0), T0, None, is_older=True)
    assert starts(cache) == [0, 1, 2]


def test_any_order_of_arrival_gives_the_same_bars():
    seconds = list(range(50)) * 2
    random.Random(7).shuffle(seconds)
    assert starts(filled(seconds)) == list(range(50))


def test_a_bar_older_than_all_of_a_full_symbol_is_left_out():
    cache = filled([10, 11, 12], most=3)
    assert not cache.add(bar(9), T0, None)
    assert starts(cache) == [10, 11, 12]
    assert cache.is_settled("WDC", T0 + 9000)
    assert not cache.is_settled("WDC", T0 + 10_000)


def test_a_bar_in_between_pushes_out_the_oldest():
    cache = filled([10, 12, 13], most=3)
    assert cache.add(bar(11), T0, None)
    assert starts(cache) == [11, 12, 13]


def test_what_changed_after_a_revision_is_what_a_page_has_not_seen():
    cache = filled([1, 2, 3])
    seen = cache.revision("WDC")
    assert cache.bars("WDC", after_revision=seen) == []
    cache.add(bar(9, "AAPL"), T0, None)
    assert cache.revision("WDC") == seen
    cache.add(bar(4), T0, None)
    cache.add(bar(2, close=1.0), T0, None)
    changed = [(cached.bar.start_ts_ms - T0) // 1000 for cached in cache.bars("WDC", after_revision=seen)]
    assert changed == [2, 4]


def test_bars_since_a_time():
    found = filled([1, 2, 3]).bars("WDC", since_ms=T0 + 1001)
    assert [cached.bar.start_ts_ms for cached in found] == [T0 + 2000, T0 + 3000]


def test_what_is_known_of_a_symbol_begins_with_its_oldest_bar_once_others_had_to_go():
    assert filled([10, 11]).known_since("WDC", T0) == T0
    full = filled([9, 10, 11, 12], most=3)
    assert full.known_since("WDC", T0) == T0 + 10_000
    assert full.known_since("WDC", T0 + 11_000) == T0 + 11_000
    assert full.known_since("AAPL", T0) == T0


def test_a_cleared_cache_goes_on_counting_revisions():
    cache = filled([1, 2])
    before = cache.revision("WDC")
    cache.clear()
    assert (cache.symbols(), cache.newest("WDC"), cache.revision("WDC")) == ([], None, 0)
    cache.add(bar(1), T0, None)
    assert cache.revision("WDC") > before


def test_10000_symbols_of_600_bars_are_below_1_gb():
    symbols, most = 100, 600
    cache = BarCache(most)
    for second in range(most + 300):
        for i in range(symbols):
            cache.add(bar(second, f"S{i}"), T0, None)
    held = sum(sys.getsizeof(packed) for packed in cache._bars.values())
    assert cache.bar_count == symbols * most
    assert held / symbols * 10_000 < 0.9e9
