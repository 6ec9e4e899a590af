"""Throughput and latency of the last quarter of an hour, in steps of five seconds of append time."""

from glue.io.topic_stats import HISTORICAL_MS, percentiles

STEP_MS = 5_000
KEPT_MS = 900_000
MOST_LATENCIES = 1_000
"""Latencies a step that its percentiles are made of."""


class _Step:
    __slots__ = ("bars", "latencies", "ticks")

    def __init__(self) -> None:
        self.bars = self.ticks = 0
        self.latencies: list[int] = []


class History:
    """Counts bars by when the broker appended them, so that it is right from the start on."""

    def __init__(self) -> None:
        self._steps: dict[int, _Step] = {}
        self._newest = 0

    def add(self, append_ms: int, end_ms: int, ticks: int) -> None:
        """Count a bar; times in ms since 1970 UTC."""
        at = append_ms // STEP_MS
        if at > self._newest:
            self._newest = at
            for old in [step for step in self._steps if step <= at - KEPT_MS // STEP_MS]:
                del self._steps[old]
        elif at <= self._newest - KEPT_MS // STEP_MS:
            return
        step = self._steps.setdefault(at, _Step())
        step.bars += 1
        step.ticks += ticks
        if append_ms - end_ms < HISTORICAL_MS and len(step.latencies) < MOST_LATENCIES:
            step.latencies.append(append_ms - end_ms)

    def throughput(self, now_ms: int) -> list[list[float | None]]:
        """Return rows of a time in s since 1970, ticks a second and bars a second; 0 where nothing came."""
        return [
            [at * STEP_MS // 1000, _rate(step.ticks), _rate(step.bars)] for at, step in self._until(now_ms)
        ]

    def latency(self, now_ms: int) -> list[list[float | None]]:
        """Return rows of a time in s since 1970 and the median and 95th percentile from bar end to append."""
        rows: list[list[float | None]] = []
        for at, step in self._until(now_ms):
            found = percentiles(step.latencies)
            rows.append([at * STEP_MS // 1000, found.p50_ms, found.p95_ms])
        return rows

    def clear(self) -> None:
        """Forget all."""
        self._steps.clear()
        self._newest = 0

    def _until(self, now_ms: int) -> list[tuple[int, _Step]]:
        """Return the steps that are over, without gaps from the first one that is known."""
        last = now_ms // STEP_MS
        first = min((at for at in self._steps if at > last - KEPT_MS // STEP_MS), default=last)
        nothing = _Step()
        return [(at, self._steps.get(at, nothing)) for at in range(first, last)]


def _rate(count: int) -> float:
    return round(count * 1000 / STEP_MS, 1)
