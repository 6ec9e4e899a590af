"""Several workers share a feed: together they publish what one does, whatever becomes of each of them."""

import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import RunningStack
from tests.faults.conftest import Run
from tests.processes import Command, env_of, feed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
MANY = pytest.param(20, marks=pytest.mark.full)
TICKS = ["--synthetic", "--historical", "--duration", "5", "--speed", "0"]


@pytest.mark.parametrize("count", [3, MANY])
def test_workers_that_share_a_feed_and_are_killed_change_nothing(
    count: int, disturbed_run: Callable[..., AbstractContextManager[Run]]
) -> None:
    rng = random.Random(f"shards {count}")
    with disturbed_run(faults=count, shards=3) as run:
        for _ in range(count):
            run.pipeline.wait_for_data()
            run.pipeline.go_on(rng.uniform(0, 1.5))
            rng.choice(run.pipeline.workers).hit(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        run.assert_undisturbed()
        assert run.pipeline.surprises() == []


def test_another_number_of_workers_is_refused_with_the_ways_out(stack: RunningStack, tmp_path: Path) -> None:
    env = env_of(stack.settings())
    with feed(*TICKS, cwd=tmp_path) as url:

        def replay(*options: str) -> Command:
            worker = Command("-m", "glue.replay", "--url", url, *options, cwd=tmp_path, env=env)
            assert worker.wait() in (0, 1, 2)
            assert "Traceback" not in worker.output
            return worker

        assert replay("--shard", "1/2").wait() == 0
        refused = replay()
        assert refused.wait() == 1
        assert "go on with as many, or start again with --fresh" in refused.output
        assert replay("--shard", "0/2", "--fresh").wait() == 0
        assert "--fresh empties the topics of all" in replay("--shard", "1/2", "--fresh").output
        assert "REPLAY_SHARD=6/9 has nothing to do" in replay("--shard", "6/9").output
        assert "the last is n-1/n" in replay("--shard", "2/2").output
        assert "--sink jsonl writes one file" in replay("--shard", "0/2", "--sink", "jsonl").output
