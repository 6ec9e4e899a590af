"""What the demo shows: the newest bar of each symbol, latency, dead letters."""

import time
from collections import Counter, deque
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from glue.io.tail import Tail
from glue.io.topic_stats import HISTORICAL_MS, percentiles
from glue.settings import Settings

ROWS = 12
"""Symbols in the table, the most recently traded ones."""
RECENT_BARS = 500
LEFT, RIGHT = ("symbol", "bar UTC"), ("open", "high", "low", "close", "volume", "ticks", "latency")


class Board:
    """What the demo shows: the newest bar of each symbol, latency, dead letters."""

    def __init__(self, settings: Settings) -> None:
        self._bars = Tail(settings, settings.agg_output_topic, "bar_1s.avsc")
        self._letters = Tail(settings, settings.kafka_topic_dlt, "dead_letter.avsc")
        self._newest: dict[str, tuple[dict[str, Any], int]] = {}
        self._latencies: deque[int] = deque(maxlen=RECENT_BARS)
        self._reasons: Counter[str] = Counter()
        self._started_at = time.monotonic()
        self.bar_count = 0
        self.tick_count = 0

    def update(self) -> None:
        """Take in what the topics hold by now."""
        for append_ms, bar in self._bars.poll(0.1):
            self._newest.pop(bar["symbol"], None)  # the last one traded goes last
            self._newest[bar["symbol"]] = bar, append_ms - bar["end_ts_ms"]
            if append_ms - bar["end_ts_ms"] < HISTORICAL_MS:
                self._latencies.append(append_ms - bar["end_ts_ms"])
            self.bar_count += 1
            self.tick_count += bar["trade_count"]
        for _, letter in self._letters.poll(0):
            self._reasons[letter["reason"]] += 1

    def render(self) -> RenderableType:
        """Return the table and the line below it."""
        table = Table(
            title="newest bar of each symbol",
            title_justify="left",
            box=None,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for name in LEFT + RIGHT:
            table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
        for symbol in sorted(list(self._newest)[-ROWS:]):
            bar, latency_ms = self._newest[symbol]
            at = datetime.fromtimestamp(bar["start_ts_ms"] / 1000, UTC)
            prices = (price(bar[name]) for name in ("open", "high", "low", "close"))
            latency = f"{latency_ms} ms" if latency_ms < HISTORICAL_MS else "n/a"
            table.title = f"newest bar of each symbol, {at:%Y-%m-%d}"
            volume, ticks = f"{bar['volume']:.6g}", str(bar["trade_count"])
            table.add_row(symbol, f"{at:%H:%M:%S}", *prices, volume, ticks, latency)
        return Group(table, Text(self.summary(), style="bold"))

    def summary(self) -> str:
        """Return one line on bars, latency and dead letters."""
        latency = percentiles(self._latencies)
        parts = [
            f"{time.monotonic() - self._started_at:.0f} s",
            f"{self.tick_count:,} ticks in {self.bar_count:,} bars",
        ]
        if latency.count:
            parts.append(f"bar end -> Kafka p50 {latency.p50_ms} ms, p95 {latency.p95_ms} ms")
        else:
            parts.append("latency n/a (historical feed)" if self.bar_count else "waiting for the first bar")
        letters = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self._reasons.items()))
        parts.append(f"dead letters: {letters or 'none'}")
        return " | ".join(parts)

    def close(self) -> None:
        """Let go of the broker."""
        self._bars.close()
        self._letters.close()


def price(value: float) -> str:
    """Return a price as text, cents where it has some."""
    return f"{value:.2f}" if value >= 1 else f"{value:.6g}"
