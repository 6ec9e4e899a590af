"""A worker whose transaction the broker gave up, and that finds no broker to begin anew with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glue import replay
from glue.core.ticks import Control
from glue.errors import TransientError
from glue.io.http_feed import Chunk, Event, Opened
from glue.io.transactions import Fenced
from glue.settings import Settings
from tests.unit.clock import Clock

HELLO = Control("hello", feed_id="f", mode="historical", resume="since")


class Connection:
    """The feed, from its beginning."""

    def __init__(self, *_: object) -> None:
        self._events: Iterator[Event] = iter(
            [Opened(HELLO), Chunk(b'{"symbol":"A","px":1,"sz":1,"event_ts":1,"seq":1}\n{"type":"end"}\n')]
        )

    def next(self, timeout_s: float) -> Event | None:
        return next(self._events)

    def close(self) -> None:
        pass


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs a worker whose first transaction is given up, with a broker that is away
    for as many questions; it returns how many intakes took lines."""
    clock = Clock()
    real = replay.Intake

    def go(away_for: int, *, has_begun: bool = True, **overrides: int) -> int:
        left, took = [away_for], [0 if has_begun else 1]

        def ask() -> None:
            if left[0]:
                left[0] -= 1
                clock.sleep(10)
                raise TransientError("no Kafka broker answers")

        class Intake(real):  # type: ignore[misc, valid-type]
            def __init__(self, settings: Settings, feed: Any, *paths: Path, **more: Any) -> None:
                if took[0]:
                    ask()
                super().__init__(settings, feed, tmp_path / f"{took[0]}.jsonl", tmp_path / "dlt", **more)
                self.is_resumable = True

            def take(self, data: bytes) -> bool:
                took[0] += 1
                if took[0] == 1:
                    raise Fenced("fenced")
                return bool(super().take(data))

            def is_superseded(self) -> bool:
                if left[0] > away_for / 2:
                    ask()
                return False

        monkeypatch.setattr(replay, "Connection", Connection)
        monkeypatch.setattr(replay, "time", clock)
        monkeypatch.setattr(replay, "Intake", Intake)
        settings = Settings.load(**overrides)
        replay.Replay(settings, False, tmp_path / "bins", tmp_path / "dlt").run()  # type: ignore[arg-type]
        return took[0]

    return go


@pytest.mark.parametrize("away_for", [0, 1, 6])
def test_a_run_that_had_begun_waits_for_the_broker(run: Any, away_for: int) -> None:
    assert run(away_for) == 2


def test_it_gives_up_after_a_time(run: Any) -> None:
    with pytest.raises(TransientError, match="no Kafka broker"):
        run(40, kafka_give_up_ms=60_000)


def test_a_run_that_has_not_begun_says_so_at_once(run: Any) -> None:
    with pytest.raises(TransientError, match="no Kafka broker"):
        run(1, has_begun=False)
