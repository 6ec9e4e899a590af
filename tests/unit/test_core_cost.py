"""Cost of a tick: counted, not timed."""

import sys
from types import FrameType
from typing import Any

from feed_lines import MUCH_LATER, T, make_binner, tick_line

from glue.core import binner as binner_module
from glue.core import bins as bins_module
from glue.core import open_bins, windows

CORE_FILES = {module.__file__ for module in (binner_module, bins_module, open_bins, windows)}


def lines_run_per_tick(symbols: int, ticks: int = 4000, step_ms: int = 1) -> float:
    """Return how many lines of glue.core a tick runs, counted once 1.5 s of bins are open or closing."""
    binner = make_binner()
    raws = [tick_line(f"S{i % symbols}", T + i * step_ms) + b"\n" for i in range(ticks + 2 * symbols)]
    warm, measured = raws[: 2 * symbols], raws[2 * symbols :]
    binner.process(b"".join(warm), MUCH_LATER)
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in CORE_FILES:
            return None
        count += event == "line"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        binner.process(b"".join(measured), MUCH_LATER)
    finally:
        sys.settrace(previous)
    return count / ticks


def test_a_tick_costs_the_same_with_10_symbols_and_with_5000():
    few, many = lines_run_per_tick(10), lines_run_per_tick(5000)
    assert many < 1.5 * few


def test_a_tick_costs_the_same_with_few_and_with_many_open_bins():
    """At 1 ms a tick some 530 bins are open, at 0 ms (all at once) as many as symbols."""
    spread, dense = lines_run_per_tick(2000, step_ms=1), lines_run_per_tick(2000, step_ms=0)
    assert dense < 1.5 * spread


def test_a_symbol_far_behind_looks_up_few_bins():
    """Closing by W(s) looks at the starts between W and W(s) only: at most S / bin and one more."""
    binner = make_binner()
    looked_up = 0

    class Counting(dict):
        def get(self, *args):
            nonlocal looked_up
            looked_up += 1
            return super().get(*args)

    binner.windows.open._by_start = Counting()
    binner.process(tick_line("A", T) + b"\n", MUCH_LATER)
    for i in range(1, 400):
        looked_up = 0
        binner.process(tick_line("AB"[i % 2], T + 37 * i) + b"\n", MUCH_LATER)
        assert looked_up <= 1 + 20 // 10 + 1
