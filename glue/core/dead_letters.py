"""Dead letters: every feed line that is in no bin, with its reason and an id that a repeat shares."""

import hashlib
from typing import Literal

import msgspec

Reason = Literal["late", "closed", "future", "invalid"]
MAX_LINE_BYTES = 4096


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A refused line; fields and units as in schemas/dead_letter.avsc."""

    dlt_id: str
    reason: Reason
    detail: str | None
    symbol: str | None
    event_ts_ms: int | None
    lateness_ms: int | None
    watermark_ms: int | None
    seq: int | None
    line: str
    line_sha256: str
    ingest_ts_ms: int | None


def line_text(raw: bytes) -> str:
    r"""Return a line as text, cut at 4 KiB; bytes that are not UTF-8 become \xNN."""
    return raw[:MAX_LINE_BYTES].decode(errors="backslashreplace")


def line_sha256(raw: bytes) -> str:
    """Return the SHA-256 of a whole line, hex."""
    return hashlib.sha256(raw).hexdigest()


class LineOccurrences:
    """Counts how often a line came, to tell apart the ids of equal lines that carry no number.

    Memory is bounded: of more than `limit` distinct lines the oldest is forgotten.
    """

    def __init__(self, limit: int = 1_000_000) -> None:
        self._counts: dict[bytes, int] = {}
        self._limit = limit

    def next(self, sha256: str) -> int:
        """Return how many times this line came before."""
        key = bytes.fromhex(sha256[:32])
        seen = self._counts.pop(key, 0)
        self._counts[key] = seen + 1
        if len(self._counts) > self._limit:
            del self._counts[next(iter(self._counts))]
        return seen

    def clear(self) -> None:
        """Forget all lines."""
        self._counts.clear()
