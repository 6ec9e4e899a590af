"""`glue.deploy` topics, schemas, ksql: the real broker and registry, and a ksqlDB that does wrong."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from glue.core.binner import Binner
from glue.core.introduction import Feed
from glue.core.partition import Shard
from glue.core.watermarks import Rules
from glue.deploy import steps
from glue.deploy.__main__ import main
from glue.deploy.report import Report
from glue.deploy.scripts import KSQL_DIR
from glue.deploy.steps import start_over
from glue.engine import MADE_BY_QUERIES, ksqldb_engine
from glue.errors import SettingsError, TapelineError, TransientError
from glue.io import state_topic
from glue.io.kafka import cluster_id, publish
from glue.io.kafka_groups import group_member, move_group
from glue.io.kafka_read import topic_ends
from glue.io.registry import Registry, subjects
from glue.io.state_topic import Agreement, Checkpoint, agree, publish_state, read_state, withdraw
from glue.io.topic_stats import committed
from glue.settings import Settings
from glue.stack.__main__ import deploy_ksql
from tests.conftest import RunningStack
from tests.fake_rest import LOST, Answer, FakeKsqlDb, serving
from tests.processes import Command, until

pytestmark = pytest.mark.stack
FILE_2 = "02_bars_1s_windowed.sql"
NAMES = ["TICKS_RAW", "BINS_BY_SYMBOL", "BARS_1S_WINDOWED", "BARS_1S_CLOSED", "BARS_1S"]
REFUSAL = 400, {"error_code": 40001, "message": "line 3:7: Syntax error", "statementText": "CREATE"}


LOADER_GROUP, RAW_GROUP = "deploy-loader", "deploy-raw"


@dataclass
class Estate:
    """A server that is not ksqlDB, on the real cluster, with the topics and schemas of a deployment."""

    server: FakeKsqlDb
    settings: Settings
    ksql_dir: Path

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a script, as a user would."""
        path = self.ksql_dir / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


def committed_at(settings: Settings, group: str) -> tuple[int, str | None] | None:
    """Return what a group has committed for the first partition of ticks.raw."""
    (found,) = committed(settings, group, [TopicPartition(settings.kafka_topic_raw, 0)])
    return None if found is None else (found.offset, found.metadata)


@pytest.fixture(scope="module")
def settings(stack: RunningStack) -> Settings:
    """Return settings with topics and schemas that the tests of this file share."""
    settings = stack.settings(ksqldb_url="http://unused")
    with Registry(settings) as registry:
        for subject, file in subjects(settings).items():
            registry.register(subject, file)
    return settings


@pytest.fixture
def estate(
    stack: RunningStack, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Estate]:
    """Serve a ksqlDB that was given nothing yet."""
    monkeypatch.chdir(tmp_path)
    fake = FakeKsqlDb(cluster_id=cluster_id(settings), service_id=tmp_path.name)
    names = ("kafka_topic_raw", "kafka_topic_dlt", "kafka_topic_state", "agg_output_topic", "agg_group")
    env = stack.settings_env | {name.upper(): getattr(settings, name) for name in names}
    env |= {"SNOWFLAKE_LOADER_GROUP": LOADER_GROUP, "SNOWFLAKE_RAW_GROUP": RAW_GROUP}
    ksql_dir = tmp_path / "ksql"
    shutil.copytree(KSQL_DIR, ksql_dir)
    monkeypatch.setattr(steps, "KSQL_DIR", ksql_dir)
    with serving(fake):
        for name, value in (env | {"KSQLDB_URL": fake.url}).items():
            monkeypatch.setenv(name, value)
        yield Estate(fake, settings, ksql_dir)
    for part in read_state(settings).agreements:
        withdraw(settings, part)


