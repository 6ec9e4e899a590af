"""scripts/validate_aggregates.py against the rules followed one line at a time on random feeds.

The validator works with running maxima over whole files; here is the same written as a worker would do it,
with a set of open bins. Neither knows the pipeline's code.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from validate_cases import (
    BIN_MS,
    LATE_MS,
    SKEW_MS,
    Outcome,
    Record,
    Validator,
    a_bin,
    heartbeat,
    letter,
    mark,
    tick,
)

JUMP_MS = 100_000
CONFIRM_MS = 60_000


@dataclass
class Follower:
    """Takes a historical feed line by line and notes what goes out."""

    out: Outcome = field(default_factory=Outcome)
    newest: int | None = None  # M
    beat: int | None = None
    per_symbol: dict[str, int] = field(default_factory=dict)  # W(s)
    open_bins: dict[tuple[int, str], list[tuple[Any, Record]]] = field(default_factory=dict)
    lateness: dict[tuple[int, str], int] = field(default_factory=dict)
    first: Record | None = None
    candidates: list[Record] = field(default_factory=list)
    arrivals: int = 0

    def watermark(self) -> int | None:
        known = [
            w for w in (self.beat, None if self.newest is None else self.newest - SKEW_MS) if w is not None
        ]
        return max(known, default=None)

    def run(self, lines: list[Record]) -> Outcome:
        for line in lines:
            if "type" in line:
                self.take_heartbeat(line)
            else:
                self.consider(line)
        if self.first:
            self.take_tick(self.first)
        self.refuse(self.candidates, "future")
        starts = [b["start_ts_ms"] for b in self.out.bins if b["trade_count"]] + [
            s for s, _ in self.open_bins
        ]
        if starts:
            before = self.watermark()
            assert before is not None
            self.beat = max(before, max(starts) // 1000 * 1000 + 1000 + LATE_MS)
            self.close(before)
        self.out.feed = list(lines)
        return self.out

    def consider(self, line: Record) -> None:
        e = when(line)
        if self.first is not None:
            first, self.first = self.first, None
            if when(first) - e > JUMP_MS:
                self.refuse([first], "future")
            else:
                self.take_tick(first)
        if self.newest is None:
            self.first = line
            return
        if self.candidates:
            if abs(e - when(self.candidates[0])) <= CONFIRM_MS:
                self.candidates.append(line)
                if len(self.candidates) == 3:
                    believed, self.candidates = self.candidates, []
                    for one in believed:
                        self.take_tick(one)
                return
            self.refuse(self.candidates, "future")
            self.candidates = []
        if e > self.newest + JUMP_MS:
            self.candidates = [line]
        else:
            self.take_tick(line)

    def take_heartbeat(self, line: Record) -> None:
        e, before = when(line), self.watermark()
        if self.newest is not None and before is not None and e > max(self.newest, before) + JUMP_MS:
            self.refuse([line], "future")
            return
        held = [when(one) for one in (self.first, *self.candidates) if one]
        e = min([e, *held])
        self.beat = e if self.beat is None else max(self.beat, e)
        self.close(before)

    def take_tick(self, line: Record) -> None:
        e, symbol = when(line), line["symbol"]
        start = e // BIN_MS * BIN_MS
        own, before = self.per_symbol.get(symbol), self.watermark()
        if own is not None and own - e > LATE_MS:
            self.refuse([line], "late")
            return
        if start + BIN_MS <= max(w for w in (own, before, -1) if w is not None) - LATE_MS:
            self.refuse([line], "closed")
            return
        self.arrivals += 1
        self.open_bins.setdefault((start, symbol), []).append(((e, line.get("seq", self.arrivals)), line))
        behind = max(0, (own or 0) - e)
        self.lateness[start, symbol] = max(behind, self.lateness.get((start, symbol), 0))
        self.per_symbol[symbol] = max(e, own or 0)
        self.newest = max(e, self.newest or 0)
        self.close(before)

    def close(self, before: int | None) -> None:
        w = self.watermark()
        assert w is not None
        for (start, symbol), ticks in sorted(self.open_bins.items(), key=lambda item: item[0]):
            if start + BIN_MS <= max(w, self.per_symbol[symbol]) - LATE_MS:
                trades = [(t["px"], t["sz"]) for _, t in sorted(ticks, key=lambda item: item[0])]
                late = self.lateness[start, symbol]
                self.out.bins.append(a_bin(start, w, *trades, symbol=symbol, late=late))
                del self.open_bins[start, symbol]
        if before is not None and (w - LATE_MS) // 1000 > (before - LATE_MS) // 1000:
            self.out.bins.append(mark(w // BIN_MS * BIN_MS))

    def refuse(self, lines: list[Record], reason: str) -> None:
        for line in lines:
            own = self.per_symbol.get(line.get("symbol", ""))
            behind = None if own is None else max(0, own - when(line))
            self.out.letters.append(letter(line, reason, lateness_ms=behind, watermark_ms=self.watermark()))


def when(line: Record) -> int:
    return round(line["event_ts"] * 1000)


def random_feed(seed: int) -> list[Record]:
    """Ticks of a few symbols in disorder, with heartbeats, bad clocks and leaps, at a pace of its own."""
    r = random.Random(seed)
    pace_ms, disorder_ms = r.choice([3, 40, 300, 2000]), r.choice([0, 5, 600, 1500])
    symbols = "ABCDEF"[: r.choice([1, 2, 6])]
    odd = r.choice([0.0, 0.02, 0.2])
    now, lines = r.choice([0, 700, 50_000]), []
    for n in range(r.choice([1, 2, 5, 60, 150])):
        now += int(r.expovariate(1 / pace_ms))
        if r.random() < odd / 4:
            now += r.choice([30_000, JUMP_MS, JUMP_MS + 1, 3 * JUMP_MS])
        e = max(0, now - r.randint(0, disorder_ms))
        if r.random() < odd:
            e = max(0, now + r.choice([-3 * JUMP_MS, -2_000, 2 * JUMP_MS, 2 * JUMP_MS + 60_000]))
        if r.random() < odd:
            lines.append(heartbeat(max(0, e - r.choice([-1000, 0, 30, 500]))))
        more = {"seq": n} if seed % 2 else {}
        lines.append(tick(e, r.randint(1, 9) / 4, r.randint(0, 5), r.choice(symbols), **more))
    return lines


@pytest.fixture
def validator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Validator:
    return Validator(tmp_path, capsys)


@pytest.mark.parametrize("seed", range(25))
def test_both_ways_to_follow_the_rules_agree(validator: Validator, seed: int) -> None:
    outcome = Follower().run(random_feed(seed))
    report = validator.report(outcome, "--max-jump-ms", str(JUMP_MS))
    assert report["differences"] == 0, {k: c for k, c in report["checks"].items() if c["count"]}


def test_the_random_feeds_have_every_reason() -> None:
    reasons = [one["reason"] for seed in range(25) for one in Follower().run(random_feed(seed)).letters]
    assert {"late", "closed", "future"} == set(reasons)
    assert min(reasons.count(reason) for reason in set(reasons)) > 20
