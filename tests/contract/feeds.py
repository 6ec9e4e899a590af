"""Feeds for the contract cases: lines as a feed sends them, made by hand, by a seed, or by Hypothesis."""

import json
from functools import cache
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

T = 1_600_000_000_000
"""A whole second of 2020, ms since 1970 UTC."""
IN_2010 = 1_266_417_000_000
"""17 February 2010, 14:30 UTC."""
L = 500
"""REPLAY_MAX_LATE_MS, which is the grace of the window in ksql/02_bars_1s_windowed.sql."""
HOUR_MS = 3_600_000
DRAWN = 24
"""Feeds that Hypothesis draws for every run on a broker; the property test tries many more on files."""

Lines = tuple[bytes, ...]


def tick(symbol: str, event_ms: float, px: float = 1.0, sz: float = 1.0, **more: Any) -> bytes:
    """Return a tick as its line, without the line feed."""
    return json.dumps({"symbol": symbol, "px": px, "sz": sz, "event_ts": event_ms / 1000, **more}).encode()


def heartbeat(event_ms: int) -> bytes:
    """Return the feed's word that no tick older than this is still to come."""
    return json.dumps({"type": "heartbeat", "event_ts": event_ms / 1000}).encode()


def walk(
    number: int, symbols: list[str], *, start_ms: int, span_ms: int, ticks: int, delay_ms: int = 0
) -> Lines:
    """Return ticks of symbols that walk at random; a line comes up to `delay_ms` after its event time."""
    random = Random(number)
    prices = {symbol: random.randint(1_000, 90_000) for symbol in symbols}
    arrivals: list[tuple[float, bytes]] = []
    for event_ms in sorted(start_ms + random.randrange(span_ms) for _ in range(ticks)):
        symbol = random.choice(symbols)
        prices[symbol] = max(1, prices[symbol] + random.randint(-9, 9))
        times = {"api_send_ts_ms": event_ms + 7} if random.random() < 0.5 else {}
        if random.random() < 0.3:
            times["source_event_ts_ms"] = event_ms - random.randint(0, 30)
        line = tick(symbol, event_ms, prices[symbol] / 100, random.randint(0, 50) * 10, **times)
        arrivals.append((event_ms + random.uniform(0, delay_ms), line))
    return tuple(line for _, line in sorted(arrivals, key=lambda arrival: arrival[0]))


