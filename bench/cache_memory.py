"""The dashboard's cache, full: `python -m bench.cache_memory SYMBOLS BARS` prints MB and bars a second."""

import json
import os
import sys
import time

import psutil

from glue.core.bars import Bar
from webapp.cache import BarCache

T = 1_600_000_200_000


def main(symbols: int, bars: int) -> None:
    """Fill a cache second by second, half as long again as it keeps, and print what it took."""
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    cache = BarCache(bars)
    names = [f"SYM{i}" for i in range(symbols)]
    bar = Bar("", "", T, T + 1000, 10.0, 11.0, 9.0, 10.5, 100.0, 1050.0, 10.5, 3, 2, 7, T, T, T)
    began = time.perf_counter()
    for second in range(bars * 3 // 2):
        bar.start_ts_ms = T + second * 1000
        for name in names:
            bar.symbol = name
            cache.add(bar, T, T)
    took_s = time.perf_counter() - began
    used = process.memory_info().rss - before
    sys.stdout.write(json.dumps({"mb": used / 1e6, "per_s": symbols * (bars * 3 // 2) / took_s}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
