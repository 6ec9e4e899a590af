"""The mock API as its users meet it: a process of its own, read over HTTP on loopback."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest
import requests

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / ".." / "shared" / "data"
WDC = RECORDINGS / "WDC_tickbidask_20000.txt"
BTC = RECORDINGS / "BTCUSDT_trades_20210108.csv"
needs_recordings = pytest.mark.skipif(not WDC.exists(), reason="the recordings in ../shared/data are absent")
DEADLINE_S = 60
MOST_BEHIND_MS = 60_000
"""Of a live line, on a machine that may have other things to do."""
DISORDER_MS = 50
Line = dict[str, Any]
HISTORICAL = (
    "--synthetic", "--historical", "--duration", "20", "--speed", "0", "--disorder-ms", "800",
    "--late-rate", "0.01",
)  # fmt: skip


def start(*options: str, stderr: int | IO[bytes] = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    settings = {
        name: value for name, value in os.environ.items() if not name.startswith(("REPLAY_", "FEED_"))
    }
    return subprocess.Popen(
        [sys.executable, "-m", "glue.mock_api", "--port", "0", *options],
        cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip


class Server:
    """A running mock API."""

    def __init__(self, *options: str) -> None:
        self.process = start(*options)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving http://127.0.0.1:"), line
        self.url = line.split()[1]

    def get(self, **query: Any) -> bytes:
        answer = requests.get(self.url, params=query, timeout=DEADLINE_S)
        answer.raise_for_status()
        return answer.content

    def refusal(self, **query: Any) -> tuple[int, dict[str, Any]]:
        answer = requests.get(self.url, params=query, timeout=DEADLINE_S)
        return answer.status_code, answer.json()

    def health(self) -> dict[str, Any]:
        return requests.get(self.url.replace("/ticks", "/health"), timeout=DEADLINE_S).json()

    def listen(self, is_enough: Callable[[list[Line]], object], **query: Any) -> list[Line]:
        """Read a live feed until it has sent enough: how long that takes is the machine's business."""
        lines: list[Line] = []
        with requests.get(self.url, params=query, timeout=DEADLINE_S, stream=True) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(chunk_size=None):
                lines.append(json.loads(line))
                if is_enough(lines):
                    return lines
        raise AssertionError(f"the feed ended after {len(lines)} lines")

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Stop it. A server that waits for its clients does so for a minute."""
        self.process.send_signal(signum)
        self.process.wait(timeout=45)


def serving() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(*options: str) -> Server:
        servers.append(Server(*options))
        return servers[-1]

    yield make
    for server in servers:
        if server.process.poll() is None:
            server.stop()
        assert server.process.stdout is not None
        server.process.stdout.close()


serve = pytest.fixture(serving, name="serve")
serve_all = pytest.fixture(serving, name="serve_all", scope="module")


@pytest.fixture(scope="module")
def historical(serve_all: Callable[..., Server]) -> Server:
    return serve_all(*HISTORICAL)


@pytest.fixture(scope="module")
def live(serve_all: Callable[..., Server]) -> Server:
    return serve_all("--synthetic", "--rate", "300", "--disorder-ms", str(DISORDER_MS))


def decoded(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line]


def ticks(lines: list[Line]) -> list[Line]:
    return [line for line in lines if "seq" in line]


def beats(lines: list[Line]) -> list[float]:
    return [line["event_ts"] for line in lines if line.get("type") == "heartbeat"]


def has_ticks(count: int) -> Callable[[list[Line]], bool]:
    return lambda lines: len(ticks(lines)) >= count


def test_many_clients_at_once_get_the_same_lines_from_hello_to_end(historical: Server) -> None:
    server = historical
    served_before = server.health()["lines_served"]
    with ThreadPoolExecutor(12) as pool:
        bodies = list(pool.map(lambda _: server.get(), range(12)))
    assert len(set(bodies)) == 1
    lines = decoded(bodies[0])
    assert (lines[0]["type"], lines[0]["mode"], lines[0]["resume"]) == ("hello", "historical", "since")
    assert lines[-1] == {"type": "end"}
    assert [line["seq"] for line in lines[1:-1]] == list(range(len(lines) - 2))
    times = [line["event_ts"] for line in lines[1:-1]]
    assert times != sorted(times)
    health = server.health()
    assert health["status"] == "ok"
    assert health["feed_id"] == lines[0]["feed_id"]
    assert health["lines_served"] - served_before == 12 * (len(lines) - 2)
    assert health["symbols"] == ["AAPL", "MSFT", "NVDA", "SPY", "TSLA", "WDC"]
    assert health["clients"] == 0


def test_since_and_symbol_choose_lines_and_keep_their_numbers(historical: Server) -> None:
    server = historical
    everything = server.get().splitlines()
    since_ms = 1_709_562_600_000 + 9_000
    first = next(
        at for at, line in enumerate(everything) if json.loads(line).get("event_ts", 0) * 1000 >= since_ms
    )
    assert server.get(since_ms=since_ms).splitlines()[1:] == everything[first:]
    chosen = [line for line in everything[1:-1] if json.loads(line)["symbol"] in ("WDC", "SPY")]
    assert server.get(symbol="WDC,SPY").splitlines()[1:-1] == chosen
    assert server.get(symbol=["WDC", "SPY"]).splitlines()[1:-1] == chosen


def test_wrong_queries_are_refused_by_name(historical: Server) -> None:
    for query, parameter in (
        ({"since_ms": "soon"}, "since_ms"),
        ({"since_ms": "1.5"}, "since_ms"),
        ({"since_ms": ["1", "2"]}, "since_ms"),
        ({"since_ms": "9" * 30}, "since_ms"),
        ({"symbol": "ABCD"}, "symbol"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "a b"}, "symbol"),
        ({"since": "5"}, "since"),
    ):
        status, answer = historical.refusal(**query)
        assert (status, answer["parameter"]) == (400, parameter)
        assert parameter in answer["error"]


def test_a_live_feed_has_heartbeats_and_no_end(live: Server) -> None:
    began_ms = int(time.time() * 1000)
    lines = live.listen(lambda lines: len(beats(lines)) >= 12 and ticks(lines))
    assert lines[0]["mode"] == "live"
    sent_ms = [round(beat * 1000) + DISORDER_MS for beat in beats(lines)]  # older ticks may still come
    assert began_ms <= sent_ms[0]
    assert sent_ms[-1] <= time.time() * 1000
    tenths = [ms // 100 for ms in sent_ms]
    assert tenths == sorted(set(tenths)), "one in a tenth of a second"
    assert min(later - earlier for earlier, later in pairwise(tenths)) == 1, "and the next in the next"
    assert not [line for line in lines if line.get("type") == "end"]
    for tick in ticks(lines):
        assert 0 <= tick["api_send_ts_ms"] - tick["event_ts"] * 1000 < MOST_BEHIND_MS
        assert tick["source_event_ts_ms"] < 1_709_600_000_000


def test_a_live_connection_resumes_at_since_with_the_same_lines(live: Server) -> None:
    server = live
    before = ticks(server.listen(has_ticks(200)))
    middle = before[len(before) // 2]
    since_ms = int(middle["event_ts"] * 1000)
    again = ticks(server.listen(has_ticks(150), since_ms=since_ms))
    assert again[0]["event_ts"] * 1000 >= since_ms
    known = {tick["seq"]: tick for tick in before}
    shared = [tick for tick in again if tick["seq"] in known]
    assert len(shared) > 20
    for tick in shared:
        old = known[tick["seq"]]
        assert {**tick, "api_send_ts_ms": 0} == {**old, "api_send_ts_ms": 0}
    assert [tick["seq"] for tick in again] == list(range(again[0]["seq"], again[0]["seq"] + len(again)))
    late_start = ticks(server.listen(has_ticks(1)))
    assert late_start[0]["seq"] > before[-1]["seq"], "without since it starts at now"


def test_since_in_the_future_waits_with_heartbeats(live: Server) -> None:
    for ahead_ms in (700, 10_000):  # a busy machine may connect when the first has passed
        since_ms = int(time.time() * 1000) + ahead_ms
        *waiting, first = live.listen(has_ticks(1), since_ms=since_ms)
        assert since_ms <= first["event_ts"] * 1000 < since_ms + 500
        if len(beats(waiting)) >= 2:
            break
    assert len(beats(waiting)) >= 2


def test_a_restarted_server_with_the_same_base_is_the_same_feed(serve: Callable[..., Server]) -> None:
    base_ms = int(time.time() * 1000)
    options = ("--synthetic", "--rate", "100", "--rebase-to", str(base_ms))
    first = serve(*options)
    before = first.listen(has_ticks(20), since_ms=base_ms)
    first.stop(signal.SIGKILL)
    after = serve(*options).listen(has_ticks(20), since_ms=base_ms)
    assert before[0] == after[0]
    for old, new in zip(ticks(before), ticks(after), strict=True):
        assert {**old, "api_send_ts_ms": 0} == {**new, "api_send_ts_ms": 0}


def test_a_since_that_is_no_longer_kept_is_gone(serve: Callable[..., Server]) -> None:
    started_ms = int(time.time() * 1000) - 150_000
    server = serve(
        "--synthetic", "--rate", "100", "--rebase-to", str(started_ms), "--keep-minutes", "1"
    )  # fmt: skip
    status, answer = server.refusal(since_ms=started_ms)
    assert status == 410
    assert str(answer["oldest_since_ms"]) in answer["error"]
    assert started_ms + 60_000 < answer["oldest_since_ms"] <= time.time() * 1000 - 59_000
    since_ms = answer["oldest_since_ms"] + 30_000  # what is kept moves on meanwhile
    kept = ticks(server.listen(has_ticks(1), since_ms=since_ms))
    assert kept[0]["event_ts"] * 1000 >= since_ms


def test_a_finite_live_feed_ends(serve: Callable[..., Server]) -> None:
    server = serve("--synthetic", "--rate", "200", "--duration", "1.0")
    lines = decoded(server.get(since_ms=0))
    assert lines[-1] == {"type": "end"}
    assert ticks(lines)[0]["seq"] == 0


def test_a_slow_client_holds_up_nobody_and_grows_no_memory(serve: Callable[..., Server]) -> None:
    server = serve("--synthetic", "--historical", "--duration", "400", "--rate", "300", "--speed", "0")
    address = urlsplit(server.url)
    assert address.hostname is not None and address.port is not None
    slow = [socket.create_connection((address.hostname, address.port), timeout=20) for _ in range(20)]
    try:
        for connection in slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /ticks HTTP/1.1\r\nHost: x\r\n\r\n")
        whole = server.get()
        assert whole.endswith(b'{"type":"end"}\n')
        before_kb = _memory_kb(server)
        assert server.get() == whole
        assert server.health()["clients"] == 20, "nobody waited for the slow ones, which are still at it"
        assert _memory_kb(server) - before_kb < 30_000, "each slow client may hold some 100 KB, not the feed"
    finally:
        for connection in slow:
            connection.close()


def _memory_kb(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_with_clients_connected(serve: Callable[..., Server], signum: int) -> None:
    server = serve("--synthetic")
    connections = []
    for _ in range(3):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=DEADLINE_S)
        connection.request("GET", "/ticks")
        response = connection.getresponse()
        assert b"hello" in response.readline()
        connections.append((connection, response))
    server.stop(signum)
    assert server.process.returncode == 0
    for connection, response in connections:
        with pytest.raises((http.client.HTTPException, ConnectionError)):  # a break, not a clean end
            while response.read1(65536):
                pass
            raise ConnectionError
        connection.close()


def test_bad_lines_of_a_file_come_as_they_are(serve: Callable[..., Server], tmp_path: Path) -> None:
    file = tmp_path / "mixed.ndjson"
    tick = b'{"symbol":"A","px":1.5,"sz":2,"event_ts":1600000000.5}'
    bad = [b"{broken", b"\xff\xfe", b'{"symbol":"A","px":-1,"sz":1,"event_ts":1}', b"x" * 3_000_000]
    file.write_bytes(b"\n".join([tick, *bad, tick]) + b"\n")
    lines = serve("--file", str(file), "--speed", "0").get().splitlines()
    assert lines[2:-2] == bad
    assert json.loads(lines[-2])["seq"] == len(bad) + 1


@needs_recordings
def test_recordings_are_served_whole_and_merged_by_event_time(serve: Callable[..., Server]) -> None:
    one = decoded(serve("--file", str(WDC), "--format", "kibot", "--speed", "0").get())
    assert len(one) == 20_002
    assert one[1] == {
        "symbol": "WDC", "px": 42.87, "sz": 1161.0, "event_ts": 1266417001.0, "bid": 42.7,
        "ask": 43.01, "seq": 0,
    }  # fmt: skip
    both = decoded(serve("--file", str(BTC), "--file", str(WDC), "--speed", "0").get())
    assert [line["seq"] for line in both[1:-1]] == list(range(22_001))
    times = [line["event_ts"] for line in both[1:-1]]
    assert times == sorted(times)
    assert (both[1]["symbol"], both[-2]["symbol"]) == ("WDC", "BTCUSDT")


@needs_recordings
def test_a_recording_is_paced_and_looped_in_real_time(serve: Callable[..., Server]) -> None:
    lines = ticks(serve("--file", str(BTC), "--realtime", "--loop").listen(has_ticks(20)))
    behind_ms = [tick["api_send_ts_ms"] - tick["event_ts"] * 1000 for tick in lines]
    assert all(0 <= ms < MOST_BEHIND_MS for ms in behind_ms)
    assert lines[0]["source_event_ts_ms"] // 10**9 == 1610


def test_a_port_in_use_is_named(live: Server) -> None:
    port = str(urlsplit(live.url).port)
    process = start("--synthetic", "--port", port, stderr=subprocess.PIPE)
    _, error = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, "Traceback" in error) == (1, False)
    assert f"port {port} of 127.0.0.1 is in use" in error and "--port" in error
