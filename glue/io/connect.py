"""Kafka Connect over its REST API: connectors by name, their configuration and state."""

from typing import Any
from urllib.parse import quote

import msgspec

from glue.io.rest import UNAVAILABLE, Refused, Rest
from glue.settings import Settings

NOT_FOUND, CONFLICT = 404, 409
FAILED, RUNNING, STOPPED = "FAILED", "RUNNING", "STOPPED"


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
        """Let a connector that was stopped or paused go on; the state tells it a moment later."""
        self.call("PUT", f"/connectors/{quote(name)}/resume")

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
