"""`glue.status`: the engine that the settings choose, parts of other machines, bars that are due."""

import os
import subprocess
import sys
from collections import Counter
from typing import NoReturn

import pytest
from rich.console import Console

from glue import overview as overview_module
from glue import parts as parts_module
from glue.connectors import MISSING, Connector
from glue.core.partition import Shard
from glue.core.resume import Position, Snapshot
from glue.engine import Engine, local_engine
from glue.errors import TransientError
from glue.io.connect_letters import Unsent
from glue.io.state_topic import Checkpoint
from glue.io.topic_stats import Lag, Latency, first_due_ms
from glue.levels import WAITING_S, connectors_level, engine_level, parts_level, refused_level
from glue.overview import Status, Warehouse, _waits_ms, collect
from glue.parts import ANSWERS, NOT_HERE, RUNNING, Part, answering, job, jobs_elsewhere, parts_here, worker
from glue.presence import Presence
from glue.settings import Settings
from glue.status import render


def table(engine: Engine, *parts: Part) -> list[str]:
    """Return the lines of the table that name the engine, blanks made one."""
    status = Status(
        at_ms=0, parts=list(parts), engine=engine, lag=[], publish_latency=Latency(0), bar_latency=Latency(0),
        dead_letters={}, warehouse=Warehouse(0, 0, Latency(0)), connectors=[], service_levels=[],
    )  # fmt: skip
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(status))
    lines = (" ".join(line.split()) for line in capture.get().splitlines())
    return [line for line in lines if line.startswith(("aggregate", "ksqldb"))]


@pytest.mark.parametrize(
    ("engine", "parts", "says"),
    [
        (local_engine(Settings()), [Part("aggregate", "running", 7)], "aggregate running 7"),
        (local_engine(Settings()), [job("aggregate", "g", set())], "aggregate not on this machine"),
        (Engine("ksqldb 7.9.2", "http://k:8088", "running", []), [], "ksqldb 7.9.2 running http://k:8088"),
        (Engine("ksqldb", "http://k", "Q is ERROR", []), [], "ksqldb Q is ERROR http://k"),
    ],
)
def test_the_engine_has_one_line(engine, parts, says):
    assert table(engine, *parts) == [says]


def connector(name: str, state: str = "RUNNING", *tasks: str, problem: str = "", waiting_s: float = 0):
    return Connector(name, state, list(tasks), problem, [], None, waiting_s)


@pytest.mark.parametrize(
    ("connectors", "seen", "is_met"),
    [
        ([connector("a", MISSING), connector("b", MISSING)], "none deployed", None),
        ([connector("a", "RUNNING", "RUNNING"), connector("b", "RUNNING", "RUNNING")], "2 run", True),
        ([connector("a", MISSING), connector("b", "RUNNING", "RUNNING")], "a: not deployed", False),
        ([connector("a", "RUNNING", "FAILED", problem="org.x.Broken")], "a: org.x.Broken", False),
        ([connector("a", "RUNNING", "RUNNING", waiting_s=WAITING_S - 1)], "1 run", True),
        ([connector("a", "RUNNING", "RUNNING", waiting_s=200.4)], "a: a record waits for 200 s", False),
    ],
)
def test_connectors_are_good_where_all_run_and_write(connectors, seen, is_met):
    level = connectors_level(connectors)
    assert (level.seen, level.is_met) == (seen, is_met)


NOW = 1_795_550_400_000


def checkpoint(age_ms: int, *, is_ended: bool = False) -> Checkpoint:
    snapshot = Snapshot(
        position=Position(), newest_ms=0, watermark_ms=0, bars_end_ms=0, opened_by=None, marks=[], refused=[]
    )
    return Checkpoint(
        feed_id="f", shard=Shard(0, 2), mode="live", snapshot=snapshot, late_ms=500, bin_ms=10, partitions=6,
        is_ended=is_ended, updated_ms=NOW - age_ms,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("age_ms", "is_ended", "state"),
    [(900, False, "running"), (95_000, False, "silent for 95 s"), (95_000, True, "feed ended")],
)
def test_a_worker_of_another_machine_is_known_by_the_age_of_its_checkpoint(age_ms, is_ended, state):
    told = worker(checkpoint(age_ms, is_ended=is_ended), NOW)
    assert (told.name, told.state, told.where) == ("replay-0of2", state, "feed f")


