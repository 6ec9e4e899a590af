"""What feeds do wrong, over real HTTP: no line stops the worker, and each bad one is a dead letter."""

import hashlib
import json
import random
import threading
import time
from pathlib import Path

import pytest

from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from tests.processes import Command, lines_of
from tests.scripted_feed import Exchange, fails, resets, scripted_feed, sends

T0 = 1_266_417_000
END = b'{"type":"end"}\n'
HELLO = b'{"type":"hello","feed_id":"f","mode":"historical","resume":"since"}\n'
IMPATIENT = {"REPLAY_READ_TIMEOUT_MS": "700"}


def tick(i: int, **changes: object) -> bytes:
    line = {"symbol": "WDC", "px": 42.5, "sz": 100.0, "event_ts": T0 + i / 10, "seq": i, **changes}
    return json.dumps({k: v for k, v in line.items() if v is not None}).encode() + b"\n"


def replay(url: str, tmp_path: Path, env: dict[str, str] | None = None) -> Command:
    worker = Command("-m", "glue.replay", "--url", url, "--sink", "jsonl", cwd=tmp_path, env=env)
    worker.wait()
    assert "Traceback" not in worker.output
    return worker


def results(tmp_path: Path) -> tuple[list[TickBin], list[DeadLetter]]:
    bins = lines_of(tmp_path / "logs" / "replay.jsonl", TickBin)
    letters = lines_of(tmp_path / "logs" / "replay_dlt.jsonl", DeadLetter)
    return [b for b in bins if b.trade_count], letters


BAD_LINES = [
    b"not json",
    b'{"symbol":"WDC","px":1,"sz":1,"event_ts":',
    b'{"symbol":"W\xff\xfeDC","px":1,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":NaN,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":Infinity,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":1e999,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":-1,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":0,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":1,"sz":-1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":"1","sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":true,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":1,"sz":1}',
    b'{"px":1,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"W D C","px":1,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"","px":1,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"~wm0","px":1,"sz":1,"event_ts":1266417001}',
    b'{"symbol":"WDC","px":1,"sz":1,"event_ts":-5}',
    b'{"symbol":"WDC","px":1,"sz":1,"event_ts":1e300}',
    b'{"symbol":{"a":[1]},"px":1,"sz":1,"event_ts":1266417001}',
    b'{"type":"gossip"}',
    b'{"type":"heartbeat"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[]",
    b"null",
    b"12",
    b'"text"',
    b"\x00\x01\x02",
    b'{"symbol":"WDC","px":1,"sz":1,"event_ts":1266417001}{"symbol":"WDC","px":1,"sz":1,"event_ts":1266417001}',
]


def test_every_kind_of_bad_line_is_a_dead_letter_with_its_text_and_the_stream_goes_on(tmp_path: Path) -> None:
    body = b"".join(tick(i) + bad + b"\n" for i, bad in enumerate(BAD_LINES))
    with scripted_feed(sends(HELLO + body + END)) as feed:
        assert replay(feed.url, tmp_path).wait() == 0
    bins, letters = results(tmp_path)
    assert sum(b.trade_count for b in bins) == len(BAD_LINES)
    assert [d.line_sha256 for d in letters] == [hashlib.sha256(bad).hexdigest() for bad in BAD_LINES]
    assert {d.reason for d in letters} == {"invalid"}
    assert all(d.detail for d in letters)
    assert all(
        d.line.startswith(bad[:50].decode(errors="backslashreplace"))
        for d, bad in zip(letters, BAD_LINES, strict=True)
    )
    assert len({d.dlt_id for d in letters}) == len(letters)


