"""A live feed whose worker is killed: bins and dead letters are what the feed's lines alone give."""

import random
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from glue.core.binner import Binner
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from glue.core.introduction import Feed
from glue.core.partition import is_watermark
from glue.core.ticks import Control, Tick, decode_line
from glue.core.watermarks import Rules
from glue.intake import now_ms
from tests.conftest import RunningStack
from tests.faults.conftest import EVERY_PORT, SKEW_MS
from tests.faults.outcome import committed
from tests.faults.pipeline import Pipeline, pipeline
from tests.processes import feed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
SECONDS_A_KILL = 6
HEAD_STARTS_MS = (10_000, 60_000)
"""Before the first line is due the worker must listen; a busy machine needs the second."""
# No lines late on purpose: they break a heartbeat's word, and then its time would decide.
LIVE = ["--synthetic", "--rate", "200", "--seed", "3", "--disorder-ms", "800"]
OF_THE_CONNECTION = ("ingest_ts_ms", "watermark_ms", "api_send_ts_ms", "line", "line_sha256")
"""W at close comes from heartbeats as well; each time a line is sent it carries the time of that."""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.full)])
def test_a_worker_of_a_live_feed_that_is_killed_goes_on_exactly(
    kills: int, stack: RunningStack, tmp_path: Path
) -> None:
    rng = random.Random(f"live {kills}")
    with listening(stack, tmp_path, SECONDS_A_KILL * kills) as (running, url, start_ms):
        for _ in range(kills):
            running.wait_for_data()
            running.go_on(rng.uniform(0, 2))
            running.worker.hit(signal.SIGKILL)
        running.wait_until(lambda: running.worker.is_done, "the end of the feed")
        bins, letters = expected(url, start_ms)
        running.finish(len({(b.symbol, b.start_ts_ms // 1000) for b in bins}))
        found = committed(running.settings)
        assert running.surprises() == []
    assert letters
    assert by_key(found.bins, "bin_id") == by_key(bins, "bin_id")
    assert by_key(found.letters, "dlt_id") == by_key(letters, "dlt_id")
    assert [b.bar_id for b in found.bars] == list(dict.fromkeys(b.bar_id for b in found.bars))
    assert sum(bar.trade_count for bar in found.bars) == sum(b.trade_count for b in bins)


@contextmanager
def listening(stack: RunningStack, cwd: Path, duration_s: int) -> Iterator[tuple[Pipeline, str, int]]:
    """Run a pipeline on a feed whose first line is still to come, and tell the feed's URL and start."""
    for head_start_ms in HEAD_STARTS_MS:
        settings = stack.settings(**EVERY_PORT)
        start_ms = now_ms() + head_start_ms
        options = [*LIVE, "--duration", str(duration_s), "--rebase-to", str(start_ms)]
        with feed(*options, cwd=cwd) as url, pipeline(settings, url, cwd) as running:
            running.worker.command.wait_for('"feed"')
            if now_ms() < start_ms:  # a live feed is read from now on
                yield running, url, start_ms
                return
    raise AssertionError("the worker came too late for the first line")


def expected(url: str, start_ms: int) -> tuple[list[TickBin], list[DeadLetter]]:
    """Return what the ticks of the finished feed give without heartbeats and without a clock."""
    with urllib.request.urlopen(f"{url}?since_ms={start_ms}", timeout=60) as answer:
        lines = answer.read().splitlines()
    hello = decode_line(lines[0])
    assert isinstance(hello, Control)
    assert hello.feed_id is not None
    ticks = [line for line in lines if isinstance(decode_line(line), Tick)]
    binner = Binner(Feed(hello.feed_id, "live", is_numbered=True), Rules(skew_ms=SKEW_MS))
    much_later_ms = start_ms + 86_400_000
    outputs = binner.process(b"\n".join(ticks) + b"\n", much_later_ms) + binner.end(much_later_ms)
    bins = [o for o in outputs if isinstance(o, TickBin) and not is_watermark(o.symbol)]
    return bins, [o for o in outputs if isinstance(o, DeadLetter)]


def by_key(records: list[TickBin] | list[DeadLetter], key: str) -> dict[str, dict[str, object]]:
    """Return the records by key; a key may be there once only."""
    found: dict[str, dict[str, object]] = {}
    for record in records:
        fields = {k: v for k, v in msgspec.structs.asdict(record).items() if k not in OF_THE_CONNECTION}
        assert fields[key] not in found, f"{fields[key]} is there twice"
        found[str(fields[key])] = fields
    return found
