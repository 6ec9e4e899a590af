"""ksqlDB over its REST API: statements one after the other, and what there is on the server."""

import time
from typing import Any
from urllib.parse import quote

import msgspec

from glue.errors import TransientError
from glue.io.rest import Refused, Rest
from glue.settings import Settings

MEDIA_TYPE = "application/vnd.ksql.v1+json"
POLL_S = 0.25
DONE, FAILED = "SUCCESS", {"ERROR", "TERMINATED"}
"""What becomes of a command: others are on the way to it."""
RUNNING, ERROR = "RUNNING", "ERROR"


class Source(msgspec.Struct, frozen=True):
    """A stream or table as the server describes it."""

    name: str
    kind: str
    """STREAM or TABLE."""
    statement: str
    """What it was created by, as the server formats it."""
    topic: str
    writers: list[str]
    """Ids of the queries that write to it."""
    readers: list[str]
    """Ids of the queries that read it."""


class KsqlDb(Rest):
    """The server of KSQLDB_URL."""

    KIND = "ksqlDB server"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "ksqldb", MEDIA_TYPE)
        self._sequence = -1
        """Number of the newest command: the server runs a request only when it has come so far."""

    def info(self) -> dict[str, str]:
        """Return version, ksqlServiceId, kafkaClusterId and serverStatus.

        Raises:
            TapelineError: it does not answer, or is not ksqlDB.
        """
        info: dict[str, Any] = self.introduction("/info", "KsqlServerInfo")
        return {name: str(value) for name, value in info.items()}

    def run(self, text: str, properties: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Run statements, wait until each is carried out, and return the server's answers.

        Raises:
            Refused: the server refuses one; `message` is its reason.
            TransientError: it does not answer, or has not carried it out in REST_TIMEOUT_MS.
        """
        body: dict[str, Any] = {"ksql": text, "streamsProperties": properties or {}}
        if self._sequence >= 0:
            body["commandSequenceNumber"] = self._sequence
        answers: list[dict[str, Any]] = self.call("POST", "/ksql", body) or []
        for answer in answers:
            number = answer.get("commandSequenceNumber")
            if number is not None:
                self._sequence = max(self._sequence, int(number))
            if answer.get("commandId"):
                self._await(answer)
        return answers

    def source(self, name: str) -> Source | None:
        """Return a stream or table, or None where there is none of the name."""
        try:
            found = self.run(f"DESCRIBE `{name}`;")[0]["sourceDescription"]
        except Refused as error:
            if "could not find" in error.message.lower():
                return None
            raise
        return Source(
            name=found["name"],
            kind=found["type"],
            statement=found.get("statement") or "",
            topic=found.get("topic") or "",
            writers=[query["id"] for query in found.get("writeQueries") or []],
            readers=[query["id"] for query in found.get("readQueries") or []],
        )

    def query_states(self) -> dict[str, str]:
        """Return the state of each running query by its id: RUNNING on all servers, or what is not."""
        states = {}
        for query in self.run("SHOW QUERIES;")[0].get("queries", []):
            counts = query.get("statusCount") or {query.get("state") or "": 1}
            states[str(query["id"])] = next((state for state in counts if state != RUNNING), RUNNING)
        return states

    def _await(self, answer: dict[str, Any]) -> None:
        """Wait until a command is carried out; the server may have answered before."""
        status = answer.get("commandStatus") or {}
        deadline = time.monotonic() + self.timeout_s
        while status.get("status") != DONE:
            message = str(status.get("message") or "")
            if status.get("status") in FAILED:
                raise Refused(self.where, 200, message)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{self.where} has not carried out a statement in {self.timeout_s:g} s "
                    f"(REST_TIMEOUT_MS): {status.get('status')} {message}"
                )
            time.sleep(POLL_S)
            status = self.call("GET", f"/status/{quote(answer['commandId'], safe='/`')}") or {}
