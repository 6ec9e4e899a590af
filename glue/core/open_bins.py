"""The bins that still take ticks, found by start and symbol.

Starts are few (those within L + S of the newest tick), so neither the number of open bins nor that of symbols
makes a tick dearer.
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from glue.core.bins import OpenBin
from glue.core.ticks import Tick

Closing = tuple[str, int, OpenBin]
"""A bin on its way out: (symbol, start_ms, bin)."""


class OpenBins:
    """Bins of one size, all symbols."""

    def __init__(self, bin_ms: int) -> None:
        self._bin_ms = bin_ms
        self._by_start: dict[int, dict[str, OpenBin]] = {}
        self._starts: list[int] = []  # a heap
        self.arrivals = 0
        """Ticks put in so far: the order of those that carry no number."""

    def __len__(self) -> int:
        return sum(map(len, self._by_start.values()))

    @property
    def oldest_start_ms(self) -> int | None:
        """Start of the oldest bin, None when there is none."""
        return min(self._by_start, default=None)

    @property
    def opened_by(self) -> int | None:
        """Number (else arrival) of the first tick that is in an open bin, None when there is none."""
        firsts = (next(iter(bins.values())) for bins in self._by_start.values() if bins)
        return min((open_bin.opened_by for open_bin in firsts), default=None)

    def put(self, tick: Tick, event_ms: int, lateness_ms: int) -> OpenBin:
        """Put a tick into its bin, which is opened if there is none, and return it."""
        self.arrivals += 1
        order = self.arrivals if tick.seq is None else tick.seq
        start = event_ms - event_ms % self._bin_ms
        bins = self._by_start.get(start)
        if bins is None:
            bins = self._by_start[start] = {}
            heappush(self._starts, start)
        open_bin = bins.get(tick.symbol)
        if open_bin is None:
            open_bin = bins[tick.symbol] = OpenBin(tick, event_ms, order, lateness_ms)
        else:
            open_bin.add(tick, event_ms, order, lateness_ms)
        return open_bin

    def close(self, up_to_ms: int) -> Iterator[Closing]:
        """Take out all bins that end at or before a time, in start order."""
        newest_start = up_to_ms - self._bin_ms
        while self._starts and self._starts[0] <= newest_start:
            start = heappop(self._starts)
            for symbol, open_bin in self._by_start.pop(start).items():
                yield symbol, start, open_bin

    def close_symbol(self, symbol: str, after_ms: int, up_to_ms: int) -> Iterator[Closing]:
        """Take out the bins of one symbol that end after a time and at or before another."""
        bin_ms = self._bin_ms
        for start in range(after_ms // bin_ms * bin_ms, up_to_ms - bin_ms + 1, bin_ms):
            open_bin = self._by_start.get(start, {}).pop(symbol, None)
            if open_bin is not None:
                yield symbol, start, open_bin

    def drop(self, is_closed: Callable[[str, int], bool]) -> None:
        """Drop the bins for which `is_closed(symbol, end_ms)`."""
        for start, bins in self._by_start.items():
            for symbol in [s for s in bins if is_closed(s, start + self._bin_ms)]:
                del bins[symbol]
