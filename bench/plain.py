"""The plain version: the same watermark rules with json.loads and dictionaries.

It gives the same bins, watermark records and dead letters as glue.core on the feeds measured here, which the
bench checks before it times anything. Left out, to its advantage: resume, idle close, and the
confirmation of a jump by two more ticks (a jump is refused at once).
"""

import hashlib
import json
import math
import re
from typing import Any

from glue.core.partition import watermark_symbols

NEVER = -1_000_000
SYMBOL = re.compile(r"[A-Za-z0-9_./:-]{1,32}")
MAX_NUMBER = 1e15
MAX_EVENT_S = 253_402_300_799.999


class PlainBinner:
    """Feed lines in, closed bins, watermark records and dead letters out, as dictionaries."""

    def __init__(
        self, mode: str, feed_id: str = "plain", *, partitions: int = 6, bin_ms: int = 10, late_ms: int = 500,
        skew_ms: int = 20, max_future_ms: int = 5_000, max_jump_ms: int = 21_600_000,
    ) -> None:  # fmt: skip
        self.is_live = mode == "live"
        self.feed_id = feed_id
        self.partitions = partitions
        self.bin_ms, self.late_ms, self.skew_ms = bin_ms, late_ms, skew_ms
        self.max_future_ms, self.max_jump_ms = max_future_ms, max_jump_ms
        self.symbol_watermarks: dict[str, int] = {}
        self.newest = self.watermark = self.closed_to = NEVER
        self.second: int | None = None
        self.bins: dict[int, dict[str, dict[str, Any]]] = {}
        self.bars_end = NEVER
        self.last_seq: int | None = None
        self.out: list[dict[str, Any]] = []
        self.occurrences: dict[str, int] = {}

    def process(self, chunk: bytes, now_ms: int) -> list[dict[str, Any]]:
        """Take in whole lines read at `now_ms`."""
        for raw in chunk.split(b"\n"):
            if not raw or raw.isspace():
                continue
            try:
                line = json.loads(raw.decode())
            except ValueError:
                line = None
            if not isinstance(line, dict):
                self.refuse("invalid", raw, now_ms)
            elif line.get("type") == "heartbeat":
                event_ms = round(line["event_ts"] * 1e6) // 1000
                self.advance(min(event_ms, now_ms) if self.is_live else event_ms, now_ms)
            elif not self.is_tick(line):
                self.refuse("invalid", raw, now_ms, seq=line.get("seq"))
            else:
                self.tick(line, raw, now_ms)
        out, self.out = self.out, []
        return out

    def end(self, now_ms: int) -> list[dict[str, Any]]:
        """Close everything: the feed is over."""
        if self.bars_end != NEVER:
            self.advance(self.bars_end + self.late_ms, now_ms)
        out, self.out = self.out, []
        return out

    def is_tick(self, line: dict[str, Any]) -> bool:
        """Tell whether the fields are those of a tick."""
        symbol, px, sz, at = line.get("symbol"), line.get("px"), line.get("sz"), line.get("event_ts")
        for number in (px, sz, at):
            if not isinstance(number, (int, float)) or isinstance(number, bool) or not math.isfinite(number):
                return False
        for name in ("seq", "api_send_ts_ms", "source_event_ts_ms"):
            value = line.get(name)
            if value is not None and (not isinstance(value, int) or value < 0):
                return False
        if not isinstance(symbol, str):
            return False
        if symbol not in self.symbol_watermarks and not SYMBOL.fullmatch(symbol):
            return False
        return 0 < px <= MAX_NUMBER and 0 <= sz <= MAX_NUMBER and 0 <= at <= MAX_EVENT_S  # type: ignore[operator]

    def tick(self, line: dict[str, Any], raw: bytes, now_ms: int) -> None:
        """Put a tick into its bin, or refuse it."""
        symbol, seq = line["symbol"], line.get("seq")
        if seq is not None:
            self.last_seq = seq
            self.occurrences.clear()
        event_ms = round(line["event_ts"] * 1e6) // 1000
        reached = event_ms
        if self.is_live:
            if event_ms > now_ms + self.max_future_ms:
                return self.refuse("future", raw, now_ms, seq=seq)
            reached = min(event_ms, now_ms)
        elif self.newest != NEVER and event_ms > self.newest + self.max_jump_ms:
            return self.refuse("future", raw, now_ms, seq=seq)
        newest = self.symbol_watermarks.get(symbol, NEVER)
        lateness = max(0, newest - event_ms)
        if lateness > self.late_ms:
            return self.refuse("late", raw, now_ms, seq=seq)
        start = event_ms - event_ms % self.bin_ms
        if start + self.bin_ms <= max(newest, self.watermark) - self.late_ms:
            return self.refuse("closed", raw, now_ms, seq=seq)
        self.put(line, symbol, start, event_ms, lateness)
        if reached > newest:
            self.symbol_watermarks[symbol] = reached
            if reached > self.newest:
                self.newest = reached
                self.advance(reached - self.skew_ms, now_ms)
            after = max(newest, self.watermark) - self.late_ms
            closed_to = reached - self.late_ms
            for early in range(after // self.bin_ms * self.bin_ms, closed_to - self.bin_ms + 1, self.bin_ms):
                found = self.bins.get(early, {}).pop(symbol, None)
                if found is not None:
                    self.close(found, now_ms)
        return None

    def put(self, line: dict[str, Any], symbol: str, start: int, event_ms: int, lateness: int) -> None:
        """Add a tick to its bin, which is opened if there is none."""
        px, sz = float(line["px"]), float(line["sz"])
        place = (event_ms, line.get("seq", 0))
        sent, source = line.get("api_send_ts_ms"), line.get("source_event_ts_ms")
        self.bars_end = max(self.bars_end, event_ms - event_ms % 1000 + 1000)
        same_start = self.bins.setdefault(start, {})
        b = same_start.get(symbol)
        if b is None:
            same_start[symbol] = {
                "symbol": symbol, "start_ts_ms": start, "open": px, "high": px, "low": px, "close": px,
                "volume": sz, "notional": px * sz, "trade_count": 1, "max_lateness_ms": lateness,
                "api_send_ts_ms": sent, "source_event_ts_ms": source, "first": place, "last": place,
            }  # fmt: skip
            return
        b["high"] = max(b["high"], px)
        b["low"] = min(b["low"], px)
        b["volume"] += sz
        b["notional"] += px * sz
        b["trade_count"] += 1
        b["max_lateness_ms"] = max(b["max_lateness_ms"], lateness)
        if place >= b["last"]:
            b["last"], b["close"] = place, px
        elif place < b["first"]:
            b["first"], b["open"] = place, px
        for name, value in (("api_send_ts_ms", sent), ("source_event_ts_ms", source)):
            if value is not None:
                b[name] = value if b[name] is None else min(b[name], value)

    def advance(self, watermark: int, now_ms: int) -> None:
        """Raise the feed's watermark, close bins, and tell every partition of a complete second."""
        if watermark <= self.watermark:
            return
        self.watermark = watermark
        closed_to = (watermark - self.late_ms) // self.bin_ms * self.bin_ms
        if closed_to > self.closed_to:
            self.closed_to = closed_to
            for start in sorted(start for start in self.bins if start < closed_to):
                for found in self.bins.pop(start).values():
                    self.close(found, now_ms)
        second = (watermark - self.late_ms) // 1000
        if self.second is not None and second > self.second:
            start = watermark - watermark % self.bin_ms
            for symbol in watermark_symbols(self.partitions):
                self.out.append({
                    "bin_id": f"{symbol}-{start}", "symbol": symbol, "start_ts_ms": start,
                    "end_ts_ms": start + self.bin_ms, "window_ms": self.bin_ms, "open": None, "high": None,
                    "low": None, "close": None, "volume": 0.0, "notional": 0.0, "trade_count": 0,
                    "max_lateness_ms": 0, "watermark_ms": start, "api_send_ts_ms": None,
                    "source_event_ts_ms": None, "ingest_ts_ms": now_ms, "source": "replay",
                })  # fmt: skip
        self.second = second

    def close(self, b: dict[str, Any], now_ms: int) -> None:
        """Send a bin out."""
        start = b["start_ts_ms"]
        del b["first"], b["last"]
        b["bin_id"] = f"{b['symbol']}-{start}"
        b["end_ts_ms"], b["window_ms"] = start + self.bin_ms, self.bin_ms
        b["watermark_ms"], b["ingest_ts_ms"], b["source"] = self.watermark, now_ms, "replay"
        self.out.append(b)

    def refuse(self, reason: str, raw: bytes, now_ms: int, seq: object = None) -> None:
        """Write a dead letter."""
        sha256 = hashlib.sha256(raw.rstrip(b"\r")).hexdigest()
        if reason != "invalid" and seq is not None:
            dlt_id = f"{self.feed_id}-{seq}"
        else:
            seen = self.occurrences.get(sha256, 0)
            self.occurrences[sha256] = seen + 1
            place = "start" if self.last_seq is None else self.last_seq
            dlt_id = f"{self.feed_id}-{place}-{sha256[:16]}-{seen}"
        self.out.append({
            "dlt_id": dlt_id, "reason": reason, "seq": seq, "line": raw.decode(errors="backslashreplace"),
            "line_sha256": sha256, "watermark_ms": self.watermark, "ingest_ts_ms": now_ms,
        })  # fmt: skip
