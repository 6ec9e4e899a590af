"""Feed lines: NDJSON text to validated ticks, heartbeats and control lines.

msgspec decodes straight into the struct and checks its bounds. A chunk of plain tick lines is decoded in
one call; any other is decoded line by line, so one bad line never costs its neighbours.
"""

import re
from typing import Annotated, Literal, cast

import msgspec

MAX_EVENT_MS = 253_402_300_799_999
"""The last millisecond of the year 9999. ksqlDB skips negative timestamps and SQL ends here."""
MAX_NUMBER = 1e15
"""Largest price and size: both and their sums fit the warehouse, and sums of their product stay finite. From
10^30 on such a sum is beyond NOTIONAL there: it is stored as the largest number that fits, and told."""
_SYMBOL = re.compile(r"[A-Za-z0-9_./:-]{1,32}")

EventTime = Annotated[float, msgspec.Meta(ge=0, le=MAX_EVENT_MS / 1000)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=MAX_EVENT_MS)]
SequenceNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Tick(msgspec.Struct, gc=False):
    """One trade. `event_ts` in seconds, `*_ts_ms` in milliseconds since 1970 UTC.

    `px`, `bid`, `ask` in quote currency, `sz` in shares, contracts or base currency.
    """

    symbol: str
    px: Annotated[float, msgspec.Meta(gt=0, le=MAX_NUMBER)]
    sz: Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)]
    event_ts: EventTime
    seq: SequenceNumber | None = None
    api_send_ts_ms: Millis | None = None
    source_event_ts_ms: Millis | None = None
    bid: float | None = None
    ask: float | None = None
    type: None = None


class Control(msgspec.Struct, frozen=True, gc=False):
    """A line about the feed itself: hello comes first, end last, heartbeats in between."""

    type: Literal["hello", "heartbeat", "end"]
    event_ts: EventTime | None = None
    feed_id: str | None = None
    mode: Literal["live", "historical"] | None = None
    resume: Literal["since", "none"] | None = None
    seq: SequenceNumber | None = None


class BadLine(msgspec.Struct, frozen=True, gc=False):
    """A line that is neither, and what is wrong with it; `seq` where it could still be read.

    That number is shown in its dead letter and used for nothing else: a broken line cannot be trusted with
    it, since a wrong place in the feed would make good lines look as if they had come before.
    """

    detail: str
    seq: int | None = None


class _Numbered(msgspec.Struct):
    seq: SequenceNumber


class _Typed(msgspec.Struct):
    type: str


Line = Tick | Control | BadLine
_tick_decoder = msgspec.json.Decoder(Tick)
_control_decoder = msgspec.json.Decoder(Control)
_numbered_decoder = msgspec.json.Decoder(_Numbered)
_typed_decoder = msgspec.json.Decoder(_Typed)


def decode_line(raw: bytes) -> Line:
    """Decode one line; whatever the bytes are, the answer is a value and never an exception."""
    try:
        raw.decode()
        try:
            return _tick_decoder.decode(raw)
        except msgspec.ValidationError as error:
            # The decoder stops at the first wrong value: what follows may not even be JSON.
            return _decode_other(raw, str(error))
    except UnicodeDecodeError as error:
        return BadLine(f"not UTF-8 (byte {error.start})")
    except RecursionError:
        return BadLine("nested too deeply")
    except msgspec.DecodeError as error:
        return BadLine(str(error))


def _decode_other(raw: bytes, tick_error: str) -> Control | BadLine:
    try:
        _typed_decoder.decode(raw)
    except msgspec.ValidationError:
        return BadLine(tick_error, _readable_seq(raw))
    try:
        return _control_decoder.decode(raw)
    except msgspec.ValidationError as error:
        return BadLine(str(error), _readable_seq(raw))


def _readable_seq(raw: bytes) -> int | None:
    try:
        return _numbered_decoder.decode(raw).seq
    except msgspec.ValidationError:
        return None


def split_lines(chunk: bytes) -> list[bytes]:
    """Split a chunk of whole lines, without their line feeds; blank lines are dropped."""
    return [line for line in chunk.split(b"\n") if line and not line.isspace()]


def decode_chunk(chunk: bytes) -> list[Line]:
    """Decode the lines of a chunk: as many, in the same order, as `split_lines` returns."""
    # One "{" a line, each at a line's start: then value i is line i, and one call decodes them all.
    # Without this, a value over two lines beside two values on one line would shift lines unseen.
    count = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
    if chunk.count(b"{") == count == chunk.count(b"\n{") + chunk.startswith(b"{") and chunk.isascii():
        try:
            return cast("list[Line]", _tick_decoder.decode_lines(chunk))
        except (msgspec.MsgspecError, RecursionError):
            pass  # some line is no tick: look at each
    return [decode_line(raw) for raw in split_lines(chunk)]


class Chunk:
    """The lines of a chunk, decoded; as bytes only where one is asked for."""

    def __init__(self, data: bytes, lines: list[Line] | None = None) -> None:
        self.lines = decode_chunk(data) if lines is None else lines
        self._data = data
        self._raws: list[bytes] | None = None

    def raw(self, i: int) -> bytes:
        """Return a line as it came, without its line feed."""
        if self._raws is None:
            self._raws = split_lines(self._data)
        return self._raws[i]


def is_symbol(symbol: str) -> bool:
    """Tell whether a feed may use this symbol."""
    return _SYMBOL.fullmatch(symbol) is not None


def event_time_ms(event_ts: float) -> int:
    """Convert epoch seconds to whole milliseconds: floor(round(event_ts * 10^6) / 1000)."""
    return round(event_ts * 1e6) // 1000
