"""Partition of a symbol: the Java client's rule."""

import pytest
from feed_lines import T

from glue.core.partition import is_watermark, murmur2, partition_of, watermark_symbols
from glue.core.ticks import is_symbol

# From UtilsTest.testMurmur2 of Apache Kafka's clients; signed 32 bit there.
KAFKA_VECTORS = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("text", "expected"), KAFKA_VECTORS.items())
def test_murmur2_is_kafkas(text, expected):
    assert murmur2(text.encode()) == expected & 0xFFFFFFFF


@pytest.mark.parametrize(("text", "expected"), KAFKA_VECTORS.items())
def test_the_sign_bit_is_cleared_before_the_remainder(text, expected):
    assert partition_of(text, 6) == (expected & 0x7FFFFFFF) % 6


def test_every_length_of_the_tail_counts():
    hashes = {murmur2(b"abcdefgh"[:length]) for length in range(9)}
    assert len(hashes) == 9


@pytest.mark.parametrize("partitions", [1, 2, 6, 12, 50])
def test_each_partition_has_a_reserved_symbol_that_falls_on_it(partitions):
    symbols = watermark_symbols(partitions)
    assert [partition_of(symbol, partitions) for symbol in symbols] == list(range(partitions))
    assert all(is_watermark(symbol) for symbol in symbols)


def test_no_feed_symbol_is_taken_for_a_watermark_record():
    assert not any(is_symbol(symbol) for symbol in watermark_symbols(12))
    assert not is_watermark(f"wm0-{T}")
