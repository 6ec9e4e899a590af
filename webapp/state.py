"""What one open page knows and is sent: its symbol, whether it refreshes, and what has changed."""

import time
from collections.abc import Callable, Mapping

import reflex as rx

from glue.core.ticks import is_symbol
from glue.intake import now_ms
from glue.settings import Settings
from webapp import metrics
from webapp.cache import CachedBar
from webapp.hub import Hub
from webapp.pace import Pace

hub = Hub(Settings.load())
open_sessions: Callable[[], Mapping[str, str]] = dict
"""Returns the pages that are connected, by client token; the app sets it."""
HISTORIES_S = (60, 120, 300, 600, 900)
MOST_SYMBOLS = 2_000
"""Symbols that the picker lists; others can be typed in."""
SPARK_S = 120
MOST_WATCHED, DEFAULT_WATCHED = 24, 8
MOST_MOVES = 10
"""Watched symbols whose newest price an update brings; so a page takes less than 1 kB a second."""
NOTHING = "-"
"""An empty watchlist; an empty text is one that was never touched."""


def row(cached: CachedBar) -> list[float | int | str | None]:
    """Return a bar as the page takes it; the order is that of FIELDS in assets/store.js."""
    bar = cached.bar
    return [
        bar.start_ts_ms,
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.notional,
        bar.vwap,
        bar.trade_count,
        bar.bin_count,
        bar.max_lateness_ms,
        bar.api_send_ts_ms,
        bar.source_event_ts_ms,
        bar.ingest_ts_ms,
        cached.append_ms,
        cached.receive_ms,
        bar.source,
    ]


