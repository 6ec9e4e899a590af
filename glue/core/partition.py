"""Partition of a symbol: the Java client's murmur2 rule, on the symbol and not on the record key."""

from functools import lru_cache
from typing import Self

import msgspec

WATERMARK_PREFIX = "~wm"
"""Reserved: no feed symbol can start with a tilde."""


def murmur2(data: bytes) -> int:
    """Hash bytes as org.apache.kafka.common.utils.Utils.murmur2 does; unsigned 32 bits."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_of(symbol: str, partitions: int) -> int:
    """Return the partition of a symbol, 0 <= p < partitions."""
    return (murmur2(symbol.encode()) & 0x7FFFFFFF) % partitions


@lru_cache
def watermark_symbols(partitions: int) -> tuple[str, ...]:
    """Return, for each partition, a reserved symbol `~wm<i>` that falls on it."""
    found: dict[int, str] = {}
    i = 0
    while len(found) < partitions:
        symbol = f"{WATERMARK_PREFIX}{i}"
        found.setdefault(partition_of(symbol, partitions), symbol)
        i += 1
    return tuple(found[p] for p in range(partitions))


def is_watermark(symbol: str) -> bool:
    """Tell a watermark record's symbol from an instrument's."""
    return symbol.startswith(WATERMARK_PREFIX)


class Shard(msgspec.Struct, frozen=True):
    """Worker i of n: it owns the partitions p with p mod n = i, so that one worker writes a partition."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard of `i/n`."""
        index, _, count = text.partition("/")
        return cls(int(index), int(count))

    def owns(self, partition: int) -> bool:
        """Tell whether this shard publishes to a partition."""
        return partition % self.count == self.index

    @property
    def suffix(self) -> str:
        """What to add to names that each shard needs for itself; nothing where there is one worker."""
        return "" if self.count == 1 else f"-{self.index}of{self.count}"

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