def test_random_bytes_are_dead_letters_and_all_good_lines_count(tmp_path: Path) -> None:
    rng = random.Random(11)
    body = b""
    for i in range(300):
        noise = bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 60))).replace(b"\n", b" ")
        cut = tick(i)[: rng.randrange(2, 40)].strip()
        body += tick(i) + rng.choice([b"?" + noise, cut, b"?" + noise + tick(i).strip()]) + b"\n"
    with scripted_feed(sends(HELLO + body + END)) as feed:
        assert replay(feed.url, tmp_path).wait() == 0
    bins, letters = results(tmp_path)
    assert sum(b.trade_count for b in bins) == 300
    assert len(letters) == 300


def test_a_line_of_ten_megabytes_is_a_dead_letter_cut_at_4_kib(tmp_path: Path) -> None:
    long = b'{"symbol":"' + b"A" * 10_000_000 + b'","px":1,"sz":1,"event_ts":1}'
    with scripted_feed(sends(HELLO + tick(0) + long + b"\n" + tick(1) + END)) as feed:
        assert replay(feed.url, tmp_path).wait() == 0
    bins, letters = results(tmp_path)
    assert sum(b.trade_count for b in bins) == 2
    assert [(len(d.line), d.line_sha256) for d in letters] == [(4096, hashlib.sha256(long).hexdigest())]


def test_clocks_years_ahead_and_behind_do_not_make_the_others_late(tmp_path: Path) -> None:
    body = b"".join(
        tick(2 * i, event_ts=T0 + i / 10)
        + tick(2 * i + 1, symbol="BAD", event_ts=T0 + (3e8 if i % 2 else -3e8) + i)
        for i in range(1, 40)
    )
    with scripted_feed(sends(HELLO + body + END)) as feed:
        assert replay(feed.url, tmp_path).wait() == 0
    bins, letters = results(tmp_path)
    assert sum(b.trade_count for b in bins if b.symbol == "WDC") == 39
    assert {d.reason for d in letters} == {"future", "closed"}
    assert {d.symbol for d in letters} == {"BAD"}
    assert len(letters) == 39


WHOLE = sends(HELLO + b"".join(map(tick, range(20))) + END)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fails(500, "out of order"), id="answers 500"),
        pytest.param(fails(503), id="answers 503"),
        pytest.param(sends(HELLO + tick(0) + tick(1)), id="closes early"),
        pytest.param(sends(HELLO + tick(0) + tick(1)[:20]), id="sends half a line"),
        pytest.param(resets(HELLO + tick(0) + tick(1)), id="dies"),
        pytest.param(resets(), id="dies at once"),
    ],
)
def test_a_feed_that_fails_is_asked_again_and_every_line_counts_once(fault: object, tmp_path: Path) -> None:
    with scripted_feed(fault, fault, WHOLE) as feed:  # type: ignore[arg-type]
        worker = replay(feed.url, tmp_path)
        assert worker.wait() == 0
        assert len(feed.requests) == 3
    assert_each_line_once(worker, tmp_path)


@pytest.mark.parametrize(
    "sent", [pytest.param(HELLO + tick(0), id="amid it"), pytest.param(b"", id="before the first byte")]
)
def test_a_feed_that_hangs_is_asked_again_and_every_line_counts_once(sent: bytes, tmp_path: Path) -> None:
    is_over = threading.Event()

    def hang(exchange: Exchange) -> None:
        sends(sent)(exchange)
        is_over.wait(60)

    with scripted_feed(hang, hang, WHOLE) as feed:
        worker = replay(feed.url, tmp_path, IMPATIENT)
        is_over.set()
        assert worker.wait() == 0
        assert len(feed.requests) >= 3  # a busy machine may seem to hang as well
    assert "the feed fell silent" in worker.output
    assert_each_line_once(worker, tmp_path)


def assert_each_line_once(worker: Command, tmp_path: Path) -> None:
    bins, letters = results(tmp_path)
    assert sum(b.trade_count for b in bins) == 20
    assert letters == []
    assert "feed lost" in worker.output


