"""One connection: hello, pacing, heartbeats and end, on an event loop whose time is virtual."""

import asyncio
import json
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from glue.core.ticks import event_time_ms
from glue.feeds.feed import Disturbance, Feed, Keep
from glue.feeds.lines import Entry, SourceTick
from glue.feeds.stream import Stream
from glue.feeds.tape import TapeDropped

START_MS = 1_600_000_000_000
WALL_MS = 1_700_000_000_000


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it; does no I/O."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop.now_s += timeout or 0.0
        return []


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    loop = VirtualTimeLoop()
    yield loop
    loop.close()


class Recorded:
    """A source of given event times (ms after START_MS)."""

    symbols = None
    is_finite = True
    disorder_ms = 0
    estimated_bytes = 0

    def __init__(self, times_ms: list[int], *, name: str = "recorded", finite: bool = True) -> None:
        self.times_ms = times_ms
        self.identity = [name, str(times_ms)]
        self.first_ms = START_MS + times_ms[0] if times_ms else 0
        self.is_finite = finite

    def entries(self) -> Iterator[Entry]:
        for ms in self.times_ms:
            yield START_MS + ms, 0, SourceTick((START_MS + ms) * 1000, "AB"[ms % 2], 1.0, 1.0)


class Client:
    """Collects (virtual ms, line)."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self.got: list[tuple[float, bytes]] = []

    async def write(self, data: bytes) -> None:
        assert data.endswith(b"\n")
        self.got += [(self._loop.now_s * 1000, line) for line in data.split(b"\n")[:-1]]

    @property
    def lines(self) -> list[bytes]:
        return [line for _, line in self.got]

    def values(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line]

    def ticks(self) -> list[dict[str, Any]]:
        return [value for value in self.values() if "seq" in value]

    def arrivals(self) -> list[tuple[int, int]]:
        """(virtual ms, event time in ms after the start of the source) of each tick."""
        return [
            (round(at), event_time_ms(json.loads(line)["event_ts"]) - START_MS)
            for at, line in self.got
            if b'"seq"' in line
        ]


def live(loop: VirtualTimeLoop, source: Recorded, **options: Any) -> Feed:
    """A live feed whose wall clock reads START_MS at virtual time 0, so event times stay as they are."""
    options.setdefault("base_ms", source.first_ms)
    return Feed(source, now_ms=lambda: START_MS + loop.now_s * 1000, **options)


def historical(source: Recorded, **options: Any) -> Feed:
    return Feed(source, now_ms=lambda: WALL_MS, **options)


def run(loop: VirtualTimeLoop, feed: Feed, **options: Any) -> Client:
    client = Client(loop)
    loop.run_until_complete(Stream(feed, client.write, **options).run())
    return client


# Historical


def test_a_finite_feed_says_hello_first_and_end_last(loop: VirtualTimeLoop) -> None:
    feed = historical(Recorded([0, 1, 2]), speed=0)
    client = run(loop, feed)
    values = client.values()
    assert values[0] == {"type": "hello", "feed_id": feed.feed_id, "mode": "historical", "resume": "since"}
    assert values[-1] == {"type": "end"}
    assert [value["seq"] for value in values[1:-1]] == [0, 1, 2]


def test_an_empty_source_is_hello_and_end(loop: VirtualTimeLoop) -> None:
    assert len(run(loop, historical(Recorded([]))).lines) == 2


def test_a_historical_feed_gives_the_same_bytes_to_everyone(loop: VirtualTimeLoop) -> None:
    options = {"speed": 0, "disturbance": Disturbance(300, 0.1, 5)}
    source = Recorded(list(range(0, 3000, 7)))
    first = run(loop, historical(source, **options)).lines
    assert run(loop, historical(source, **options)).lines == first
    shared = historical(source, **options)
    assert run(loop, shared).lines == run(loop, shared).lines == first


def test_replay_is_paced_from_the_first_line_of_the_connection(loop: VirtualTimeLoop) -> None:
    source = Recorded([0, 10, 15, 700])
    assert run(loop, historical(source)).arrivals() == [(0, 0), (10, 10), (15, 15), (700, 700)]
    loop.now_s = 0.0
    assert run(loop, historical(source, speed=5), since_ms=START_MS + 11).arrivals() == [(0, 15), (137, 700)]


def test_a_long_gap_is_bridged_by_blank_lines(loop: VirtualTimeLoop) -> None:
    client = run(loop, historical(Recorded([0, 3500])))
    assert [round(at) for at, line in client.got if not line] == [1000, 2000, 3000]
    assert client.arrivals() == [(0, 0), (3500, 3500)]


def test_since_beyond_the_end_is_an_empty_feed(loop: VirtualTimeLoop) -> None:
    assert len(run(loop, historical(Recorded([0, 5])), since_ms=START_MS + 6).values()) == 2


def test_a_symbol_filter_keeps_the_numbers(loop: VirtualTimeLoop) -> None:
    client = run(loop, historical(Recorded([0, 1, 2, 3]), speed=0), symbols=["B"])
    assert [(tick["symbol"], tick["seq"]) for tick in client.ticks()] == [("B", 1), ("B", 3)]


def test_a_source_too_large_to_keep_is_read_by_each_client_alone(loop: VirtualTimeLoop) -> None:
    source = Recorded(list(range(5000)))
    source.estimated_bytes = 10**9
    feed = historical(source, speed=0)
    assert feed.shared is None
    whole = run(loop, historical(Recorded(list(range(5000))), speed=0)).lines[1:]
    assert run(loop, feed).lines[1:] == whole
    assert run(loop, feed, since_ms=START_MS + 4000).lines[1:] == whole[4000:]
    stream = Stream(feed, Client(loop).write)
    loop.run_until_complete(stream.run())
    assert stream._tape.kept_bytes == 0


# Live


def test_a_live_feed_moves_event_times_to_the_wall_clock(loop: VirtualTimeLoop) -> None:
    feed = live(loop, Recorded([0, 50]), base_ms=START_MS + 1000)
    client = run(loop, feed)
    assert client.arrivals() == [(1000, 1000), (1050, 1050)]
    assert [tick["source_event_ts_ms"] for tick in client.ticks()] == [START_MS, START_MS + 50]
    assert [tick["api_send_ts_ms"] for tick in client.ticks()] == [START_MS + 1000, START_MS + 1050]


def test_heartbeats_come_every_100_ms_busy_or_quiet(loop: VirtualTimeLoop) -> None:
    client = run(loop, live(loop, Recorded([*range(0, 500, 3), 1000])))
    beats = [(round(at), json.loads(line)["event_ts"]) for at, line in client.got if b"heartbeat" in line]
    assert [at for at, _ in beats] == list(range(0, 1000, 100))
    assert [round(event_ts * 1000) - START_MS for _, event_ts in beats] == [at for at, _ in beats]


@pytest.mark.parametrize("start_ms", [0, 730])
def test_no_tick_is_older_than_a_heartbeat_before_it(loop: VirtualTimeLoop, start_ms: int) -> None:
    loop.now_s = start_ms / 1000
    feed = live(
        loop,
        Recorded(list(range(0, 3000, 2))),
        base_ms=START_MS,
        disturbance=Disturbance(disorder_ms=250, seed=3),
    )
    client = run(loop, feed, since_ms=START_MS)
    promised = 0.0
    is_disordered = False
    for value in client.values():
        if value.get("type") == "heartbeat":
            promised = value["event_ts"]
        elif "seq" in value:
            assert value["event_ts"] > promised
            is_disordered |= value["event_ts"] < max(promised, START_MS / 1000) + 0.2
    assert is_disordered
    assert len(client.ticks()) == 1500


def test_a_file_that_is_disordered_by_itself_holds_its_heartbeats_back(loop: VirtualTimeLoop) -> None:
    source = Recorded([0, 100])
    source.disorder_ms = 40
    client = run(loop, live(loop, source, base_ms=START_MS, disturbance=Disturbance(disorder_ms=5)))
    [first, *_] = [value for value in client.values() if value.get("type") == "heartbeat"]
    assert round(first["event_ts"] * 1000) == START_MS - 45


def test_a_live_connection_starts_at_now_and_the_backlog_is_unpaced(loop: VirtualTimeLoop) -> None:
    feed = live(loop, Recorded(list(range(0, 1000, 100))))
    loop.now_s = 0.55
    tape = feed.shared
    assert tape is not None
    while tape.grow():
        pass
    now = Client(loop)
    loop.run_until_complete(Stream(feed, now.write).run())
    assert now.arrivals() == [(ms, ms) for ms in (600, 700, 800, 900)]
    loop.now_s = 0.55
    resumed = run(loop, feed, since_ms=START_MS + 200)
    expected = [(550, 200), (550, 300), (550, 400), (550, 500), (600, 600)]
    assert resumed.arrivals()[:5] == expected
    kinds = ["beat" if b"heartbeat" in line else "tick" for line in resumed.lines[1:-1]]
    assert kinds[:4] == ["tick"] * 4, "no heartbeat before the backlog is out"


def test_since_in_the_future_waits_for_it(loop: VirtualTimeLoop) -> None:
    times = list(range(0, 6000, 2))  # several chunks
    client = run(loop, live(loop, Recorded(times)), since_ms=START_MS + 5001)
    assert client.arrivals()[0] == (5002, 5002)
    assert sum(b"heartbeat" in line for line in client.lines) == 60


def test_a_live_feed_with_a_fixed_base_is_the_same_feed_after_a_restart(loop: VirtualTimeLoop) -> None:
    source = Recorded([0, 5])
    assert live(loop, source, base_ms=7).feed_id == live(loop, source, base_ms=7, speed=1.0).feed_id
    assert live(loop, source, base_ms=7).feed_id != live(loop, source, base_ms=8).feed_id


def test_feed_id_depends_on_all_that_changes_the_lines_and_not_on_speed(loop: VirtualTimeLoop) -> None:
    source = Recorded([0, 5])
    base = historical(source).feed_id
    assert historical(source, speed=60).feed_id == base
    assert historical(source, disturbance=Disturbance(seed=9)).feed_id == base, "nothing is drawn"
    others = {
        historical(Recorded([0, 6])).feed_id,
        live(loop, source).feed_id,
        historical(source, disturbance=Disturbance(disorder_ms=5)).feed_id,
        historical(source, disturbance=Disturbance(disorder_ms=5, seed=9)).feed_id,
        historical(source, disturbance=Disturbance(late_rate=0.5)).feed_id,
    }
    assert len(others | {base}) == 6


def test_a_client_that_falls_behind_what_is_kept_is_told(loop: VirtualTimeLoop) -> None:
    feed = live(loop, Recorded(list(range(20_000)), finite=False), keep=Keep(ms=1000))
    client = Client(loop)

    async def slow(data: bytes) -> None:
        await client.write(data)
        if b'"seq"' in data:
            loop.now_s += 5.0
            feed.trim()
            tape = feed.shared
            assert tape is not None
            while (tape.last_due_ms or 0) < feed.now_ms() and tape.grow():
                feed.trim()

    work: Coroutine[Any, Any, None] = Stream(feed, slow).run()
    with pytest.raises(TapeDropped):
        loop.run_until_complete(work)
    assert b'{"type":"end"}' not in client.lines