def outcomes(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {outcome["name"]: outcome["state"] for outcome in json.loads(capsys.readouterr().out)}


def deploy(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    capsys.readouterr()
    assert main(["ksql", "--json", *options]) == 0
    return outcomes(capsys)


def test_statements_go_one_by_one_in_order_with_their_properties(estate, capsys):
    assert deploy(capsys) == dict.fromkeys(NAMES, "created")
    created = [b for _, p, b in estate.server.asked if p == "/ksql" and b["ksql"].startswith("CREATE")]
    assert [b["ksql"].split()[2] for b in created] == NAMES
    assert [b.get("commandSequenceNumber") for b in created] == [None, 1, 2, 3, 4]
    assert created[0]["streamsProperties"] == {}
    assert created[1]["streamsProperties"]["processing.guarantee"] == "exactly_once_v2"
    assert len(created[1]["streamsProperties"]) == len(re.findall("SET '", (KSQL_DIR / FILE_2).read_text()))
    assert "VALUE_SCHEMA_ID = " in created[-1]["ksql"]
    assert estate.settings.kafka_topic_raw in created[0]["ksql"]
    assert estate.settings.agg_output_topic in created[-1]["ksql"]


def test_running_it_again_changes_nothing(estate, capsys):
    deploy(capsys)
    before = estate.server.commands
    assert deploy(capsys) == dict.fromkeys(NAMES, "exists")
    assert estate.server.commands == before


def test_another_layout_is_the_same_script(estate, capsys):
    deploy(capsys)
    estate.edit("01_ticks_raw.sql", "    SYMBOL             STRING,", "  SYMBOL STRING, -- the instrument")
    assert deploy(capsys) == dict.fromkeys(NAMES, "exists")


def test_a_changed_script_is_drift_until_it_is_replaced(estate, capsys):
    deploy(capsys)
    estate.edit("03_bars_1s.sql", "'ksqldb' AS", "'other' AS")
    capsys.readouterr()
    assert main(["ksql", "--json"]) == 1
    assert outcomes(capsys) == dict.fromkeys(NAMES[:-1], "exists") | {"BARS_1S": "drift"}
    assert deploy(capsys, "--replace", "--dry-run")["BARS_1S"] == "would be created"
    assert not estate.server.texts("TERMINATE")
    assert deploy(capsys, "--replace")["BARS_1S"] == "created"
    assert estate.server.texts("TERMINATE") == ["TERMINATE Q_BARS_1S_4;"]
    assert estate.server.texts("DROP") == ["DROP STREAM IF EXISTS `BARS_1S`;"]
    assert "'other' AS" in estate.server.sources["BARS_1S"]["statement"]
    assert deploy(capsys) == dict.fromkeys(NAMES, "exists")


def test_what_reads_a_replaced_stream_is_made_anew_after_it(estate, capsys):
    deploy(capsys)
    estate.edit(FILE_2, "'commit.interval.ms' = '", "'commit.interval.ms' = '1")
    deploy(capsys, "--replace")
    dropped = [text.split()[-1] for text in estate.server.texts("DROP")]
    assert dropped == [f"`{name}`;" for name in NAMES[:0:-1]]
    assert [text.split()[2] for text in estate.server.texts("CREATE")[5:]] == NAMES[1:]


def test_drop_removes_all_the_newest_first(estate, capsys):
    deploy(capsys)
    assert deploy(capsys, "--drop", "--dry-run") == dict.fromkeys(NAMES, "would be dropped")
    assert len(estate.server.sources) == 5
    assert list(deploy(capsys, "--drop")) == NAMES[::-1]
    assert not estate.server.sources
    assert deploy(capsys, "--drop") == {}


def test_a_dry_run_makes_nothing(estate, capsys):
    assert deploy(capsys, "--dry-run") == dict.fromkeys(NAMES, "would be created")
    assert not estate.server.sources


def test_a_refused_statement_is_told_with_file_line_statement_and_reason(estate):
    estate.server.times(1, "CREATE TABLE", REFUSAL)
    says = r"ksql/02_bars_1s_windowed\.sql:\d+: KSQLDB_URL=.* line 3:7: Syntax error\n  CREATE TABLE BARS_1S"
    with pytest.raises(TapelineError, match=says):
        main(["ksql"])
    assert list(estate.server.sources) == NAMES[:2]


def test_a_command_that_fails_after_it_was_taken_is_told_with_its_reason(estate):
    queued = {"commandId": "x/1/create", "commandSequenceNumber": 1, "commandStatus": {"status": "QUEUED"}}
    estate.server.times(1, "CREATE STREAM TICKS_RAW", (200, [queued]))
    estate.server.times(1, "GET /status", (200, {"status": "ERROR", "message": "no such topic"}))
    with pytest.raises(TapelineError, match=r"01_ticks_raw\.sql:\d+: .*no such topic"):
        main(["ksql"])


def test_a_half_done_deployment_goes_on_where_it_stopped(estate, capsys):
    estate.server.times(1, "CREATE STREAM BARS_1S WITH", REFUSAL)
    with pytest.raises(TapelineError, match="03_bars_1s"):
        main(["ksql"])
    assert deploy(capsys) == dict.fromkeys(NAMES[:-1], "exists") | {"BARS_1S": "created"}


def test_a_statement_whose_answer_was_lost_is_known_when_it_goes_on(estate, capsys):
    def carry_out_and_lose(method: str, path: str, body: object) -> Answer | None:
        if not isinstance(body, dict) or not body["ksql"].startswith("CREATE TABLE"):
            return None
        estate.server.rules.clear()
        estate.server.serve(method, path, body)
        return LOST

    estate.server.rules.append(carry_out_and_lose)
    with pytest.raises(TransientError, match=r"02_bars.*does not answer there.*run the command again"):
        main(["ksql"])
    expected = dict.fromkeys(NAMES[:3], "exists") | dict.fromkeys(NAMES[3:], "created")
    assert deploy(capsys) == expected


def test_a_server_that_starts_is_waited_for(estate, capsys):
    estate.server.times(2, "GET /info", (503, {"error_code": 50300, "message": "KSQL is not yet ready"}))
    assert deploy(capsys) == dict.fromkeys(NAMES, "created")


def test_a_query_that_does_not_run_is_told(estate):
    estate.server.query_state = "ERROR"
    with pytest.raises(TapelineError, match=r"02_.*of BINS_BY_SYMBOL does not run \(Q_BINS\w+: ERROR\)"):
        main(["ksql"])


def test_a_query_that_was_ended_by_hand_or_by_half_a_drop_is_made_anew_on_request(estate, capsys):
    deploy(capsys)
    estate.server.sources["BARS_1S"]["writeQueries"] = []
    assert main(["ksql", "--json"]) == 1
    assert outcomes(capsys)["BARS_1S"] == "drift"
    assert deploy(capsys, "--replace") == dict.fromkeys(NAMES, "exists") | {"BARS_1S": "created"}
    assert estate.server.sources["BARS_1S"]["writeQueries"]


def test_a_query_that_has_failed_is_made_anew_on_request(estate, capsys):
    deploy(capsys)
    (query,) = estate.server.sources["BARS_1S"]["writeQueries"]
    estate.server.failed = {query["id"]}
    with pytest.raises(TapelineError, match="--replace"):
        main(["ksql"])
    assert deploy(capsys, "--replace") == dict.fromkeys(NAMES, "exists") | {"BARS_1S": "created"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("GRACE PERIOD 500", "GRACE PERIOD 300", "GRACE PERIOD is 300 ms, but REPLAY_MAX_LATE_MS is 500"),
        ("500 MILLISECONDS", "1 HOURS", "GRACE PERIOD is 3600000 ms, but REPLAY_MAX_LATE_MS is 500"),
        (", GRACE PERIOD 500 MILLISECONDS", "", "GRACE PERIOD is missing, but REPLAY_MAX_LATE_MS is 500"),
        ("SIZE 1 SECONDS", "SIZE 2 SECONDS", "SIZE is 2000 ms, but a bar is 1000"),
        ("-- Bin size:    10 ms", "-- Bin size:    20 ms", "Bin size is 20 ms, but REPLAY_BIN_MS is 10"),
        ("-- Bin size:", "-- Of bins:", "Bin size is missing, but REPLAY_BIN_MS is 10"),
    ],
)
def test_a_window_that_is_not_the_settings_is_refused(estate, old, new, told):
    estate.edit(FILE_2, old, new)
    with pytest.raises(TapelineError, match=told):
        main(["ksql"])
    assert not estate.server.sources


def test_a_grace_that_was_deployed_by_hand_is_compared(estate, capsys):
    deploy(capsys)
    table = estate.server.sources["BARS_1S_WINDOWED"]
    table["statement"] = table["statement"].replace("500 MILLISECONDS", "300 MILLISECONDS")
    capsys.readouterr()
    assert main(["ksql", "--json"]) == 1
    assert outcomes(capsys)["BARS_1S_WINDOWED"] == "drift"


@pytest.mark.parametrize("part", ["glue.replay", "glue.aggregate"])
def test_a_worker_or_engine_with_another_lateness_is_named(estate, part):
    agree(estate.settings.model_copy(update={"replay_max_late_ms": 300}), part)
    with pytest.raises(TapelineError, match=f"REPLAY_MAX_LATE_MS is 500, but {part} runs with 300"):
        main(["ksql"])
    assert not estate.server.sources


def test_worker_and_engine_must_run_as_what_was_deployed(estate, capsys):
    deploy(capsys)
    other = estate.settings.model_copy(update={"replay_bin_ms": 20})
    with pytest.raises(TapelineError, match="REPLAY_BIN_MS is 20, but ksqlDB runs with 10 on these topics"):
        agree(other, "glue.replay")
    deploy(capsys, "--drop")
    agree(other, "glue.replay")


def test_topics_that_ksqldb_would_create_by_its_own_settings_must_be_there(estate, monkeypatch):
    monkeypatch.setenv("AGG_OUTPUT_TOPIC", "new.bars")
    assert main(["schemas"]) == 0
    with pytest.raises(TapelineError, match=r"new\.bars\.bins, .*new\.bars: no such topics; .*deploy topics"):
        main(["ksql"])
    assert not estate.server.sources


def test_the_topics_of_the_scripts_for_operators_are_asked_for_with_them(estate):
    with pytest.raises(TapelineError, match=r"topics; `python -m glue\.deploy topics --operators` creates"):
        main(["ksql", "--operators"])


def test_a_schema_must_be_there_before_it_is_written_by(estate, monkeypatch):
    monkeypatch.setenv("AGG_OUTPUT_TOPIC", "unregistered.bars")
    with pytest.raises(TapelineError, match=r"bar_1s\.avsc is not registered as unregistered\.bars-value"):
        main(["ksql"])


def test_a_server_on_another_cluster_is_refused(estate):
    estate.server.cluster_id = "elsewhere"
    with pytest.raises(TapelineError, match=r"the Kafka cluster elsewhere, but KAFKA_BROKERS=.* is"):
        main(["ksql"])


def test_a_stream_of_another_deployment_is_not_dropped(estate, capsys):
    deploy(capsys)
    estate.server.sources["TICKS_RAW"]["topic"] = "someone.elses"
    estate.server.service_id = "another_"
    with pytest.raises(TapelineError, match=r"STREAM TICKS_RAW .*not of this deployment: .*someone\.elses"):
        main(["ksql", "--drop"])
    assert len(estate.server.sources) == 5


def test_without_a_server_the_setting_is_named(estate, monkeypatch):
    monkeypatch.setenv("KSQLDB_URL", "")
    with pytest.raises(SettingsError, match="KSQLDB_URL is not set"):
        main(["ksql"])


def test_all_goes_in_order_and_twice_without_change(estate, capsys):
    capsys.readouterr()
    assert main(["all", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    steps_seen = list(dict.fromkeys(outcome["step"] for outcome in first))
    assert steps_seen == ["topics", "schemas", "ksql", "snowflake"]
    assert main(["all", "--json"]) == 0
    states = {outcome["state"] for outcome in json.loads(capsys.readouterr().out)}
    assert states == {"exists", "replaced", "not applied"}  # views are replaced each time


def test_fresh_empties_the_topics_and_makes_the_queries_anew(estate, capsys):
    deploy(capsys)
    agree(estate.settings, "glue.replay")
    assert main(["all", "--fresh"]) == 0
    assert estate.server.texts("DROP")
    assert list(estate.server.sources) == NAMES
    state = read_state(estate.settings)
    assert list(state.agreements) == ["ksqlDB"]
    assert set(state.deployed[estate.server.service_id].statements) == set(NAMES)


def test_a_refused_fresh_has_changed_nothing(estate, monkeypatch, capsys):
    settings = Settings.load()
    deploy(capsys)
    for group, command in ((settings.agg_group, "glue.aggregate"), (RAW_GROUP, "glue.stage_raw")):
        move_group(settings, group, command, settings.kafka_topic_raw, {0: (0, "12")})
    loader = group_member(settings, f"{LOADER_GROUP}-1of2", max_poll_s=60)
    loader.subscribe([settings.agg_output_topic])
    try:
        until(lambda: (loader.poll(0.1), loader.assignment())[1], "the loader in its group")
        with monkeypatch.context() as patch:
            patch.setattr("glue.io.kafka_groups.LEFT_WITHIN_S", 0)
            running = rf"{LOADER_GROUP}-1of2 is running; stop it .*glue\.rollup"
            with pytest.raises(TapelineError, match=running):
                main(["all", "--fresh"])
        assert committed_at(settings, settings.agg_group) == committed_at(settings, RAW_GROUP) == (0, "12")
        assert len(estate.server.sources) == 5
    finally:
        loader.close()
    assert main(["all", "--fresh"]) == 0
    assert committed_at(settings, settings.agg_group) is committed_at(settings, RAW_GROUP) is None


def test_a_dry_run_of_fresh_tells_what_would_be_there_in_the_end(estate, monkeypatch, capsys):
    deploy(capsys)
    monkeypatch.setenv("KAFKA_RETENTION_MS", "7200000")  # drift, which --fresh does away with
    assert main(["all", "--fresh", "--dry-run", "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)
    told = [(o["name"], o["state"]) for o in outcomes if o["step"] in ("topics", "ksql")]
    assert told[: len(NAMES)] == [(name, "would be dropped") for name in reversed(NAMES)]
    assert {state for _, state in told[len(NAMES) :]} == {"would be created"}
    assert [name for name, _ in told if name in NAMES][len(NAMES) :] == NAMES
    assert list(estate.server.sources) == NAMES


def test_topics_under_a_forgotten_ksqldb_are_not_emptied(estate, monkeypatch, capsys):
    deploy(capsys)
    monkeypatch.setenv("KSQLDB_URL", "")
    with pytest.raises(TapelineError, match=r"ksqlDB makes the bars .*KSQLDB_URL is not set"):
        main(["all", "--fresh"])
    assert read_state(estate.settings).deployed


def test_topics_are_created_once_and_their_drift_is_told(estate, monkeypatch, capsys):
    monkeypatch.setenv("KAFKA_TOPIC_DLT", f"{estate.settings.kafka_topic_dlt}.other")
    monkeypatch.setenv("KAFKA_PARTITIONS", "3")
    capsys.readouterr()
    assert main(["topics", "--json", "--dry-run"]) == 1
    planned = outcomes(capsys)
    assert planned[f"{estate.settings.kafka_topic_dlt}.other"] == "would be created"
    assert main(["topics", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    by_name = {outcome["name"]: outcome for outcome in found}
    assert by_name[f"{estate.settings.kafka_topic_dlt}.other"]["state"] == "created"
    assert by_name[estate.settings.kafka_topic_raw]["state"] == "drift"
    assert by_name[estate.settings.kafka_topic_raw]["detail"] == "6 partitions, expected 3"


def test_a_schema_that_old_records_cannot_be_read_by_is_drift(estate, capsys):
    with Registry(estate.settings) as registry:
        registry._client.set_compatibility(f"{estate.settings.kafka_topic_raw}-value", "NONE")
    capsys.readouterr()
    assert main(["schemas", "--json"]) == 1
    assert outcomes(capsys)[f"{estate.settings.kafka_topic_raw}-value"] == "drift"
    with Registry(estate.settings) as registry:
        registry._client.set_compatibility(f"{estate.settings.kafka_topic_raw}-value", "BACKWARD")


def test_status_tells_which_engine_runs_and_what_is_wrong_with_it(estate, capsys):
    settings = Settings.load()
    assert ksqldb_engine(settings).state == ", ".join(f"{name} is not deployed" for name in MADE_BY_QUERIES)
    deploy(capsys)
    engine = ksqldb_engine(settings)
    assert (engine.name, engine.is_running) == ("ksqldb 7.9.2", True)
    group = f"_confluent-ksql-{estate.server.service_id}query_Q_BINS_BY_SYMBOL_1"
    assert engine.reads[0] == (group, settings.kafka_topic_raw)
    assert [topic for _, topic in engine.reads[1:]] == list(settings.ksqldb_topics_between)
    estate.server.query_state = "ERROR"
    assert ksqldb_engine(settings).state.startswith("Q_BINS_BY_SYMBOL_1 is ERROR, ")
    gone = settings.model_copy(update={"ksqldb_url": "http://127.0.0.1:9"})
    assert "does not answer" in ksqldb_engine(gone).state


def test_the_local_engine_does_not_make_the_bars_once_more(estate, tmp_path, capsys):
    beside = Command("-m", "glue.aggregate", cwd=tmp_path, env={"KSQLDB_URL": estate.server.url})
    assert beside.wait() == 2
    assert "KSQLDB_URL is set: ksqlDB makes the bars" in beside.output
    deploy(capsys)
    forgotten = Command("-m", "glue.aggregate", cwd=tmp_path)
    assert forgotten.wait() == 1
    assert "ksqlDB makes the bars of" in forgotten.output
    assert "Traceback" not in beside.output + forgotten.output


def test_starting_over_leaves_empty_topics_and_running_queries(estate):
    publish_state(estate.settings, "x", Agreement(part="glue.replay", late_ms=1, bin_ms=1))
    start_over(Settings.load(), Report(on_stderr=True))
    assert list(read_state(estate.settings).agreements) == ["ksqlDB"]
    assert list(estate.server.sources) == NAMES


def test_stack_up_gives_its_ksqldb_the_scripts_or_says_what_a_server_needs(estate):
    deploy_ksql(Settings.load())
    assert list(estate.server.sources) == NAMES
    gone = Settings.load(ksqldb_url="http://127.0.0.1:9")
    with pytest.raises(TapelineError, match=r"does not answer there\n.*bootstrap\.servers=127\.0\.0\.1:\d+"):
        deploy_ksql(gone)


def test_what_an_earlier_query_wrote_between_two_queries_is_gone_before_the_next_one_reads_it(estate, capsys):
    between, bars = estate.settings.ksqldb_topics_between, estate.settings.agg_output_topic
    for topic in (*between, bars):
        publish(estate.settings, topic, "old", b"of another form")
    deploy(capsys)
    assert [sum(topic_ends(estate.settings, topic)) for topic in between] == [0, 0]
    assert sum(topic_ends(estate.settings, bars)) > 0
    publish(estate.settings, between[1], "new", b"of this form")
    estate.edit("03_bars_1s.sql", "'ksqldb' AS", "'other' AS")
    deploy(capsys, "--replace")
    assert sum(topic_ends(estate.settings, between[1])) == 1


def test_what_was_made_by_hand_is_told_and_made_anew_on_request(estate, capsys):
    deploy(capsys)
    estate.server.service_id += "_by_hand"  # what nobody has written down
    assert main(["ksql", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all("made by hand, its text is not compared" in outcome["detail"] for outcome in told)
    assert deploy(capsys, "--replace") == dict.fromkeys(NAMES, "created")
    assert deploy(capsys) == dict.fromkeys(NAMES, "exists")


def test_nothing_is_dropped_while_something_else_reads_it(estate, capsys):
    deploy(capsys)
    estate.server.sources["BARS_1S_CLOSED"]["readQueries"] = [{"id": "CTAS_BINS_1M_7"}]
    estate.edit(FILE_2, "'commit.interval.ms' = '", "'commit.interval.ms' = '1")
    for options in (["--replace"], ["--replace", "--dry-run"], ["--drop"]):
        with pytest.raises(TapelineError, match=r"BARS_1S_CLOSED .* read by CTAS_BINS_1M_7, .*--operators"):
            main(["ksql", *options])
    assert len(estate.server.sources) == 5


def test_topics_are_not_emptied_under_a_running_worker(estate, monkeypatch, capsys):
    deploy(capsys)
    binner = Binner(Feed("running", "live", is_numbered=True), Rules(partitions=6))
    now_ms = 1_600_000_000_000

    def commit(updated_ms: int) -> None:
        checkpoint = Checkpoint(
            feed_id="running", shard=Shard(), mode="live", snapshot=binner.snapshot(), late_ms=500,
            bin_ms=10, partitions=6, is_ended=False, updated_ms=updated_ms,
        )  # fmt: skip
        publish_state(estate.settings, "running", checkpoint)

    class Moments:
        """The worker commits in the second of the moments that are waited, as one that stood still does."""

        waited = 0

        def time(self) -> float:
            return now_ms / 1000

        def sleep(self, _seconds: float) -> None:
            self.waited += 1
            if self.waited == 2:
                commit(now_ms + 1000)

    commit(now_ms)
    with monkeypatch.context() as patch:
        patch.setattr(state_topic, "time", Moments())
        with pytest.raises(TapelineError, match=r"a worker \(feed running, .*is writing to these topics"):
            main(["all", "--fresh"])
    assert len(estate.server.sources) == 5
    other = estate.settings.model_copy(update={"replay_max_late_ms": 300})
    with pytest.raises(TapelineError, match=r"300, but a worker \(feed running\) runs with 500"):
        agree(other, "ksqlDB")
    assert main(["all", "--fresh"]) == 0
