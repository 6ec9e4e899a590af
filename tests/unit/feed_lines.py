"""Feed lines as text, and short ways to run them through a binner."""

import json
from typing import Any

from glue.core.binner import Binner, Output
from glue.core.bins import TickBin
from glue.core.dead_letters import DeadLetter
from glue.core.introduction import Feed
from glue.core.partition import is_watermark
from glue.core.watermarks import Mode, Rules

T = 1_600_000_000_000
"""A whole second that the examples start at, ms since 1970 UTC."""
MUCH_LATER = T + 86_400_000
"""A wall clock far enough ahead that a live feed's future and clamping rules stay out of the way."""
END = b'{"type":"end"}'


def tick_line(symbol: str, event_ms: float, px: float = 1.0, sz: float = 1.0, **more: Any) -> bytes:
    """Return a tick as its line, without the line feed."""
    return json.dumps({"symbol": symbol, "px": px, "sz": sz, "event_ts": event_ms / 1000, **more}).encode()


def heartbeat_line(event_ms: int) -> bytes:
    return json.dumps({"type": "heartbeat", "event_ts": event_ms / 1000}).encode()


def make_binner(mode: Mode = "live", *, is_numbered: bool = False, **rules: int) -> Binner:
    """Return a binner that leaves `ingest_ts_ms` null; L, S and the bin size are the defaults."""
    return Binner(Feed("feed", mode, is_numbered), Rules(**rules), is_deterministic=True)


def run(binner: Binner, *lines: bytes, now_ms: int = MUCH_LATER) -> list[Output]:
    """Send lines as one chunk."""
    return binner.process(b"".join(line + b"\n" for line in lines), now_ms)


def bins(outputs: list[Output]) -> list[TickBin]:
    """Return the bins, without watermark records."""
    return [o for o in outputs if isinstance(o, TickBin) and not is_watermark(o.symbol)]


def bin_ids(outputs: list[Output]) -> list[tuple[str, int]]:
    """Return symbol and start of the bins, the start counted from T."""
    return [(b.symbol, b.start_ts_ms - T) for b in bins(outputs)]


def watermark_records(outputs: list[Output]) -> list[TickBin]:
    return [o for o in outputs if isinstance(o, TickBin) and is_watermark(o.symbol)]


def dead_letters(outputs: list[Output]) -> list[DeadLetter]:
    return [o for o in outputs if isinstance(o, DeadLetter)]


def reasons(outputs: list[Output]) -> list[str]:
    return [letter.reason for letter in dead_letters(outputs)]
