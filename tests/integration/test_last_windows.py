"""A live market that stops, on the real broker: its last minutes are written without a further bar."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import msgspec
import pytest

from glue.core.flushes import SILENT_MS
from glue.io.bar_progress import LOOK_EVERY_MS, KafkaTopics
from glue.io.fact_tables import FactTables
from glue.io.kafka_read import topic_ends
from glue.io.state_topic import read_state
from glue.rollup import Rollup
from glue.settings import Settings
from tests.conftest import RunningStack
from tests.processes import NeverStopped, bars_on_topic, env_of, running, until
from tests.scripted_feed import Exchange, scripted_feed
from tests.warehouse import assert_facts, create_tables, facts, names

pytestmark = pytest.mark.stack
T = 1_600_000_200_000
"""A multiple of 300 s, ms since 1970 UTC."""
MINUTE_MS = 60_000
HELLO = {"type": "hello", "feed_id": "market", "mode": "live", "resume": "since"}


class Market:
    """A live feed that sends what it is told, when it is told."""

    def __init__(self) -> None:
        self._lines: Queue[bytes | None] = Queue()
        self._seq = 0
        self.send(HELLO)

    def trade(self, symbol: str, from_ms: int, to_ms: int) -> None:
        """Send a tick a second of a symbol."""
        for event_ms in range(from_ms, to_ms, 1000):
            self._seq += 1
            tick = {"symbol": symbol, "px": 10 + self._seq / 8, "sz": self._seq, "event_ts": event_ms / 1000}
            self.send(tick | {"seq": self._seq})

    def heartbeat(self, event_ms: int) -> None:
        """Send the word that no tick before a time is still to come."""
        self.send({"type": "heartbeat", "event_ts": event_ms / 1000})

    def send(self, line: dict[str, object]) -> None:
        self._lines.put(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        self._lines.put(None)

    def answer(self, exchange: Exchange) -> None:
        exchange.begin()
        while (line := self._lines.get()) is not None:
            exchange.send(line)


class ManualLoader:
    """The loader in this process; its clock goes on only when it is told."""

    def __init__(self, settings: Settings) -> None:
        self.wall_ms = 0
        self.rollup = Rollup(settings, NeverStopped(), FactTables(settings), clock=lambda: self.wall_ms)

    def bars(self) -> int:
        """Read what is there and return how many bars were read in all."""
        self.rollup.step()
        return int(str(self.rollup.fields()["bars"]))

    def looks(self) -> int:
        """Let the time of one look pass, read, and return the number of flushes with rows."""
        self.wall_ms += LOOK_EVERY_MS
        self.rollup.step()
        return int(str(self.rollup.fields()["flushes"]))


@contextmanager
def loading(settings: Settings, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualLoader]:
    monkeypatch.chdir(cwd)
    loader = ManualLoader(settings)
    tables = loader.rollup._tables
    tables.open()
    try:
        with loader.rollup.reading():
            until(lambda: loader.bars() == 0 and loader.rollup.fields()["state"] == "active", "the group")
            yield loader
    finally:
        tables.close()


def closed_ms(settings: Settings) -> int:
    """Return until when the feed has closed all bars."""
    words = [c.snapshot.watermark_ms - c.late_ms for c in read_state(settings).checkpoints.values()]
    return max(words, default=0)


def test_the_last_minutes_of_a_market_that_has_stopped_are_written_and_whole(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = {"replay_metrics_port": 0, "agg_metrics_port": 0}
    settings = stack.settings(**names("p1"), **ports, snowflake_flush_minutes=1)
    create_tables(settings)
    market, env = Market(), env_of(settings)

    with (
        scripted_feed(market.answer) as feed,
        running("-m", "glue.replay", "--url", feed.url, cwd=tmp_path, env=env),
        loading(settings, tmp_path, monkeypatch) as loader,
    ):
        with running("-m", "glue.aggregate", cwd=tmp_path, env=env) as first:
            market.trade("WDC", T + 50_000, T + 57_000)
            market.heartbeat(T + 59_000)
            until(lambda: loader.bars() == 7, "the bars of seven seconds")
            loader.wall_ms += SILENT_MS
            for _ in range(3):
                assert loader.looks() == 0  # the minute may still have bars
            market.heartbeat(T + MINUTE_MS + 700)
            until(lambda: loader.looks() == 1, "the facts of a minute whose last bar is not at its end")
            assert list(facts(settings, 60)) == [f"WDC-{T}-60s"]

            market.trade("WDC", T + 70_000, T + 73_000)
            market.heartbeat(T + 74_000)
            until(lambda: loader.bars() == 10, "the next three bars")
            first.stop(signal.SIGKILL)
        market.trade("WDC", T + 80_000, T + 85_000)
        market.trade("AAPL", T + 81_000, T + 85_000)
        market.heartbeat(T + 2 * MINUTE_MS + 700)
        until(lambda: closed_ms(settings) >= T + 2 * MINUTE_MS, "the feed's word")
        loader.wall_ms += SILENT_MS
        for _ in range(10):
            assert loader.looks() == 1  # the engine is away: it looks like a quiet market
        with running("-m", "glue.aggregate", cwd=tmp_path, env=env):
            until(lambda: loader.looks() == 2, "the second minute")
            assert len(facts(settings, 60)) == 3
            market.heartbeat(T + 5 * MINUTE_MS + 700)
            until(lambda: loader.looks() == 3, "the five minutes")
            assert len(facts(settings, 300)) == 2
        assert loader.rollup.fields()["late_bars"] == 0
        assert loader.rollup.fields()["held_minutes"] == 0
        market.close()
    assert_facts(settings, bars_on_topic(settings))


def test_what_a_group_has_read_is_told_by_records_not_by_markers(stack: RunningStack, tmp_path: Path) -> None:
    settings = stack.settings(replay_metrics_port=0, agg_metrics_port=0)
    market, env, raw = Market(), env_of(settings), settings.kafka_topic_raw
    topics = KafkaTopics(settings)
    with (
        scripted_feed(market.answer) as feed,
        running("-m", "glue.replay", "--url", feed.url, cwd=tmp_path, env=env),
    ):
        market.trade("WDC", T, T + 3000)
        market.heartbeat(T + 4000)
        until(lambda: closed_ms(settings) >= T + 3000, "the feed's word")
        ends = topics.ends(raw)
        assert not topics.has_read(settings.agg_group, raw, ends)
        with running("-m", "glue.aggregate", cwd=tmp_path, env=env):
            until(lambda: topics.has_read(settings.agg_group, raw, ends), "the engine")
        assert topics.has_read(settings.agg_group, raw, topic_ends(settings, raw))
        market.heartbeat(T + 6000)
        until(lambda: closed_ms(settings) >= T + 5000, "the feed's next word")
        assert not topics.has_read(settings.agg_group, raw, topics.ends(raw))
        assert not topics.has_read("", raw, topics.ends(raw))
        market.close()
    (word,) = topics.checkpoints()
    assert word.feed_id == "market"
