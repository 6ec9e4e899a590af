"""A broker that takes nothing more: the worker stops reading the feed, keeps its memory, loses nothing."""

import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import RunningStack
from tests.faults.conftest import EVERY_PORT
from tests.processes import bins_on_topic, env_of, running, until
from tests.scripted_feed import Exchange, scripted_feed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
HELLO = b'{"type":"hello","feed_id":"fast","mode":"historical","resume":"since"}\n'
START_MS, LINES_A_WRITE, US_A_LINE = 1_600_000_000_000, 2000, 100
BLOCKED_S = 2.0
MOST_MORE_MB = 64


class FastFeed:
    """Sends numbered ticks as fast as they are taken, until it is told to end."""

    def __init__(self) -> None:
        self.lines = 0
        self.is_over = False

    def answer(self, exchange: Exchange) -> None:
        next_line = ((exchange.since_ms or START_MS) - START_MS) * 1000 // US_A_LINE
        exchange.begin()
        exchange.send(HELLO)
        while not self.is_over or next_line < self.lines:
            exchange.send(b"".join(self._line(n) for n in range(next_line, next_line + LINES_A_WRITE)))
            next_line += LINES_A_WRITE
            self.lines = max(self.lines, next_line)
        exchange.send(b'{"type":"end"}\n')

    @staticmethod
    def _line(number: int) -> bytes:
        second, us = divmod(number * US_A_LINE, 1_000_000)
        stamp = b'{"symbol":"S%d","px":10.5,"sz":1,"event_ts":%d.%06d,"seq":%d}\n'
        return stamp % (number % 6, START_MS // 1000 + second, us, number)


@pytest.mark.parametrize("frozen_s", [0, pytest.param(25, marks=pytest.mark.full)])
def test_a_frozen_broker_blocks_the_feed_and_everything_arrives_after_it(
    frozen_s: float, stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings(**EVERY_PORT)
    source = FastFeed()
    with (
        scripted_feed(source.answer) as server,
        running("-m", "glue.replay", "--url", server.url, cwd=tmp_path, env=env_of(settings)) as worker,
    ):
        try:
            until(lambda: bins_on_topic(settings), "a bin")
            memory = psutil.Process(worker.pid)
            before = most = memory.memory_info().rss
            stack.stack.kill("kafka", signal.SIGSTOP)
            try:
                began = grew_at = time.monotonic()
                lines = source.lines
                while time.monotonic() < max(grew_at + BLOCKED_S, began + frozen_s):
                    assert time.monotonic() < began + frozen_s + 60, "the worker reads on and on"
                    most = max(most, memory.memory_info().rss)
                    if source.lines > lines:
                        lines, grew_at = source.lines, time.monotonic()
                    time.sleep(0.05)
            finally:
                stack.stack.kill("kafka", signal.SIGCONT)
        finally:
            source.is_over = True
        assert (most - before) / 2**20 < MOST_MORE_MB
        assert worker.wait() == 0, worker.output
    bins = bins_on_topic(settings)
    assert sum(b.trade_count for b in bins) == source.lines
    ids = [b.bin_id for b in bins]
    assert len(ids) == len(set(ids))
