"""Latencies of the bars that came in the last minute, and their percentiles."""

from collections import deque

import msgspec

from glue.io.topic_stats import HISTORICAL_MS, Latency, percentiles
from webapp.cache import CachedBar

WINDOW_MS = 60_000
MOST_SAMPLES = 20_000
STEPS = ("api", "producer", "emit", "end", "log")


class Sample(msgspec.Struct, frozen=True, gc=False):
    """How long one bar took to here, in ms; None where a time is not known or the feed is historical."""

    receive_ms: int
    api: int | None
    """Feed sent its first tick -> received."""
    producer: int | None
    """Engine emitted the bar -> received."""
    emit: int | None
    """Bar end -> engine emitted it."""
    end: int | None
    """Bar end -> received."""
    log: int
    """Broker appended the bar -> received."""


def sample(cached: CachedBar) -> Sample | None:
    """Return the latencies of a bar, None for one that was there before this process."""
    received = cached.receive_ms
    if received is None:
        return None
    bar = cached.bar

    def since(begin: int | None, end: int | None = received) -> int | None:
        if begin is None or end is None or end - begin >= HISTORICAL_MS:
            return None
        return end - begin

    return Sample(
        receive_ms=received,
        api=since(bar.api_send_ts_ms),
        producer=since(bar.ingest_ts_ms),
        emit=since(bar.end_ts_ms, bar.ingest_ts_ms),
        end=since(bar.end_ts_ms),
        log=received - cached.append_ms,
    )


class LatencyWindow:
    """The samples of the last minute, at most the newest `most`; summaries are made once a change."""

    def __init__(self, window_ms: int = WINDOW_MS, most: int = MOST_SAMPLES) -> None:
        self._window_ms = window_ms
        self._samples: deque[Sample] = deque(maxlen=most)

    def add(self, taken: Sample) -> None:
        """Take a sample."""
        self._samples.append(taken)

    def __len__(self) -> int:
        return len(self._samples)

    def summary(self, now_ms: int) -> dict[str, Latency]:
        """Return the percentiles of each step over the window that ends now."""
        while self._samples and self._samples[0].receive_ms <= now_ms - self._window_ms:
            self._samples.popleft()
        return {
            step: percentiles(v for s in self._samples if (v := getattr(s, step)) is not None)
            for step in STEPS
        }

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()
