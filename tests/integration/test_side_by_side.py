"""Workers that share a broker, or nearly a feed, and must not get into each other's way."""

from pathlib import Path

import pytest

from tests.conftest import RunningStack
from tests.processes import Command, bins_on_topic, env_of, feed, running, until

pytestmark = pytest.mark.stack
TICKS = ["--synthetic", "--historical", "--duration", "60", "--rate", "200", "--speed", "10"]


def test_two_pipelines_of_one_feed_on_other_topics_do_not_fence_each_other(
    stack: RunningStack, tmp_path: Path
) -> None:
    pipelines = [stack.settings(replay_metrics_port=0), stack.settings(replay_metrics_port=0)]
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with feed(*TICKS, cwd=tmp_path) as url:
        workers = [
            Command("-m", "glue.replay", "--url", url, cwd=folder, env=env_of(settings))
            for folder, settings in zip(folders, pipelines, strict=True)
        ]
        for worker in workers:
            assert worker.wait() == 0, worker.output
            assert "gave up" not in worker.output
    first, second = (sorted(b.bin_id for b in bins_on_topic(settings)) for settings in pipelines)
    assert first == second
    assert len(first) == len(set(first)) > 1000


def test_a_worker_whose_settings_do_not_fit_stops_without_fencing_the_one_that_runs(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings(replay_metrics_port=0)
    env = env_of(settings)
    with (
        feed(*TICKS, cwd=tmp_path) as url,
        running("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env) as worker,
    ):
        until(lambda: bins_on_topic(settings), "a bin")
        for wrong in ({"REPLAY_MAX_LATE_MS": "1000"}, {"REPLAY_BIN_MS": "20"}, {"REPLAY_SHARD": "0/2"}):
            other = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env={**env, **wrong})
            assert other.wait() == 1
            assert next(iter(wrong)) in other.output
        assert worker.wait() == 0, worker.output
