"""Feed to bars on the real broker and registry: the same bars as offline, whatever the source."""

from pathlib import Path

import msgspec
import pytest

from glue.core.bars import Bar
from glue.core.dead_letters import DeadLetter
from tests.conftest import RunningStack
from tests.processes import (
    BTCUSDT,
    WDC,
    Command,
    bars_on_topic,
    bins_on_topic,
    dead_letters_on_topic,
    env_of,
    feed,
    lines_of,
    run_offline,
    running,
    until,
)

pytestmark = pytest.mark.stack
needs_shared = pytest.mark.skipif(
    not WDC.exists(), reason="the recorded ticks of ../shared/data are not here"
)
SOURCES = {
    "wdc": ["--file", str(WDC), "--format", "kibot"],
    "btcusdt": ["--file", str(BTCUSDT), "--format", "binance"],
    "synthetic": ["--synthetic", "--historical", "--duration", "60", "--rate", "300", "--seed", "7"],
}
DISTURBED = ["--disorder-ms", "800", "--late-rate", "0.01"]


def comparable(bar: Bar) -> tuple[object, ...]:
    """Return what must be equal: all fields but the wall time, sums rounded."""
    fields = msgspec.structs.asdict(bar)
    del fields["ingest_ts_ms"]
    return tuple(round(v, 6) if isinstance(v, float) else v for v in fields.values())


@pytest.mark.parametrize("disturbance", [[], DISTURBED], ids=["in order", "disturbed"])
@pytest.mark.parametrize(
    "source",
    [pytest.param("wdc", marks=needs_shared), pytest.param("btcusdt", marks=needs_shared), "synthetic"],
)
def test_kafka_gives_the_bars_and_dead_letters_of_the_offline_run(
    source: str, disturbance: list[str], stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    env = env_of(settings)
    with feed(*SOURCES[source], *disturbance, "--speed", "0", cwd=tmp_path) as url:
        run_offline(tmp_path, url)
        offline = lines_of(tmp_path / "logs" / "aggregate.jsonl", Bar)
        refused = lines_of(tmp_path / "logs" / "replay_dlt.jsonl", DeadLetter)
        assert offline
        assert bool(refused) == bool(disturbance)
        with running("-m", "glue.aggregate", cwd=tmp_path, env=env) as engine:
            worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
            assert worker.wait() == 0, worker.output
            until(lambda: len(bars_on_topic(settings)) >= len(offline), f"{len(offline)} bars")
            assert engine.stop() == 0, engine.output
    assert sorted(map(comparable, bars_on_topic(settings))) == sorted(map(comparable, offline))
    on_topic = [(d.dlt_id, d.reason, d.line_sha256) for d in dead_letters_on_topic(settings)]
    assert on_topic == [(d.dlt_id, d.reason, d.line_sha256) for d in refused]


def test_bars_of_a_symbol_come_in_order_and_once(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings()
    env = env_of(settings)
    options = ["--synthetic", "--historical", "--duration", "30", "--rate", "500", *DISTURBED, "--speed", "0"]
    with feed(*options, cwd=tmp_path) as url, running("-m", "glue.aggregate", cwd=tmp_path, env=env):
        worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
        assert worker.wait() == 0, worker.output
        until(lambda: len(bars_on_topic(settings)) > 100, "bars")
    starts: dict[str, list[int]] = {}
    for bar in bars_on_topic(settings):
        starts.setdefault(bar.symbol, []).append(bar.start_ts_ms)
    assert all(found == sorted(set(found)) for found in starts.values())


def test_a_second_run_of_the_same_feed_changes_nothing(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings()
    env = env_of(settings)
    options = ["--synthetic", "--historical", "--duration", "20", "--speed", "0", *DISTURBED]
    with feed(*options, cwd=tmp_path) as url, running("-m", "glue.aggregate", cwd=tmp_path, env=env):
        for _ in range(2):
            worker = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
            assert worker.wait() == 0, worker.output
            wanted = len({(b.symbol, b.start_ts_ms // 1000) for b in bins_on_topic(settings)})
            until(lambda n=wanted: len(bars_on_topic(settings)) >= n > 20, "all bars")
            seen = (bars_on_topic(settings), dead_letters_on_topic(settings))
    assert (bars_on_topic(settings), dead_letters_on_topic(settings)) == seen
    ids = [bar.bar_id for bar in seen[0]]
    assert len(ids) == len(set(ids))


def test_an_older_feed_on_the_same_topics_is_refused_and_fresh_is_the_way_out(
    stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    env = env_of(settings)
    newer = [
        "--synthetic",
        "--historical",
        "--duration",
        "5",
        "--speed",
        "0",
        "--start",
        "2020-01-02T14:30:00Z",
    ]
    older = [*newer[:-1], "2010-01-04T14:30:00Z"]
    with feed(*newer, cwd=tmp_path) as url:
        assert Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env).wait() == 0
    with feed(*older, cwd=tmp_path) as url:
        refused = Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env)
        assert refused.wait() == 1
        assert "--fresh" in refused.output
        assert "Traceback" not in refused.output
        fresh = Command("-m", "glue.replay", "--url", url, "--fresh", cwd=tmp_path, env=env)
        assert fresh.wait() == 0, fresh.output


def test_a_historical_replay_survives_the_retention_check(stack: RunningStack, tmp_path: Path) -> None:
    # The session's broker checks retention every second or two; the ticks are of 2010.
    settings = stack.settings()
    env = env_of(settings)
    options = [
        "--synthetic",
        "--historical",
        "--duration",
        "20",
        "--speed",
        "0",
        "--start",
        "2010-02-17T14:30:00Z",
    ]
    with feed(*options, cwd=tmp_path) as url:
        assert Command("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env).wait() == 0
        run_offline(tmp_path, url)
    stack.wait_for_retention_checks(3)
    with running("-m", "glue.aggregate", cwd=tmp_path, env=env):
        offline = lines_of(tmp_path / "logs" / "aggregate.jsonl", Bar)
        until(lambda: len(bars_on_topic(settings)) >= len(offline), "bars")
    stack.wait_for_retention_checks(3)
    assert sorted(map(comparable, bars_on_topic(settings))) == sorted(map(comparable, offline))
