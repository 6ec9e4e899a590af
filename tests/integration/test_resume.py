"""A worker that is killed or stopped and started again: the topics hold what an undisturbed run gives."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from tests.conftest import RunningStack
from tests.processes import Command, bins_on_topic, dead_letters_on_topic, env_of, feed, lines_of

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
