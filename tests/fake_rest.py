"""ksqlDB and Connect as far as a deployment meets them, on a local port, with failures on demand.

The answers have the form of real servers' (ksqlDB 7.9.2, Connect of Kafka 4). What statements do is not
carried out: the contract suite runs them on a real server.
"""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, Any]
LOST: Answer = (0, None)
"""The connection ends without an answer."""
HANGS: Answer = (-1, None)
"""No answer comes for as long as the server is there."""


@dataclass
class FakeRest:
    """What was asked, and how to answer: `rules` come before what the kind of server would say."""

    rules: list[Callable[[str, str, Any], Answer | None]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)
    url: str = ""
    is_over: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """Return (status, JSON body) for a request."""
        self.asked.append((method, path, body))
        for rule in self.rules:
            if (found := rule(method, path, body)) is not None:
                return found
        return self.serve(method, path, body)

    def serve(self, method: str, path: str, body: Any) -> Answer:
        return 404, {"error_code": 404, "message": f"HTTP 404 Not Found: {method} {path}"}

    def times(self, count: int, matches: str, answer: Answer) -> None:
        """Answer the next `count` requests whose method, path or text matches in this way."""
        left = [count]

        def rule(method: str, path: str, body: Any) -> Answer | None:
            text = f"{method} {path} {json.dumps(body)}"
            if not left[0] or not re.search(matches, text):
                return None
            left[0] -= 1
            return answer

        self.rules.append(rule)


@dataclass
class FakeKsqlDb(FakeRest):
    """Streams, tables and queries by name."""

    cluster_id: str = ""
    service_id: str = ""
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    query_state: str = "RUNNING"
    failed: set[str] = field(default_factory=set)
    """Ids of the queries that are in ERROR whatever `query_state` is."""
    commands: int = 0

    def texts(self, start: str) -> list[str]:
        """Return the statements that it was sent, those that begin with `start`."""
        return [b["ksql"] for _, p, b in self.asked if p == "/ksql" and b["ksql"].startswith(start)]

    def serve(self, method: str, path: str, body: Any) -> Answer:
        if path == "/info":
            ids = {"ksqlServiceId": self.service_id, "kafkaClusterId": self.cluster_id}
            return 200, {"KsqlServerInfo": ids | {"version": "7.9.2", "serverStatus": "RUNNING"}}
        if path != "/ksql":
            return super().serve(method, path, body)
        text = body["ksql"]
        if found := re.match(r"DESCRIBE `(\w+)`", text):
            return self._describe(found[1], text)
        if text.startswith("SHOW QUERIES"):
            queries = [
                {"id": q["id"], "statusCount": {"ERROR" if q["id"] in self.failed else self.query_state: 1}}
                for s in self.sources.values()
                for q in s["writeQueries"]
            ]
            return 200, [{"@type": "queries", "queries": queries}]
        self._carry_out(text)
        self.commands += 1
        done = {"commandId": f"x/{self.commands}/create", "commandSequenceNumber": self.commands}
        return 200, [{"@type": "currentStatus", **done, "commandStatus": {"status": "SUCCESS"}}]

    def _describe(self, name: str, text: str) -> Answer:
        if name in self.sources:
            return 200, [{"@type": "sourceDescription", "sourceDescription": self.sources[name]}]
        message = f"Could not find STREAM/TABLE '{name}' in the Metastore"
        return 400, {"error_code": 40001, "message": message, "statementText": text}

    def _carry_out(self, text: str) -> None:
        if found := re.match(r"CREATE (STREAM|TABLE) (\w+)", text):
            topic = re.search(r"KAFKA_TOPIC = '([^']+)'", text)
            is_query = "AS SELECT" in text
            self.sources[found[2]] = {
                "name": found[2],
                "type": found[1],
                "statement": " ".join(text.split()),
                "topic": topic[1] if topic else "",
                "writeQueries": [{"id": f"Q_{found[2]}_{self.commands}"}] if is_query else [],
                "readQueries": [],
            }
        elif found := re.match(r"DROP (?:STREAM|TABLE) IF EXISTS `(\w+)`", text):
            self.sources.pop(found[1], None)


