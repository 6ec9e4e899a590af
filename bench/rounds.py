"""Runs of the things compared, taking turns, so that a noisy moment hits them all alike."""

import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

Say = Callable[[str], None]


def take_turns(
    runs: Mapping[str, Callable[[], float]], times: int, say: Say, unit: str = "/s"
) -> dict[str, list[float]]:
    """Run each in turn, `times` times over (A B A B); return what each run returned."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(times):
        for name, run in runs.items():
            gc.collect()
            found[name].append(run())
        newest = ", ".join(f"{name} {values[-1]:,.0f}{unit}" for name, values in found.items())
        say(f"turn {turn + 1} of {times}: {newest}")
    return found


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios within each turn."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
