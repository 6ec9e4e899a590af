"""The newest bars of every symbol, packed: what all sessions of one process are served from.

A bar is 115 bytes in one bytearray per symbol, ordered by its start, so that 10,000 symbols of 600 bars stay
below 1 GB. Nothing here reads a clock or knows where bars come from.
"""

from struct import Struct

import msgspec

from glue.core.bars import Bar

_RECORD = Struct("<qQ6dqqqqqIHIB")
"""start, revision | open high low close volume notional | append, receive, api send, source event, ingest |
trades, bins, lateness, engine."""
_START = Struct("<q")
_REVISION = Struct("<8xQ")
_UNKNOWN = -1
_MOST_BINS = 0xFFFF
_MOST_COUNT = 0xFFFFFFFF


class CachedBar(msgspec.Struct, frozen=True, gc=False):
    """A bar with the times it passed through. Wall clocks, ms since 1970 UTC."""

    bar: Bar
    append_ms: int
    """When the broker appended it."""
    receive_ms: int | None
    """When this process read it; None for what was there before it started."""
    revision: int
    """Grows with every change of the cache."""


class BarCache:
    """The newest `bars_per_symbol` bars of each symbol, each bar id once, whatever order they come in."""

    def __init__(self, bars_per_symbol: int) -> None:
        self._most_bytes = bars_per_symbol * _RECORD.size
        self._bars: dict[str, bytearray] = {}
        self._revisions: dict[str, int] = {}
        self._revision = 0

    def add(self, bar: Bar, append_ms: int, receive_ms: int | None, *, is_older: bool = False) -> bool:
        """Take a bar; tell whether it changed anything.

        Of two with one id the later one counts. `is_older` says that this one was appended before those that
        came so far, as when a topic is read from its end backwards: it gives way to one that is there.
        """
        packed = self._bars.get(bar.symbol)
        if packed is None:
            packed = self._bars[bar.symbol] = bytearray()
        at = _place(packed, bar.start_ts_ms)
        is_repeat = at < len(packed) and _START.unpack_from(packed, at)[0] == bar.start_ts_ms
        is_full = len(packed) >= self._most_bytes
        if (is_repeat and is_older) or (not is_repeat and is_full and at == 0):
            return False
        self._revision += 1
        record = _pack(bar, append_ms, receive_ms, self._revision)
        if is_repeat:
            packed[at : at + _RECORD.size] = record
        elif at == len(packed):
            packed += record
        else:
            packed[at:at] = record
        if len(packed) > self._most_bytes:
            del packed[: _RECORD.size]
        self._revisions[bar.symbol] = self._revision
        return True

    def is_settled(self, symbol: str, start_ms: int) -> bool:
        """Tell whether a bar read from the past can change nothing: all bars of its symbol are newer."""
        packed = self._bars.get(symbol)
        if packed is None or len(packed) < self._most_bytes:
            return False
        return bool(start_ms < _START.unpack_from(packed, 0)[0])

    def bars(self, symbol: str, since_ms: int | None = None, after_revision: int = 0) -> list[CachedBar]:
        """Return the bars of a symbol in their order, from a start time on, that changed after a revision."""
        packed = self._bars.get(symbol)
        if packed is None or self._revisions[symbol] <= after_revision:
            return []
        first = 0 if since_ms is None else _place(packed, since_ms)
        return [
            _unpack(symbol, packed, at)
            for at in range(first, len(packed), _RECORD.size)
            if _REVISION.unpack_from(packed, at)[0] > after_revision
        ]

    def newest(self, symbol: str) -> CachedBar | None:
        """Return the newest bar of a symbol, None where there is none."""
        packed = self._bars.get(symbol)
        return _unpack(symbol, packed, len(packed) - _RECORD.size) if packed else None

    def oldest(self, symbol: str) -> CachedBar | None:
        """Return the oldest bar of a symbol, None where there is none."""
        packed = self._bars.get(symbol)
        return _unpack(symbol, packed, 0) if packed else None

    def known_since(self, symbol: str, since_ms: int) -> int:
        """Return from when on, in ms and from `since_ms` at the earliest, no bar had to go for newer ones."""
        oldest = self.oldest(symbol)
        return oldest.bar.start_ts_ms if oldest and self.is_settled(symbol, since_ms) else since_ms

    def revision(self, symbol: str) -> int:
        """Return the revision of the newest change of a symbol, 0 where there is none."""
        return self._revisions.get(symbol, 0)

    def symbols(self) -> list[str]:
        """Return the symbols that have bars, in alphabetical order."""
        return sorted(self._bars)

    @property
    def symbol_count(self) -> int:
        """Symbols that have bars."""
        return len(self._bars)

    @property
    def bar_count(self) -> int:
        """Bars held, of all symbols."""
        return sum(map(len, self._bars.values())) // _RECORD.size

    def clear(self) -> None:
        """Forget all bars; revisions go on, so that no session takes a new bar for one it has."""
        self._bars.clear()
        self._revisions.clear()


def _place(packed: bytearray, start_ms: int) -> int:
    """Return the offset of the first bar that starts at `start_ms` or later."""
    low, high = 0, len(packed) // _RECORD.size
    if high and _START.unpack_from(packed, len(packed) - _RECORD.size)[0] < start_ms:
        return len(packed)
    while low < high:
        middle = (low + high) // 2
        if _START.unpack_from(packed, middle * _RECORD.size)[0] < start_ms:
            low = middle + 1
        else:
            high = middle
    return low * _RECORD.size


def _pack(bar: Bar, append_ms: int, receive_ms: int | None, revision: int) -> bytes:
    return _RECORD.pack(
        bar.start_ts_ms,
        revision,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.notional,
        append_ms,
        _UNKNOWN if receive_ms is None else receive_ms,
        _UNKNOWN if bar.api_send_ts_ms is None else bar.api_send_ts_ms,
        _UNKNOWN if bar.source_event_ts_ms is None else bar.source_event_ts_ms,
        _UNKNOWN if bar.ingest_ts_ms is None else bar.ingest_ts_ms,
        min(bar.trade_count, _MOST_COUNT),
        min(bar.bin_count, _MOST_BINS),
        min(bar.max_lateness_ms, _MOST_COUNT),
        bar.source == "ksqldb",
    )


def _unpack(symbol: str, packed: bytearray, at: int) -> CachedBar:
    (
        start,
        revision,
        open_,
        high,
        low,
        close,
        volume,
        notional,
        append,
        receive,
        api_send,
        source_event,
        ingest,
        trades,
        bins,
        lateness,
        is_ksqldb,
    ) = _RECORD.unpack_from(packed, at)
    bar = Bar(
        bar_id=f"{symbol}-{start}",
        symbol=symbol,
        start_ts_ms=start,
        end_ts_ms=start + 1000,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        notional=notional,
        vwap=notional / volume if volume > 0 else close,
        trade_count=trades,
        bin_count=bins,
        max_lateness_ms=lateness,
        api_send_ts_ms=_known(api_send),
        source_event_ts_ms=_known(source_event),
        ingest_ts_ms=_known(ingest),
        source="ksqldb" if is_ksqldb else "aggregate",
    )
    return CachedBar(bar, append, _known(receive), revision)


def _known(value: int) -> int | None:
    return None if value == _UNKNOWN else value
