"""The synthetic market: seeded, in order, and like a market."""

from collections import Counter
from itertools import islice, pairwise

import pytest

from glue.feeds.lines import SourceTick
from glue.feeds.market import DEFAULT_SYMBOLS, first_symbols, listing, listings
from glue.feeds.synthetic import SESSION_S, SyntheticSource, day_shape

START_MS = 1_709_562_600_000


def market(
    *,
    rate: float = 200,
    seed: int = 1,
    duration_s: float | None = 120,
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS,
) -> SyntheticSource:
    return SyntheticSource(symbols, rate=rate, seed=seed, start_ms=START_MS, duration_s=duration_s)


@pytest.fixture(scope="module")
def ticks() -> list[SourceTick]:
    return list(market().ticks())


def test_same_seed_same_lines_and_another_seed_others(ticks: list[SourceTick]) -> None:
    assert list(market().ticks()) == ticks
    assert list(market(seed=2).ticks()) != ticks


def test_stamps_are_distinct_in_order_and_within_the_duration(ticks: list[SourceTick]) -> None:
    assert all(earlier.event_us < later.event_us for earlier, later in pairwise(ticks))
    assert ticks[0].event_us >= START_MS * 1000
    assert ticks[-1].event_us < (START_MS + 120_000) * 1000


def test_an_endless_market_begins_like_a_finite_one(ticks: list[SourceTick]) -> None:
    assert list(islice(market(duration_s=None).ticks(), len(ticks))) == ticks


def test_every_symbol_trades_and_prices_are_on_the_grid_between_bid_and_ask(ticks: list[SourceTick]) -> None:
    assert {tick.symbol for tick in ticks} == set(DEFAULT_SYMBOLS)
    for tick in ticks:
        assert tick.bid is not None and tick.ask is not None
        assert 0 < tick.bid <= tick.px <= tick.ask
        assert round(tick.px, 2) == tick.px
        assert abs(tick.px / listing(tick.symbol).price - 1) < 0.05
        assert tick.sz >= 1


def test_round_lots_are_the_most_frequent_sizes(ticks: list[SourceTick]) -> None:
    sizes = Counter(tick.sz for tick in ticks)
    assert sizes.most_common(1)[0][0] == 100
    assert any(size < 100 for size in sizes)


def test_the_opening_is_busiest_and_the_close_busier_than_noon() -> None:
    shape = day_shape()
    assert sum(shape) / SESSION_S == pytest.approx(1)
    assert shape[0] > 1.8 * shape[SESSION_S // 2]
    assert shape[-1] > 1.2 * shape[SESSION_S // 2]


def test_trades_come_in_bursts_and_quiet_spells(ticks: list[SourceTick]) -> None:
    tenths = Counter(tick.event_us // 100_000 for tick in ticks if tick.symbol == "WDC")
    counts = [tenths[tenth] for tenth in range(START_MS // 100, START_MS // 100 + 1200)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert variance > 2 * mean, "a Poisson process would have variance = mean"


def test_the_rate_is_the_average_of_a_session() -> None:
    count = sum(1 for _ in market(rate=5, duration_s=SESSION_S).ticks())
    assert count / SESSION_S == pytest.approx(5, rel=0.05)


def test_thin_and_cheap_symbols_never_reach_zero() -> None:
    source = market(symbols=("F", "PENNY"), rate=50, duration_s=600)
    assert min(tick.px for tick in source.ticks()) > 0


def test_symbols_can_be_counted_and_weights_sum_to_one() -> None:
    names = first_symbols(30)
    assert names[:6] == list(DEFAULT_SYMBOLS)
    assert len(set(names)) == 30
    assert sum(one.weight for one in listings(names)) == pytest.approx(1)
    assert listing("SYM0001") == listing("SYM0001") != listing("SYM0002")
