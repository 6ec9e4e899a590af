"""A synthetic market: seeded ticks with an opening spike, bursts, quiet spells, bid and ask.

Each symbol trades as a self-exciting (Hawkes) process: a base intensity with the day's U shape and an
opening spike, a regime that switches between quiet, normal and busy, and bursts in which each trade makes
the next one more likely. Prices follow a common market factor and a walk of their own; both are pulled back
gently, so they stay sane however long the feed runs. Sessions follow each other without nights.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from random import Random

from glue.feeds.clock import due_ms
from glue.feeds.lines import Entry, SourceTick
from glue.feeds.market import Listing, listings

GENERATOR_VERSION = "synthetic/1"
"""Part of the feed id: a change of the generator is another feed."""
SESSION_S = 6 * 3600 + 1800
UNITS = 100
"""Prices are whole ticks of 0.01 inside, so that every quote is on the grid."""
_DECAY_PER_S = 12.0
_BRANCHING = 0.6
"""Share of trades that another trade set off."""
_REGIMES = ((0.3, 0.1, 8.0), (0.5, 1.0, 20.0), (0.2, 3.0, 5.0))
"""(odds of being the next, intensity factor, mean seconds): quiet, normal, busy."""
_RECHECK_S = 1.0
_SECONDS_A_YEAR = 252 * SESSION_S
_MARKET_VOLATILITY = 0.16
_PULL_PER_S = 1 / 3600
_MAX_STEP_S = 60.0
_LOTS = (100,) * 24 + (200,) * 10 + (300,) * 6 + (400,) * 3 + (500,) * 5 + (700, 800, 1000, 1000, 1500, 5000)
_BYTES_A_LINE = 170


def day_shape() -> list[float]:
    """Return the intensity factor of each second of a session; its mean is 1."""
    raw = [
        0.85 + 0.35 * (2 * second / SESSION_S - 1) ** 2 + math.exp(-second / 60)
        for second in range(SESSION_S)
    ]
    mean = sum(raw) / SESSION_S
    return [value / mean for value in raw]


def _mean_regime_factor() -> float:
    seconds = sum(odds * mean_s for odds, _, mean_s in _REGIMES)
    return sum(odds * factor * mean_s for odds, factor, mean_s in _REGIMES) / seconds


class _Book:
    """The state of one symbol; times in seconds since the start."""

    __slots__ = (
        "base_rate",
        "beta",
        "bound",
        "drift",
        "excitement",
        "factor",
        "last_s",
        "odd_lots",
        "reference",
        "side_is_buy",
        "sigma",
        "spread",
        "switch_s",
        "symbol",
        "trade_s",
        "volatility",
    )

    def __init__(self, listing: Listing, rate: float) -> None:
        self.symbol = listing.symbol
        self.reference = listing.price * UNITS
        self.volatility = self.sigma = listing.volatility / math.sqrt(_SECONDS_A_YEAR)
        self.beta = listing.beta
        self.spread = listing.spread_ticks
        self.odd_lots = listing.odd_lots
        self.base_rate = rate * listing.weight * (1 - _BRANCHING) / _mean_regime_factor()
        self.bound = math.inf
        self.factor = 1.0
        self.excitement = self.drift = 0.0
        self.last_s = self.trade_s = self.switch_s = 0.0
        self.side_is_buy = True


class SyntheticSource:
    """Seeded ticks of several symbols, `rate` a second over all of them as the average of a session.

    Starts at the opening bell at `start_ms`; ends after `duration_s`, or never. Same arguments, same lines.
    Stamps are microseconds, distinct and in order.
    """

    disorder_ms = 0

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        rate: float,
        seed: int,
        start_ms: int,
        duration_s: float | None = None,
    ) -> None:
        self._listings = listings(symbols)
        self._rate = rate
        self._seed = seed
        self._duration_s = duration_s
        self.first_ms = start_ms
        self.symbols: list[str] | None = sorted(symbols)
        self.is_finite = duration_s is not None
        self.estimated_bytes = int((duration_s or 0) * rate * 2 * _BYTES_A_LINE)

    @property
    def identity(self) -> list[str]:
        """The generator and its arguments."""
        symbols = ",".join(one.symbol for one in self._listings)
        return [
            f"{GENERATOR_VERSION} {symbols} rate={self._rate!r} seed={self._seed} "
            f"start={self.first_ms} duration={self._duration_s!r}"
        ]

    def entries(self) -> Iterator[Entry]:
        """Yield all ticks from the start."""
        for tick in self.ticks():
            yield due_ms(tick.event_us), 0, tick

    def ticks(self) -> Iterator[SourceTick]:
        """Yield the ticks in time order: Ogata's thinning, one queue of candidates for all symbols."""
        uniform = Random(self._seed).random  # noqa: S311 - repeatable on purpose
        log, exp, sqrt = math.log, math.exp, math.sqrt
        shape = day_shape()
        books = [_Book(one, self._rate) for one in self._listings]
        queue = [(0.0, index) for index in range(len(books))]
        end_s = math.inf if self._duration_s is None else self._duration_s
        start_us = self.first_ms * 1000
        last_us = start_us - 1
        market = market_s = 0.0
        market_sigma = _MARKET_VOLATILITY / sqrt(_SECONDS_A_YEAR)
        lots, jump = _LOTS, _BRANCHING * _DECAY_PER_S
        number_of_lots = len(lots)
        while queue[0][0] < end_s:
            now_s, index = queue[0]
            book = books[index]
            excitement = book.excitement * exp(_DECAY_PER_S * (book.last_s - now_s))
            if now_s >= book.switch_s:
                _switch_regime(book, now_s, uniform(), uniform())
            base = book.base_rate * book.factor * shape[int(now_s) % SESSION_S]
            if uniform() * book.bound <= base + excitement:
                excitement += jump
                step_s = min(now_s - market_s, _MAX_STEP_S)
                market_s = now_s
                noise = (uniform() + uniform() + uniform() - 1.5) * 2  # near enough to a normal one
                market += noise * market_sigma * sqrt(step_s) - market * step_s * _PULL_PER_S
                step_s = min(now_s - book.trade_s, _MAX_STEP_S)
                book.trade_s = now_s
                noise = (uniform() + uniform() + uniform() - 1.5) * 2
                book.drift += noise * book.sigma * sqrt(step_s) - book.drift * step_s * _PULL_PER_S
                spread = book.spread + (uniform() < 0.15)
                bid = int(book.reference * exp(book.beta * market + book.drift) - spread / 2 + 0.5)
                if bid < 1:
                    bid = 1
                draw = uniform()
                if draw < 0.35:
                    book.side_is_buy = not book.side_is_buy
                if draw > 0.85:  # inside the spread
                    px = bid + int(uniform() * (spread + 1))
                else:
                    px = bid + spread if book.side_is_buy else bid
                draw = uniform()
                if draw < book.odd_lots:
                    size = 1 + int(draw / book.odd_lots * 99)
                else:
                    size = lots[int(uniform() * number_of_lots)]
                last_us = max(start_us + int(now_s * 1e6), last_us + 1)
                yield SourceTick(
                    last_us, book.symbol, px / UNITS, float(size), bid / UNITS, (bid + spread) / UNITS
                )
            book.excitement = excitement
            book.last_s = now_s
            book.bound = base + excitement
            wait_s = -log(1.0 - uniform()) / book.bound
            if wait_s > _RECHECK_S:
                # No trade until then, but the regime or the hour may change: look again (never accepted).
                wait_s, book.bound = _RECHECK_S, math.inf
            heapq.heapreplace(queue, (now_s + wait_s, index))


def _switch_regime(book: _Book, now_s: float, choice: float, duration: float) -> None:
    regime = iter(_REGIMES)
    odds, factor, mean_s = next(regime)
    while choice >= odds and (following := next(regime, None)):
        choice -= odds
        odds, factor, mean_s = following
    book.factor = factor
    book.sigma = book.volatility * math.sqrt(factor)
    book.switch_s = now_s - math.log(1.0 - duration) * mean_s
