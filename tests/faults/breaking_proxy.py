"""A TCP proxy before a feed that breaks connections at random bytes: mid-headers, mid-hello, mid-line."""

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

READ_BYTES = 16 * 1024
AT_THE_START, SOON, LATER = (0, 0), (1, 1500), (5_000, 100_000)
"""Bytes of the answer that a connection may carry: headers and hello are some 400."""
ODDS = (AT_THE_START, SOON, LATER, LATER)
RESET = struct.pack("ii", 1, 0)


class BreakingProxy:
    """Passes bytes on and breaks `breaks` connections, each after a number of bytes of its own."""

    def __init__(self, url: str, breaks: int, seed: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "", parts.port or 0)
        self._rng = random.Random(seed)
        self._breaks = breaks
        self._open: set[socket.socket] = set()
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}"))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether all that were to be broken are; later connections are left alone."""
        return self.broken >= self._breaks

    def close(self) -> None:
        """Break what is open, take no more, and wait until all threads are gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        threads: list[threading.Thread] = []
        with self._listener:
            while True:
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    break
                limit, is_reset = self._rng.randint(*self._rng.choice(ODDS)), self._rng.random() < 0.5
                thread = threading.Thread(target=self._serve, args=(client, limit, is_reset))
                thread.start()
                threads.append(thread)
        for thread in threads:
            thread.join()

    def _serve(self, client: socket.socket, limit: int, is_reset: bool) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream, 5) as upstream:
            upstream.settimeout(None)
            self._open |= {client, upstream}
            try:
                upstream.sendall(client.recv(READ_BYTES))  # the request is one small packet
                passed = 0
                while data := upstream.recv(READ_BYTES):
                    if not self.is_over and passed + len(data) >= limit:
                        client.sendall(data[: limit - passed])
                        self.broken += 1
                        if is_reset:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        return
                    client.sendall(data)
                    passed += len(data)
            finally:
                self._open -= {client, upstream}


@contextmanager
def breaking_proxy(url: str, breaks: int, seed: str) -> Iterator[BreakingProxy]:
    """Run a proxy for as long as the block lasts."""
    proxy = BreakingProxy(url, breaks, seed)
    try:
        yield proxy
    finally:
        proxy.close()
