"""What all sessions of a process share: the cache, its reader, and the numbers about both."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

import msgspec
import structlog

from glue.core.dead_letters import DeadLetter
from glue.errors import TapelineError
from glue.intake import now_ms
from glue.io.bar_feed import BarFeed, Batch
from glue.levels import ServiceLevel
from glue.settings import Settings
from webapp import metrics
from webapp.cache import BarCache, CachedBar
from webapp.health import (
    FAULTS,
    Badge,
    Condition,
    Facts,
    Fault,
    badges,
    condition,
    fault,
    service_levels,
)
from webapp.history import KEPT_MS, History
from webapp.latency import LatencyWindow, sample
from webapp.market import Market
from webapp.threads import in_thread

POLL_S = 0.2
RETRY_S = 1.0
HOUR_MS = 3_600_000
BOARD_MS = 250
KEPT_LETTERS = 50
KEPT_ERRORS = 20
log = structlog.get_logger()


class Problem(msgspec.Struct, frozen=True):
    """Something that went wrong, in words for the user; wall clock in ms."""

    at_ms: int
    text: str


class Hub:
    """Fills the cache in a lifespan task and wakes the sessions; used from the event loop only."""

    def __init__(self, settings: Settings, clock: Callable[[], int] = now_ms) -> None:
        self.settings = settings
        self.cache = BarCache(settings.dashboard_cache_bars)
        self.latencies = LatencyWindow()
        self.history = History()
        self.letters: deque[DeadLetter] = deque(maxlen=KEPT_LETTERS)
        self.problems: deque[Problem] = deque(maxlen=KEPT_ERRORS)
        self.market = Market(settings)
        self._clock = clock
        self._letters_by_minute: dict[int, Counter[str]] = {}
        self._newest_end_ms: int | None = None
        self._received_ms: int | None = None
        self._is_connected = False
        self._fault: Fault | None = None
        self._error = ""
        self._is_current = False
        self._filled = 0.0
        self._backlog = 0
        self._has_always_open = False
        self._changed = asyncio.Event()
        self._board: tuple[Condition, list[Badge], Facts] | None = None

    def take(self, batch: Batch) -> None:
        """Take in what was read."""
        if batch.has_restarted:
            self.cache.clear()
            self.latencies.clear()
            self.history.clear()
            self._newest_end_ms = self._received_ms = None
            self._is_current = self._has_always_open = False
        for read in batch.bars:
            self.history.add(read.append_ms, read.bar.end_ts_ms, read.bar.trade_count)
            if not self.cache.add(read.bar, read.append_ms, read.receive_ms, is_older=read.is_older):
                continue
            self._has_always_open = self._has_always_open or self.market.trades_always(read.bar.symbol)
            if self._newest_end_ms is None or read.bar.end_ts_ms > self._newest_end_ms:
                self._newest_end_ms = read.bar.end_ts_ms
            if read.receive_ms is not None:
                self._received_ms = read.receive_ms
                taken = sample(CachedBar(read.bar, read.append_ms, read.receive_ms, 0))
                if taken is not None:
                    self.latencies.add(taken)
                    metrics.observe(taken)
        for letter in batch.letters:
            self.letters.append(letter)
            at_ms = letter.ingest_ts_ms or self._clock()
            self._letters_by_minute.setdefault(at_ms // 60_000, Counter())[letter.reason] += 1
        metrics.BARS.inc(len(batch.bars))
        if batch.unreadable:
            metrics.UNREADABLE.inc(batch.unreadable)
            self.fail(f"{batch.unreadable} records of {self.settings.agg_output_topic} are no bars, skipped")

    def connected(self, filled: float, backlog: int) -> None:
        """Note that records can be read, or that there are none, and how far reading is."""
        self._is_connected, self._fault, self._error = True, None, ""
        self._filled, self._backlog = filled, backlog
        self._is_current = self._is_current or not backlog

    def disconnected(self, error: TapelineError) -> None:
        """Note why nothing can be read."""
        reason = str(error)
        if self._error != reason:
            self.fail(reason)
        self._is_connected, self._fault, self._error = False, fault(error), reason

    def fail(self, text: str) -> None:
        """Keep what went wrong for the page."""
        self.problems.append(Problem(self._clock(), text))
        log.warning("dashboard", problem=text)

    def facts(self) -> Facts:
        """Return how things are now."""
        now = self._clock()
        return Facts(
            now_ms=now,
            is_connected=self._is_connected,
            fault=self._fault,
            error=self._error,
            is_current=self._is_current,
            filled=self._filled,
            bar_count=self.cache.bar_count,
            newest_end_ms=self._newest_end_ms,
            received_ms=self._received_ms,
            backlog=self._backlog,
            latencies=self.latencies.summary(now),
            dead_letters=sum(self.dead_letters().values()),
        )

    def dead_letters(self) -> Counter[str]:
        """Return the dead letters of the last hour by reason."""
        oldest = (self._clock() - HOUR_MS) // 60_000
        for minute in [m for m in self._letters_by_minute if m <= oldest]:
            del self._letters_by_minute[minute]
        return sum(self._letters_by_minute.values(), Counter())

    def board(self) -> tuple[Condition, list[Badge], Facts]:
        """Return what every page shows at its top; made anew every quarter of a second at most."""
        if self._board is None or self._clock() - self._board[2].now_ms > BOARD_MS:
            facts = self.facts()
            is_open = self._is_open(facts.now_ms)
            shown = badges(facts, self.settings, is_open=is_open)
            self._board = condition(facts, is_open=is_open), shown, facts
        return self._board

    def service_levels(self) -> list[ServiceLevel]:
        """Return what the dashboard promises of itself."""
        facts = self.facts()
        return service_levels(facts, self.settings, is_open=self._is_open(facts.now_ms))

    def _is_open(self, now_ms: int) -> bool:
        return self._has_always_open or self.market.is_open(now_ms)

    def condition_of(self, symbol: str) -> Condition:
        """Return the condition of the page of one symbol, whose market may be closed while others go on.

        Of one that has no bars that is said, where others have some.
        """
        general, _, facts = self.board()
        newest = self.cache.newest(symbol)
        if newest is None:
            return general if not symbol or general in ("starting", "waiting", *FAULTS) else "no_bars"
        is_open = self.market.trades_always(symbol) or self.market.is_open(facts.now_ms)
        return condition(facts, is_open=is_open, symbol_end_ms=newest.bar.end_ts_ms)

    def is_settled(self, symbol: str, start_ms: int, append_ms: int) -> bool:
        """Tell whether a bar of the past changes nothing: neither the cache nor the history."""
        return append_ms <= self._clock() - KEPT_MS and self.cache.is_settled(symbol, start_ms)

    async def changed(self, timeout_s: float) -> None:
        """Wait until something was taken in, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Read until cancelled; whatever is away is asked again.

        The reader is in no group: the end of the process is all that it takes to leave.
        """
        feed: BarFeed | None = None
        while True:
            try:
                if feed is None:
                    feed = await in_thread(BarFeed, self.settings, self.is_settled)
                batch = await in_thread(feed.poll, POLL_S)
            except TapelineError as error:
                self.disconnected(error)
                self._wake()
                await asyncio.sleep(RETRY_S)
                continue
            self.take(batch)
            if batch.bars or batch.letters or batch.unreadable or feed.is_at_end:
                self.connected(feed.filled, feed.backlog)
            if batch.bars or batch.letters or batch.has_restarted:
                self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
