"""What a connection hands over: every byte in order, small reads as one, and what ends it last."""

import socket
import time

import pytest

from glue.io.http_feed import MAX_LINE_BYTES, Chunk, Connection, Disconnected, Event, LongLine, Opened
from glue.settings import Settings
from tests.scripted_feed import Exchange, scripted_feed

DEADLINE_S = 20.0
OK = b"HTTP/1.1 200 OK\r\n"


def events_of(connection: Connection) -> list[Event]:
    """Read to the end."""
    events: list[Event] = []
    deadline = time.monotonic() + DEADLINE_S
    while not (events and isinstance(events[-1], Disconnected)):
        assert time.monotonic() < deadline, events
        event = connection.next(0.1)
        if event is not None:
            events.append(event)
    connection.close()
    return events


def in_small_sends(exchange: Exchange) -> None:
    exchange.begin()
    for i in range(400):
        exchange.send(b"line %d\n" % i)
    exchange.send(b"x" * (MAX_LINE_BYTES + 1) + b"\n")
    for i in range(400, 500):
        exchange.send(b"line %d\n" % i)
    exchange.send(b"half a")


def test_small_reads_may_be_joined_but_nothing_changes_place() -> None:
    with scripted_feed(in_small_sends) as feed:
        connection = Connection(Settings.load(mock_api_url=feed.url), None)
        time.sleep(0.3)  # reads wait in the queue by then
        opened, *events, end = events_of(connection)
    assert isinstance(opened, Opened)
    data, long_at = b"", []
    for event in events:
        if isinstance(event, Chunk):
            data += event.data
        else:
            assert isinstance(event, LongLine)
            long_at.append((data.count(b"\n"), event.length))
    assert data == b"".join(b"line %d\n" % i for i in range(500))
    assert long_at == [(400, MAX_LINE_BYTES + 1)]
    assert end == Disconnected(end.reason, is_clean=True, tail=b"half a")


@pytest.mark.parametrize("sent", [b"", OK + b"Content-Ty", OK + b"\r\n", OK + b'\r\n{"type":"hel'])
def test_an_answer_that_breaks_off_before_its_first_line_is_a_lost_connection(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/ticks"
        connection = Connection(Settings.load(mock_api_url=url), None)
        client, _ = server.accept()
        with client:
            client.recv(16_384)
            client.sendall(sent)
        (lost,) = events_of(connection)
    assert isinstance(lost, Disconnected)
    assert (lost.is_clean, lost.tail) == (False, b"")
