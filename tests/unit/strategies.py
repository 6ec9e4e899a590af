"""Hypothesis strategies for feeds, and how often properties are tried."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from feed_lines import END, T, heartbeat_line, tick_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glue.core.ticks import MAX_EVENT_MS
from glue.core.watermarks import CONFIRM_WITHIN_MS, Rules

QUICK, FULL = 100, 2_500


def for_all(*values: st.SearchStrategy[Any], quick: int = QUICK, full: int = FULL) -> Callable[..., Any]:
    """Make a property test of a check: the same few examples at each `make test`, many with `-m full`."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        common = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

        def test(examples: int) -> None:
            tried = given(*values)(check)
            settings(max_examples=examples, derandomize=examples == quick, **common)(tried)()

        test.__name__, test.__qualname__ = check.__name__, check.__qualname__
        test.__module__, test.__doc__ = check.__module__, check.__doc__
        full_count = pytest.param(full, marks=[pytest.mark.full, pytest.mark.timeout(1800)], id="full")
        return pytest.mark.parametrize("examples", [pytest.param(quick, id="quick"), full_count])(test)

    return decorate


# Lines


@dataclass(frozen=True)
class TickItem:
    """A tick; `seq` is None where the feed numbers nothing."""

    symbol: str
    event_ms: int
    px: float = 1.0
    sz: float = 1.0
    seq: int | None = None
    api_send_ts_ms: int | None = None
    source_event_ts_ms: int | None = None

    @property
    def raw(self) -> bytes:
        names = ("seq", "api_send_ts_ms", "source_event_ts_ms")
        more = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return tick_line(self.symbol, self.event_ms, self.px, self.sz, **more)


@dataclass(frozen=True)
class HeartbeatItem:
    event_ms: int

    @property
    def raw(self) -> bytes:
        return heartbeat_line(self.event_ms)


@dataclass(frozen=True)
class BadItem:
    """A line that is none."""

    raw: bytes


@dataclass(frozen=True)
class EndItem:
    raw: bytes = END


Item = TickItem | HeartbeatItem | BadItem | EndItem


@dataclass(frozen=True)
class FeedCase:
    """Lines, and the wall clock at which each was read."""

    rules: Rules
    is_live: bool
    lines: tuple[tuple[Item, int], ...]


def _tick_with(**changes: Any) -> bytes:
    return json.dumps({"symbol": "A", "px": 1.5, "sz": 2, "event_ts": T / 1000} | changes).encode()


def _tick_text(name: str, text: bytes) -> bytes:
    """Return a tick line where a field has this text for a value, JSON or not."""
    fields = {"symbol": b'"A"', "px": b"1.5", "sz": b"2", "event_ts": b"1600000000"} | {name: text}
    return b"{" + b",".join(b'"' + k.encode() + b'":' + v for k, v in fields.items()) + b"}"


