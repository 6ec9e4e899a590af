"""Avro of schemas/tick_bin.avsc by hand: five times as fast as the library, and the same bytes.

Bins are the bulk of what goes over Kafka, and the general library decides for each nullable field of each
record anew what it is. Here the layout is known: two strings, three numbers, one run of six doubles, six
numbers, a string. Whatever does not look like that (watermark records, records of another schema version) is
left to the library.
"""

import re
import struct
from functools import lru_cache

import msgspec

from glue.core.bins import TickBin
from glue.io.registry import HEADER, AvroReader, AvroWriter, Registry

SCHEMA_FILE = "tick_bin.avsc"
LAYOUT = [
    ("bin_id", "string"), ("symbol", "string"),
    ("start_ts_ms", "long"), ("end_ts_ms", "long"), ("window_ms", "int"),
    ("open", ["null", "double"]), ("high", ["null", "double"]),
    ("low", ["null", "double"]), ("close", ["null", "double"]),
    ("volume", "double"), ("notional", "double"),
    ("trade_count", "long"), ("max_lateness_ms", "long"), ("watermark_ms", "long"),
    ("api_send_ts_ms", ["null", "long"]), ("source_event_ts_ms", ["null", "long"]),
    ("ingest_ts_ms", ["null", "long"]), ("source", "string"),
]  # fmt: skip
"""The fields that this module is written for; a test compares them with the schema."""
_NUMBER = rb"([\x80-\xff]{0,8}[\x00-\x7f])"
_NULLABLE = rb"(?:\x00|\x02" + _NUMBER + rb")"
_DOUBLES = rb"(\x02.{8}\x02.{8}\x02.{8}\x02.{24})"
_AFTER_SYMBOL = re.compile(_NUMBER * 3 + _DOUBLES + _NUMBER * 3 + _NULLABLE * 3, re.DOTALL)
_PRICES_AND_SUMS = struct.Struct("<BdBdBdBddd")
_NULL, _SET = b"\x00", b"\x02"
_SHORTEST = HEADER.size + 2 + _PRICES_AND_SUMS.size
_ONE_BYTE = 0x80
"""Lengths below this, doubled, are one byte: strings of up to 63 bytes."""


class BinWriter:
    """Encodes bins, header included."""

    def __init__(self, schema_id: int) -> None:
        self._any = AvroWriter(SCHEMA_FILE, schema_id)
        self._header = HEADER.pack(0, schema_id)

    def encode(self, tick_bin: TickBin) -> bytes:
        """Return the record's bytes, as AvroWriter does."""
        b = tick_bin
        if b.open is None:
            return self._any.encode(b)
        bin_id = b.bin_id.encode()
        api_send_ms, source_ms, ingest_ms = b.api_send_ts_ms, b.source_event_ts_ms, b.ingest_ts_ms
        return b"".join(
            (
                self._header,
                number(len(bin_id)),
                bin_id,
                _text(b.symbol),
                number(b.start_ts_ms),
                number(b.end_ts_ms),
                number(b.window_ms),
                _PRICES_AND_SUMS.pack(2, b.open, 2, b.high, 2, b.low, 2, b.close, b.volume, b.notional),
                number(b.trade_count),
                number(b.max_lateness_ms),
                number(b.watermark_ms),
                _NULL if api_send_ms is None else _SET + number(api_send_ms),
                _NULL if source_ms is None else _SET + number(source_ms),
                _NULL if ingest_ms is None else _SET + number(ingest_ms),
                _text(b.source),
            )
        )


class BinReader:
    """Decodes bins written with any version of the schema."""

    def __init__(self, registry: Registry) -> None:
        self._any = AvroReader(SCHEMA_FILE, registry)
        self._header: bytes | None = None
        """Of records that are of the version in schemas/, once one was seen."""

    def decode(self, value: bytes | None) -> TickBin:
        """Return the bin or watermark record.

        Raises:
            BadRecord: the bytes are no Avro of a registered, compatible schema.
            msgspec.ValidationError: they are, but of no bin.
            TransientError: the registry does not answer.
        """
        if value is None or value[: HEADER.size] != self._header or len(value) < _SHORTEST:
            return self._decode_any(value)
        size = value[HEADER.size]
        start = HEADER.size + 1
        symbol_at = start + (size >> 1)
        if size >= _ONE_BYTE or len(value) <= symbol_at:
            return self._decode_any(value)
        symbol_end = symbol_at + 1 + (value[symbol_at] >> 1)
        found = _AFTER_SYMBOL.match(value, symbol_end)
        if found is None or value[symbol_at] >= _ONE_BYTE:
            return self._decode_any(value)
        begin, end, window, doubles, count, lateness, watermark, api_send, source, ingest = found.groups()
        _, first, _, high, _, low, _, last, volume, notional = _PRICES_AND_SUMS.unpack(doubles)
        tail = value[found.end() :]
        if not tail or tail[0] >= _ONE_BYTE or len(tail) != 1 + (tail[0] >> 1):
            return self._decode_any(value)
        try:
            return TickBin(
                str(value[start:symbol_at], "utf-8"),
                _string(value[symbol_at + 1 : symbol_end]),
                integer(begin),
                integer(end),
                integer(window),
                first,
                high,
                low,
                last,
                volume,
                notional,
                integer(count),
                integer(lateness),
                integer(watermark),
                None if api_send is None else integer(api_send),
                None if source is None else integer(source),
                None if ingest is None else integer(ingest),
                _string(tail[1:]),
            )
        except UnicodeDecodeError:
            return self._decode_any(value)

    def _decode_any(self, value: bytes | None) -> TickBin:
        record = self._any.decode(value)
        if value is not None and self._header is None and self._any.is_present_version(value):
            self._header = value[: HEADER.size]
        return msgspec.convert(record, TickBin)


@lru_cache(16_384)
def number(value: int) -> bytes:
    """Encode an int or long: zigzag, then seven bits a byte, the lowest first."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


@lru_cache(16_384)
def integer(encoded: bytes) -> int:
    """Decode what `number` encodes."""
    value = 0
    for byte in reversed(encoded):
        value = value << 7 | byte & 0x7F
    return (value >> 1) ^ -(value & 1)


@lru_cache(16_384)
def _text(value: str) -> bytes:
    encoded = value.encode()
    return number(len(encoded)) + encoded


@lru_cache(16_384)
def _string(encoded: bytes) -> str:
    return encoded.decode()
