"""A feed that misbehaves by script: each connection gets the next answer, the last one again and again."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Answer = Callable[["Exchange"], None]


class Exchange:
    """One request and the means to answer it badly."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        query = parse_qs(urlsplit(handler.path).query)
        self.since_ms = int(query["since_ms"][0]) if "since_ms" in query else None

    def begin(self) -> None:
        """Answer 200 with a body that ends when the connection does."""
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "application/x-ndjson")
        self._handler.send_header("Connection", "close")
        self._handler.end_headers()

    def send(self, data: bytes) -> None:
        """Send body bytes as they are."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def fail(self, status: int, text: str = "") -> None:
        """Answer with an error status."""
        self._handler.send_error(status, text)

    def reset(self) -> None:
        """Break the connection without a farewell."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._handler.connection.close()


class ScriptedFeed:
    """Where it is, and what was asked of it."""

    def __init__(self, answers: list[Answer]) -> None:
        self.requests: list[int | None] = []
        """`since_ms` of each request so far."""
        self._answers = answers
        self.url = ""

    def answer(self, exchange: Exchange) -> None:
        """Give the next answer of the script."""
        number = len(self.requests)
        self.requests.append(exchange.since_ms)
        self._answers[min(number, len(self._answers) - 1)](exchange)


def sends(data: bytes, *, then_wait_s: float = 0.0) -> Answer:
    """Answer 200 with these bytes, stay silent for a while, and close."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(data)
        time.sleep(then_wait_s)

    return answer


def fails(status: int, text: str = "") -> Answer:
    """Answer with an error status."""
    return lambda exchange: exchange.fail(status, text)


def resets(data: bytes = b"") -> Answer:
    """Send these bytes and break the connection."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(data)
        exchange.reset()

    return answer


@contextmanager
def scripted_feed(*answers: Answer) -> Iterator[ScriptedFeed]:
    """Serve the script for as long as the block lasts."""
    feed = ScriptedFeed(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError, ValueError):
                feed.answer(Exchange(self))

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    feed.url = f"http://127.0.0.1:{server.server_port}/ticks"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield feed
    finally:
        server.shutdown()
        server.server_close()
