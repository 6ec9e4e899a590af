"""What a connection hands over: every byte in order, small reads as one, and what ends it last."""

import time

from glue.io.http_feed import MAX_LINE_BYTES, Chunk, Connection, Disconnected, Event, LongLine, Opened
from glue.settings import Settings
from tests.scripted_feed import Exchange, scripted_feed

DEADLINE_S = 20.0


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