def quote(symbol: str) -> list[float | int | None]:
    """Return time in s and close of the newest bar, its change in % since the oldest, and over how many s."""
    newest, oldest = hub.cache.newest(symbol), hub.cache.oldest(symbol)
    if newest is None or oldest is None:
        return [0, None, None, 0]
    change = round(100 * (newest.bar.close / oldest.bar.open - 1), 2)
    span_s = (newest.bar.end_ts_ms - oldest.bar.start_ts_ms) // 1000
    return [newest.bar.start_ts_ms // 1000, newest.bar.close, change, span_s]


def spark(symbol: str) -> list[list[float]]:
    """Return time in s and close of the bars of the last two minutes."""
    newest = hub.cache.newest(symbol)
    if newest is None:
        return []
    bars = hub.cache.bars(symbol, newest.bar.start_ts_ms - SPARK_S * 1000)
    return [[c.bar.start_ts_ms // 1000, c.bar.close] for c in bars]


def opening(at_ms: int) -> str:
    """Return in words when the exchange opens next."""
    at = hub.market.opens_at(at_ms)
    city = hub.market.zone.rpartition("/")[2].replace("_", " ")
    return "" if at is None else f"on {at:%a %d %b} at {at:%H:%M} {city} time"


class Live(rx.State):
    """The live page of one tab."""

    symbol: str = ""
    history_s: int = 300
    is_live: bool = True
    symbols: list[str] = []
    feed: dict = {}
    badges: list[list[str]] = []
    hints: list[list[str]] = []
    watch_text: str = rx.LocalStorage("", name="tapeline-watch", sync=True)
    quotes: list[list] = []
    moves: list[list] = []
    sparks: dict[str, list] = {}
    condition: str = "starting"
    filled: int = 100
    error: str = ""
    opens: str = ""
    kept: int = hub.settings.dashboard_cache_bars
    zone: str = hub.settings.dashboard_exchange_zone

    _is_chart: bool = True
    _generation: int = 0
    _view: int = 0
    _revision: int = 0
    _quoted: dict[str, int] = {}

    @rx.event
    def opened(self) -> rx.event.EventSpec:
        """Take the symbol from the address, if one is there, and begin to refresh."""
        asked = self.router.url.query_parameters.get("symbol", "")
        if is_symbol(asked):
            self.symbol = asked
        self._is_chart = True
        return Live.follow

    @rx.event
    def opened_elsewhere(self) -> rx.event.EventSpec:
        """Refresh what is around every page, without bars."""
        self._is_chart = False
        return Live.follow

    @rx.event
    def toggle_watch(self, symbol: str) -> None:
        """Put a symbol on the watchlist, or take it off."""
        if not is_symbol(symbol):
            return
        watched = self._watched()
        kept = [name for name in watched if name != symbol] if symbol in watched else [*watched, symbol]
        self.watch_text = ",".join(kept[-MOST_WATCHED:]) or NOTHING
        self._push_quotes(with_sparks=True)

    @rx.event
    def choose(self, symbol: str) -> None:
        """Show another symbol; what cannot be the name of one is passed over."""
        if is_symbol(symbol := symbol.strip()):
            self.symbol = symbol
            self._start_view()

    @rx.event
    def set_history(self, seconds: str) -> None:
        """Show more or less of the past."""
        self.history_s = int(seconds)
        self._start_view()

    @rx.event
    def resync(self) -> None:
        """Send everything again: the page has missed something."""
        self._start_view()

    @rx.event
    def set_live(self, is_live: bool) -> rx.event.EventSpec | None:
        """Switch the refresh on or off."""
        self.is_live = is_live
        return Live.follow if is_live else None

    @rx.event(background=True)
    async def follow(self) -> None:
        """Send what changes until the page closes or stops refreshing; a newer one ends this one."""
        async with self:
            self._generation += 1
            mine = self._generation
            token = self.router.session.client_token
            if self._is_held():
                return
            self._start_view()  # also while nothing moves: the browser has nothing yet
            if not self.is_live:
                return
            symbol, seen = self.symbol, self._revision
        pace = Pace(hub.settings.dashboard_refresh_ms / 1000, time.monotonic())
        with metrics.SESSIONS.track_inprogress():
            while True:
                while (left_s := pace.left_s(hub.cache.revision(symbol) > seen, time.monotonic())) > 0:
                    await hub.changed(left_s)
                if token not in open_sessions():
                    async with self:
                        if self._generation == mine:
                            self._forget()
                    return
                async with self:
                    if self._generation != mine or not self.is_live:
                        return
                    self._push()
                    pace.sent(self._revision > seen or symbol != self.symbol, time.monotonic())
                    symbol, seen = self.symbol, self._revision

    def _forget(self) -> None:
        """Drop what a tab that is gone was sent; if it comes back it gets everything again."""
        self.feed, self.sparks = {}, {}

    def _is_held(self) -> bool:
        """Tell whether the chart is to stay as it is, as when a tab connects again whose refresh is off."""
        return not self.is_live and self._is_chart and self.feed.get("symbol") == self.symbol

    def _start_view(self) -> None:
        self._new_view()
        self._push()
        if self._is_chart:
            self._push_quotes(with_sparks=True)

    def _new_view(self) -> None:
        """Begin with everything again; the number grows across restarts of the server, which tabs outlive."""
        self._view = max(self._view + 1, now_ms())
        self._revision = 0

    def _set(self, **values: object) -> None:
        """Set what differs: Reflex sends whatever is set, also when it is the same."""
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)

    def _watched(self) -> list[str]:
        if self.watch_text == NOTHING:
            return []
        if not self.watch_text:
            return self.symbols[:DEFAULT_WATCHED]
        return [name for name in self.watch_text.split(",") if is_symbol(name)][-MOST_WATCHED:]

    def _push_quotes(self, *, with_sparks: bool = False) -> None:
        """Set the newest close of each watched symbol; with its past at the start and in a new list."""
        watched = self._watched()
        if not with_sparks and watched == list(self._quoted):
            self._push_moves()
            return
        self.sparks = {symbol: spark(symbol) for symbol in watched}
        self._quoted = {symbol: hub.cache.revision(symbol) for symbol in watched}
        self._set(quotes=[[symbol, *quote(symbol)] for symbol in watched], moves=[])

    def _push_moves(self) -> None:
        """Set what is new of watched symbols, by their places; those that waited for the longest go first."""
        quoted = dict(self._quoted)
        changed = sorted(
            (sent, place, symbol)
            for place, (symbol, sent) in enumerate(quoted.items())
            if hub.cache.revision(symbol) != sent
        )[:MOST_MOVES]
        if not changed:
            return
        quoted |= {symbol: hub.cache.revision(symbol) for _, _, symbol in changed}
        self._quoted = quoted
        self.moves = [[place, *quote(symbol)] for _, place, symbol in changed]

    def _push(self) -> None:
        """Set what has changed; Reflex sends that and nothing else."""
        condition, badges, facts = hub.board()
        if self._is_chart:
            if len(self.symbols) != min(hub.cache.symbol_count, MOST_SYMBOLS):
                self.symbols = hub.cache.symbols()[:MOST_SYMBOLS]
            if not self.symbol and self.symbols:
                self.symbol = self.symbols[0]
            condition = hub.condition_of(self.symbol)
        self._set(
            condition=condition,
            opens=opening(facts.now_ms) if condition == "closed" else "",
            filled=int(facts.filled * 100),
            error=facts.error,
            badges=[[b.value, b.level] for b in badges],
            hints=[[b.name, b.hint] for b in badges],
        )
        if not self._is_chart:
            return
        self._push_quotes()
        newest = hub.cache.newest(self.symbol)
        revision = hub.cache.revision(self.symbol)
        if revision < self._revision:  # the topics began anew
            self._new_view()
        if newest is None or revision == self._revision:
            if not self._revision:
                self._set(feed=self._message([], revision, 0, facts.is_current))
            return
        since_ms = hub.cache.known_since(self.symbol, newest.bar.start_ts_ms - self.history_s * 1000)
        bars = hub.cache.bars(self.symbol, since_ms, self._revision)
        self.feed = self._message([row(cached) for cached in bars], revision, since_ms, facts.is_current)
        self._revision = revision

    def _message(self, rows: list[list], revision: int, since_ms: int, is_current: bool) -> dict:
        return {
            "symbol": self.symbol,
            "history": self.history_s,
            "is_current": is_current,
            "view": self._view,
            "after": self._revision,
            "revision": revision,
            "since": since_ms,
            "bars": rows,
        }
