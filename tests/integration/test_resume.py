"""A worker that is killed or stopped and started again: the topics hold what an undisturbed run gives."""

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from tests.conftest import RunningStack
from tests.processes import (
    Command,
    bins_on_topic,
    dead_letters_on_topic,
    env_of,
    feed,
    lines_of,
    until,
)
from tests.scripted_feed import Exchange, scripted_feed, sends

pytestmark = pytest.mark.stack
FEED = ["--synthetic", "--historical", "--duration", "90", "--rate", "400", "--seed", "5"]
DISTURBED = ["--disorder-ms", "800", "--late-rate", "0.02"]


def by_key(records: list[Any], key: str) -> dict[str, dict[str, Any]]:
    """Return what a reader that keeps the last record of each key has, but for wall time and W at close."""
    found = {}
    for record in records:
        fields = msgspec.structs.asdict(record)
        del fields["ingest_ts_ms"], fields["watermark_ms"]
        found[fields[key]] = {k: round(v, 6) if isinstance(v, float) else v for k, v in fields.items()}
    return found


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_ended_in_mid_stream_goes_on_exactly(
    sig: signal.Signals, stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    env = env_of(settings)
    rng = random.Random(sig)
    with feed(*FEED, *DISTURBED, "--speed", "6", cwd=tmp_path) as url:
        for _ in range(4):
            worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
            worker.wait_for('"feed"')
            until(lambda: bins_on_topic(settings), "a first checkpoint")
            time.sleep(rng.uniform(0.3, 3))
            worker.stop(sig)
        worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
        assert worker.wait() == 0, worker.output
        assert "resuming" in worker.output
    with feed(*FEED, *DISTURBED, "--speed", "0", cwd=tmp_path) as url:
        undisturbed = Command("-m", "glue.replay", "--url", url, "--sink", "jsonl", cwd=tmp_path)
        assert undisturbed.wait() == 0
    bins = [b for b in lines_of(tmp_path / "logs" / "replay.jsonl", TickBin) if b.trade_count]
    letters = lines_of(tmp_path / "logs" / "replay_dlt.jsonl", DeadLetter)
    assert letters
    assert by_key(bins_on_topic(settings), "bin_id") == by_key(bins, "bin_id")
    assert by_key(dead_letters_on_topic(settings), "dlt_id") == by_key(letters, "dlt_id")
    ids = [letter.dlt_id for letter in dead_letters_on_topic(settings)]
    assert len(ids) == len(set(ids))


def test_a_feed_that_tells_no_mode_is_resumed_from_where_the_worker_was(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings(replay_metrics_port=0)
    env = env_of(settings)
    hello = b'{"type":"hello","feed_id":"f","resume":"since"}\n'
    lines = [
        b'{"symbol":"A","px":1.0,"sz":1,"event_ts":%.3f,"seq":%d}\n' % (1e9 + i / 10, i) for i in range(60)
    ]

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        first = 0 if exchange.since_ms is None else int((exchange.since_ms / 1000 - 1e9) * 10)
        last = 30 if len(source.requests) == 1 else 60
        exchange.send(hello + b"".join(lines[max(0, first) : last]))
        if last == 60:
            exchange.send(b'{"type":"end"}\n')
        else:
            while not is_killed.wait(1):
                exchange.send(b"\n")

    is_killed = threading.Event()
    with scripted_feed(answer) as source:
        worker = Command("-m", "glue.replay", "--url", source.url, cwd=tmp_path, env=env)
        until(lambda: len(bins_on_topic(settings)) > 10, "bins")
        worker.stop(signal.SIGKILL)
        is_killed.set()
        worker = Command("-m", "glue.replay", "--url", source.url, cwd=tmp_path, env=env)
        assert worker.wait() == 0, worker.output
        assert source.requests[1] is None  # who it is shows with its first ticks
        assert source.requests[2] is not None
    assert sum(b.trade_count for b in bins_on_topic(settings)) == len(lines)


def test_a_historical_feed_that_cannot_be_resumed_is_not_taken_in_twice(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings(replay_metrics_port=0)
    lines = b"".join(b'{"symbol":"A","px":1.0,"sz":1,"event_ts":%d}\n' % (10**9 + i) for i in range(5))
    with scripted_feed(sends(lines)) as source:
        args = ("-m", "glue.replay", "--url", source.url)
        first = Command(*args, cwd=tmp_path, env=env_of(settings))
        assert first.wait() == 0, first.output
        again = Command(*args, cwd=tmp_path, env=env_of(settings))
        assert again.wait() == 1
    assert "already, and it cannot be resumed" in again.output
    assert "--fresh" in again.output
    assert len(bins_on_topic(settings)) == 5
