"""Encoded feed lines in compact chunks: bytes for the wire, arrays for finding and pacing them."""

import itertools
import secrets
from array import array
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from glue.feeds.lines import Entry, SourceTick

CHUNK_LINES = 256
"""Few enough that making a chunk (about 1 ms) does not hold up the pacing of other clients."""
NO_EVENT_MS = -(2**63)
NO_SYMBOL = 0
_BYTES_A_LINE_OF_ARRAYS = 24
_encode_lines = msgspec.json.Encoder().encode_lines


class _WireTick(msgspec.Struct, omit_defaults=True, gc=False):
    symbol: str
    px: float
    sz: float
    event_ts: float
    bid: float | None = None
    ask: float | None = None
    seq: int = -1  # always given, like those below: a default only because optional fields come before
    api_send_ts_ms: int = -1
    source_event_ts_ms: int = -1


class Chunk:
    """Some consecutive lines of a feed, encoded once for all who read it.

    Per line: where it ends in `data`, when it is due, its event time (both in ms as on the wire,
    `NO_EVENT_MS` for a raw line) and the code of its symbol (`NO_SYMBOL` for a raw line that has none).
    """

    __slots__ = ("_ends", "data", "due_ms", "event_ms", "max_event_ms", "symbols")

    def __init__(
        self, data: bytes, due_ms: "array[int]", event_ms: "array[int]", symbols: "array[int]"
    ) -> None:
        self.data = data
        self.due_ms = due_ms
        self.event_ms = event_ms
        self.max_event_ms = max(event_ms)
        self.symbols = symbols
        self._ends = array("I", itertools.accumulate(len(line) + 1 for line in data.split(b"\n")[:-1]))

    def __len__(self) -> int:
        return len(self.due_ms)

    @property
    def size(self) -> int:
        """Bytes it takes in memory, nearly."""
        return len(self.data) + len(self) * _BYTES_A_LINE_OF_ARRAYS

    def first_since(self, since_ms: int) -> int | None:
        """Return the first line with event time >= `since_ms`, None if no line has."""
        if self.max_event_ms < since_ms:
            return None
        return next(index for index, event_ms in enumerate(self.event_ms) if event_ms >= since_ms)

    def due_by(self, clock_ms: float, start: int = 0) -> int:
        """Return the end of the lines from `start` that are due at `clock_ms`."""
        return bisect_right(self.due_ms, clock_ms, start)

    def part(self, start: int, stop: int, wanted: frozenset[int] | None = None) -> tuple[bytes, int]:
        """Return the bytes of the lines [start, stop), of the wanted symbols only, and their number."""
        data = self.data[self._ends[start - 1] if start else 0 : self._ends[stop - 1]]
        if wanted is None:
            return data, stop - start
        lines = data.split(b"\n")[:-1]
        kept = [
            line for line, symbol in zip(lines, self.symbols[start:stop], strict=True) if symbol in wanted
        ]
        return b"".join([line + b"\n" for line in kept]), len(kept)


def _renumbered(text: bytes, seq: int) -> bytes:
    """Put this feed's number in the place of a recorded one; a line without a number stays as it is."""
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text
    if not isinstance(fields, dict) or "seq" not in fields:
        return text
    return msgspec.json.encode(fields | {"seq": seq})


class ChunkEncoder:
    """Encodes entries; numbers them; in live mode moves them to the wall clock by `offset_ms`.

    A historical feed (`offset_ms` None) has no send times, so its bytes are always the same. The lines of a
    live one carry a stand-in for the send time, which `stamp` replaces when they go out.
    """

    def __init__(self, offset_ms: int | None = None) -> None:
        self._offset_ms = offset_ms
        self._codes: dict[str, int] = {"": NO_SYMBOL}
        self._next_seq = 0
        self._stand_in = secrets.randbelow(9 * 10**17) + 10**17  # no line from a file can hold it
        self._stand_in_bytes = b'"api_send_ts_ms":%d' % self._stand_in

    @property
    def symbols(self) -> list[str]:
        """The symbols asked for or seen so far."""
        return sorted(self._codes.keys() - {""})

    def code(self, symbol: str) -> int:
        """Return the code of a symbol, a new one for a symbol not seen before."""
        return self._codes.setdefault(symbol, len(self._codes))

    def codes(self, symbols: Sequence[str]) -> frozenset[int] | None:
        """Return the codes for a filter (None = no filter): these symbols and the lines that have none."""
        return frozenset([NO_SYMBOL, *map(self.code, symbols)]) if symbols else None

    def stamp(self, data: bytes, now_ms: int) -> bytes:
        """Put the send time into the lines of a live feed."""
        return data.replace(self._stand_in_bytes, b'"api_send_ts_ms":%d' % now_ms)

    def encode(self, entries: Sequence[Entry]) -> Chunk:
        """Encode at least one entry; entries come in the order of the feed."""
        offset_ms = self._offset_ms
        codes = self._codes
        wire: list[object] = []
        event_ms, symbols = array("q"), array("I")
        add_line, add_event, add_symbol = wire.append, event_ms.append, symbols.append
        for seq, (_, shift_ms, line) in enumerate(entries, self._next_seq):
            if not isinstance(line, SourceTick):
                add_line(msgspec.Raw(_renumbered(line.text, seq)))
                add_event(NO_EVENT_MS)
                add_symbol(self.code(line.symbol))
                continue
            symbol = line.symbol
            if offset_ms is None:
                event_us = line.event_us + shift_ms * 1000
                add_line(_WireTick(symbol, line.px, line.sz, event_us / 1e6, line.bid, line.ask, seq))
            else:
                event_us = line.event_us + (shift_ms + offset_ms) * 1000
                add_line(
                    _WireTick(
                        symbol, line.px, line.sz, event_us / 1e6, line.bid, line.ask, seq,
                        self._stand_in, line.event_us // 1000,
                    )
                )  # fmt: skip
            add_event(event_us // 1000)
            add_symbol(codes.get(symbol) or self.code(symbol))
        self._next_seq += len(entries)
        offset_ms = offset_ms or 0
        due_ms = array("q", [clock_ms + offset_ms for clock_ms, _, _ in entries])
        return Chunk(_encode_lines(wire), due_ms, event_ms, symbols)
