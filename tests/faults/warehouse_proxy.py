"""A proxy before the local Snowflake that holds a statement when it sees one, or is down."""

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Point = Literal["before", "inside", "after"]
"""Of a statement: before its request reaches the server, while it runs there, before its answer is back."""
FLUSH = "BEGIN"
"""What a flush of facts begins with."""


class WarehouseProxy:
    """Passes requests on. `hold` makes the next such statement stop at a point: its client gets no answer."""

    def __init__(self, account: str) -> None:
        parts = urlsplit(account)
        self._upstream = (parts.hostname or "", parts.port or 0)
        self.is_down = False
        self.refused = 0
        self._point: Point | None = None
        self._held_statement = FLUSH
        self.held = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy._pass(self)

            do_GET = do_PUT = do_POST

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{self._server.server_port}"
        self.account = urlunsplit(parts._replace(netloc=netloc))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def hold(self, point: Point, statement: str = FLUSH) -> None:
        self.held.clear()
        self._held_statement = statement
        self._point = point

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _pass(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.close_connection = True
        if self.is_down:
            self.refused += 1
            return
        point = None
        if self._point is not None and statement_of(handler, body).startswith(self._held_statement):
            point, self._point = self._point, None
        if point == "before":
            self.held.set()
            return
        connection = http.client.HTTPConnection(*self._upstream, timeout=60)
        headers = {k: v for k, v in handler.headers.items() if k.lower() != "connection"}
        connection.request(handler.command, handler.path, body, headers)
        if point == "inside":
            self.held.set()
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if point is not None:
            self.held.set()
            return
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "date", "server"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content)


def statement_of(handler: BaseHTTPRequestHandler, body: bytes) -> str:
    if "query-request" not in handler.path:
        return ""
    text = gzip.decompress(body) if handler.headers.get("Content-Encoding") == "gzip" else body
    return str(json.loads(text)["sqlText"])


@contextmanager
def warehouse_proxy(account: str) -> Iterator[WarehouseProxy]:
    proxy = WarehouseProxy(account)
    try:
        yield proxy
    finally:
        proxy.close()
