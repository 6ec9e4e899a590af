"""Which bin a tick falls in, and when bins close: rules 1, 2, 4, 5 and 7 of docs/ARCHITECTURE.md.

Most ticks are quiet: they continue their symbol's newest bin and come before anything closes. For those,
comparing two floats decides everything, in `take_quiet`. All others go through `take`.
"""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Literal

from glue.core.bins import OpenBin, TickBin, watermark_record
from glue.core.open_bins import Closing, OpenBins
from glue.core.partition import Shard, partition_of, watermark_symbols
from glue.core.ticks import Line, Tick, event_time_ms
from glue.core.watermarks import BAR_MS, Rules

NEVER = -1_000_000
"""Before any event time and any watermark."""
_MARGIN_MS = 0.1
"""Ticks so close before a bound are not called quiet: more than a float of seconds is off until 9999."""


class SymbolState:
    """W(s) of one symbol and its newest bin.

    A tick with `from_ts` <= event_ts < `until_ts` continues that bin and moves `from_ts`; W(s) follows it
    when it is asked for. `until_ts` is 0 where no tick can be quiet.
    """

    __slots__ = ("bin", "from_ts", "until_ts", "watermark_ms")

    def __init__(self, watermark_ms: int = NEVER) -> None:
        self.watermark_ms = watermark_ms
        self.bin: OpenBin | None = None
        self.from_ts = self.until_ts = 0.0

    def settle(self) -> int:
        """Bring `watermark_ms` up to date and return it."""
        if self.until_ts:
            self.watermark_ms = max(self.watermark_ms, event_time_ms(self.from_ts))
        return self.watermark_ms

    def begin(self, open_bin: OpenBin, end_ms: int) -> None:
        """Let ticks from the bin's last one on, up to its end, be quiet."""
        self.bin = open_bin
        self.from_ts = open_bin.last_ts
        self.until_ts = (end_ms - _MARGIN_MS) / 1000


_FOREIGN = SymbolState()
_FOREIGN.until_ts = inf
"""What stands for every symbol of another shard: its ticks move M and W and are in no bin here."""


