"""10 ms bins: what a symbol traded in [start, end), and the watermark records that travel with them."""

import msgspec

from glue.core.ticks import Tick, event_time_ms

SOURCE = "replay"


class TickBin(msgspec.Struct, gc=False):
    """A closed bin or a watermark record; fields and units as in schemas/tick_bin.avsc."""

    bin_id: str
    symbol: str
    start_ts_ms: int
    end_ts_ms: int
    window_ms: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float
    notional: float
    trade_count: int
    max_lateness_ms: int
    watermark_ms: int
    api_send_ts_ms: int | None
    source_event_ts_ms: int | None
    ingest_ts_ms: int | None
    source: str = SOURCE


def watermark_record(symbol: str, watermark_ms: int, window_ms: int, ingest_ts_ms: int | None) -> TickBin:
    """Make the record that tells readers of one partition how far event time has come.

    `symbol` is the partition's reserved one; the watermark is rounded down to the bin.
    """
    start = watermark_ms - watermark_ms % window_ms
    return TickBin(
        bin_id=f"{symbol}-{start}",
        symbol=symbol,
        start_ts_ms=start,
        end_ts_ms=start + window_ms,
        window_ms=window_ms,
        open=None,
        high=None,
        low=None,
        close=None,
        volume=0.0,
        notional=0.0,
        trade_count=0,
        max_lateness_ms=0,
        watermark_ms=start,
        api_send_ts_ms=None,
        source_event_ts_ms=None,
        ingest_ts_ms=ingest_ts_ms,
    )


class OpenBin:
    """A bin that still takes ticks. Open and close go by (event time, seq or arrival)."""

    __slots__ = (
        "api_send_ts_ms", "close", "count", "first", "high", "last_order", "last_ts", "low",
        "max_lateness_ms", "notional", "open", "opened_by", "source_event_ts_ms", "volume",
    )  # fmt: skip

    def __init__(self, tick: Tick, event_ms: int, order: int, lateness_ms: int) -> None:
        px = tick.px
        self.open = self.high = self.low = self.close = px
        self.volume = tick.sz
        self.notional = px * tick.sz
        self.count = 1
        self.max_lateness_ms = lateness_ms
        self.first = (event_ms, order)
        self.opened_by = order
        self.last_ts = tick.event_ts
        self.last_order = order
        self.api_send_ts_ms = tick.api_send_ts_ms
        self.source_event_ts_ms = tick.source_event_ts_ms

    def add(self, tick: Tick, event_ms: int, order: int, lateness_ms: int) -> None:
        """Take one more tick, in any order."""
        px = tick.px
        if px > self.high:
            self.high = px
        elif px < self.low:
            self.low = px
        self.volume += tick.sz
        self.notional += px * tick.sz
        self.count += 1
        if lateness_ms > self.max_lateness_ms:
            self.max_lateness_ms = lateness_ms
        place = (event_ms, order)
        if place >= (event_time_ms(self.last_ts), self.last_order):
            self.last_ts = tick.event_ts
            self.last_order = order
            self.close = px
        elif place < self.first:
            self.first = place
            self.open = px
        self.note_times(tick)

    def note_times(self, tick: Tick) -> None:
        """Keep the earliest of the times that a tick carries."""
        self.api_send_ts_ms = earliest(self.api_send_ts_ms, tick.api_send_ts_ms)
        self.source_event_ts_ms = earliest(self.source_event_ts_ms, tick.source_event_ts_ms)

    def closed(
        self, symbol: str, start_ms: int, window_ms: int, watermark_ms: int, ingest_ts_ms: int | None
    ) -> TickBin:
        """Return the bin as it is published."""
        return TickBin(
            f"{symbol}-{start_ms}",
            symbol,
            start_ms,
            start_ms + window_ms,
            window_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.notional,
            self.count,
            self.max_lateness_ms,
            watermark_ms,
            self.api_send_ts_ms,
            self.source_event_ts_ms,
            ingest_ts_ms,
        )


def earliest(a: int | None, b: int | None) -> int | None:
    """Return the smaller of two times, where None stands for unknown."""
    if a is None or b is None:
        return b if a is None else a
    return a if a < b else b
