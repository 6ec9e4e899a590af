"""The feeds of the fault tests, and what an undisturbed run makes of them, once a session."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from glue.core.bars import Bar
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from glue.core.partition import is_watermark
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.faults.outcome import Outcome, assert_equal, assert_same_bars, committed
from tests.faults.pipeline import Pipeline, pipeline
from tests.processes import Command, env_of, lines_of

FEED = ["--synthetic", "--historical", "--symbols", "18", "--rate", "100", "--seed", "11"]
DISTURBED = ["--disorder-ms", "800", "--late-rate", "0.02", "--disturb-seed", "4"]
SPEED = 2
"""Leaves a busy machine a minute for the faults of the short feed."""
FEW_FAULTS, SHORT_S, LONG_S = 6, 120, 900
"""Up to so many faults the short feed is long enough, in seconds of market time; above that the long one."""
SKEW_MS = 300
"""Lets a symbol run so far ahead of the others on its partition that bins of two bars are mixed there."""
EVERY_PORT = {"replay_metrics_port": 0, "agg_metrics_port": 0, "replay_symbol_skew_ms": SKEW_MS}


class PacedFeed:
    """A finite feed that is served at a pace while faults strike, and as fast as it goes after that."""

    def __init__(self, cwd: Path, market_s: int, speed: float = SPEED) -> None:
        self._cwd = cwd
        self._options = [*FEED, *DISTURBED, "--duration", str(market_s)]
        self._server = self._serve(0, speed)
        self.url = self._server.wait_for("serving ").split()[-1]

    def hurry(self) -> None:
        """Serve the rest without a pace, on the same port; clients are cut off and come again."""
        self._server.stop()
        port = int(self.url.rpartition(":")[2].split("/")[0])
        self._server = self._serve(port, 0)
        self._server.wait_for("serving ")

    def close(self) -> None:
        self._server.stop()

    def _serve(self, port: int, speed: float) -> Command:
        options = ["--port", str(port), "--speed", str(speed)]
        return Command("-m", "glue.mock_api", *self._options, *options, cwd=self._cwd)


@dataclass
class Run:
    """A disturbed run in the making: disturb `pipeline`, then `assert_undisturbed`."""

    pipeline: Pipeline
    feed: PacedFeed
    expected: Outcome

    def assert_undisturbed(self) -> None:
        """Let the feed end and compare all that is committed with an undisturbed run."""
        self.feed.hurry()
        self.pipeline.finish(len(self.expected.bars))
        found = committed(self.pipeline.settings)
        logs = self.pipeline.cwd / "logs"
        files = [logs / f"replay_dlt{shard.suffix}.jsonl" for shard in self.pipeline.shards]
        assert_equal(found, self.expected, files)


@pytest.fixture(scope="session")
def undisturbed(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Outcome]:
    """Return what the feed of so many seconds gives undisturbed, on Kafka and in files alike."""

    @cache
    def outcome(market_s: int) -> Outcome:
        cwd = tmp_path_factory.mktemp("undisturbed")
        settings = stack.settings(**EVERY_PORT)
        feed = PacedFeed(cwd, market_s)
        try:
            feed.hurry()
            run_offline(cwd, feed.url, settings)
            bars = lines_of(cwd / "logs" / "aggregate.jsonl", Bar)
            with pipeline(settings, feed.url, cwd) as undisturbed:
                undisturbed.finish(len(bars))
                assert undisturbed.surprises() == []
        finally:
            feed.close()
        found = committed(settings)
        _assert_as_offline(found, cwd, bars)
        return found

    return outcome


def run_offline(cwd: Path, url: str, settings: Settings) -> None:
    for args in (("glue.replay", "--url", url, "--sink", "jsonl"), ("glue.aggregate", "--source", "jsonl")):
        command = Command("-m", *args, cwd=cwd, env=env_of(settings))
        assert command.wait() == 0, command.output


def _assert_as_offline(found: Outcome, cwd: Path, bars: list[Bar]) -> None:
    """Check the yardstick itself: the offline run, with a watermark record for each partition."""
    records = lines_of(cwd / "logs" / "replay.jsonl", TickBin)
    bins = [record.bin_id for record in records if not is_watermark(record.symbol)]
    assert sorted(b.bin_id for b in found.bins) == sorted(bins)
    watermarks = [record.start_ts_ms for record in records if is_watermark(record.symbol)]
    for partition in found.raw:
        assert [r.start_ts_ms for r in partition if is_watermark(r.symbol)] == watermarks
    letters = [letter.dlt_id for letter in lines_of(cwd / "logs" / "replay_dlt.jsonl", DeadLetter)]
    assert {letter.dlt_id for letter in found.letters} == set(letters)
    assert len(found.letters) > 50
    assert_same_bars(found.bars, bars)


@pytest.fixture
def disturbed_run(
    stack: RunningStack, tmp_path: Path, undisturbed: Callable[[int], Outcome]
) -> Callable[..., AbstractContextManager[Run]]:
    """Return a context manager: a pipeline under way with a feed long enough for so many faults."""

    @contextmanager
    def start(
        faults: int,
        *,
        speed: float = SPEED,
        through: Callable[[str], str] = str,
        shards: int = 1,
        **overrides: object,
    ) -> Iterator[Run]:
        market_s = SHORT_S if faults <= FEW_FAULTS else LONG_S
        expected = undisturbed(market_s)
        settings = stack.settings(**EVERY_PORT, **overrides)
        feed = PacedFeed(tmp_path, market_s, speed)
        try:
            with pipeline(settings, through(feed.url), tmp_path, shards) as running:
                yield Run(running, feed, expected)
        finally:
            feed.close()

    return start
