"""The whole pipeline on containers, and the engine contract against their ksqlDB."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from glue.core.bars import Bar, fold
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from tests.docker.conftest import Containers
from tests.faults.outcome import assert_same_bars
from tests.processes import (
    ROOT,
    bars_on_topic,
    bins_on_topic,
    dead_letters_on_topic,
    lines_of,
    run_offline,
    until,
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]  # the first start downloads the images
CONTRACT = ROOT / "tests" / "contract"
BARS_DEADLINE_S = 300.0
LONG_RUNNING = {"kafka", "schema-registry", "ksqldb", "connect", "feed", "webapp"}


def folded(bins: list[TickBin]) -> list[Bar]:
    """Return the bars that the core makes of bins; of a bin sent twice the last one counts."""
    seconds: dict[tuple[str, int], dict[int, TickBin]] = {}
    for one in bins:
        second = one.start_ts_ms - one.start_ts_ms % 1000
        seconds.setdefault((one.symbol, second), {})[one.start_ts_ms] = one
    return [fold(found, None) for found in seconds.values()]


def as_from_ksqldb(bars: list[Bar]) -> list[Bar]:
    return [msgspec.structs.replace(bar, source="ksqldb") for bar in bars]


def states(containers: Containers) -> dict[str, dict[str, Any]]:
    lines = containers.compose("ps --all --format json").splitlines()
    return {state["Service"]: state for state in map(json.loads, lines)}


def test_every_service_is_healthy_and_the_deployment_went_through(containers: Containers) -> None:
    found = states(containers)
    assert {name: found[name]["Health"] for name in LONG_RUNNING} == dict.fromkeys(LONG_RUNNING, "healthy")
    assert found["deploy"]["ExitCode"] == 0


def test_bars_are_those_of_the_bins_and_of_an_offline_run(containers: Containers, tmp_path: Path) -> None:
    settings = containers.settings
    run_offline(tmp_path, settings.mock_api_url)
    offline = lines_of(tmp_path / "logs" / "aggregate.jsonl", Bar)
    refused = lines_of(tmp_path / "logs" / "replay_dlt.jsonl", DeadLetter)
    assert offline
    assert refused

    until(lambda: len(bars_on_topic(settings)) >= len(offline), f"{len(offline)} bars", BARS_DEADLINE_S)
    bars = bars_on_topic(settings)

    assert_same_bars(bars, as_from_ksqldb(folded(bins_on_topic(settings))))
    assert_same_bars(bars, as_from_ksqldb(offline))
    letters = dead_letters_on_topic(settings)
    assert {letter.dlt_id for letter in letters} == {letter.dlt_id for letter in refused}


def test_the_worker_ends_with_its_feed_and_leaves_its_dead_letters_on_the_volume(
    containers: Containers, tmp_path: Path
) -> None:
    until(lambda: states(containers)["worker"]["State"] == "exited", "the worker", BARS_DEADLINE_S)
    assert states(containers)["worker"]["ExitCode"] == 0
    path = tmp_path / "replay_dlt.jsonl"
    containers.compose(f'cp worker:/var/lib/tapeline/logs/replay_dlt.jsonl "{path}"')
    kept = {letter.dlt_id for letter in lines_of(path, DeadLetter)}
    assert kept == {letter.dlt_id for letter in dead_letters_on_topic(containers.settings)}


def test_the_deployment_can_run_again(containers: Containers) -> None:
    containers.compose("run --rm --no-deps deploy")  # any other exit code than 0 raises


def test_connect_has_the_snowflake_connector(containers: Containers) -> None:
    with urllib.request.urlopen(f"{containers.settings.connect_url}/connector-plugins", timeout=30) as answer:
        plugins = {plugin["class"] for plugin in json.load(answer)}
    assert "com.snowflake.kafka.connector.SnowflakeSinkConnector" in plugins


def test_the_ksqldb_of_the_containers_keeps_the_engine_contract(containers: Containers) -> None:
    containers.compose("run --rm --no-deps deploy glue.deploy ksql --drop")  # the suite makes its own
    settings = containers.settings
    env = {
        "KAFKA_BROKERS": settings.kafka_brokers,
        "SCHEMA_REGISTRY_URL": settings.schema_registry_url,
        "KSQLDB_URL": settings.ksqldb_url,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(CONTRACT), "-k", "ksqldb or operators"],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
