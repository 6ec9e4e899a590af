"""Latency at live pace: from the end of a bar to its record on ticks.agg.1s, with ksqlDB as the engine."""

import json
import time
from pathlib import Path

import msgspec

from bench.ksqldb.place import Place, bar_scripts
from bench.rounds import percentile
from bench.topic import Following
from bench.workload import START_MS
from glue.errors import TapelineError
from glue.feeds.market import first_symbols

LAST_S = 5
"""The feed goes on for so long after what is measured."""


class Latencies(msgspec.Struct, frozen=True):
    """Milliseconds from the end of each bar: until the broker had appended it, and until a reader saw it."""

    bins_per_s: int
    appended: list[float]
    visible: list[float]

    def told(self) -> str:
        """Say the main numbers."""
        return f"{len(self.visible):,} bars; appended {_told(self.appended)}; visible {_told(self.visible)}"


def dense_file(folder: Path, symbols: int, seconds: int) -> Path:
    """Write a feed in which every symbol trades once in every 10 ms."""
    path = folder / f"dense-{symbols}-{seconds}.ndjson"
    names = first_symbols(symbols)
    with path.open("w") as out:
        for number in range(seconds * 100):
            at_s = START_MS / 1000 + number / 100
            for i, name in enumerate(names):
                tick = {
                    "symbol": name,
                    "px": 100 + (number + i) % 50 / 10,
                    "sz": 1 + i,
                    "event_ts": round(at_s + 0.004, 3),
                }
                out.write(json.dumps(tick) + "\n")
    return path


def measure(place: Place, symbols: int, warm_s: float, for_s: float, properties: dict[str, str]) -> Latencies:
    """Run the real worker on a live feed of 100 bins a second and symbol, ksql/ behind it."""
    appended: list[float] = []
    visible: list[float] = []
    path = dense_file(place.folder, symbols, int(warm_s + for_s) + LAST_S)
    with (
        place.topics() as settings,
        place.queries(settings, bar_scripts(settings), properties),
        place.feed("--file", str(path), "--format", "ndjson", "--realtime") as url,
        place.running("glue.replay", "--url", url, settings=settings) as worker,
    ):
        worker.wait_for('"feed"')
        bars = Following(settings, settings.agg_output_topic, is_from_start=False)
        try:
            began = time.monotonic()
            while (elapsed_s := time.monotonic() - began) < warm_s + for_s:
                messages = bars.poll(0.5)
                now_ms = time.time_ns() / 1e6
                worker.check()
                if elapsed_s >= warm_s:
                    for message in messages:
                        end_ms = place.decode(message.value())["end_ts_ms"]
                        visible.append(now_ms - end_ms)
                        appended.append(message.timestamp()[1] - end_ms)
        finally:
            bars.close()
    if len(appended) < symbols * (for_s - 5):
        raise TapelineError(f"{len(appended)} bars of {symbols} symbols came in {for_s:.0f} s")
    return Latencies(symbols * 100, appended, visible)


def _told(values: list[float]) -> str:
    half, most = percentile(values, 50), percentile(values, 95)
    return f"p50 {half:.0f}, p95 {most:.0f}, max {max(values):.0f} ms"
