"""`glue.deploy connect` against a worker that does everything wrong."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from glue import connectors as status
from glue.deploy import connect as connectors
from glue.deploy.__main__ import main
from glue.errors import SettingsError, TapelineError, TransientError
from glue.io import rest
from glue.settings import Settings
from tests.fake_rest import HANGS, LOST, FakeConnect, FakeRest, serving
from tests.unit.clock import Clock

CONFIG = {"connector.class": "x.Sink", "topics": "ticks.agg.1s", "tasks.max": "1"}


@pytest.fixture
def registry() -> FakeRest:
    """A registry that answers, if with an empty list only."""
    fake = FakeRest()
    fake.rules.append(lambda method, path, body: (200, []) if path.partition("?")[0] == "/subjects" else None)
    return fake


@pytest.fixture
def worker(registry: FakeRest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeConnect]:
    """Serve a worker, with one connector file to deploy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "connect").mkdir()
    (tmp_path / "connect" / "bars.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(connectors, "CONNECT_DIR", tmp_path / "connect")
    fake = FakeConnect()
    with serving(fake), serving(registry):
        monkeypatch.setenv("CONNECT_URL", fake.url)
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)
        yield fake


def outcomes(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    return [(o["name"], o["state"]) for o in json.loads(capsys.readouterr().out)]


def test_a_connector_is_created_once_and_then_left(worker, capsys):
    worker.states = [["UNASSIGNED"], ["RUNNING"], ["RUNNING", "RUNNING"]]
    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "created")]
    assert worker.connectors["bars"] == CONFIG | {"name": "bars"}
    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "exists")]
    assert sum(path.endswith("/config") for method, path, _ in worker.asked if method == "PUT") == 1


def test_a_changed_file_changes_the_connector(worker, capsys):
    worker.connectors["bars"] = CONFIG | {"name": "bars", "tasks.max": "4"}
    assert main(["connect", "--json", "--dry-run"]) == 0
    assert outcomes(capsys) == [("bars", "would be changed")]
    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "changed")]
    assert worker.connectors["bars"]["tasks.max"] == "1"


def test_a_change_is_judged_by_the_states_that_come_after_it(worker, capsys):
    worker.connectors["bars"] = CONFIG | {"name": "bars", "tasks.max": "4"}
    worker.late, worker.trace = 1, "org.x.Broken"
    worker.states, worker.states_once_changed = [["RUNNING", "RUNNING"]], [["RUNNING", "FAILED"]]
    with pytest.raises(TapelineError, match=r"the connector has failed:\n  org\.x\.Broken"):
        main(["connect"])

    worker.connectors["bars"]["tasks.max"] = "4"
    worker.states_once_changed = [["RUNNING", "RUNNING"]]
    capsys.readouterr()
    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "changed")]
    assert not worker.stopped


def test_a_change_that_is_refused_leaves_the_connector_running(worker):
    worker.connectors["bars"] = CONFIG | {"name": "bars", "tasks.max": "4"}
    worker.times(1, "PUT .*/config", (400, {"error_code": 400, "message": "no such class"}))
    with pytest.raises(TapelineError, match=r"connect/bars\.json: .*no such class"):
        main(["connect"])
    assert not worker.stopped
    assert worker.connectors["bars"]["tasks.max"] == "4"


@pytest.mark.parametrize("breaks_at", ["PUT .*/config", "PUT .*/resume"])
def test_a_change_that_breaks_off_is_gone_on_with(worker, capsys, breaks_at):
    worker.connectors["bars"] = CONFIG | {"name": "bars", "tasks.max": "4"}
    worker.times(1, breaks_at, LOST)
    with pytest.raises(TransientError, match=r"connect/bars\.json: .*run the command again to go on"):
        main(["connect"])
    capsys.readouterr()

    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys)[0][0] == "bars"
    assert not worker.stopped
    assert worker.connectors["bars"]["tasks.max"] == "1"


def test_a_dry_run_changes_nothing(worker, capsys):
    assert main(["connect", "--json", "--dry-run"]) == 0
    assert outcomes(capsys) == [("bars", "would be created")]
    assert not worker.connectors


def test_a_rebalance_is_waited_for(worker, capsys):
    conflict = (
        409,
        {"error_code": 409, "message": "Cannot complete request because of a conflicting operation"},
    )
    worker.times(2, "PUT", conflict)
    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "created")]


def test_a_rebalance_without_end_is_told_as_such(worker, monkeypatch):
    monkeypatch.setattr(rest, "time", Clock())
    worker.times(999, "PUT", (409, {"error_code": 409, "message": "rebalancing"}))
    with pytest.raises(TransientError, match=r"connect/bars\.json: .*409: rebalancing .*REST_TIMEOUT_MS"):
        main(["connect"])


