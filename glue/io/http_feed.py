"""The feed over HTTP: one connection at a time, as whole lines in a bounded queue.

The queue is the back-pressure: while the worker is busy the connection is not read, and TCP slows the feed.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import requests

from glue.core.ticks import Control, decode_line
from glue.settings import Settings

CHUNK_BYTES = 256 * 1024
QUEUE_CHUNKS = 64
GATHER_S = 0.005
"""Lines of a slow feed wait so long for others: a batch of them costs little more than one."""
MAX_LINE_BYTES = 1024 * 1024
"""A longer line is refused; only its start and its SHA-256 are kept."""
LONG_START_BYTES = 8192
CONNECT_TIMEOUT_S = 5.0


class Opened(msgspec.Struct, frozen=True):
    """The feed answers; its hello if its first line is one."""

    hello: Control | None


class Chunk(msgspec.Struct, frozen=True):
    """Whole lines, each with its line feed."""

    data: bytes


class LongLine(msgspec.Struct, frozen=True):
    """A line beyond the limit: its first bytes, and the hash and length of all of it."""

    start: bytes
    sha256: str
    length: int


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is over. `is_clean`: the server ended its answer; `status`: it was not 200."""

    reason: str
    is_clean: bool = False
    status: int | None = None
    tail: bytes = b""
    """What came after the last line feed."""


Event = Opened | Chunk | LongLine | Disconnected


class Connection:
    """One GET of the feed, read by a thread of its own until it ends or is closed."""

    def __init__(self, settings: Settings, since_ms: int | None) -> None:
        self._url = settings.mock_api_url
        self._params: dict[str, str] = {}
        if since_ms is not None:
            self._params["since_ms"] = str(since_ms)
        if settings.replay_symbol:
            self._params["symbol"] = settings.replay_symbol
        self._read_timeout_s = settings.replay_read_timeout_ms / 1000
        self._events: queue.Queue[Event] = queue.Queue(QUEUE_CHUNKS)
        self._ahead: Event | None = None
        """What came after the chunks that were joined."""
        self._response: requests.Response | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when none came in time; chunks that wait come as one."""
        event, self._ahead = self._ahead, None
        if event is None:
            with suppress(queue.Empty):
                event = self._events.get(timeout=max(0.0, timeout_s))
        return self._join(event) if isinstance(event, Chunk) else event

    def _join(self, chunk: Chunk) -> Chunk:
        if self._events.empty():
            time.sleep(GATHER_S)
        parts, size = [chunk.data], len(chunk.data)
        with suppress(queue.Empty):
            while size < CHUNK_BYTES:
                event = self._events.get_nowait()
                if not isinstance(event, Chunk):
                    self._ahead = event
                    break
                parts.append(event.data)
                size += len(event.data)
        return Chunk(b"".join(parts)) if len(parts) > 1 else chunk

    def close(self) -> None:
        """Stop reading; what is queued is dropped."""
        self._is_closed = True
        if self._response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                self._response.raw.shutdown()
        while self.next(0) is not None:
            pass
        self._thread.join(timeout=2)

    def _run(self) -> None:
        lines = LineSplitter()
        try:
            with requests.get(
                self._url,
                params=self._params,
                stream=True,
                timeout=(CONNECT_TIMEOUT_S, self._read_timeout_s),
                headers={"Accept": "application/x-ndjson"},
            ) as response:
                self._response = response
                if response.status_code != 200:
                    self._put(_refused(response))
                    return
                is_open = False
                while data := response.raw.read1(CHUNK_BYTES, decode_content=True):
                    for event in lines.split(data):
                        if not is_open:
                            hello, event = _take_hello(event)
                            self._put(Opened(hello))
                            is_open = True
                        self._put(event)
                    if self._is_closed:
                        return
            if is_open:
                self._put(Disconnected("the feed closed the connection", is_clean=True, tail=lines.tail))
            else:  # headers that broke off look like an empty answer
                self._put(Disconnected("the feed closed the connection before its first line"))
        except (requests.RequestException, OSError, ValueError) as error:
            self._put(Disconnected(_explain(error), tail=lines.tail))
        except Exception as error:  # urllib3's own, on a body that breaks off
            self._put(Disconnected(_explain(error), tail=lines.tail))

    def _put(self, event: Event) -> None:
        while not self._is_closed:
            with suppress(queue.Full):
                self._events.put(event, timeout=0.2)
                return


class LineSplitter:
    """Cuts a byte stream into chunks of whole lines; lines beyond MAX_LINE_BYTES are only hashed."""

    def __init__(self) -> None:
        self.tail = b""
        self._long_start = b""
        self._long_hash = hashlib.sha256()
        self._long_length = 0

    def split(self, data: bytes) -> Iterator[Chunk | LongLine]:
        """Yield what the next bytes complete."""
        if self._long_length:
            rest, newline, data = data.partition(b"\n")
            self._long_hash.update(rest)
            self._long_length += len(rest)
            if not newline:
                return
            yield LongLine(self._long_start, self._long_hash.hexdigest(), self._long_length)
            self._long_length = 0
        if self.tail:
            first, newline, data = data.partition(b"\n")
            self.tail += first
            if newline:
                yield _line(self.tail)
                self.tail = b""
        whole, newline, tail = data.rpartition(b"\n")
        if newline:
            yield Chunk(whole + newline)  # a read is far below the limit, and so are its whole lines
        self.tail += tail
        if len(self.tail) > MAX_LINE_BYTES:
            self._long_start = self.tail[:LONG_START_BYTES]
            self._long_hash = hashlib.sha256(self.tail)
            self._long_length = len(self.tail)
            self.tail = b""


def _line(line: bytes) -> Chunk | LongLine:
    if len(line) > MAX_LINE_BYTES:
        return LongLine(line[:LONG_START_BYTES], hashlib.sha256(line).hexdigest(), len(line))
    return Chunk(line + b"\n")


def _take_hello(event: Chunk | LongLine) -> tuple[Control | None, Chunk | LongLine]:
    if isinstance(event, Chunk):
        first, _, rest = event.data.partition(b"\n")
        line = decode_line(first)
        if isinstance(line, Control) and line.type == "hello":
            return line, Chunk(rest)
    return None, event


def _refused(response: requests.Response) -> Disconnected:
    status = response.status_code
    try:
        text = response.raw.read(2000, decode_content=True).decode(errors="replace").strip()
    except Exception:  # the body is only for the message
        text = ""
    return Disconnected(f"HTTP {status} {response.reason}" + (f": {text}" if text else ""), status=status)


def _explain(error: Exception) -> str:
    text = str(error)
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.ConnectionError) and "refused" in text:
        return "connection refused"
    if "timed out" in text.lower() or isinstance(error, requests.Timeout):
        return "the feed fell silent (REPLAY_READ_TIMEOUT_MS)"
    return f"{type(error).__name__}: {text}"
