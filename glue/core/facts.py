"""60 s and 300 s facts from 1 s bars: the rows that go to CORE.FACT_TICKS_60S and CORE.FACT_TICKS_300S.

Duplicate-safe: a second of a symbol has one place, so a bar sent again replaces itself and the last one
counts. Order-safe: a row is folded from its bars in start order when it is written, whatever order they came
in. A row is always made from all its bars, never by adding to a stored row.
"""

from array import array
from math import inf

import msgspec

from glue.core.bars import Bar
from glue.core.watermarks import BAR_MS

MINUTE_MS = 60_000
FIVE_MINUTES_MS = 300_000
_SECONDS = MINUTE_MS // BAR_MS
_UNKNOWN, _NEVER = 1 << 62, -1
"""Times that stand for none where the earliest counts, and where the newest does."""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One row: a symbol's window [start, end) in which it traded, aligned to the epoch. Times in ms UTC."""

    bar_id: str
    """`<symbol>-<start_ms>-<60s|300s>`."""
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
    """notional / volume; the close where nothing but size 0 traded."""
    trade_count: int
    bar_count: int
    """1 s bars that the row is made from."""
    max_lateness_ms: int
    api_send_ts_ms: int | None
    """Earliest time that the feed sent a tick of the window."""
    source_event_ts_ms: int | None
    ingest_ts_ms: int | None
    """Newest wall time that a bar of the window was emitted."""


class Rows(msgspec.Struct, frozen=True):
    """The rows of one flush."""

    minutes: list[Fact]
    five_minutes: list[Fact]

    def __len__(self) -> int:
        return len(self.minutes) + len(self.five_minutes)


class Minute:
    """The 1 s bars of one symbol in one aligned minute.

    A column a field and a slot a second, neutral where there is no bar: 6 KB, however the bars came. Plain
    objects would need ten times as much where 5,000 symbols trade every second.
    """

    __slots__ = (
        *("closes", "highs", "ingested", "lateness", "lows", "notionals", "opens", "sent"),
        *("sourced", "trades", "volumes"),
    )

    def __init__(self) -> None:
        self.opens, self.closes = _filled(0.0), _filled(0.0)
        self.highs, self.lows = _filled(-inf), _filled(inf)
        self.volumes, self.notionals = _filled(0.0), _filled(0.0)
        self.trades, self.lateness, self.ingested = _counts(0), _counts(0), _counts(_NEVER)
        self.sent, self.sourced = _counts(_UNKNOWN), _counts(_UNKNOWN)

    def put(self, bar: Bar) -> None:
        """Take a bar of this minute, in place of what came for its second before."""
        i = bar.start_ts_ms % MINUTE_MS // BAR_MS
        self.opens[i], self.closes[i] = bar.open, bar.close
        self.highs[i], self.lows[i] = bar.high, bar.low
        self.volumes[i], self.notionals[i] = bar.volume, bar.notional
        self.trades[i], self.lateness[i] = bar.trade_count, bar.max_lateness_ms
        self.sent[i] = _UNKNOWN if bar.api_send_ts_ms is None else bar.api_send_ts_ms
        self.sourced[i] = _UNKNOWN if bar.source_event_ts_ms is None else bar.source_event_ts_ms
        self.ingested[i] = _NEVER if bar.ingest_ts_ms is None else bar.ingest_ts_ms

    @property
    def open(self) -> float:
        """Open of the first bar."""
        return next(price for price, count in zip(self.opens, self.trades, strict=True) if count)

    @property
    def close(self) -> float:
        """Close of the last bar."""
        pairs = zip(reversed(self.closes), reversed(self.trades), strict=True)
        return next(price for price, count in pairs if count)

    @property
    def bar_count(self) -> int:
        """Seconds that traded."""
        return _SECONDS - self.trades.count(0)


