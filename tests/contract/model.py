"""What bars a partition's records lead to, said once more from the design and not from the code.

Nothing here is of glue.core: the bars are looked up in the whole of what was published, not built up.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

from glue.core.bars import Bar
from glue.core.bins import TickBin

LATE_MS = 500
Fields = dict[str, Any]
"""A bar by its field names, or the part of it that is known."""
RELATIVE = 1e-9
"""ksqlDB adds up in the order of a map."""


def expected_bars(stream: Sequence[TickBin]) -> list[Fields]:
    """Return the bars that the records of one partition, in their order, must lead to.

    A bar takes what comes before the first record that starts at its end + L or later; of a bin that comes
    more than once the last one counts, once; a bar that nothing closes is none.
    """
    starts = [record.start_ts_ms for record in stream]
    reached_before = list(accumulate(chain([-1], starts), max))
    sent: dict[tuple[str, int], list[TickBin]] = {}
    for record, reached in zip(stream, reached_before, strict=False):
        second = record.start_ts_ms // 1000
        if record.symbol.startswith("~") or record.trade_count == 0 or record.open is None:
            continue
        if reached < second * 1000 + 1000 + LATE_MS:
            sent.setdefault((record.symbol, second), []).append(record)
    return [
        _bar(symbol, second * 1000, records)
        for (symbol, second), records in sent.items()
        if reached_before[-1] >= second * 1000 + 1000 + LATE_MS
    ]


def _bar(symbol: str, start: int, records: list[TickBin]) -> Fields:
    bins = list({record.bin_id: record for record in records}.values())
    first = min(bins, key=lambda b: b.start_ts_ms)
    last = max(bins, key=lambda b: b.start_ts_ms)
    volume, notional = math.fsum(b.volume for b in bins), math.fsum(b.notional for b in bins)
    sent = [b.api_send_ts_ms for b in bins if b.api_send_ts_ms is not None]
    sourced = [b.source_event_ts_ms for b in bins if b.source_event_ts_ms is not None]
    return {
        "bar_id": f"{symbol}-{start}",
        "symbol": symbol,
        "start_ts_ms": start,
        "end_ts_ms": start + 1000,
        "open": first.open,
        "high": max(b.high for b in bins if b.high is not None),
        "low": min(b.low for b in bins if b.low is not None),
        "close": last.close,
        "volume": volume,
        "notional": notional,
        "vwap": notional / volume if volume > 0 else last.close,
        "trade_count": sum(b.trade_count for b in bins),
        "bin_count": len(bins),
        "max_lateness_ms": max(b.max_lateness_ms for b in bins),
        "api_send_ts_ms": min(sent, default=None),
        "source_event_ts_ms": min(sourced, default=None),
    }


def differences(expected: Iterable[Fields], bars: Iterable[Bar]) -> list[str]:
    """Say which bars are missing, extra or twice there, and which fields of the others differ.

    Doubles may be off by 1e-9 of their size; ingest time and source are not looked at.
    """
    wanted = {fields["bar_id"]: fields for fields in expected}
    found: dict[str, Bar] = {}
    said = []
    for bar in bars:
        if bar.bar_id in found:
            said.append(f"{bar.bar_id} comes twice")
        elif bar.bar_id not in wanted:
            said.append(f"{bar.bar_id} is extra: {bar}")
        found[bar.bar_id] = bar
    for bar_id, fields in wanted.items():
        bar_found = found.get(bar_id)
        if bar_found is None:
            said.append(f"{bar_id} is missing: {fields}")
            continue
        for name, value in fields.items():
            got = getattr(bar_found, name)
            if not _is_same(got, value):
                said.append(f"{bar_id}: {name} is {got!r}, expected {value!r}")
    return said


def _is_same(got: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(got, float):
        return math.isclose(got, expected, rel_tol=RELATIVE)
    return bool(got == expected)