def test_a_worker_that_ends_during_the_look_is_left_out(monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    found = [Presence("replay", os.getpid(), 0.0, "http://a"), Presence("rollup", ended.pid, 0.0, "http://b")]
    monkeypatch.setattr(parts_module, "running", lambda: found)
    assert [part.name for part in parts_here() if part.state == RUNNING] == ["replay"]


def test_a_job_of_another_machine_is_known_by_the_members_of_its_group():
    active = {"minute-1of2", "minutes", "raw"}
    assert job("rollup", "minute", active) == Part("rollup", "running", where="group minute-1of2")
    assert job("rollup", "minute", {"minutes"}).state == NOT_HERE


def test_what_is_here_is_not_looked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(parts_module, "KafkaTopics", lambda settings: _Topics())
    monkeypatch.setattr(parts_module, "now_ms", lambda: NOW)
    settings = Settings(_env_file=None, ksqldb_url="")
    told = {part.name: part.state for part in jobs_elsewhere(settings, [], {settings.agg_group})}
    assert told == {
        "replay-0of2": "running", "aggregate": "running", "rollup": NOT_HERE, "stage_raw": NOT_HERE
    }  # fmt: skip
    here = [Part("replay", "running", 7), Part("rollup", "running", 8)]
    assert [part.name for part in jobs_elsewhere(settings, here, set())] == ["aggregate", "stage_raw"]


class _Topics:
    def checkpoints(self) -> list[Checkpoint]:
        return [checkpoint(900)]


def away(settings: Settings, *args: object) -> NoReturn:
    raise TransientError("it does not answer")


@pytest.fixture
def looked_at(monkeypatch):
    """Return settings of a pipeline in which all groups are a record behind and nothing else is told."""
    monkeypatch.setattr(overview_module, "active_groups", lambda settings: set())
    monkeypatch.setattr(
        overview_module, "consumer_lag", lambda settings, group, topic: [Lag(group, topic, 0, 1)]
    )
    monkeypatch.setattr(overview_module, "jobs_elsewhere", lambda *args: [Part("rollup", NOT_HERE)])
    for name in ("publish_latency", "bar_latency"):
        monkeypatch.setattr(overview_module, name, lambda *args: Latency(0))
    monkeypatch.setattr(overview_module, "due_ms", lambda *args: None)
    monkeypatch.setattr(overview_module, "dead_letters", lambda *args: Counter())
    monkeypatch.setattr(overview_module, "unsent_since", lambda *args: Unsent(0))
    monkeypatch.setattr(
        overview_module, "parts_here", lambda: [Part("registry", NOT_HERE), Part("kafka", NOT_HERE)]
    )
    monkeypatch.setattr(parts_module, "_has_registry", lambda settings: False)
    return Settings(_env_file=None, ksqldb_url="", connect_url="")


def test_a_registry_that_is_away_does_not_hide_what_kafka_tells(monkeypatch, looked_at):
    monkeypatch.setattr(overview_module, "publish_latency", away)
    monkeypatch.setattr(overview_module, "unsent_since", lambda *args: Unsent(3, "no registry"))
    told = collect(looked_at)
    assert [part.state for part in told.parts] == [NOT_HERE, ANSWERS, NOT_HERE]
    assert [row.group for row in told.lag] == [
        looked_at.agg_group, looked_at.snowflake_loader_group, looked_at.snowflake_raw_group
    ]  # fmt: skip
    assert not told.is_good
    assert refused_level(Unsent(3, "no registry")) in told.service_levels, "it may be why"


@pytest.mark.parametrize("call", ["active_groups", "consumer_lag", "jobs_elsewhere", "dead_letters"])
def test_a_broker_that_goes_away_in_the_middle_of_a_look_is_told(monkeypatch, looked_at, call):
    assert collect(looked_at).is_good
    monkeypatch.setattr(overview_module, call, away)
    failed = [level for level in collect(looked_at).service_levels if level.is_met is False]
    assert [(level.name, level.seen) for level in failed] == [("broker and registry", "it does not answer")]


def test_what_answers_is_not_told_as_absent(monkeypatch):
    settings = Settings(_env_file=None, kafka_brokers="k:9092", schema_registry_url="http://r:8081/apis")
    monkeypatch.setattr(parts_module, "_has_registry", lambda settings: True)
    absent = [Part(name, NOT_HERE) for name in ("registry", "kafka", "snowflake", "connect")]
    told = answering(settings, absent, broker=True, connect=False)
    assert [(part.state, part.where) for part in told] == [
        (ANSWERS, "http://r:8081/apis"), (ANSWERS, "k:9092"), (NOT_HERE, ""), (NOT_HERE, "")
    ]  # fmt: skip
    died = [Part("kafka", "died")]
    assert answering(settings, died, broker=True, connect=True) == died
    assert parts_level(told).is_met is None
    assert parts_level(died).is_met is False


def record(start_ms: int, symbol: str = "WDC") -> dict[str, object]:
    return {"symbol": symbol, "start_ts_ms": start_ms}


def test_a_bar_is_due_when_a_record_closes_it():
    bins = [(NOW + 530, record(NOW + 20)), (NOW + 900, record(NOW + 390))]
    assert first_due_ms(bins, 500) is None
    still_open = (NOW + 1999, record(NOW + 1490))
    assert first_due_ms([*bins, still_open], 500) is None
    closing = (NOW + 2010, record(NOW + 1500, "~wm3"))
    assert first_due_ms([closing, still_open, *bins], 500) == NOW + 2010


def test_watermark_records_alone_make_no_bar_due():
    assert first_due_ms([(NOW + s * 1000, record(NOW + s * 1000, "~wm0")) for s in range(30)], 500) is None


@pytest.mark.parametrize(
    ("bar_age_s", "due_age_s", "is_met"),
    [
        (1, 30, True),  # behind, but it makes bars
        (16, 15.5, False),  # within a minute of the newest bar
        (16, 3, True),
        (40, None, True),  # a quiet market: no bin since
        (None, 20, False),
        (None, 3, None),
        (None, None, None),
    ],
)
def test_the_engine_fails_as_soon_as_a_bar_is_due_for_too_long(monkeypatch, bar_age_s, due_age_s, is_met):
    asked = []

    def due_ms(settings: Settings, since_ms: int) -> int | None:
        asked.append(since_ms)
        return None if due_age_s is None else int(NOW - due_age_s * 1000)

    monkeypatch.setattr(overview_module, "now_ms", lambda: NOW)
    monkeypatch.setattr(overview_module, "due_ms", due_ms)
    newest_ms = None if bar_age_s is None else NOW - bar_age_s * 1000
    bars = Latency(0, appended=0 if newest_ms is None else 9, newest_ms=newest_ms)
    waits_ms = _waits_ms(Settings(_env_file=None), bars, NOW - 60_000)
    assert engine_level(Latency(0, appended=50), bars, waits_ms).is_met is is_met
    assert asked == ([] if bar_age_s == 1 else [NOW - 60_000 if newest_ms is None else newest_ms + 1])


def test_without_bins_nothing_is_said_of_the_engine():
    assert engine_level(Latency(0), Latency(0), 0).is_met is None
