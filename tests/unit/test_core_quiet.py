"""The short way of quiet ticks gives what the long way gives, to the last bit."""

from feed_lines import T
from hypothesis import strategies as st
from strategies import for_all

from glue.core.binner import Binner, Output
from glue.core.introduction import Feed
from glue.core.partition import Shard
from glue.core.watermarks import Rules

JUST_BEFORE_A_BIN, LONG = [99, 100, 101, 9_900], [20_000, 510_000, 1_500_000]
STEPS_US = st.sampled_from([0, 0, 1, 50, 400, 499, 500, 900, 999, 1000, 3000, *JUST_BEFORE_A_BIN, *LONG])
BACK_US = st.sampled_from([0, 0, 0, 0, 0, 0, 1, 400, 1000, 9000, 30_000, 499_000, 510_000, 700_000])
TICKS = st.tuples(
    STEPS_US,
    BACK_US,
    st.sampled_from("AAAABBC"),
    st.floats(0.01, 1e6, allow_subnormal=False),
    st.floats(0, 1e6, allow_subnormal=False),
    st.sampled_from([None, None, 5, 3, 9]),
    st.integers(-3, 1),
    st.integers(0, 30),
)
RULES = st.builds(
    Rules,
    bin_ms=st.sampled_from([10, 20, 50]),
    late_ms=st.sampled_from([100, 500]),
    skew_ms=st.sampled_from([0, 15, 20, 100]),
    partitions=st.integers(1, 3),
    max_future_ms=st.just(300),
)


def lines_of(ticks: list[tuple], *, is_numbered: bool) -> list[bytes]:
    lines, now_us = [], T * 1000
    for i, (step, back, symbol, px, sz, sent, seq_back, kind) in enumerate(ticks):
        now_us += step
        event_ts = (now_us - back) / 1e6
        if kind == 30:
            lines.append(b'{"type":"heartbeat","event_ts":%r}' % event_ts)
            continue
        more = f',"seq":{max(0, 10 * i + 9 * seq_back)}' if is_numbered else ""
        more += f',"api_send_ts_ms":{sent}' if sent is not None else ""
        lines.append(
            f'{{"symbol":"{symbol}","px":{px!r},"sz":{sz!r},"event_ts":{event_ts!r}{more}}}'.encode()
        )
    return lines


def run_in_chunks(binner: Binner, lines: list[bytes], size: int, now_ms: int) -> list[Output]:
    out: list[Output] = []
    for i in range(0, len(lines), size):
        out += binner.process(b"\n".join(lines[i : i + size]) + b"\n", now_ms)
    return out + binner.end(now_ms)


@for_all(
    st.lists(TICKS, min_size=1, max_size=120),
    RULES,
    st.booleans(),
    st.booleans(),
    st.integers(1, 40),
    st.sampled_from([0, 40, 600, 10**9]),
    st.integers(1, 2),
)
def test_quiet_ticks_change_what_any_tick_changes(ticks, rules, is_live, is_numbered, size, ahead_ms, shards):
    lines = lines_of(ticks, is_numbered=is_numbered)
    feed = Feed("feed", "live" if is_live else "historical")
    for index in range(shards):
        quick, plain = (Binner(feed, rules, Shard(index, shards), is_deterministic=True) for _ in range(2))
        plain.windows.take_quiet = lambda lines, i: i  # type: ignore[method-assign]
        now_ms = T + ahead_ms  # of a live feed: ticks beyond it raise no watermark so far
        assert run_in_chunks(quick, lines, size, now_ms) == run_in_chunks(plain, lines, 1, now_ms)
        for binner in (quick, plain):
            assert binner.is_ended
        state = [
            (b.newest_ms, b.watermark_ms, b.tick_count, b.windows.symbol_watermarks(), b.windows.bars_end_ms)
            for b in (quick, plain)
        ]
        assert state[0] == state[1]