def fold(symbol: str, start_ts_ms: int, window_ms: int, minutes: list[Minute]) -> Fact:
    """Make the row of a window from its minutes, which are in start order."""
    close = minutes[-1].close
    volume = sum(sum(minute.volumes) for minute in minutes)
    notional = sum(sum(minute.notionals) for minute in minutes)
    return Fact(
        bar_id=row_id(symbol, start_ts_ms, window_ms),
        symbol=symbol,
        start_ts_ms=start_ts_ms,
        end_ts_ms=start_ts_ms + window_ms,
        open=minutes[0].open,
        high=max(max(minute.highs) for minute in minutes),
        low=min(min(minute.lows) for minute in minutes),
        close=close,
        volume=volume,
        notional=notional,
        vwap=notional / volume if volume > 0 else close,
        trade_count=sum(sum(minute.trades) for minute in minutes),
        bar_count=sum(minute.bar_count for minute in minutes),
        max_lateness_ms=max(max(minute.lateness) for minute in minutes),
        api_send_ts_ms=_known(min(min(minute.sent) for minute in minutes)),
        source_event_ts_ms=_known(min(min(minute.sourced) for minute in minutes)),
        ingest_ts_ms=_known(max(max(minute.ingested) for minute in minutes)),
    )


class Windows:
    """The bars of the 300 s windows that are not written yet, and which of their minutes are due."""

    def __init__(self) -> None:
        self.minute_count = 0
        """Minutes of symbols that are held, 6 KB each."""
        self._windows: dict[int, dict[str, dict[int, Minute]]] = {}
        self._unwritten: set[tuple[int, str]] = set()

    def put(self, bar: Bar, *, is_written: bool = False) -> None:
        """Take a bar; `is_written` says that a row of its minute was already made with it."""
        start = floor(bar.start_ts_ms, MINUTE_MS)
        minutes = self._windows.setdefault(floor(start, FIVE_MINUTES_MS), {}).setdefault(bar.symbol, {})
        minute = minutes.get(start)
        if minute is None:
            minute = minutes[start] = Minute()
            self.minute_count += 1
        minute.put(bar)
        if not is_written:
            self._unwritten.add((start, bar.symbol))

    def rows(self, until_ms: int) -> Rows:
        """Return the rows of what ends by `until_ms` and is not written, by start and symbol."""
        minutes = []
        for start, symbol in sorted(self._unwritten):
            if start + MINUTE_MS <= until_ms:
                minute = self._windows[floor(start, FIVE_MINUTES_MS)][symbol][start]
                minutes.append(fold(symbol, start, MINUTE_MS, [minute]))
        five_minutes = [
            fold(symbol, start, FIVE_MINUTES_MS, [held[at] for at in sorted(held)])
            for start in sorted(self._windows)
            if start + FIVE_MINUTES_MS <= until_ms
            for symbol, held in sorted(self._windows[start].items())
        ]
        return Rows(minutes, five_minutes)

    def forget(self, until_ms: int) -> None:
        """Forget what `rows(until_ms)` gave: it is written."""
        self._unwritten = {at for at in self._unwritten if at[0] + MINUTE_MS > until_ms}
        for start in [start for start in self._windows if start + FIVE_MINUTES_MS <= until_ms]:
            self.minute_count -= sum(len(held) for held in self._windows.pop(start).values())


def row_id(symbol: str, start_ts_ms: int, window_ms: int) -> str:
    """Return the BAR_ID of a window's row."""
    return f"{symbol}-{start_ts_ms}-{window_ms // 1000}s"


def floor(ts_ms: int, window_ms: int) -> int:
    """Return the start of the aligned window that a time falls in."""
    return ts_ms - ts_ms % window_ms


def _counts(value: int) -> "array[int]":
    return array("q", [value]) * _SECONDS


def _known(ts_ms: int) -> int | None:
    return None if ts_ms in (_UNKNOWN, _NEVER) else ts_ms


def _filled(value: float) -> "array[float]":
    return array("d", [value]) * _SECONDS
