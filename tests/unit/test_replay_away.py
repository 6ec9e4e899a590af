"""A worker that was away from its feed, and finds it silent when it is back."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from glue import replay
from glue.core.bins import TickBin
from glue.core.ticks import Control
from glue.intake import Intake
from glue.io.http_feed import Chunk, Event, Opened
from glue.settings import Settings
from tests.processes import lines_of
from tests.unit.clock import Clock

HELLO = Control("hello", feed_id="f", mode="historical", resume="since")


def tick(symbol: str, event_ms: int, seq: int) -> bytes:
    return b'{"symbol":"%s","px":1,"sz":1,"event_ts":%.3f,"seq":%d}\n' % (
        symbol.encode(),
        event_ms / 1000,
        seq,
    )


@pytest.mark.parametrize("away_s", [20.0, 0.0])
def test_a_feed_that_was_held_up_is_not_silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, away_s: float
) -> None:
    clock = Clock()
    first = tick("A", 1_000_000_000, 1) + tick("B", 1_000_000_000, 2)
    silent_s = 15

    class Connection:
        def __init__(self, *_: object) -> None:
            self._events = self._script()

        def _script(self) -> Iterator[Event | None]:
            yield Opened(HELLO)
            yield Chunk(first)
            yield from itertools.repeat(None, silent_s)
            yield Chunk(tick("A", 1_000_000_003, 3) + b'{"type":"end"}\n')

        def next(self, timeout_s: float) -> Event | None:
            event = next(self._events)
            if event is None:
                clock.sleep(1.0)
            return event

        def close(self) -> None:
            pass

    def commit_if_due(self: Intake) -> None:
        if self.binner.tick_count == 2 and clock.now_s == 100.0:
            clock.sleep(away_s)

    monkeypatch.setattr(replay, "Connection", Connection)
    monkeypatch.setattr(replay, "time", clock)
    monkeypatch.setattr(Intake, "commit_if_due", commit_if_due)
    settings = Settings.load(replay_idle_close_ms=5000)
    bins_path = tmp_path / "bins.jsonl"
    replay.Replay(settings, False, bins_path, tmp_path / "dlt.jsonl").run()  # type: ignore[arg-type]
    counts = [b.trade_count for b in lines_of(bins_path, TickBin) if b.symbol == "A"]
    assert counts == ([2] if away_s else [1])
