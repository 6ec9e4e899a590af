"""10,000 symbols over an hour of event time: memory, and whether a tick stays cheap."""

import threading
import time
import urllib.request
from bisect import bisect_left
from typing import Self

import msgspec
import psutil

from bench.report import Measure, Row, limited
from bench.rounds import Say
from bench.stage import Child, Stage
from bench.topic import wait_until
from glue.errors import TapelineError
from glue.settings import Settings
from glue.stack.ports import choose

MB = 1e6
MOST_MB = 400.0
MOST_GROWTH = 1.5
SAMPLE_S = 0.2
LEAST_SAMPLES = 3
COUNT_EVERY = 3
"""Samples between two looks at the counter of /metrics, which cost the process some work."""
SAY_EVERY_S = 15.0
SETTLED_S = 4.0
RATE = 1_000


class Sample(msgspec.Struct, frozen=True):
    """CPU seconds used so far, and what was done by then."""

    count: float
    cpu_s: float


class Sampler:
    """Follows one process and what it starts: peak memory, and CPU time against a counter of its /metrics."""

    def __init__(self, child: Child, metrics_port: int, counter: str) -> None:
        self.peak_bytes = 0
        self.samples: list[Sample] = []
        self.moved_at = time.monotonic()
        self._process = psutil.Process(child.pid)
        self._url = f"http://127.0.0.1:{metrics_port}/metrics"
        self._counter = f"\n{counter} "
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        self._thread.join(5)

    @property
    def count(self) -> float:
        """Where the counter stands."""
        return self.samples[-1].count if self.samples else 0.0

    def us_each(self, from_share: float, to_share: float) -> float:
        """Return the CPU time of one piece between two shares of the whole, in microseconds."""
        if len(self.samples) < LEAST_SAMPLES:
            raise TapelineError(
                f"{self._counter.strip()} was read {len(self.samples)} times only: too short a run"
            )
        low, high = self.count * from_share, self.count * to_share
        return (self._cpu_at(high) - self._cpu_at(low)) / (high - low) * 1e6

    def _cpu_at(self, count: float) -> float:
        i = bisect_left(self.samples, count, key=lambda sample: sample.count)
        after, before = self.samples[min(i, len(self.samples) - 1)], self.samples[max(0, i - 1)]
        if after.count <= before.count:
            return after.cpu_s
        share = (count - before.count) / (after.count - before.count)
        return before.cpu_s + share * (after.cpu_s - before.cpu_s)

    def _run(self) -> None:
        number = 0
        while not self._is_over.wait(SAMPLE_S):
            try:
                processes = [self._process, *self._process.children(recursive=True)]
                self.peak_bytes = max(self.peak_bytes, sum(p.memory_info().rss for p in processes))
                number += 1
                if number % COUNT_EVERY == 0:
                    self._take(processes)
            except (psutil.Error, OSError):  # it has not started to answer, or has ended
                continue

    def _take(self, processes: list[psutil.Process]) -> None:
        with urllib.request.urlopen(self._url, timeout=5) as answer:  # noqa: S310 - it is http
            text = answer.read().decode()
        cpu_s = sum(times.user + times.system for times in (p.cpu_times() for p in processes))
        count = float(text.partition(self._counter)[2].partition("\n")[0] or 0)
        if count > self.count:
            self.moved_at = time.monotonic()
            self.samples.append(Sample(count, cpu_s))


def rows(stage: Stage, say: Say, *, is_quick: bool) -> list[Row]:
    """Run the hour through worker and engine, then a shorter time of 10 symbols through the worker."""
    event_s = 60 if is_quick else 3_600
    port = choose((), ())
    settings = stage.settings(agg_metrics_port=port)
    with (
        stage.running("glue.aggregate", settings=settings) as engine,
        Sampler(engine, port, "tapeline_bins_read_total") as engine_use,
    ):
        engine.wait_for('"assigned"')
        worker_use = _run_worker(stage, settings, 10_000, event_s, say, engine, engine_use)
        say(f"memory: the worker is done after {worker_use.count:,.0f} ticks; waiting for the engine")
        wait_until(lambda: _has_settled(engine, engine_use), "the engine to read all bins", 900)
    few_use = _run_worker(stage, stage.settings(), 10, max(60, event_s // 10), say)
    hour = f"10,000 symbols, {worker_use.count / 1e6:.1f} M ticks"
    note = (
        "real processes on the embedded stack: `glue.mock_api --synthetic --historical --symbols 10000 "
        f"--rate {RATE} --duration {event_s} --speed 0`, `glue.replay`, `glue.aggregate`; resident memory "
        f"every {SAMPLE_S} s; {engine_use.count:,.0f} records reached the engine"
    )
    return [
        _memory_row(f"peak memory of the worker, {hour}", worker_use, note),
        _memory_row(f"peak memory of the engine, {hour}", engine_use, "the same run"),
        _flat_row(
            "worker, CPU time per tick in the last tenth",
            worker_use,
            "user and system time of the process, same run",
        ),
        _flat_row(
            "engine, CPU time per record in the last tenth",
            engine_use,
            "user and system time of the process, same run",
        ),
        Row(
            what="worker, CPU time per tick with 10,000 symbols",
            measured=Measure(worker_use.us_each(0.01, 1), "us"),
            beside_what="10 symbols",
            beside=Measure(few_use.us_each(0.01, 1), "us"),
            ratio=worker_use.us_each(0.01, 1) / few_use.us_each(0.01, 1),
            note="whole process, and not the same work: with 10 symbols several ticks share a bin, with "
            "10,000 nearly each has one of its own to be published; the row in process compares like with "
            "like",
        ),
    ]


def _run_worker(
    stage: Stage,
    settings: Settings,
    symbols: int,
    event_s: int,
    say: Say,
    engine: Child | None = None,
    engine_use: Sampler | None = None,
) -> Sampler:
    port = choose((), ())
    sizes = {"--symbols": symbols, "--rate": RATE, "--duration": event_s, "--speed": 0}
    options = [text for name, value in sizes.items() for text in (name, str(value))]
    settings = settings.model_copy(update={"replay_metrics_port": port})
    said_at = time.monotonic()
    with (
        stage.feed("--synthetic", "--historical", *options) as url,
        stage.running("glue.replay", "--url", url, settings=settings) as worker,
        Sampler(worker, port, "tapeline_ticks_total") as use,
    ):
        while worker.exit_code is None:
            if engine is not None:
                engine.check()
            if time.monotonic() > said_at + SAY_EVERY_S:
                said_at = time.monotonic()
                peaks = [use.peak_bytes, *([engine_use.peak_bytes] if engine_use else [])]
                memory = ", ".join(f"{peak / MB:.0f} MB" for peak in peaks)
                say(f"memory: {symbols:,} symbols, {use.count:,.0f} ticks so far; {memory}")
            time.sleep(0.1)
        worker.check()
    return use


def _has_settled(engine: Child, use: Sampler) -> bool:
    engine.check()
    return use.count > 0 and time.monotonic() > use.moved_at + SETTLED_S


def _memory_row(what: str, use: Sampler, note: str) -> Row:
    return limited(what, use.peak_bytes / MB, "MB", MOST_MB, note=note)


def _flat_row(what: str, use: Sampler, note: str) -> Row:
    first, last = use.us_each(0.01, 0.11), use.us_each(0.9, 1)
    return Row(
        what=what,
        measured=Measure(last, "us"),
        beside_what="first tenth",
        beside=Measure(first, "us"),
        ratio=last / first,
        goal=f"at most {MOST_GROWTH:g}x (flat)",
        is_met=last / first <= MOST_GROWTH,
        note=note,
    )