@dataclass
class FakeConnect(FakeRest):
    """Connectors by name; `states` are what the connector and its tasks say, in turn, the last for good.

    Of a connector that is changed, paused, stopped or resumed they are told late, as by a real worker.
    """

    connectors: dict[str, dict[str, str]] = field(default_factory=dict)
    states: list[list[str]] = field(default_factory=lambda: [["RUNNING", "RUNNING"]])
    states_once_changed: list[list[str]] = field(default_factory=list)
    """The states that come with another configuration, a restart, or the end of a pause; empty: the same."""
    late: int = 0
    """Answers about the state that are still of the time before a change."""
    stopped: set[str] = field(default_factory=set)
    trace: str = ""
    _stale: list[list[str]] = field(default_factory=list)

    def serve(self, method: str, path: str, body: Any) -> Answer:
        if path == "/":
            return 200, {"version": "4.1.1", "commit": "x", "kafka_cluster_id": "y"}
        found = re.fullmatch(r"/connectors/([^/]+)(/config|/status|/pause|/stop|/resume|/restart\?.*)?", path)
        name = unquote(found[1]) if found else ""
        match method, found[2] if found else "":
            case "PUT", "/config":
                is_new = name not in self.connectors
                if not is_new:
                    self._delay(name)
                    self.states = self.states_once_changed or self.states
                self.connectors[name] = {**body, "name": name}
                return 201 if is_new else 200, {"name": name, "config": self.connectors[name], "tasks": []}
            case "PUT", "/pause" if name in self.connectors:
                self._delay(name)
                self.states, self.states_once_changed = [["PAUSED", "PAUSED"]], self.states
                return 202, None
            case "PUT", "/stop" | "/resume" if name in self.connectors:
                self._delay(name)
                if found[2] == "/resume" and "PAUSED" in self.states[0]:
                    self.states = self.states_once_changed
                (self.stopped.add if found[2] == "/stop" else self.stopped.discard)(name)
                return 202 if found[2] == "/resume" else 204, None
            case "POST", "/restart?includeTasks=true&onlyFailed=true" if name in self.connectors:
                self._delay(name)
                self.states = self.states_once_changed or self.states
                return 202, {"name": name}
            case "GET", "/config" if name in self.connectors:
                return 200, self.connectors[name]
            case "GET", "/status" if name in self.connectors:
                return 200, self._status(name)
            case "DELETE", None if name in self.connectors:
                del self.connectors[name]
                return 204, None
        return super().serve(method, path, body)

    def _delay(self, name: str) -> None:
        seen = ["STOPPED"] if name in self.stopped else self.states[0]
        self._stale += [seen] * self.late

    def _status(self, name: str) -> dict[str, Any]:
        if self._stale:
            own, *tasks = self._stale.pop(0)
        elif name in self.stopped:
            own, *tasks = ["STOPPED"]
        else:
            own, *tasks = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        failed = {"trace": self.trace}
        return {
            "name": name,
            "connector": {"state": own, "worker_id": "w:8083"} | (failed if own == "FAILED" else {}),
            "tasks": [
                {"id": i, "state": state, "worker_id": "w:8083"} | (failed if state == "FAILED" else {})
                for i, state in enumerate(tasks)
            ],
        }


@contextmanager
def serving(fake: FakeRest, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Serve on a free port while the context lasts; `fake.url` says where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece, or the client waits 40 ms for the second

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.authorizations.add(self.headers.get("Authorization"))
            status, answer = fake.answer(self.command, self.path, body)
            if (status, answer) == HANGS:
                fake.is_over.wait()
            if (status, answer) in (HANGS, LOST):
                self.close_connection = True
                return
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            content = b"" if status == 204 else content
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):  # the client went away in the middle
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield
    finally:
        fake.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