def test_a_refused_configuration_is_told_with_the_workers_reason(worker):
    worker.times(1, "PUT", (400, {"error_code": 400, "message": "Missing required configuration topics"}))
    with pytest.raises(TapelineError, match=r"connect/bars\.json: .*Missing required configuration topics"):
        main(["connect"])


TRACE = (
    "org.x.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.\n"
    "\tat org.x.WorkerSinkTask.deliver(WorkerSinkTask.java:660)\n"
    "\tat java.base/java.lang.Thread.run(Unknown Source)\n"
    "Caused by: com.x.Failed: Exception: no channel\nError Code: 5025\n"
    "\tat com.x.Channel.open(Channel.java:1)\n"
    "\t... 10 more\n"
    "Caused by: org.x.Refused: no such table\n"
    "\t... 15 more\n"
)


def test_a_failed_task_is_told_with_its_causes(worker):
    worker.states, worker.trace = [["RUNNING", "FAILED"]], TRACE
    with pytest.raises(TapelineError) as caught:
        main(["connect"])
    assert str(caught.value).splitlines() == [
        "connect/bars.json: the connector has failed:",
        "  org.x.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.",
        "  caused by: com.x.Failed: Exception: no channel Error Code: 5025",
        "  caused by: org.x.Refused: no such table",
        "`python -m glue.deploy connect` restarts it once the cause is gone",
    ]


def test_status_tells_the_first_cause_of_a_failure(worker, monkeypatch):
    worker.connectors["bars"] = CONFIG | {"name": "bars"}
    worker.states, worker.trace = [["RUNNING", "FAILED"]], TRACE
    monkeypatch.setattr(status, "CONNECT_DIR", connectors.CONNECT_DIR)
    monkeypatch.setattr(status, "consumer_lag", lambda *_: [])
    monkeypatch.setattr(status, "oldest_unread_ms", lambda *_: None)
    [found] = status.look(Settings(_env_file=None), with_channels=False)
    assert found.problem == "org.x.Refused: no such table"


@pytest.mark.parametrize("states", [["PAUSED", "PAUSED"], ["PAUSED", "RUNNING"], ["RUNNING", "PAUSED"]])
def test_a_paused_connector_is_resumed(worker, capsys, states):
    worker.connectors["bars"] = CONFIG | {"name": "bars"}
    worker.states, worker.states_once_changed = [states], [["RUNNING", "RUNNING"]]
    worker.late = 1
    assert main(["connect", "--json"]) == 0
    [outcome] = json.loads(capsys.readouterr().out)
    assert (outcome["state"], outcome["detail"]) == ("exists", "was PAUSED, resumed: runs with 1 task")


def test_a_pause_that_the_state_does_not_tell_yet_is_ended_too(worker, capsys):
    worker.connectors["bars"] = CONFIG | {"name": "bars"}
    worker.late = 1
    worker.serve("PUT", "/connectors/bars/pause", None)
    assert main(["connect", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "exists")]
    assert worker.states == [["RUNNING", "RUNNING"]]


@pytest.mark.parametrize("states", [["RUNNING", "FAILED"], ["FAILED"]])
def test_what_has_failed_is_restarted(worker, capsys, states):
    worker.connectors["bars"] = CONFIG | {"name": "bars"}
    worker.states, worker.states_once_changed = [states], [["RUNNING", "RESTARTING"], ["RUNNING", "RUNNING"]]
    worker.late = 1
    assert main(["connect", "--json"]) == 0
    [outcome] = json.loads(capsys.readouterr().out)
    assert (outcome["state"], outcome["detail"]) == ("exists", "had failed, restarted: runs with 1 task")


def test_a_restart_that_is_told_late_is_no_other_failure(worker, monkeypatch, capsys):
    monkeypatch.setattr(connectors, "POLL_S", 15)  # as if the worker took its time for each answer
    monkeypatch.setattr(connectors, "time", Clock())
    worker.connectors["bars"] = CONFIG | {"name": "bars"}
    worker.states, worker.states_once_changed = [["RUNNING", "FAILED"]], [["RUNNING", "RUNNING"]]
    worker.late = 2
    assert main(["connect", "--json"]) == 0
    [outcome] = json.loads(capsys.readouterr().out)
    assert outcome["detail"] == "had failed, restarted: runs with 1 task"


def test_what_fails_again_after_its_restart_is_told(worker, monkeypatch):
    monkeypatch.setattr(connectors, "RESTARTED_WITHIN_LOOKS", 1)
    worker.connectors["bars"] = CONFIG | {"name": "bars"}
    worker.states, worker.trace = [["RUNNING", "FAILED"]], TRACE
    with pytest.raises(TapelineError, match=r"caused by: org\.x\.Refused: no such table"):
        main(["connect"])
    assert sum("/restart" in path for _, path, _ in worker.asked) == 1


