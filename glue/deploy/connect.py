"""The connect step: connect/*.json to running connectors. The file's stem is the connector's name."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from glue.deploy.report import Change, Report
from glue.errors import TapelineError, TransientError
from glue.io.connect import Connect, ConnectorState
from glue.io.rest import Refused
from glue.settings import Settings

CONNECT_DIR = Path(__file__).parents[2] / "connect"
STEP = "connect"
TOPIC_KEYS = ("topics", "snowflake.topic2table.map", "errors.deadletterqueue.topic.name")
"""Where a configuration names topics."""
TOPIC_SETTINGS = ("agg_output_topic", "kafka_topic_raw", "kafka_topic_dlt", "kafka_topic_connect_dlt")
POLL_S = 0.5
RESTARTED_WITHIN_LOOKS = 20
"""One that is FAILED at so many looks after its restart has failed again; before, it may be the old state."""


def read_connectors(folder: Path, settings: Settings) -> dict[str, dict[str, str]]:
    """Return the configuration of each connector by its name, with the settings' topics in it.

    Raises:
        TapelineError: a file is not one JSON object of texts, which is what a PUT takes.
    """
    connectors = {}
    for path in sorted(folder.glob("*.json")):
        try:
            config = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except msgspec.MsgspecError as error:
            raise TapelineError(f"connect/{path.name}: {error}") from None
        connectors[path.stem] = _adapt(config, settings)
    return connectors


def _adapt(config: dict[str, str], settings: Settings) -> dict[str, str]:
    """Name the topics as the settings do; a file has the names that topics have by default."""
    default = {name: Settings.model_fields[name].default for name in TOPIC_SETTINGS}
    names = {default[name]: str(getattr(settings, name)) for name in TOPIC_SETTINGS}
    found = re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True)))
    return config | {
        key: found.sub(lambda match: names[match[0]], config[key]) for key in TOPIC_KEYS if key in config
    }


def create(server: Connect, connectors: dict[str, dict[str, str]], report: Report, timeout_s: float) -> None:
    """Create what is missing, change what differs, resume what is stopped or paused, restart what has failed.

    Then wait until all run.

    Raises:
        TapelineError: the worker refuses a connector, or one fails; with its causes.
        TransientError: it does not answer, or a connector does not run in `timeout_s`; the next run goes on.
    """
    for name, config in connectors.items():
        found = server.config(name)
        is_same = found == {**config, "name": name}
        change: Change = "created" if found is None else "changed"
        if report.is_dry_run:
            report.exists(STEP, name) if is_same else report.change(STEP, name, change)
            continue
        done = ""
        try:
            if found is None:
                server.put(name, config)
            elif not is_same:
                _change(server, name, config, timeout_s)
            else:
                done = _set_going(server, name)
            detail = done + _await_running(server, name, timeout_s)
        except Refused as error:
            raise TapelineError(f"connect/{name}.json: {server.where} refuses it: {error.message}") from None
        except TransientError as error:
            raise TransientError(f"connect/{name}.json: {error}; run the command again to go on") from None
        if is_same:
            report.exists(STEP, name, detail)
        else:
            report.change(STEP, name, change, detail)


def _change(server: Connect, name: str, config: dict[str, str], timeout_s: float) -> None:
    """Give a connector another configuration while it is stopped.

    A worker tells states late: those of a connector that runs on could be from before the change. One that
    has failed stops only with the change.
    """
    server.stop(name)
    try:
        server.put(name, config)
    except Refused:
        server.resume(name)
        raise
    _await(server, name, timeout_s, "stop", lambda state: state.is_stopped)
    server.resume(name)


def _set_going(server: Connect, name: str) -> str:
    """Resume a connector that is stopped or paused, restart what has failed, and tell what was done."""
    state = server.state(name)
    server.resume(name)  # whatever the state says: a worker tells a pause late
    if state is not None and state.held:  # by hand, or a deployment broke off between stop and resume
        return f"was {state.held}, resumed: "
    if state is not None and state.has_failed:
        server.restart_failed(name)
        for _ in range(RESTARTED_WITHIN_LOOKS):  # a time would pass while the worker stands still, too
            now = server.state(name)
            if now is None or not now.has_failed:
                break
            time.sleep(POLL_S)
        return "had failed, restarted: "
    return ""


def drop(server: Connect, connectors: dict[str, dict[str, str]], report: Report) -> None:
    """Delete the connectors that are there."""
    for name in connectors:
        if server.config(name) is None:
            continue
        if not report.is_dry_run:
            server.delete(name)
        report.change(STEP, name, "dropped")


def _await_running(server: Connect, name: str, timeout_s: float) -> str:
    state = _await(server, name, timeout_s, "run", lambda state: state.is_running or state.has_failed)
    if state.has_failed:
        causes = "\n  caused by: ".join(state.causes)
        raise TapelineError(
            f"connect/{name}.json: the connector has failed:\n  {causes}\n"
            "`python -m glue.deploy connect` restarts it once the cause is gone"
        )
    tasks = len(state.states) - 1
    return f"runs with {tasks} task{'s' if tasks > 1 else ''}"


def _await(
    server: Connect, name: str, timeout_s: float, verb: str, is_there: Callable[[ConnectorState], bool]
) -> ConnectorState:
    deadline = time.monotonic() + timeout_s
    while True:
        state = server.state(name)
        if state is not None and is_there(state):
            return state
        if time.monotonic() > deadline:
            seen = ", ".join(state.states) if state is not None else "unknown"
            raise TransientError(
                f"the connector does not {verb} after {timeout_s:g} s (REST_TIMEOUT_MS): {seen}"
            )
        time.sleep(POLL_S)
