"""What the synthetic market lists: symbols with their price, volatility and share of the trading."""

import hashlib
import itertools
import math
from collections.abc import Sequence

import msgspec


class Listing(msgspec.Struct, frozen=True):
    """One symbol: `price` in dollars, `volatility` of its own a year, `beta` to the market.

    `weight` is its share of all trades against the other symbols, `odd_lots` the share of its trades that
    are smaller than 100 shares, `spread_ticks` the usual distance of bid and ask.
    """

    symbol: str
    price: float
    volatility: float
    beta: float
    weight: float
    odd_lots: float
    spread_ticks: int


KNOWN = {
    listing.symbol: listing
    for listing in (
        Listing("WDC", 42.90, 0.45, 1.3, 0.08, 0.15, 2),
        Listing("AAPL", 189.50, 0.24, 1.1, 0.18, 0.35, 1),
        Listing("MSFT", 411.20, 0.22, 1.0, 0.12, 0.40, 3),
        Listing("NVDA", 131.40, 0.50, 1.7, 0.20, 0.30, 1),
        Listing("TSLA", 248.60, 0.55, 1.6, 0.17, 0.40, 4),
        Listing("SPY", 521.30, 0.02, 1.0, 0.25, 0.25, 1),
        Listing("AMD", 162.10, 0.48, 1.6, 0.10, 0.30, 2),
        Listing("AMZN", 183.70, 0.30, 1.2, 0.10, 0.35, 2),
        Listing("F", 12.15, 0.35, 1.2, 0.05, 0.10, 1),
        Listing("QQQ", 445.80, 0.05, 1.2, 0.15, 0.25, 1),
    )
}
DEFAULT_SYMBOLS = ("WDC", "AAPL", "MSFT", "NVDA", "TSLA", "SPY")


def listing(symbol: str) -> Listing:
    """Describe a symbol; one that is not known gets traits of its own that follow from its name."""
    if symbol in KNOWN:
        return KNOWN[symbol]
    traits = [byte / 255 for byte in hashlib.sha256(symbol.encode()).digest()]
    return Listing(
        symbol,
        price=round(5 * math.exp(traits[0] * math.log(80)), 2),
        volatility=0.2 + 0.4 * traits[1],
        beta=0.6 + 1.2 * traits[2],
        weight=0.01 + 0.09 * traits[3] ** 3,
        odd_lots=0.1 + 0.3 * traits[4],
        spread_ticks=1 + int(traits[5] * 4),
    )


def first_symbols(count: int) -> list[str]:
    """Name so many symbols: the default ones, the other known ones, then SYM0001 and so on."""
    others = (symbol for symbol in KNOWN if symbol not in DEFAULT_SYMBOLS)
    made_up = (f"SYM{number:04d}" for number in itertools.count(1))
    return list(itertools.islice(itertools.chain(DEFAULT_SYMBOLS, others, made_up), count))


def listings(symbols: Sequence[str]) -> list[Listing]:
    """Describe the symbols; their weights sum to 1."""
    found = [listing(symbol) for symbol in symbols]
    total = sum(one.weight for one in found)
    return [msgspec.structs.replace(one, weight=one.weight / total) for one in found]