def test_a_reconnect_asks_from_the_oldest_open_bin_on(tmp_path: Path) -> None:
    first = [tick(i) for i in range(100)]  # ten seconds
    with scripted_feed(
        sends(HELLO + b"".join(first)), sends(HELLO + b"".join(first[80:]) + tick(100) + END)
    ) as feed:
        assert replay(feed.url, tmp_path).wait() == 0
        assert feed.requests[0] is None
        newest_ms = T0 * 1000 + 9900
        assert newest_ms - 600 <= (feed.requests[1] or 0) <= newest_ms - 500
    bins, _ = results(tmp_path)
    assert sum(b.trade_count for b in bins) == 101


def test_a_feed_without_hello_ends_when_it_closes(tmp_path: Path) -> None:
    body = b"".join(tick(i, seq=None) for i in range(20))
    with scripted_feed(sends(body.rstrip(b"\n"))) as feed:  # the last line has no line feed
        assert replay(feed.url, tmp_path).wait() == 0
        assert len(feed.requests) == 1
    bins, letters = results(tmp_path)
    assert sum(b.trade_count for b in bins) == 20
    assert letters == []


def test_a_feed_that_never_says_what_it_is_has_all_its_lines_refused(tmp_path: Path) -> None:
    with scripted_feed(sends(b"garbage\n" + b"x" * 1_100_000 + b"\nmore garbage\n")) as feed:
        assert replay(feed.url, tmp_path).wait() == 0
    bins, letters = results(tmp_path)
    assert bins == []
    assert sorted(letter.line[:12] for letter in letters) == ["garbage", "more garbage", "x" * 12]


def test_a_long_first_line_does_not_make_a_live_feed_historical(tmp_path: Path) -> None:
    live = tick(0, event_ts=time.time(), seq=None)
    with scripted_feed(sends(b"x" * 1_100_000 + b"\n" + live)) as feed:
        worker = replay(feed.url, tmp_path)
    assert '"mode": "live"' in worker.output
    bins, letters = results(tmp_path)
    assert (len(bins), [letter.reason for letter in letters]) == (1, ["invalid"])


def test_a_feed_that_refuses_at_once_is_the_users_mistake(tmp_path: Path) -> None:
    with scripted_feed(fails(404)) as feed:
        worker = replay(feed.url, tmp_path)
        assert worker.wait() == 1
    assert "MOCK_API_URL" in worker.output
    assert "404" in worker.output


def test_a_feed_that_is_never_there_is_given_up(tmp_path: Path) -> None:
    worker = replay("http://127.0.0.1:9/ticks", tmp_path, {"REPLAY_GIVE_UP_MS": "1000"})
    assert worker.wait() == 1
    assert "connection refused" in worker.output
    assert "REPLAY_GIVE_UP_MS" in worker.output


def test_another_feed_at_the_same_url_stops_the_worker(tmp_path: Path) -> None:
    other = HELLO.replace(b'"f"', b'"g"')
    with scripted_feed(sends(HELLO + tick(0)), sends(other + tick(1) + END)) as feed:
        worker = replay(feed.url, tmp_path)
        assert worker.wait() == 1
    assert "--fresh" in worker.output
    assert not (tmp_path / "logs" / "replay.jsonl").exists()


def test_history_that_is_gone_stops_the_worker(tmp_path: Path) -> None:
    with scripted_feed(sends(HELLO + tick(0) + tick(60)), fails(410, "oldest is 1266417999000")) as feed:
        worker = replay(feed.url, tmp_path)
        assert worker.wait() == 1
    assert "410" in worker.output


def test_two_runs_write_identical_files(tmp_path: Path) -> None:
    body = HELLO + b"".join(map(tick, range(50))) + b"bad\n" + END
    with scripted_feed(sends(body)) as feed:
        replay(feed.url, tmp_path)
        first = {p.name: p.read_bytes() for p in (tmp_path / "logs").iterdir()}
        replay(feed.url, tmp_path)
        second = {p.name: p.read_bytes() for p in (tmp_path / "logs").iterdir()}
    assert first == second
    assert set(first) == {"replay.jsonl", "replay_dlt.jsonl"}
