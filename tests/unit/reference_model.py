"""The rules of "Watermarks" and "Bar" once more: slow, plain, and written from the design, not from the code.

Nothing is kept but what came: ticks taken in, words heard, bins published. Every watermark is the maximum
over all of it and every question is answered by looking at all of it again, after each line.
"""

from dataclasses import dataclass
from typing import Any

from strategies import BadItem, EndItem, HeartbeatItem, Item, TickItem

from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from glue.core.partition import is_watermark, partition_of
from glue.core.watermarks import Rules

MINUTE_MS = 60_000
Outcome = tuple[Any, ...]


@dataclass(frozen=True)
class Taken:
    """A tick taken in: where its clock was believed to stand, and how late it was."""

    arrival: int
    tick: TickItem
    reached_ms: int
    lateness_ms: int
    bin_start: int


class ReferenceBinner:
    """Rules 1 to 5 and 7 for one feed, a line at a time."""

    def __init__(self, rules: Rules, *, is_live: bool) -> None:
        self.rules = rules
        self.is_live = is_live
        self.taken: list[Taken] = []
        self.heard: list[int] = []
        """Heartbeats that were believed, and how far an idle close or the end moved the watermark."""
        self.published: set[tuple[str, int]] = set()
        self.undecided: list[TickItem] = []
        """Historical feeds: ticks that rule 3 cannot judge before more of them come."""
        self.is_ended = False
        self.outcomes: list[Outcome] = []

    # Rule 1

    def newest(self) -> int | None:
        return max((t.reached_ms for t in self.taken), default=None)

    def newest_of(self, symbol: str) -> int | None:
        return max((t.reached_ms for t in self.taken if t.tick.symbol == symbol), default=None)

    def watermark(self) -> int | None:
        newest = self.newest()
        known = list(self.heard) if newest is None else [newest - self.rules.skew_ms, *self.heard]
        return max(known, default=None)

    def lateness(self, tick: TickItem) -> int:
        newest = self.newest_of(tick.symbol)
        return 0 if newest is None else max(0, newest - tick.event_ms)

    # Rules 2 and 4

    def is_closed(self, symbol: str, start: int) -> bool:
        known = [w for w in (self.newest_of(symbol), self.watermark()) if w is not None]
        return bool(known) and start + self.rules.bin_ms <= max(known) - self.rules.late_ms

    # Lines

    def take(self, item: Item, now_ms: int) -> list[Outcome]:
        """Take one line and return what it led to, in publishing order."""
        self.outcomes = []
        if self.is_ended or isinstance(item, BadItem):
            self.refuse_line("invalid", item.raw)
        elif isinstance(item, EndItem):
            self.judge(now_ms, is_over=True)
            self.raise_to_the_end()
            self.is_ended = True
        elif isinstance(item, HeartbeatItem):
            self.hear(item, now_ms)
        elif self.is_live and item.event_ms > now_ms + self.rules.max_future_ms:
            self.refuse_tick("future", item)
        elif self.is_live:
            self.accept(item, now_ms)
        else:
            self.undecided.append(item)
            self.judge(now_ms)
        return self.outcomes

    def close_idle(self, now_ms: int) -> list[Outcome]:
        self.outcomes = []
        self.raise_to_the_end(no_further_than=now_ms if self.is_live else None)
        return self.outcomes

    def hear(self, item: HeartbeatItem, now_ms: int) -> None:
        newest, watermark = self.newest(), self.watermark()
        if self.is_live:
            self.raise_watermark(min(item.event_ms, now_ms))
        elif (
            newest is not None
            and watermark is not None
            and item.event_ms > max(newest, watermark) + self.rules.max_jump_ms
        ):
            self.refuse_line("future", item.raw, item.event_ms)
        else:  # a tick that is not judged yet came earlier and must find its bin open
            self.raise_watermark(min([item.event_ms, *(tick.event_ms for tick in self.undecided)]))

    # Rule 3 for historical feeds

    def judge(self, now_ms: int, *, is_over: bool = False) -> None:
        """Judge undecided ticks from the oldest on, as far as what came after them allows."""
        jump = self.rules.max_jump_ms
        while self.undecided:
            first, after = self.undecided[0], self.undecided[1:]
            newest = self.newest()
            if newest is None:
                # Nothing to jump from: the first two ticks are judged by each other.
                if not after and not is_over:
                    return
                if after and after[0].event_ms < first.event_ms - jump:
                    self.drop(1)
                    continue
                self.keep(1, now_ms)
                if after and after[0].event_ms <= first.event_ms + jump:
                    self.keep(1, now_ms)
            elif first.event_ms <= newest + jump:
                self.keep(1, now_ms)
            else:
                confirming = [abs(tick.event_ms - first.event_ms) <= MINUTE_MS for tick in after[:2]]
                if confirming == [True, True]:
                    self.keep(3, now_ms)
                elif False in confirming:
                    self.drop(1 + confirming.index(False))
                elif is_over:
                    self.drop(len(self.undecided))
                else:
                    return

    def keep(self, count: int, now_ms: int) -> None:
        judged, self.undecided = self.undecided[:count], self.undecided[count:]
        for tick in judged:
            self.accept(tick, now_ms)

    def drop(self, count: int) -> None:
        judged, self.undecided = self.undecided[:count], self.undecided[count:]
        for tick in judged:
            self.refuse_tick("future", tick)

    # What a tick or a word leads to

    def accept(self, tick: TickItem, now_ms: int) -> None:
        lateness = self.lateness(tick)
        start = tick.event_ms // self.rules.bin_ms * self.rules.bin_ms
        if lateness > self.rules.late_ms:
            self.refuse_tick("late", tick)
        elif self.is_closed(tick.symbol, start):
            self.refuse_tick("closed", tick)
        else:
            reached = min(tick.event_ms, now_ms) if self.is_live else tick.event_ms
            before = self.watermark()
            self.taken.append(Taken(len(self.taken), tick, reached, lateness, start))
            self.publish(before)

    def raise_watermark(self, to_ms: int) -> None:
        before = self.watermark()
        self.heard.append(to_ms)
        self.publish(before)

    def raise_to_the_end(self, no_further_than: int | None = None) -> None:
        ends = [t.bin_start // 1000 * 1000 + 1000 for t in self.taken]
        if ends:
            enough = max(ends) + self.rules.late_ms
            self.raise_watermark(enough if no_further_than is None else min(enough, no_further_than))

    def publish(self, watermark_before: int | None) -> None:
        """Publish what is closed now: what W closes, the watermark records, what only W(s) closes."""
        watermark = self.watermark()
        assert watermark is not None
        complete = watermark - self.rules.late_ms
        width = self.rules.bin_ms
        waiting: list[tuple[int, str]] = []
        for taken in self.taken:  # in order of arrival; the sort below keeps it among equal starts
            key = (taken.bin_start, taken.tick.symbol)
            if (taken.tick.symbol, taken.bin_start) not in self.published and key not in waiting:
                waiting.append(key)
        closed = sorted((k for k in waiting if self.is_closed(k[1], k[0])), key=lambda k: k[0])
        for start, symbol in closed:
            if start + width <= complete:
                self.publish_bin(symbol, start)
        before = None if watermark_before is None else (watermark_before - self.rules.late_ms) // 1000
        if before is not None and complete // 1000 > before:
            for partition in range(self.rules.partitions):
                self.outcomes.append(("watermark", partition, watermark // width * width))
        for start, symbol in closed:
            if start + width > complete:
                self.publish_bin(symbol, start)

    def publish_bin(self, symbol: str, start: int) -> None:
        self.published.add((symbol, start))
        held = [t for t in self.taken if t.tick.symbol == symbol and t.bin_start == start]
        by_time = sorted(
            held, key=lambda t: (t.tick.event_ms, t.arrival if t.tick.seq is None else t.tick.seq)
        )
        prices = [t.tick.px for t in held]
        sent = [t.tick.api_send_ts_ms for t in held if t.tick.api_send_ts_ms is not None]
        sourced = [t.tick.source_event_ts_ms for t in held if t.tick.source_event_ts_ms is not None]
        self.outcomes.append(
            (
                "bin",
                symbol,
                start,
                (by_time[0].tick.px, max(prices), min(prices), by_time[-1].tick.px),
                sum(t.tick.sz for t in held),
                sum(t.tick.px * t.tick.sz for t in held),
                len(held),
                max(t.lateness_ms for t in held),
                self.watermark(),
                min(sent, default=None),
                min(sourced, default=None),
            )
        )

    def refuse_tick(self, reason: str, tick: TickItem) -> None:
        raw = tick.raw.decode()
        at = (tick.symbol, tick.event_ms, self.lateness(tick), self.watermark(), tick.seq)
        self.outcomes.append(("dead", reason, raw, *at))

    def refuse_line(self, reason: str, raw: bytes, event_ms: int | None = None) -> None:
        text = raw.decode(errors="backslashreplace")
        self.outcomes.append(("dead", reason, text, None, event_ms, None, self.watermark(), None))


def as_outcome(output: TickBin | DeadLetter, rules: Rules) -> Outcome:
    """Return what the binner put out in the model's words; a watermark record names its partition."""
    o = output
    if isinstance(o, DeadLetter):
        known = (o.symbol, o.event_ts_ms, o.lateness_ms, o.watermark_ms, o.seq if o.symbol else None)
        return ("dead", o.reason, o.line, *known)
    assert o.end_ts_ms == o.start_ts_ms + rules.bin_ms
    assert o.window_ms == rules.bin_ms
    assert o.bin_id == f"{o.symbol}-{o.start_ts_ms}"
    assert o.source == "replay"
    if is_watermark(o.symbol):
        assert (o.open, o.high, o.low, o.close) == (None,) * 4
        assert (o.volume, o.notional, o.trade_count, o.max_lateness_ms) == (0, 0, 0, 0)
        assert o.watermark_ms == o.start_ts_ms
        return ("watermark", partition_of(o.symbol, rules.partitions), o.start_ts_ms)
    prices, sums = (o.open, o.high, o.low, o.close), (o.volume, o.notional, o.trade_count)
    times = (o.max_lateness_ms, o.watermark_ms, o.api_send_ts_ms, o.source_event_ts_ms)
    return ("bin", o.symbol, o.start_ts_ms, prices, *sums, *times)


# Bars


def reference_bars(records: list[TickBin], late_ms: int) -> tuple[list[tuple[int, Outcome]], int]:
    """Group the bins of one partition into bars.

    Returns:
        (index of the record that closes it, bar) in any order, and how many bins came after their bar.
    """
    bins: dict[tuple[str, int], dict[int, TickBin]] = {}
    ignored = 0
    for index, record in enumerate(records):
        if is_watermark(record.symbol) or record.trade_count == 0 or record.open is None:
            continue
        start = record.start_ts_ms // 1000 * 1000
        if _closing_index(records, start, late_ms, before=index) is not None:
            ignored += 1
        else:
            bins.setdefault((record.symbol, start), {})[record.start_ts_ms] = record
    bars: list[tuple[int, Outcome]] = []
    for (symbol, start), held in bins.items():
        index_closed = _closing_index(records, start, late_ms, before=len(records))
        if index_closed is not None:
            bars.append((index_closed, _reference_bar(symbol, start, list(held.values()))))
    return bars, ignored


def _closing_index(records: list[TickBin], bar_start: int, late_ms: int, before: int) -> int | None:
    end = bar_start + 1000
    return next((i for i in range(before) if records[i].start_ts_ms >= end + late_ms), None)


def _reference_bar(symbol: str, start: int, held: list[TickBin]) -> Outcome:
    volume, notional = sum(b.volume for b in held), sum(b.notional for b in held)
    first, last = min(held, key=lambda b: b.start_ts_ms), max(held, key=lambda b: b.start_ts_ms)
    sent = [b.api_send_ts_ms for b in held if b.api_send_ts_ms is not None]
    sourced = [b.source_event_ts_ms for b in held if b.source_event_ts_ms is not None]
    return (
        f"{symbol}-{start}", symbol, start, start + 1000,
        first.open, max(b.high for b in held), min(b.low for b in held), last.close,
        volume, notional, notional / volume if volume else last.close,
        sum(b.trade_count for b in held), len(held), max(b.max_lateness_ms for b in held),
        min(sent, default=None), min(sourced, default=None),
    )  # fmt: skip
