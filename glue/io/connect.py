"""Kafka Connect over its REST API: connectors by name, their configuration and state."""

import re
from typing import Any
from urllib.parse import quote

import msgspec

from glue.io.rest import UNAVAILABLE, Refused, Rest
from glue.settings import Settings

NOT_FOUND, CONFLICT = 404, 409
FAILED, PAUSED, RUNNING, STOPPED = "FAILED", "PAUSED", "RUNNING", "STOPPED"
_PLACE = re.compile(r"\t+(at|\.\.\. \d+) ")
"""A line of a trace that names a place in the code, or leaves some out."""
_CAUSE = "Caused by: "


class ConnectorState(msgspec.Struct, frozen=True):
    """State of a connector and of its tasks, and the trace of the first that failed."""

    states: list[str]
    trace: str = ""

    @property
    def is_running(self) -> bool:
        """Whether the connector and at least one task run, and all of them."""
        return len(self.states) > 1 and set(self.states) == {RUNNING}

    @property
    def is_stopped(self) -> bool:
        """Whether the connector is stopped and has no task that still runs."""
        return set(self.states) == {STOPPED}

    @property
    def held(self) -> str:
        """PAUSED or STOPPED as soon as the connector or a task tells so, else empty."""
        return next((state for state in self.states if state in (PAUSED, STOPPED)), "")

    @property
    def causes(self) -> list[str]:
        """What the trace says without places in code: the failure, its cause, the cause of that."""
        lines = [line for line in self.trace.splitlines() if line.strip() and not _PLACE.match(line)]
        causes: list[str] = []
        for line in lines:
            if line.startswith(_CAUSE) or not causes:
                causes.append(line.removeprefix(_CAUSE).strip())
            else:  # a message of several lines
                causes[-1] += f" {line.strip()}"
        return causes

    @property
    def has_failed(self) -> bool:
        """Whether the connector or a task has given up."""
        return FAILED in self.states


class Connect(Rest):
    """The worker of CONNECT_URL. While workers rebalance it answers 409, and is asked again."""

    KIND = "Kafka Connect worker"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "connect", busy=(CONFLICT, UNAVAILABLE))

    def config(self, name: str) -> dict[str, str] | None:
        """Return a connector's configuration, None where there is no such connector."""
        found: dict[str, str] | None = self._find(f"/connectors/{quote(name)}/config")
        return found

    def put(self, name: str, config: dict[str, str]) -> None:
        """Create a connector, or give it another configuration.

        Raises:
            Refused: the worker refuses it; `message` is its reason.
        """
        self.call("PUT", f"/connectors/{quote(name)}/config", config)

    def stop(self, name: str) -> None:
        """End a connector's tasks until it is resumed; the state tells it a moment later."""
        self.call("PUT", f"/connectors/{quote(name)}/stop")

    def resume(self, name: str) -> None:
        """Let a connector go on that was stopped or paused, the state tells it late; leave another alone."""
        self.call("PUT", f"/connectors/{quote(name)}/resume")

    def restart_failed(self, name: str) -> None:
        """Start a connector and its tasks again where they have failed; the state tells it a moment later."""
        self.call("POST", f"/connectors/{quote(name)}/restart?includeTasks=true&onlyFailed=true")

    def delete(self, name: str) -> None:
        """Delete a connector."""
        self.call("DELETE", f"/connectors/{quote(name)}")

    def state(self, name: str) -> ConnectorState | None:
        """Return how a connector does; for a moment after its creation the worker does not know it."""
        found = self._find(f"/connectors/{quote(name)}/status")
        if found is None:
            return None
        parts = [found["connector"], *found["tasks"]]
        traces = [part.get("trace") or "" for part in parts if part["state"] == FAILED]
        return ConnectorState([part["state"] for part in parts], next(iter(traces), ""))

    def _find(self, path: str) -> Any:
        try:
            return self.call("GET", path)
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
        self.introduction("/", "kafka_cluster_id")  # other services know no connector either
        return None