class Windows:
    """The watermarks and the open bins of one feed, or of one shard of it.

    Invariants: W(s), M and W never go back; a bin closes as soon as its end is at or below
    max(W(s), W) - L, so a closed bin never opens again; a watermark record comes after every bin that it
    says is closed. W is the same in every shard.
    """

    def __init__(self, rules: Rules, shard: Shard, *, is_live: bool) -> None:
        self.rules = rules
        self.shard = shard
        self.newest_ms = NEVER
        """M: highest event time accepted of any symbol (live: never beyond the wall clock)."""
        self.watermark_ms = NEVER
        """W of the feed; NEVER before the first tick or heartbeat."""
        self.bars_end_ms = NEVER
        """End of the newest bar that a bin was opened for."""
        self.tick_count = 0
        self.open = OpenBins(rules.bin_ms)
        self.closed: list[TickBin] = []
        """Bins and watermark records in publishing order; whoever takes them empties it."""
        self._symbols: dict[str, SymbolState] = {}
        self._next_close_ms = NEVER  # W that the next bin end needs; the bin size divides L
        self._second: int | None = None  # last whole second that W - L has reached
        self._is_live = is_live
        self._wall_ms = 0
        self._ingest_ts_ms: int | None = None

    def begin(self, wall_ms: int, ingest_ts_ms: int | None) -> None:
        """Go on at a wall time; what closes from now on bears `ingest_ts_ms`."""
        self._wall_ms = wall_ms
        self._ingest_ts_ms = ingest_ts_ms

    def owns(self, symbol: str) -> bool:
        """Tell whether this shard publishes the symbol's bins and dead letters."""
        shard = self.shard
        return shard.count == 1 or shard.owns(partition_of(symbol, self.rules.partitions))

    def is_known(self, symbol: str) -> bool:
        """Tell whether a tick of the symbol was taken in."""
        return symbol in self._symbols

    # Watermarks of the symbols

    def watermark_of(self, symbol: str) -> int:
        """Return W(s), NEVER for a symbol that was not seen yet."""
        state = self._symbols.get(symbol)
        return NEVER if state is None or state is _FOREIGN else state.settle()

    def symbol_watermarks(self) -> dict[str, int]:
        """Return W(s) of all symbols of this shard."""
        return {symbol: state.settle() for symbol, state in self._symbols.items() if state is not _FOREIGN}

    def set_symbol_watermarks(self, watermarks: dict[str, int]) -> None:
        """Replace W(s) of all symbols."""
        self._symbols = {symbol: SymbolState(ms) for symbol, ms in watermarks.items()}

    def set_watermark_of(self, symbol: str, watermark_ms: int) -> None:
        """Set W(s) of one symbol."""
        self._symbols[symbol] = SymbolState(watermark_ms)

    def forget_ticks(self) -> None:
        """Forget the open bins and W(s) of all symbols, but not M and W."""
        self.open = OpenBins(self.rules.bin_ms)
        self._symbols.clear()

    def restore(self, newest_ms: int, watermark_ms: int, bars_end_ms: int) -> None:
        """Go on with the watermarks of an earlier process."""
        self.newest_ms, self.watermark_ms, self.bars_end_ms = newest_ms, watermark_ms, bars_end_ms
        if watermark_ms != NEVER:
            self._next_close_ms = watermark_ms - watermark_ms % self.rules.bin_ms + self.rules.bin_ms
            self._second = (watermark_ms - self.rules.late_ms) // BAR_MS

    # Ticks

    def take_quiet(self, lines: Sequence[Line], i: int) -> int:
        """Take in quiet ticks from index `i` on; return the index of the first line that is none."""
        symbols, arrivals = self._symbols, self.open.arrivals
        until_ts = self._quiet_until_ts()
        # A word of the feed may be ahead of all ticks: then not every tick that raises M is accepted.
        is_ahead = self.watermark_ms - self.rules.late_ms > self.newest_ms
        newest_ts = before_ts = self.newest_ms / 1000
        foreign = 0
        first = i
        for i in range(i, len(lines)):  # noqa: B020  # goes on from where it was
            tick = lines[i]
            if tick.__class__ is not Tick:
                break
            ts = tick.event_ts
            state = symbols.get(tick.symbol)
            if state is None or ts >= until_ts or not state.from_ts <= ts < state.until_ts:
                break
            open_bin = state.bin
            if open_bin is None:
                if ts > newest_ts:
                    if is_ahead:
                        break
                    newest_ts = ts
                foreign += 1
                continue
            seq = tick.seq
            order = arrivals if seq is None else seq
            if order < open_bin.last_order:
                break
            state.from_ts = open_bin.last_ts = ts
            open_bin.last_order = order
            if ts > newest_ts:
                newest_ts = ts
            px = tick.px
            sz = tick.sz
            open_bin.close = px
            if px > open_bin.high:
                open_bin.high = px
            elif px < open_bin.low:
                open_bin.low = px
            open_bin.volume += sz
            open_bin.notional += px * sz
            open_bin.count += 1
            if tick.api_send_ts_ms is not None or tick.source_event_ts_ms is not None:
                open_bin.note_times(tick)
        else:
            i = len(lines)
        taken = i - first
        self.open.arrivals += taken
        self.tick_count += taken - foreign
        if newest_ts > before_ts:
            newest_ms = event_time_ms(newest_ts)
            self._note_bar(newest_ms)
            self._raise_newest(newest_ms)
        return i

    def take(self, tick: Tick, event_ms: int, reached_ms: int) -> Literal["late", "closed"] | None:
        """Put a tick into its bin and raise the watermarks to `reached_ms`, or say why it is too late."""
        rules = self.rules
        symbol = tick.symbol
        state = self._symbols.get(symbol)
        is_new = state is None
        if state is None:
            state = SymbolState() if self.owns(symbol) else _FOREIGN
        if state is _FOREIGN:
            self._symbols[symbol] = state
            self._take_foreign(event_ms, reached_ms)
            return None
        newest = state.settle()
        lateness_ms = newest - event_ms if newest > event_ms else 0
        if lateness_ms > rules.late_ms:
            return "late"
        end_ms = event_ms - event_ms % rules.bin_ms + rules.bin_ms
        if end_ms <= max(newest, self.watermark_ms) - rules.late_ms:
            return "closed"

        if is_new:
            self._symbols[symbol] = state
        self.tick_count += 1
        open_bin = self.put(tick, event_ms, lateness_ms)
        if reached_ms > newest:
            state.watermark_ms = reached_ms
            state.until_ts = 0.0
            self._raise_newest(reached_ms)
            # Its own newest tick may be ahead of W, by at most S.
            closed_to = max(newest, self.watermark_ms)
            if reached_ms - reached_ms % rules.bin_ms > closed_to:
                late_ms = rules.late_ms
                self._publish(self.open.close_symbol(symbol, closed_to - late_ms, reached_ms - late_ms))
        if event_ms == state.watermark_ms and open_bin.last_ts == tick.event_ts:
            state.begin(open_bin, end_ms)
        elif open_bin is state.bin and open_bin.last_ts > state.from_ts:
            state.until_ts = 0.0  # it is beyond the wall clock: ticks before it would look quiet
        return None

    def put(self, tick: Tick, event_ms: int, lateness_ms: int) -> OpenBin:
        """Put a tick into its bin, which is opened if there is none, and change no watermark."""
        self._note_bar(event_ms)
        return self.open.put(tick, event_ms, lateness_ms)

    def _take_foreign(self, event_ms: int, reached_ms: int) -> None:
        """Let another shard's tick move M and W as it does there."""
        bin_ms = self.rules.bin_ms
        if event_ms - event_ms % bin_ms + bin_ms <= self.watermark_ms - self.rules.late_ms:
            return
        self._note_bar(event_ms)
        self._raise_newest(reached_ms)

    def _note_bar(self, event_ms: int) -> None:
        if event_ms >= self.bars_end_ms:
            self.bars_end_ms = event_ms - event_ms % BAR_MS + BAR_MS

    def _quiet_until_ts(self) -> float:
        """Return the event_ts from which on a tick closes something, or is beyond the wall clock."""
        until_ms = self._next_close_ms + self.rules.skew_ms
        if self._is_live and until_ms > self._wall_ms:
            until_ms = self._wall_ms + 1
        return (until_ms - _MARGIN_MS) / 1000

    def _raise_newest(self, newest_ms: int) -> None:
        if newest_ms > self.newest_ms:
            self.newest_ms = newest_ms
            self.advance(newest_ms - self.rules.skew_ms)

    # Closing

    def advance(self, watermark_ms: int) -> None:
        """Raise W, close what that closes, then tell every partition when a second is complete."""
        if watermark_ms <= self.watermark_ms:
            return
        self.watermark_ms = watermark_ms
        if watermark_ms < self._next_close_ms:
            return
        rules = self.rules
        self._next_close_ms = watermark_ms - watermark_ms % rules.bin_ms + rules.bin_ms
        self._publish(self.open.close(watermark_ms - rules.late_ms))
        second = (watermark_ms - rules.late_ms) // BAR_MS
        if self._second is not None and second > self._second:
            for partition, symbol in enumerate(watermark_symbols(rules.partitions)):
                if self.shard.owns(partition):
                    record = watermark_record(symbol, watermark_ms, rules.bin_ms, self._ingest_ts_ms)
                    self.closed.append(record)
        self._second = second

    def close_everything(self, up_to_ms: int | None = None) -> None:
        """Raise W so far that every open bin and bar closes, but not beyond `up_to_ms`."""
        if self.bars_end_ms != NEVER:
            enough_ms = self.bars_end_ms + self.rules.late_ms
            self.advance(enough_ms if up_to_ms is None else min(enough_ms, up_to_ms))

    @property
    def has_open_bars(self) -> bool:
        """Whether a bin or bar waits for the watermark to move on."""
        return self.bars_end_ms != NEVER and self.bars_end_ms > self.watermark_ms - self.rules.late_ms

    def _publish(self, closing: Iterable[Closing]) -> None:
        symbols, bin_ms, ingest_ts_ms = self._symbols, self.rules.bin_ms, self._ingest_ts_ms
        for symbol, start, open_bin in closing:
            state = symbols[symbol]
            if state.bin is open_bin:
                state.settle()
                state.bin = None
                state.until_ts = 0.0
            self.closed.append(open_bin.closed(symbol, start, bin_ms, self.watermark_ms, ingest_ts_ms))