def made_feeds() -> dict[str, Lines]:
    """Return the feeds that are the same at each run, by what is special about them."""
    two, six = ["WDC", "BTCUSDT"], ["A", "B", "C", "ES.H5", "eur/usd", "BRK:B"]
    edges = (0, 9, 10, 490, 500, 989, 990, 999, 1000, 1009, 1990, 1999, 2000)
    numbers = (0.1, 0.2, 0.3, 1e15, 1e-12, 123456.789, 1 / 3, 5e-324, 2.5e-8, 99999999.99)
    return {
        "one tick": (tick("A", T + 123, 42.87, 100),),
        "no trade at all": (heartbeat(T), heartbeat(T + 5_000)),
        "steady": walk(1, two, start_ms=T, span_ms=3_000, ticks=200),
        "disorder up to the lateness": walk(2, six, start_ms=T, span_ms=5_000, ticks=300, delay_ms=L),
        "more disorder than the lateness": walk(3, six, start_ms=T, span_ms=4_000, ticks=200, delay_ms=900),
        "gaps": tuple(
            line
            for i, at in enumerate(
                (0, 700, 2_000, 63_000, HOUR_MS + 10, 3 * HOUR_MS, 8 * HOUR_MS, 40 * HOUR_MS)
            )
            for line in walk(i, two, start_ms=T + at, span_ms=400, ticks=8)
        ),
        "quiet partitions": (
            *(tick(symbol, T + 5 * i, 10 + i, 5) for i, symbol in enumerate(six)),
            *walk(4, ["A"], start_ms=T + 100, span_ms=6_000, ticks=60),
            *(tick(symbol, T + 6_100 + 5 * i, 20 + i, 5) for i, symbol in enumerate(six)),
        ),
        "quiet feed with heartbeats": (
            tick("A", T, 3.5, 1),
            *(heartbeat(T + ms) for ms in range(100, 4_000, 100)),
            tick("B", T + 4_000, 4.5, 1),
            *(heartbeat(T + ms) for ms in range(4_100, 6_000, 100)),
        ),
        "many symbols": walk(
            5, [f"S{i:03d}" for i in range(200)], start_ms=T, span_ms=1_500, ticks=500, delay_ms=100
        ),
        "every bin of its second": tuple(
            tick("DENSE", T + 10 * i, (5_000 + i * 37 % 101) / 100, 10 + i % 7) for i in range(200)
        ),
        "edges of bins and bars": tuple(
            tick(symbol, T + ms, 10 + ms / 1000, 1) for ms in edges for symbol in ("A", "WDC")
        ),
        "end in the middle of a second": walk(6, six, start_ms=T + 250, span_ms=1_200, ticks=60),
        "2010": walk(7, two, start_ms=IN_2010, span_ms=90_000, ticks=120, delay_ms=300),
        "2010, whole seconds and long pauses": tuple(
            tick("WDC", IN_2010 + 1_000 * at, 42.8 + at % 7 / 100, 100 * (at % 5 + 1))
            for at in (1, 1, 2, 9, 9, 9, 10, 75, 3_700, 3_701, 20_000, 20_000, 20_003)
        ),
        "only size 0": tuple(tick("A", T + ms, 5 + ms / 1000, 0) for ms in (0, 20, 990, 1_000)),
        "awkward numbers": tuple(
            tick(symbol, T + 40 * i, min(1e15, max(px, 1e-12)), sz)
            for i, (px, sz) in enumerate(zip(numbers * 5, numbers[3:] * 7, strict=False))
            for symbol in ("A", "B")
        ),
        "names like keys": tuple(
            tick(symbol, T + 30 * i, 1 + i, 1)
            for i, symbol in enumerate(
                ("A", "A-1", f"A-{T}", "-", "a", "_", "0", "X" * 32, "wm0", "a/b:c.d-e")
            )
        ),
    }


@st.composite
def feeds(draw: st.DrawFn) -> Lines:
    """Draw a feed: disorder around the lateness, gaps, heartbeats, few or many symbols, any sizes."""
    symbols = draw(
        st.sampled_from((["A"], ["A", "B"], ["WDC", "BTCUSDT", "ES.H5"], [f"S{i}" for i in range(40)]))
    )
    prices = st.one_of(st.integers(1, 10_000).map(lambda n: n / 100), st.floats(1e-6, 1e9))
    sizes = st.one_of(st.just(0), st.integers(1, 1_000), st.floats(0, 1e9))
    steps = st.sampled_from((0, 0, 1, 3, 9, 10, 10, 20, 90, 250, 480, 500, 510, 1_000, 1_500, 7_000, HOUR_MS))
    behind = st.one_of(st.just(0), st.sampled_from((1, 10, 490, 500, 501, 990)), st.integers(0, L))
    newest_ms = T + draw(st.sampled_from((0, 5, 990, 123_456)))
    lines = []
    for _ in range(draw(st.integers(1, 60))):
        newest_ms += draw(steps)
        if draw(st.integers(0, 9)) == 0:
            lines.append(heartbeat(newest_ms - draw(st.sampled_from((0, 20, 500)))))
            continue
        event_ms = newest_ms - draw(behind)
        times = {"api_send_ts_ms": event_ms + draw(st.integers(0, 50))} if draw(st.booleans()) else {}
        lines.append(tick(draw(st.sampled_from(symbols)), event_ms, draw(prices), draw(sizes), **times))
    return tuple(lines)


@cache
def drawn_feeds(count: int = DRAWN) -> tuple[Lines, ...]:
    """Return feeds that Hypothesis draws, the same ones at each run.

    Each has a seed of its own, since examples that follow each other are often much alike.
    """
    return tuple(_drawn(number) for number in range(count))


def _drawn(number: int) -> Lines:
    drawn: list[Lines] = []

    @seed(number)
    @settings(
        max_examples=2,  # the first one is always the simplest
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(feeds())
    def keep(feed: Lines) -> None:
        drawn.append(feed)

    keep()
    return drawn[-1]
