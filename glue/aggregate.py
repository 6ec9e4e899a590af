"""Local 1 s engine: bins to bars, the same result as ksql/*.sql gives, without ksqlDB."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from glue import log as logs
from glue import metrics
from glue.cli import StopSignal, run
from glue.core.bars import Bar, BarBuilder, fold
from glue.core.bins import TickBin
from glue.deploy.steps import refuse_forgotten_ksqldb
from glue.errors import SettingsError, TransientError
from glue.intake import now_ms
from glue.io.jsonl import LineFile, read_lines
from glue.io.kafka_engine import KafkaBars, KafkaBins, Reached, Record
from glue.io.state_topic import agree
from glue.presence import present
from glue.progress import Progress
from glue.settings import Settings

POLL_S = 0.1
RETRY_S = 0.5
COMMIT_IDLE_S = 1.0
"""Offsets are committed with every bar; without bars, this often."""
MAX_BARS_A_WRITE = 10_000
log = structlog.get_logger()


class Engine:
    """Kafka to Kafka: reads bins, publishes bars with the offsets they come from in one transaction."""

    def __init__(self, settings: Settings, stop: StopSignal, instance: str) -> None:
        self._settings = settings
        self._stop = stop
        self._builders: dict[int, BarBuilder] = {}
        self._next_offsets: dict[int, int] = {}
        self._bar_count = 0
        self._bin_count = 0
        self._committed_at = time.monotonic()
        self._instance = instance
        self._commit_count = 0
        self._has_started = False
        self._bars: KafkaBars
        self._bins: KafkaBins
        self._progress = Progress("aggregate", self.fields, ("bins", "bars"))

    def run(self) -> None:
        """Run until a signal comes.

        Raises:
            TapelineError: the broker refuses for good.
        """
        failing_since: float | None = None
        try:
            while not self._stop:
                reads_before = self._commit_count
                try:
                    self._read()
                except TransientError as error:
                    if self._stop:
                        break
                    now = time.monotonic()
                    if self._commit_count > reads_before or failing_since is None:
                        failing_since = now
                    gone_s = now - failing_since
                    if not self._has_started or gone_s * 1000 > self._settings.kafka_give_up_ms:
                        raise
                    log.warning("reading again from what is committed", reason=str(error))
                    time.sleep(RETRY_S)
        finally:
            self._progress.close()
        log.info("stopped", **self.fields())

    def _read(self) -> None:
        """Be a member of the group until a signal comes."""
        self._builders.clear()
        self._next_offsets.clear()
        self._bars = KafkaBars(self._settings, self._instance, self._is_stopping)
        self._bins = KafkaBins(self._settings, self._assigned, self._revoked, self._is_stopping)
        self._has_started = True
        try:
            while not self._stop:
                bars = self._take(self._bins.poll(POLL_S))
                if bars or time.monotonic() > self._committed_at + COMMIT_IDLE_S:
                    self._commit(bars)
                self._progress.tick()
            self._commit([])
        finally:
            self._bins.close()

    def fields(self) -> dict[str, object]:
        """Return what progress and the last log event show."""
        return {
            "bins": self._bin_count,
            "bars": self._bar_count,
            "open_bars": sum(b.open_bar_count for b in self._builders.values()),
            "repeated_bins": self._ignored_count,
            "partitions": len(self._builders),
        }

    @property
    def _ignored_count(self) -> int:
        return sum(builder.ignored_count for builder in self._builders.values())

    def _is_stopping(self) -> bool:
        return bool(self._stop)

    def _take(self, records: list[Record]) -> list[Bar]:
        bars = []
        ignored = self._ignored_count
        for record in records:
            builder = self._builders.get(record.partition)
            if builder is None:  # revoked while it was in flight
                continue
            self._next_offsets[record.partition] = record.offset + 1
            if record.tick_bin is None:
                metrics.BINS_UNREADABLE.inc()
                continue
            self._bin_count += 1
            bars += [fold(bins, now_ms()) for bins in builder.add(record.tick_bin, record.offset)]
        metrics.BINS_READ.inc(len(records))
        metrics.BINS_IGNORED.inc(self._ignored_count - ignored)
        return bars

    def _commit(self, bars: list[Bar]) -> None:
        reached = {}
        for partition, next_offset in self._next_offsets.items():
            builder = self._builders[partition]
            if builder.is_partial:  # a new start must find the same gap again
                continue
            oldest = builder.oldest_offset
            reached[partition] = Reached(next_offset if oldest is None else oldest, builder.stream_time_ms)
        if not reached:
            return
        self._bars.commit(bars, self._bins, reached)
        self._committed_at = time.monotonic()
        self._commit_count += 1
        self._bar_count += len(bars)
        metrics.BARS.inc(len(bars))
        metrics.OPEN_BARS.set(sum(b.open_bar_count for b in self._builders.values()))
        for partition, builder in self._builders.items():
            metrics.STREAM_TIME.labels(partition).set(builder.stream_time_ms / 1000)

    def _assigned(self, partition: int, stream_time_ms: int, is_partial: bool) -> None:
        late_ms = self._settings.replay_max_late_ms
        self._builders[partition] = BarBuilder(late_ms, stream_time_ms, is_partial=is_partial)

    def _revoked(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._builders.pop(partition, None)
            self._next_offsets.pop(partition, None)


def aggregate_file(bins_path: Path, bars_path: Path, late_ms: int) -> int:
    """Make bars from a file of bins; return their number. The output file appears whole.

    Raises:
        TapelineError: a file cannot be read or written.
    """
    builder = BarBuilder(late_ms)
    out = LineFile(bars_path)
    count = 0
    try:
        for bars in _batches(read_lines(bins_path, TickBin), builder):
            out.write(bars)
            count += len(bars)
    except BaseException:
        out.abandon()
        raise
    out.finish()
    if builder.open_bar_count:
        log.warning("bars left open: the file ends before their watermark", bars=builder.open_bar_count)
    return count


def _batches(bins: Iterator[TickBin], builder: BarBuilder) -> Iterator[list[Bar]]:
    bars: list[Bar] = []
    for tick_bin in bins:
        for bar_bins in builder.add(tick_bin):
            # A file of a historical feed carries no wall time, and neither do its bars.
            bars.append(fold(bar_bins, None if tick_bin.ingest_ts_ms is None else now_ms()))
        if len(bars) >= MAX_BARS_A_WRITE:
            yield bars
            bars = []
    yield bars


def main(argv: list[str]) -> int:
    """Parse the command line and run the engine."""
    parser = argparse.ArgumentParser(
        prog="python -m glue.aggregate",
        description="Make 1 s OHLCV bars from 10 ms bins: ticks.raw to ticks.agg.1s, or file to file.",
        epilog="Settings come from the environment or .env; see .env.example.",
    )
    parser.add_argument("--source", choices=("kafka", "jsonl"), default="kafka", help="default: %(default)s")
    parser.add_argument("--bins", type=Path, help="file of bins with --source jsonl (logs/replay.jsonl)")
    parser.add_argument("--sink", choices=("kafka", "jsonl"), help="default: the same kind as the source")
    parser.add_argument("--bars", type=Path, help="file of bars with --sink jsonl (logs/aggregate.jsonl)")
    parser.add_argument("--instance", default="0", help="name of this engine when several run (default: 0)")
    options = parser.parse_args(argv)
    if options.sink not in (None, options.source):
        raise SettingsError("--source and --sink must be of one kind: kafka to kafka, or jsonl to jsonl")
    settings = Settings.load()
    logs.configure(settings)
    if options.source == "jsonl":
        bins_path = options.bins or settings.log_dir / "replay.jsonl"
        bars_path = options.bars or settings.log_dir / "aggregate.jsonl"
        count = aggregate_file(bins_path, bars_path, settings.replay_max_late_ms)
        log.info("done", bars=count, bins_file=str(bins_path), bars_file=str(bars_path))
        return 0
    if settings.ksqldb_url:
        raise SettingsError("KSQLDB_URL is set: ksqlDB makes the bars, this engine would make them once more")
    refuse_forgotten_ksqldb(settings)
    agree(settings, "glue.aggregate")
    stop = StopSignal()
    with present(
        "aggregate", metrics.serve(metrics.ENGINE, settings.metrics_host, settings.agg_metrics_port)
    ):
        Engine(settings, stop, options.instance).run()
    return 0


if __name__ == "__main__":
    run(main)
