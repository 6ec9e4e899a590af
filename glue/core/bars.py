"""1 s bars from bins: the same result as ksql/*.sql gives, bar for bar.

Duplicate-safe: a bar keeps its bins by start, so a bin sent again replaces itself. Order-safe: a bar is
folded from its bins in start order when it closes, whatever order they came in.
"""

from heapq import heappop, heappush
from typing import Literal

import msgspec

from glue.core.bins import TickBin, earliest
from glue.core.partition import is_watermark
from glue.core.watermarks import BAR_MS

Source = Literal["aggregate", "ksqldb"]


class Bar(msgspec.Struct, gc=False):
    """A closed 1 s bar; fields and units as in schemas/bar_1s.avsc."""

    bar_id: str
    symbol: str
    start_ts_ms: int
    end_ts_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    notional: float
    vwap: float
    trade_count: int
    bin_count: int
    max_lateness_ms: int
    api_send_ts_ms: int | None
    source_event_ts_ms: int | None
    ingest_ts_ms: int | None
    source: Source = "aggregate"


class BarBuilder:
    """The open bars of one partition.

    Time is the partition's stream time, the highest `start_ts_ms` read, as in ksqlDB: a bar
    [t, t + 1000) closes when it reaches t + 1000 + L. By the watermark rules that record is a watermark
    record, and every bin of the bar came before it. What still comes for a closed bar is a repeat, is
    counted and changes nothing. Bars come out once, in order per symbol.

    `is_partial` says that records before the first one are gone: then no bar comes out of which one may have
    been. A watermark record tells where that ends: bins of bars from its own second on come after it.
    """

    def __init__(self, late_ms: int, stream_time_ms: int = -1, *, is_partial: bool = False) -> None:
        self.stream_time_ms = stream_time_ms
        """Highest start_ts_ms read, ms since 1970 UTC; bars that it closes are never emitted again."""
        self.ignored_count = 0
        self.is_partial = is_partial
        """Whether no watermark record was read yet since records were lost."""
        self._late_ms = late_ms
        self._bars: dict[int, dict[str, dict[int, TickBin]]] = {}
        self._starts: list[int] = []
        self._first_offsets: dict[int, int] = {}

    def add(self, tick_bin: TickBin, offset: int = 0) -> list[dict[int, TickBin]]:
        """Take one record, at its offset in the partition; return the bars it closes, as their bins."""
        start = tick_bin.start_ts_ms
        if self.is_partial:
            self._take_partial(tick_bin.symbol, start)
            return []
        bar_start = start - start % BAR_MS
        # A null price or a count of 0 makes no bar: watermark records, and whatever looks like one.
        if tick_bin.trade_count > 0 and tick_bin.open is not None and not is_watermark(tick_bin.symbol):
            if self._is_closed(bar_start):
                self.ignored_count += 1
            else:
                symbols = self._bars.get(bar_start)
                if symbols is None:
                    symbols = self._bars[bar_start] = {}
                    heappush(self._starts, bar_start)
                    self._first_offsets[bar_start] = offset
                symbols.setdefault(tick_bin.symbol, {})[start] = tick_bin
        if start <= self.stream_time_ms:
            return []
        self.stream_time_ms = start
        closed: list[dict[int, TickBin]] = []
        while self._starts and self._is_closed(self._starts[0]):
            bar_start = heappop(self._starts)
            del self._first_offsets[bar_start]
            closed.extend(self._bars.pop(bar_start).values())
        return closed

    @property
    def open_bar_count(self) -> int:
        """Bars that wait for the watermark."""
        return sum(map(len, self._bars.values()))

    @property
    def oldest_offset(self) -> int | None:
        """Offset of the first record of the oldest open bar, None when no bar is open."""
        return min(self._first_offsets.values(), default=None)

    def _take_partial(self, symbol: str, start: int) -> None:
        """Ignore bins until a watermark record, then count as closed what begins before it."""
        if is_watermark(symbol):
            whole_from = -(-start // BAR_MS) * BAR_MS
            self.stream_time_ms = max(self.stream_time_ms, whole_from + self._late_ms)
            self.is_partial = False
        else:
            self.ignored_count += 1

    def _is_closed(self, bar_start: int) -> bool:
        return bar_start + BAR_MS + self._late_ms <= self.stream_time_ms


def fold(bins: dict[int, TickBin], ingest_ts_ms: int | None) -> Bar:
    """Fold the bins of one bar, in start order; vwap is the close where nothing but size 0 traded."""
    ordered = [bins[start] for start in sorted(bins)]
    first, last = ordered[0], ordered[-1]
    bar_start = first.start_ts_ms - first.start_ts_ms % BAR_MS
    high, low, close = first.high, first.low, last.close
    volume = notional = 0.0
    trade_count = max_lateness_ms = 0
    api_send_ts_ms = source_event_ts_ms = None
    for b in ordered:
        high = max(high, b.high)  # type: ignore[type-var]  # prices are null in watermark records only
        low = min(low, b.low)  # type: ignore[type-var]
        volume += b.volume
        notional += b.notional
        trade_count += b.trade_count
        max_lateness_ms = max(max_lateness_ms, b.max_lateness_ms)
        api_send_ts_ms = earliest(api_send_ts_ms, b.api_send_ts_ms)
        source_event_ts_ms = earliest(source_event_ts_ms, b.source_event_ts_ms)
    assert first.open is not None  # noqa: S101
    assert high is not None  # noqa: S101
    assert low is not None  # noqa: S101
    assert close is not None  # noqa: S101
    return Bar(
        bar_id=f"{first.symbol}-{bar_start}",
        symbol=first.symbol,
        start_ts_ms=bar_start,
        end_ts_ms=bar_start + BAR_MS,
        open=first.open,
        high=high,
        low=low,
        close=close,
        volume=volume,
        notional=notional,
        vwap=notional / volume if volume > 0 else close,
        trade_count=trade_count,
        bin_count=len(ordered),
        max_lateness_ms=max_lateness_ms,
        api_send_ts_ms=api_send_ts_ms,
        source_event_ts_ms=source_event_ts_ms,
        ingest_ts_ms=ingest_ts_ms,
    )
