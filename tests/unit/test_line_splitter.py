"""Bytes to whole lines: the cut of the reads changes nothing, and a line beyond 1 MiB is only hashed."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue.io.http_feed import MAX_LINE_BYTES, Chunk, LineSplitter, LongLine


def split(reads: list[bytes]) -> tuple[list[bytes | LongLine], bytes]:
    """Return the lines that come out of a splitter, and what is left in it."""
    splitter = LineSplitter()
    lines: list[bytes | LongLine] = []
    for read in reads:
        for event in splitter.split(read):
            if isinstance(event, Chunk):
                assert event.data.endswith(b"\n")
                lines += event.data[:-1].split(b"\n")
            else:
                lines.append(event)
    return lines, splitter.tail


@given(st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\r", b"\n")), max_size=30))
def test_the_cut_of_the_reads_changes_nothing(reads: list[bytes]) -> None:
    *whole, tail = b"".join(reads).split(b"\n")
    assert split(reads) == (whole, tail)


@pytest.mark.parametrize("read_bytes", [1000, 65_536, 262_144])
def test_a_line_of_the_limit_is_a_line_and_one_byte_more_is_not(read_bytes: int) -> None:
    short, long = b"x" * MAX_LINE_BYTES, b"y" * (MAX_LINE_BYTES + 1)
    body = short + b"\n" + long + b"\nz\n"
    lines, tail = split([body[i : i + read_bytes] for i in range(0, len(body), read_bytes)])
    assert lines == [short, LongLine(long[:8192], hashlib.sha256(long).hexdigest(), len(long)), b"z"]
    assert tail == b""
