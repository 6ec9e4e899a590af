"""Bars for the tests of the dashboard."""

from typing import Any

from glue.core.bars import Bar

T0 = 1_795_550_400_000
"""A Tuesday, 15:00 in New York; ms since 1970 UTC."""


def bar(second: int, symbol: str = "WDC", **fields: Any) -> Bar:
    """Return the bar that starts `second` s after T0; its prices tell its second."""
    start = T0 + second * 1000
    given: dict[str, Any] = {
        "open": 40.0 + second,
        "high": 40.5 + second,
        "low": 39.5 + second,
        "close": 40.25 + second,
        "volume": 4.0,
        "notional": 161.0,
        "trade_count": 3,
        "bin_count": 2,
        "max_lateness_ms": 7,
        "api_send_ts_ms": start + 5,
        "source_event_ts_ms": None,
        "ingest_ts_ms": start + 1510,
        "source": "aggregate",
    }
    given |= fields
    given.setdefault("vwap", given["notional"] / given["volume"] if given["volume"] else given["close"])
    return Bar(bar_id=f"{symbol}-{start}", symbol=symbol, start_ts_ms=start, end_ts_ms=start + 1000, **given)
