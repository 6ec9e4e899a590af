"""Files of bins for the warehouse: their lines, their names, and what is committed of them.

A file is known by its partition and the first and last offset that it covers. Whoever makes it again from the
topic makes the same bytes, so once its bounds are committed it does not matter who loads it, nor how often.
"""

import re
from collections.abc import Sequence
from math import isfinite
from typing import Self

import msgspec

from glue.core.bins import TickBin
from glue.core.partition import is_watermark

LARGEST_SUM = 9.99999999999e29
"""What NUMBER(38,8) holds; the notional of ticks as large as a feed may send is beyond it."""
LARGEST_PRICE = 9.99999999999e19
LARGEST_WHOLE = 10**18 - 1
LONGEST_ID, LONGEST_SYMBOL, LONGEST_SOURCE = 64, 32, 16
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)\.ndjson\.gz")
_encode = msgspec.json.Encoder().encode


class Span(msgspec.Struct, frozen=True, order=True):
    """The offsets that a file covers, both ends included; `rows` of them are bins."""

    partition: int
    first: int
    last: int
    rows: int

    @property
    def name(self) -> str:
        """The file's name, on disk and on the stage."""
        return f"{self.partition}-{self.first}-{self.last}.ndjson.gz"


def bounds_of(name: str) -> tuple[int, int, int] | None:
    """Return partition, first and last offset of a file's name; None where it is no such name."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


class Place(msgspec.Struct, frozen=True):
    """What is committed for a partition of ticks.raw.

    All below `offset` is in the warehouse. From there on the bounds of the files of `spans` are settled: with
    or without the files, the next reader makes no others. A topic that was deleted and made anew has another
    `topic_id`: nothing of it is read yet.
    """

    topic_id: str
    offset: int = 0
    spans: tuple[Span, ...] = ()

    @property
    def metadata(self) -> str:
        """What goes into the metadata of the committed offset; the broker takes 4 KiB."""
        spans = (f"{s.first - self.offset}+{s.last - s.first}+{s.rows}" for s in self.spans)
        return " ".join([self.topic_id, *spans])

    @classmethod
    def parse(cls, topic_id: str, partition: int, offset: int, metadata: str | None) -> Self:
        """Return the place of a committed offset; one of another topic of that name counts for nothing."""
        found_id, *texts = (metadata or "").split(" ")
        if found_id != topic_id or offset < 0:
            return cls(topic_id)
        spans = []
        for text in texts:
            ahead, length, rows = map(int, text.split("+"))
            spans.append(Span(partition, offset + ahead, offset + ahead + length, rows))
        return cls(topic_id, offset, tuple(spans))


def line_of(tick_bin: TickBin, partition: int, offset: int) -> bytes:
    """Return a bin as a line of a file, with the place where it was read."""
    if tick_bin.notional > LARGEST_SUM:
        tick_bin = msgspec.structs.replace(tick_bin, notional=LARGEST_SUM)
    return b'%s,"kafka_partition":%d,"kafka_offset":%d}\n' % (_encode(tick_bin)[:-1], partition, offset)


def offset_of(line: bytes) -> int | None:
    """Return the offset in a line; None where it is no whole line."""
    _, found, text = line.rpartition(b'"kafka_offset":')
    return int(text[:-2]) if found and text[:-2].isdigit() and text.endswith(b"}\n") else None


def is_storable(tick_bin: TickBin) -> bool:
    """Tell whether a record is a bin that RAW.TICKS_RAW can hold: one that it cannot spoils its whole file.

    Watermark records are none. Of what glue.replay sends all others are.
    """
    prices = (tick_bin.open, tick_bin.high, tick_bin.low, tick_bin.close)
    times = (tick_bin.api_send_ts_ms or 0, tick_bin.source_event_ts_ms or 0, tick_bin.ingest_ts_ms or 0)
    return (
        not is_watermark(tick_bin.symbol)
        and all(price is not None and abs(price) <= LARGEST_PRICE for price in prices)
        and abs(tick_bin.volume) <= LARGEST_SUM
        and isfinite(tick_bin.notional)
        and tick_bin.trade_count > 0
        and _are_whole(times)
        and _are_whole((tick_bin.start_ts_ms, tick_bin.end_ts_ms, tick_bin.watermark_ms))
        and _are_whole((tick_bin.trade_count, tick_bin.max_lateness_ms))
        and len(tick_bin.bin_id) <= LONGEST_ID
        and len(tick_bin.symbol) <= LONGEST_SYMBOL
        and len(tick_bin.source) <= LONGEST_SOURCE
    )


def _are_whole(values: Sequence[int]) -> bool:
    return all(abs(value) <= LARGEST_WHOLE for value in values)
