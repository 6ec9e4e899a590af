"""Worker, engine and status as processes: signals, silence, metrics, service levels."""

import json
import re
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from glue.core.bars import Bar
from glue.core.bins import TickBin
from tests.conftest import RunningStack
from tests.processes import (
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
from tests.scripted_feed import scripted_feed, sends

pytestmark = pytest.mark.stack
LIVE = ["--synthetic", "--rate", "300", "--seed", "3"]


def line(symbol: str, event_ts: float) -> bytes:
    return json.dumps({"symbol": symbol, "px": 10.0, "sz": 1, "event_ts": event_ts}).encode() + b"\n"


def kill_broker(stack: RunningStack) -> None:
    """End the broker as a crash does, and wait until it is gone."""
    stack.stack.kill("kafka")
    until(lambda: {p.state for p in stack.stack.status() if p.name == "kafka"} == {"died"}, "the crash")


def scrape(command: Command, cwd: Path, name: str) -> str:
    [presence] = (json.loads(p.read_text()) for p in (cwd / ".tapeline" / "run").glob(f"{name}-*.json"))
    assert presence["pid"] == command.pid
    with urllib.request.urlopen(presence["metrics_url"], timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_worker_and_engine_stop_cleanly_on_a_signal(
    sig: signal.Signals, stack: RunningStack, tmp_path: Path
) -> None:
    settings = stack.settings()
    env = env_of(settings)
    with (
        feed(*LIVE, cwd=tmp_path) as url,
        running("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env) as worker,
        running("-m", "glue.aggregate", cwd=tmp_path, env=env) as engine,
    ):
        until(lambda: bars_on_topic(settings), "a bar")
        for command in (worker, engine):
            assert command.stop(sig) == 0, command.output
            assert "Traceback" not in command.output
            assert '"stopped"' in command.output
    assert list((tmp_path / ".tapeline" / "run").iterdir()) == []


def test_status_and_metrics_tell_of_a_live_pipeline(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings(sla_publish_ms=60_000, sla_bar_ms=60_000)  # limits for a busy test machine
    env = env_of(settings)
    with (
        feed(*LIVE, "--late-rate", "0.02", cwd=tmp_path) as url,
        running("-m", "glue.aggregate", cwd=tmp_path, env=env) as engine,
        running("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env) as worker,
    ):
        until(lambda: len(bars_on_topic(settings)) > 20, "bars")
        time.sleep(2)
        status = Command("-m", "glue.status", "--json", cwd=tmp_path, env=env)
        assert status.wait() == 0, status.output
        told = json.loads(status.output)
        assert {p["name"] for p in told["parts"]} >= {"replay", "aggregate"}
        assert all(p["memory_mb"] > 10 for p in told["parts"] if p["name"] in ("replay", "aggregate"))
        assert told["publish_latency"]["count"] > 100
        assert told["bar_latency"]["p50_ms"] >= 500
        assert set(told["dead_letters"]) <= {"late", "closed"}
        assert told["dead_letters"]
        assert len(told["lag"]) == settings.kafka_partitions
        assert {level["is_met"] for level in told["service_levels"]} <= {True, None}
        assert [level["is_met"] for level in told["service_levels"]][:3] == [True] * 3

        (tmp_path / "elsewhere").mkdir()
        elsewhere = Command("-m", "glue.status", "--json", cwd=tmp_path / "elsewhere", env=env)
        assert elsewhere.wait() == 0, elsewhere.output
        states = {part["name"]: part["state"] for part in json.loads(elsewhere.output)["parts"]}
        assert {states[name] for name in ("kafka", "registry")} == {"answers"}
        assert {states[name] for name in ("replay", "aggregate")} == {"running"}
        assert {states[name] for name in ("snowflake", "rollup")} == {"not on this machine"}

        table = Command("-m", "glue.status", cwd=tmp_path, env=env)
        assert table.wait() == 0
        assert "bar end -> ticks.agg.1s" in table.output

        broken = Command("-m", "glue.status", cwd=tmp_path, env={**env, "SLA_BAR_MS": "1"})
        assert broken.wait() == 1
        assert "FAIL" in broken.output

        metrics = scrape(worker, tmp_path, "replay")
        assert float(re.search(r"^tapeline_ticks_total (\S+)", metrics, re.M)[1]) > 100  # type: ignore[index]
        assert 'tapeline_dead_letters_total{reason="late"}' in metrics
        assert "tapeline_feed_connected 1.0" in metrics
        metrics = scrape(engine, tmp_path, "aggregate")
        assert "tapeline_feed_connected" not in metrics
        assert float(re.search(r"^tapeline_bars_published_total (\S+)", metrics, re.M)[1]) > 20  # type: ignore[index]


def test_commands_without_a_broker_say_what_to_do(tmp_path: Path) -> None:
    env = {"KAFKA_BROKERS": "127.0.0.1:9"}
    with scripted_feed(sends(line("A", 1.0))) as source:
        for args in (("glue.aggregate",), ("glue.status",), ("glue.replay", "--url", source.url)):
            command = Command("-m", *args, cwd=tmp_path, env=env)
            assert command.wait() == 1
            assert "KAFKA_BROKERS=127.0.0.1:9" in command.output
            assert re.search(r"glue.stack\s+up", command.output)
            assert "Traceback" not in command.output


def test_a_silent_live_feed_closes_its_bars_after_a_while(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings(replay_idle_close_ms=500)
    env = env_of(settings)
    lines = line("A", time.time()) + line("B", time.time())
    with (
        scripted_feed(sends(lines, then_wait_s=30)) as source,
        running("-m", "glue.aggregate", cwd=tmp_path, env=env),
        running("-m", "glue.replay", "--url", source.url, cwd=tmp_path, env=env),
    ):
        until(lambda: {bar.symbol for bar in bars_on_topic(settings)} == {"A", "B"}, "both bars")


def test_a_feed_that_cannot_be_resumed_has_its_open_bins_published_at_sigterm(tmp_path: Path) -> None:
    lines = line("A", time.time()) + line("B", time.time())
    with (
        scripted_feed(sends(lines, then_wait_s=30)) as source,
        running("-m", "glue.replay", "--url", source.url, "--sink", "jsonl", cwd=tmp_path) as worker,
    ):
        until(lambda: (tmp_path / ".tapeline" / "run").exists(), "the worker")
        worker.wait_for('"feed"')
        time.sleep(0.5)
        assert worker.stop() == 0
        assert "cannot be resumed" in worker.output
        assert '"bins": 2' in worker.output
    bins = lines_of(tmp_path / "logs" / "replay.jsonl", TickBin)
    assert [b.symbol for b in bins if b.trade_count] == ["A", "B"]


def test_a_feed_that_is_only_disconnected_closes_nothing(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings(replay_idle_close_ms=300)
    hello = b'{"type":"hello","feed_id":"f","mode":"historical","resume":"since"}\n'
    first = hello + b"".join(line("A", 1e9 + i / 1000) for i in range(3))
    with (
        scripted_feed(sends(first), lambda exchange: exchange.fail(503)) as source,
        running("-m", "glue.replay", "--url", source.url, cwd=tmp_path, env=env_of(settings)) as worker,
    ):
        until(lambda: len(source.requests) > 4, "some tries")
        assert worker.stop() == 0
        assert '"bins": 0' in worker.output


def test_worker_and_engine_outlive_a_restart_of_the_broker(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings()
    env = env_of(settings)
    options = ["--synthetic", "--historical", "--duration", "60", "--rate", "300"]
    with (
        feed(*options, "--speed", "3", cwd=tmp_path) as url,
        running("-m", "glue.aggregate", cwd=tmp_path, env=env) as engine,
        running("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env) as worker,
    ):
        until(lambda: len(bars_on_topic(settings)) > 20, "bars")
        kill_broker(stack)
        stack.stack.up()
        assert worker.wait(180) == 0, worker.output
        with feed(*options, "--speed", "0", cwd=tmp_path) as same:
            run_offline(tmp_path, same)
        offline = lines_of(tmp_path / "logs" / "aggregate.jsonl", Bar)
        until(lambda: len(bars_on_topic(settings)) >= len(offline), "all bars")
        assert engine.stop() == 0, engine.output
        assert "Traceback" not in worker.output + engine.output
        assert dead_letters_on_topic(settings) == []
        counts = [(b.bar_id, b.trade_count) for b in bars_on_topic(settings)]
        assert sorted(counts) == sorted((b.bar_id, b.trade_count) for b in offline)


def test_a_worker_without_its_broker_stops_when_told_to(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings()
    with (
        feed(*LIVE, cwd=tmp_path) as url,
        running("-m", "glue.replay", "--url", url, cwd=tmp_path, env=env_of(settings)) as worker,
    ):
        until(lambda: bins_on_topic(settings), "a bin")
        kill_broker(stack)
        try:
            worker.wait_for("trying again")
            assert worker.stop() == 1
            assert "goes on from the last one" in worker.output
            assert "Traceback" not in worker.output
        finally:
            stack.stack.up()
