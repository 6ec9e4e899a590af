"""The short way of quiet ticks gives what the long way gives, to the last bit."""

import random

import pytest
from feed_lines import MUCH_LATER, T, bins, make_binner, run, tick_line

from glue.core.binner import Binner, Output
from glue.core.introduction import Feed
from glue.core.partition import Shard
from glue.core.watermarks import Rules

STEPS_US = [0, 0, 0, 1, 30, 100, 100, 300, 500, 999, 1000, 1000, 3000, 9_900]
LEAPS_US = [0, 10_000, 20_000, 400_000, 510_000, 1_500_000]
BACK_US = [1, 400, 1000, 9_000, 30_000, 499_000, 510_000]


def feed_of(rng: random.Random, rules: Rules, *, is_numbered: bool) -> list[bytes]:
    """Return some hundred lines around the places where bins, watermarks and the wall clock meet."""
    lines = []
    now_us, newest = T * 1000, dict.fromkeys("ABC", T * 1000)
    symbol, event_us = "A", now_us
    for i in range(rng.randrange(20, 300)):
        kind = rng.random()
        if kind < 0.01:
            lines.append(b'{"type":"heartbeat","event_ts":%r}' % ((now_us + rng.choice(LEAPS_US)) / 1e6))
            continue
        now_us += rng.choice(LEAPS_US) if kind < 0.04 else rng.choice(STEPS_US)
        if kind < 0.2:  # goes on where the line before was
            event_us += rng.choice(STEPS_US)
        else:
            symbol = rng.choice("AAABC")
            event_us = now_us
        if kind > 0.97:
            event_us -= rng.choice(BACK_US)
        elif kind > 0.92:  # goes on where its symbol was
            event_us = newest[symbol] + rng.choice(STEPS_US)
        elif kind > 0.89:  # just before, at or after the end of a bin
            end_us = -(-now_us // (rules.bin_ms * 1000)) * rules.bin_ms * 1000
            event_us = end_us + rng.choice([-101, -100, -99, -50, -1, 0, 1])
        newest[symbol] = max(newest[symbol], event_us)
        now_us = max(now_us, event_us)
        fields = f'"symbol":"{symbol}","px":{rng.uniform(1, 2)!r},"sz":{rng.uniform(0, 9)!r}'
        fields += f',"event_ts":{event_us / 1e6!r}'
        if is_numbered:
            fields += f',"seq":{10 * i + rng.choice([0, 0, 0, -11, -25]) + 100}'
        if rng.random() < 0.3:
            fields += f',"api_send_ts_ms":{rng.randrange(10)},"source_event_ts_ms":{rng.randrange(10)}'
        lines.append(f"{{{fields}}}".encode())
    return lines


def in_chunks(binner: Binner, reads: list[tuple[list[bytes], int]]) -> list[Output]:
    out: list[Output] = []
    for lines, now_ms in reads:
        out += binner.process(b"\n".join(lines) + b"\n", now_ms)
    return out + binner.end(reads[-1][1])


def compare(seed: int) -> None:
    rng = random.Random(seed)
    late_ms = rng.choice([20, 100, 500])
    rules = Rules(
        bin_ms=rng.choice([10, 20]),
        late_ms=late_ms,
        skew_ms=rng.choice([0, 5, 15, 20]),
        partitions=rng.choice([1, 3]),
        max_future_ms=rng.choice([5, 300, 10_000]),
    )
    is_live, count = rng.random() < 0.6, rng.choice([1, 2])
    lines = feed_of(rng, rules, is_numbered=rng.random() < 0.5)
    now_ms = T + rng.choice([0, 5, 40, 400, 10**9])  # ticks beyond it raise no watermark of a live feed
    size = rng.choice([1, 2, 7, 30, 300])
    reads = []
    for i in range(0, len(lines), size):
        reads.append((lines[i : i + size], now_ms))
        now_ms += rng.choice([0, 0, 1, 3, 20])
    feed = Feed("feed", "live" if is_live else "historical")
    for index in range(count):
        quick, plain = (Binner(feed, rules, Shard(index, count), is_deterministic=True) for _ in range(2))
        plain.windows.take_quiet = lambda lines, i: i  # type: ignore[method-assign]
        line_by_line = [([line], now_ms) for chunk, now_ms in reads for line in chunk]
        assert in_chunks(quick, reads) == in_chunks(plain, line_by_line)
        state = [
            (b.newest_ms, b.watermark_ms, b.tick_count, b.windows.symbol_watermarks(), b.windows.bars_end_ms)
            for b in (quick, plain)
        ]
        assert state[0] == state[1]


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(400), id="quick"),
        pytest.param(range(400, 20_000), marks=[pytest.mark.full, pytest.mark.timeout(1800)], id="full"),
    ],
)
def test_quiet_ticks_change_what_any_tick_changes(seeds):
    for seed in seeds:
        compare(seed)


def lateness_of_the_first_bin(*reads: tuple[int, list[int]]) -> int:
    """Return max_lateness_ms of the bin at T, from ticks of one symbol: (wall clock, event times) from T."""
    binner = make_binner("live")
    for now_ms, events in reads:
        assert not bins(run(binner, *(tick_line("A", T + ms) for ms in events), now_ms=T + now_ms))
    first = next(b for b in bins(binner.end(MUCH_LATER)) if b.start_ts_ms == T)
    return first.max_lateness_ms


def test_a_tick_behind_one_that_was_ahead_of_the_wall_clock_is_as_late_as_the_clock_says():
    assert lateness_of_the_first_bin((12, [0, 15, 5])) == 7


def test_a_tick_at_the_wall_clock_does_not_make_up_for_one_ahead_of_it():
    assert lateness_of_the_first_bin((5, [8, 5]), (20, [7])) == 0


def test_a_tick_before_one_that_was_ahead_of_the_wall_clock_is_not_the_close():
    binner = make_binner("live", is_numbered=True)
    for now_ms, at, px in ((4, 4, 104.0), (4, 7, 107.0), (6, 5, 105.0)):
        run(binner, tick_line("B", T + at, px=px, seq=now_ms * 10 + at), now_ms=T + now_ms)
    assert [b.close for b in bins(binner.end(MUCH_LATER))] == [107.0]
