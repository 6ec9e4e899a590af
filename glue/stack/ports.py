"""Ports of the embedded parts: the usual ones when free, else free ones."""

import random
import socket
from collections.abc import Collection, Iterable

from glue.errors import TapelineError
from glue.stack.part import LOOPBACK

FALLBACK = range(20_000, 30_000)
"""Below the range from which systems take the ports of outgoing connections."""
ATTEMPTS = 200


def choose(wanted: Iterable[int], taken: Collection[int]) -> int:
    """Return the first wanted port that is free, else any free one; 0 in `wanted` is passed over.

    Args:
        wanted: ports in order of preference.
        taken: ports promised to others that may not listen yet.
    """
    for port in wanted:
        if port and port not in taken and is_free(port):
            return port
    for _ in range(ATTEMPTS):
        port = random.choice(FALLBACK)  # noqa: S311
        if port not in taken and is_free(port):
            return port
    raise TapelineError(f"no free port between {FALLBACK.start} and {FALLBACK.stop} on {LOOPBACK}")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on LOOPBACK and nobody answers there already."""
    with socket.socket() as server:
        # As servers do: a port whose old connections are still closing down is free.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    with socket.socket() as client:  # some systems let a second server bind beside one on all addresses
        client.settimeout(1.0)
        return client.connect_ex((LOOPBACK, port)) != 0
