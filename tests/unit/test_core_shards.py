"""Several workers share a feed: together they put out what one alone does, each on its own partitions."""

from itertools import takewhile

import pytest
from feed_lines import MUCH_LATER, T, heartbeat_line, run, tick_line
from hypothesis import strategies as st
from strategies import FeedCase, feeds, for_all

from glue.core.binner import Binner, Output
from glue.core.bins import TickBin
from glue.core.introduction import Feed
from glue.core.partition import Shard, partition_of
from glue.core.watermarks import Rules


def outputs_of(case: FeedCase, shard: Shard, cuts: list[int]) -> tuple[Binner, list[Output]]:
    """Run a feed through one shard, its lines in chunks of these sizes in turn."""
    mode = "live" if case.is_live else "historical"
    binner = Binner(Feed("feed", mode, is_numbered=True), case.rules, shard, is_deterministic=True)
    outputs: list[Output] = []
    i = turn = 0
    while i < len(case.lines):
        now_ms = case.lines[i][1]
        same_time = takewhile(
            lambda line, now_ms=now_ms: line[1] == now_ms, case.lines[i : i + cuts[turn % len(cuts)]]
        )
        chunk = [item.raw for item, _ in same_time]
        outputs += run(binner, *chunk, now_ms=now_ms)
        i += len(chunk)
        turn += 1
    return binner, outputs + binner.end(MUCH_LATER)


def by_partition(outputs: list[Output], partitions: int) -> dict[int, list[Output]]:
    found: dict[int, list[Output]] = {}
    for output in outputs:
        if isinstance(output, TickBin):
            found.setdefault(partition_of(output.symbol, partitions), []).append(output)
    return found


def letters(outputs: list[Output]) -> list[str]:
    return sorted(repr(o) for o in outputs if not isinstance(o, TickBin))


@for_all(feeds(), st.integers(1, 4), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_shards_together_put_out_what_one_worker_does(case, count, cuts):
    partitions = case.rules.partitions
    alone, expected = outputs_of(case, Shard(), [1])
    found: dict[int, list[Output]] = {}
    refused: list[str] = []
    ticks = 0
    for index in range(count):
        shard = Shard(index, count)
        binner, outputs = outputs_of(case, shard, cuts)
        of_shard = by_partition(outputs, partitions)
        assert all(shard.owns(partition) for partition in of_shard)
        found |= of_shard
        refused += letters(outputs)
        ticks += binner.tick_count
        assert (binner.watermark_ms, binner.newest_ms) == (alone.watermark_ms, alone.newest_ms)
        assert binner.line_count == alone.line_count
    assert found == by_partition(expected, partitions)
    assert sorted(refused) == letters(expected)
    assert ticks == alone.tick_count


def test_a_tick_of_another_shard_moves_the_watermark_but_not_when_it_is_refused():
    rules = Rules(partitions=2)
    own = next(symbol for symbol in "ABCDEFGH" if partition_of(symbol, 2) == 0)
    foreign = next(symbol for symbol in "ABCDEFGH" if partition_of(symbol, 2) == 1)
    shard = Shard(0, 2)
    binner = Binner(Feed("feed", "live"), rules, shard, is_deterministic=True)
    run(binner, tick_line(own, T), tick_line(foreign, T + 30))
    assert (binner.newest_ms, binner.watermark_ms) == (T + 30, T + 10)
    run(binner, heartbeat_line(T + 5000), tick_line(foreign, T + 4000))
    assert (binner.newest_ms, binner.watermark_ms) == (T + 30, T + 5000)
    run(binner, tick_line(foreign, T + 4500))
    assert binner.newest_ms == T + 4500
    assert binner.tick_count == 1


@pytest.mark.parametrize(("index", "count", "owned"), [(0, 1, [0, 1, 2, 3]), (1, 2, [1, 3]), (2, 3, [2])])
def test_a_shard_owns_each_nth_partition(index, count, owned):
    assert [p for p in range(4) if Shard(index, count).owns(p)] == owned