def test_a_connector_that_never_runs_is_told_after_the_time_limit(worker, monkeypatch):
    monkeypatch.setattr(connectors, "time", Clock())
    monkeypatch.setenv("REST_TIMEOUT_MS", "30000")
    worker.states = [["RUNNING"]]
    with pytest.raises(TransientError, match=r"does not run after 30 s \(REST_TIMEOUT_MS\): RUNNING"):
        main(["connect"])


def test_a_worker_that_hangs_is_told_after_the_time_limit(worker, monkeypatch):
    monkeypatch.setenv("REST_TIMEOUT_MS", "900")
    worker.times(1, "GET", HANGS)
    with pytest.raises(TransientError, match=r"CONNECT_URL=.* does not answer in 0\.9 s \(REST_TIMEOUT_MS\)"):
        main(["connect"])


def test_a_missing_worker_is_told_by_its_setting(worker, monkeypatch):
    monkeypatch.setenv("CONNECT_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match=r"CONNECT_URL=http://127\.0\.0\.1:9 does not answer there"):
        main(["connect"])


@pytest.mark.parametrize("change", [{}, {"tasks.max": "4"}])
def test_nothing_is_done_while_the_registry_is_away(worker, monkeypatch, change):
    worker.connectors |= {"bars": CONFIG | {"name": "bars"} | change} if change else {}
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match=r"no schema registry answers at SCHEMA_REGISTRY_URL=.*:9 "):
        main(["connect"])
    assert worker.asked == []
    assert main(["connect", "--dry-run"]) == 0, "which changes nothing"


def test_what_is_no_registry_is_told(worker, registry):
    registry.rules.clear()
    with pytest.raises(TapelineError, match=r"what answers at SCHEMA_REGISTRY_URL=.* is no schema registry"):
        main(["connect"])
    assert worker.asked == []


def test_an_address_that_is_not_set_is_told(worker, monkeypatch):
    monkeypatch.setenv("CONNECT_URL", "")
    with pytest.raises(SettingsError, match="CONNECT_URL is not set"):
        main(["connect"])


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, "Not Found"), "/ says `HTTP 404: Not Found`"),
        (
            (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
            "/ says `HTTP 404: HTTP 404 Not Found`",
        ),
        ((200, "<html>hello</html>"), "/connectors/bars/config says `<html>hello</html>`"),
    ],
)
def test_something_else_at_the_address_is_no_worker(worker, answer, says):
    worker.times(99, "", answer)
    for options in ([], ["--dry-run"], ["--drop"]):
        with pytest.raises(TapelineError) as caught:
            main(["connect", *options])
        where = f"CONNECT_URL={worker.url}"
        assert str(caught.value) == f"what answers at {where} is no Kafka Connect worker: {says}"
    assert not worker.connectors


def test_basic_auth_is_sent_and_its_refusal_names_the_settings(worker, monkeypatch):
    monkeypatch.setenv("CONNECT_USER", "ops")
    monkeypatch.setenv("CONNECT_PASSWORD", "hunter2")
    worker.times(1, "GET", (401, {"message": "Unauthorized"}))
    with pytest.raises(
        TapelineError, match=r"HTTP 401: Unauthorized \(CONNECT_USER, CONNECT_PASSWORD\)"
    ) as caught:
        main(["connect"])
    assert "hunter2" not in str(caught.value)
    assert worker.authorizations == {"Basic b3BzOmh1bnRlcjI="}


def test_a_file_that_is_no_configuration_is_told_by_its_name(worker, tmp_path):
    (tmp_path / "connect" / "broken.json").write_text('{"tasks.max": 1}')
    with pytest.raises(TapelineError, match=re.escape("connect/broken.json: Expected `str`, got `int`")):
        main(["connect"])


def test_drop_deletes_what_is_there(worker, capsys):
    assert main(["connect", "--json"]) == 0
    capsys.readouterr()
    assert main(["connect", "--drop", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "dropped")]
    assert main(["connect", "--drop", "--json"]) == 0
    assert outcomes(capsys) == []


def test_a_target_reads_its_own_settings(worker, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("CONNECT_URL")
    (tmp_path / ".env.prod").write_text(f"CONNECT_URL={worker.url}\n")
    assert main(["connect", "--target", "prod", "--json"]) == 0
    assert outcomes(capsys) == [("bars", "created")]
    with pytest.raises(SettingsError, match=r"target test: its settings would be in \.env\.test"):
        main(["connect", "--target", "test"])