BAD_LINES: dict[str, bytes] = {
    "garbage": b"hello",
    "broken UTF-8 alone": b"\xff\xfe",
    "broken UTF-8 in the symbol": _tick_text("symbol", b'"\xc3"'),
    "broken UTF-8 in an unknown field": _tick_text("note", b'"\xe2\x82"'),
    "overlong UTF-8": _tick_text("note", b'"\xc0\xaf"'),
    "lone surrogate": _tick_text("symbol", b'"\\ud800"'),
    "byte order mark": b"\xef\xbb\xbf" + _tick_with(),
    "NUL": b"\x00",
    "control character in a string": _tick_text("note", b'"a\x01b"'),
    "half a line": _tick_with()[:-9],
    "wrong, then half a line": _tick_text("px", b'"1.5"')[:-9],
    "only a brace": b"{",
    "empty object": b"{}",
    "array": b"[1,2]",
    "array of a tick": b"[" + _tick_with() + b"]",
    "null": b"null",
    "number": b"5",
    "string": b'"tick"',
    "two values on a line": _tick_with() + _tick_with(),
    "two values and a space": _tick_with() + b" " + _tick_with(),
    "trailing comma": _tick_with()[:-1] + b",}",
    "single quotes": _tick_with().replace(b'"', b"'"),
    "px NaN": _tick_text("px", b"NaN"),
    "px Infinity": _tick_text("px", b"Infinity"),
    "px -Infinity": _tick_text("px", b"-Infinity"),
    "px 1e999": _tick_text("px", b"1e999"),
    "px too small to be more than 0": _tick_text("px", b"1e-999"),
    "px zero": _tick_with(px=0),
    "px negative": _tick_with(px=-1.5),
    "px minus zero": _tick_text("px", b"-0.0"),
    "px above 1e15": _tick_with(px=1.1e15),
    "px a huge integer": _tick_text("px", b"9" * 5000),
    "px string": _tick_with(px="1.5"),
    "px bool": _tick_with(px=True),
    "px null": _tick_with(px=None),
    "px nested": _tick_with(px={"value": 1.5}),
    "px array": _tick_with(px=[1.5]),
    "px leading zero": _tick_text("px", b"01.5"),
    "px hex": _tick_text("px", b"0x10"),
    "sz NaN": _tick_text("sz", b"NaN"),
    "sz 1e999": _tick_text("sz", b"1e999"),
    "sz negative": _tick_with(sz=-1),
    "sz just negative": _tick_text("sz", b"-5e-324"),
    "sz above 1e15": _tick_with(sz=1.1e15),
    "sz string": _tick_with(sz="2"),
    "sz bool": _tick_with(sz=False),
    "sz null": _tick_with(sz=None),
    "event_ts NaN": _tick_text("event_ts", b"NaN"),
    "event_ts negative": _tick_with(event_ts=-0.001),
    "event_ts in milliseconds": _tick_with(event_ts=T),
    "event_ts after the year 9999": _tick_with(event_ts=253402300800),
    "event_ts 1e999": _tick_text("event_ts", b"1e999"),
    "event_ts string": _tick_with(event_ts="1600000000"),
    "event_ts ISO": _tick_with(event_ts="2020-09-13T12:26:40Z"),
    "event_ts bool": _tick_with(event_ts=True),
    "event_ts null": _tick_with(event_ts=None),
    "symbol missing": b'{"px":1,"sz":1,"event_ts":1600000000}',
    "symbol null": _tick_with(symbol=None),
    "symbol number": _tick_with(symbol=5),
    "symbol bool": _tick_with(symbol=True),
    "symbol array": _tick_with(symbol=["A"]),
    "seq negative": _tick_with(seq=-1),
    "seq above 63 bits": _tick_with(seq=2**63),
    "seq string": _tick_with(seq="7"),
    "seq bool": _tick_with(seq=True),
    "seq fraction": _tick_with(seq=7.5),
    "bid string": _tick_with(bid="1"),
    "ask 1e999": _tick_text("ask", b"1e999"),
    "api_send_ts_ms negative": _tick_with(api_send_ts_ms=-1),
    "api_send_ts_ms string": _tick_with(api_send_ts_ms="now"),
    "source_event_ts_ms after the year 9999": _tick_with(source_event_ts_ms=MAX_EVENT_MS + 1),
    "nested too deeply": b'{"x":' * 5000 + b"1" + b"}" * 5000,
    "arrays too deep, one brace": b'{"symbol":"A","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "wrong, then arrays too deep": b'{"symbol":5,"x":' + b"[" * 100_000,
    "unknown type": b'{"type":"trade","symbol":"A","px":1,"sz":1,"event_ts":1600000000}',
    "type number": _tick_with(type=5),
    "type array": b'{"type":["heartbeat"],"event_ts":1}',
    "type in capitals": b'{"type":"END"}',
    "heartbeat with text for a time": b'{"type":"heartbeat","event_ts":"now"}',
    "heartbeat negative": b'{"type":"heartbeat","event_ts":-1}',
    "hello with a wrong mode": b'{"type":"hello","mode":"fast"}',
}
"""Lines that no decoder may take for a tick or a control line, by what is wrong with them."""

BAD_AFTER_DECODING: dict[str, bytes] = {
    "symbol empty": _tick_with(symbol=""),
    "symbol of 33 characters": _tick_with(symbol="A" * 33),
    "symbol with a space": _tick_with(symbol="A B"),
    "symbol with a line feed": _tick_with(symbol="A\n"),
    "symbol reserved": _tick_with(symbol="~wm0"),
    "symbol not ASCII": _tick_with(symbol="Ä"),
    "hello in the middle": b'{"type":"hello","feed_id":"x","mode":"live"}',
    "heartbeat without a time": b'{"type":"heartbeat"}',
}
"""Lines that decode well and are refused all the same."""

SHORT_BAD_LINES = [raw for raw in [*BAD_LINES.values(), *BAD_AFTER_DECODING.values()] if len(raw) < 200]
BAD_ONES = st.one_of(st.just(b"hello"), st.sampled_from(SHORT_BAD_LINES))
"""Often the same one, as its dead letters must stay apart."""
WRONG_FIELDS = st.sampled_from([{"symbol": "A B"}, {"symbol": "~wm0"}, {"px": -1}, {"type": "trade"}])
"""What makes a line bad whose number can still be read."""

# Feeds

SYMBOLS = ["A", "B", "WDC", "BTCUSDT"]
EARLIEST = [None, None, T - 1, T, T + 1]
QUARTERS = st.integers(1, 40).map(lambda n: n / 4)
"""Prices and sizes whose sums are exact, so that order of addition does not show."""

RULES = st.sampled_from(
    [
        Rules(),
        Rules(bin_ms=10, late_ms=50, skew_ms=20, max_jump_ms=60_000, partitions=3),
        Rules(bin_ms=10, late_ms=10, skew_ms=0, max_future_ms=0, partitions=2),
        Rules(bin_ms=10, late_ms=10, skew_ms=10, max_jump_ms=60_000),
        Rules(bin_ms=100, late_ms=500, skew_ms=500, max_jump_ms=120_000, partitions=6),
        Rules(bin_ms=20, late_ms=100, skew_ms=33, max_jump_ms=100_000),
        Rules(bin_ms=1000, late_ms=2000, skew_ms=7, max_future_ms=1000),
        Rules(bin_ms=10, late_ms=3000, skew_ms=20),
    ]
)


@cache
def near_boundaries(rules: Rules) -> st.SearchStrategy[int]:
    """Return distances from a newest time around which the rules change their mind."""
    late, skew, width = rules.late_ms, rules.skew_ms, rules.bin_ms
    edges = {0, width, skew, -skew, -late, -late - skew, -late - width, -late - skew - width}
    edges |= {late, late + width, late + skew, late + skew + width, 1000, 1000 + late + skew}
    around = tuple(sorted({edge + d for edge in edges for d in (-1, 0, 1)}, key=lambda x: (abs(x), x)))
    return st.one_of(
        st.sampled_from(around),
        st.integers(0, 2 * width),
        st.integers(-late - 2 * width - skew, 2 * late),
        st.integers(0, 4000),
    )


@st.composite
def feeds(
    draw: st.DrawFn,
    *,
    is_live: bool | None = None,
    rules: st.SearchStrategy[Rules] = RULES,
    symbols: list[str] = SYMBOLS,
    max_size: int = 40,
    is_numbered: bool = False,
    has_bad_lines: bool = True,
    has_heartbeats: bool = True,
    has_bad_clocks: bool = True,
    has_end: bool = True,
) -> FeedCase:
    """Draw a feed that is disordered, late, jumping and bad, mostly where a rule changes its mind."""
    names = st.sampled_from(symbols)
    chosen, live = draw(rules), draw(st.booleans()) if is_live is None else is_live
    kinds = ["tick"] * 9 + ["heartbeat"] * has_heartbeats + ["bad"] * has_bad_lines
    kinds += ["clock"] * has_bad_clocks
    start = draw(st.sampled_from((T, T + 990, T + 123_457))) if has_bad_clocks else T
    newest, own, now = start, dict.fromkeys(symbols, start), start
    lines: list[tuple[Item, int]] = []
    seq = 0
    size = draw(st.integers(0, max_size))  # lists alone are mostly short
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=size, max_size=size)):
        if live:
            now += draw(st.sampled_from((0, 0, 1, 10, 500, 1000, -3)))
        event = heard = None
        symbol = draw(names)
        if kind == "bad":
            item: Item = BadItem(draw(BAD_ONES))
            if is_numbered and draw(st.booleans()):
                # Its number says nothing of its place.
                shown = {"event_ts": newest / 1000, "seq": 10**12 - len(lines)}
                item = BadItem(_tick_with(**shown | draw(WRONG_FIELDS)))
            lines.append((item, now))
            continue
        if kind == "heartbeat":
            heard = newest + draw(near_boundaries(chosen)) - draw(st.sampled_from((0, 0, chosen.late_ms)))
            if has_bad_clocks and draw(st.integers(0, 9)) == 9:
                heard += draw(st.sampled_from((chosen.max_jump_ms, chosen.max_jump_ms + 1)))
            lines.append((HeartbeatItem(max(0, heard)), now))
            continue
        if kind == "clock" and live:
            future = chosen.max_future_ms
            event = now + draw(st.sampled_from((future, future + 1, 1, 1000, 10**9, -(10**9), future - 1)))
        elif kind == "clock":
            jump, within = chosen.max_jump_ms, CONFIRM_WITHIN_MS
            edges = (jump, jump + 1, jump + 2, jump + 1 + within, jump + 2 + within, -jump, -jump - 1, within)
            event = newest + draw(st.sampled_from(edges))
        else:
            anchor = newest if draw(st.booleans()) else own[symbol]
            event = anchor + draw(near_boundaries(chosen))
            if live:
                event = min(event, now + draw(st.sampled_from((0, 0, chosen.max_future_ms))))
        event = min(max(0, event), MAX_EVENT_MS)
        # A far jump is mostly forgotten, sometimes it is where the feed goes on.
        if kind == "tick" or draw(st.booleans()):
            newest, own[symbol] = max(newest, event), max(own[symbol], event)
            now = max(now, newest) if live and draw(st.booleans()) and kind == "tick" else now
        seq += 1
        rest = draw(st.integers(0, 40 * 40 * 25 - 1))  # one draw for all that no rule looks at
        px, sz, api, source = (rest % 40 + 1) / 4, rest // 40 % 40 / 4, rest // 1600 % 5, rest // 8000
        number = seq if is_numbered else None
        lines.append((TickItem(symbol, event, px, sz, number, EARLIEST[api], EARLIEST[source]), now))
    if has_end and draw(st.booleans()):
        lines.append((EndItem(), now))
        if draw(st.integers(0, 4)) == 4:
            lines.append((TickItem("A", newest + 5000), now))
            lines.append((HeartbeatItem(newest + 9000), now))
    return FeedCase(chosen, live, tuple(lines))
