"""Minute rollup: 1 s bars to the 60 s and 300 s facts of the warehouse."""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from glue import engine, metrics, usage
from glue import log as logs
from glue.cli import StopSignal, run
from glue.core.facts import Rows
from glue.core.flushes import Flush, Loader, Resumed
from glue.core.late_bars import LateWindow
from glue.core.partition import Shard
from glue.core.usage import Use
from glue.errors import SettingsError, TapelineError, TransientError
from glue.intake import now_ms
from glue.io.bar_progress import BarProgress, KafkaTopics
from glue.io.fact_tables import JOB, FactTables
from glue.io.kafka import partition_count
from glue.io.kafka_active import ELECTED_WITHIN_POLLS, POLL_S
from glue.io.kafka_bars import KafkaBarSource
from glue.presence import present
from glue.progress import Progress
from glue.settings import Settings

RETRY_S = 0.5
FLUSH_RETRY_MS = 5_000
MOST_MINUTES = 150_000
"""While the warehouse is down, the loader reads no more than so many minutes of symbols: 900 MB."""
PURGE_EVERY_MS = 3_600_000
LATE_GIVE_UP_MS = 600_000
"""So long late bars wait, wall time, for the other bars of their window to be in FACT_TICKS_1S."""
LIVE_MS = 3_600_000
log = structlog.get_logger()


class SupportsBool(Protocol):
    """True once the process is to stop."""

    def __bool__(self) -> bool: ...


class Rollup:
    """Reads bars as the active member of the loader's group, and writes the facts that are due.

    `clock` gives wall time in ms that never goes back; only differences count.
    """

    def __init__(
        self,
        settings: Settings,
        stop: SupportsBool,
        tables: FactTables,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._tables = tables
        self._shard = Shard.parse(settings.rollup_shard)
        self._clock = clock
        self._source: KafkaBarSource
        self._loader: Loader | None = None
        self._raw_partitions = partition_count(settings, settings.kafka_topic_raw)
        self._bar_progress = BarProgress(
            KafkaTopics(settings),
            self._raw_partitions,
            lambda: engine.steps(settings),
            settings.agg_output_topic,
        )
        self._retry_at_ms = 0
        self._purged_at_ms: int | None = None
        self._bar_count = self._row_count = self._flush_count = self._late_count = 0
        self._execution_s = 0.0
        self._progress = Progress(JOB, self.fields, ("bars", "rows"))

    @property
    def group(self) -> str:
        """The consumer group: one a shard, since each reads all bars."""
        return self._settings.snowflake_loader_group + self._shard.suffix

    def run(self, *, once: bool = False, is_final: bool = False) -> None:
        """Run until a signal comes; `once` until the end of the topic.

        Raises:
            TapelineError: the broker or the warehouse refuses for good.
        """
        self._tables.open()
        try:
            while not self._stop:
                try:
                    with self.reading():
                        if self._read(once=once, is_final=is_final):
                            break
                except TransientError as error:
                    if once:
                        raise
                    log.warning("reading again from what is committed", reason=str(error))
                    time.sleep(RETRY_S)
        finally:
            self._progress.close()
            self._tables.close()
        log.info("stopped", **self.fields())

    def fields(self) -> dict[str, object]:
        """Return what progress and the last log event show."""
        loader = self._loader
        return {
            "bars": self._bar_count,
            "rows": self._row_count,
            "flushes": self._flush_count,
            "late_bars": self._late_count,
            "held_minutes": 0 if loader is None else loader.minute_count,
            "state": "standby" if loader is None else "active",
            "execution_s": round(self._tables.execution_s, 2),
        }

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Be a member of the loader's group for as long as the context lasts."""
        self._source = KafkaBarSource(self._settings, self.group, self._active, self._standby)
        try:
            yield
        finally:
            self._standby()
            self._source.close()

    def _read(self, *, once: bool, is_final: bool) -> bool:
        """Read until a signal comes; return True when `once` has come to its end."""
        waited = 0
        while not self._stop:
            self.step()
            waited = waited + 1 if self._loader is None else 0
            if once and self._loader is not None and self._source.is_at_end:
                self._flush(self._loader.rest(is_final=is_final))
                return True
            if once and waited > ELECTED_WITHIN_POLLS:
                raise TapelineError(f"another loader is active in group {self.group}; stop it first")
        return False

    def step(self) -> None:
        """Read what is there and write what is due."""
        records = self._source.poll(POLL_S)
        now = self._clock()
        loader = self._loader
        if loader is None:
            self._progress.tick()
            return
        for record in records:
            loader.add(record.bar, record.partition, record.offset, now, was_at=record.was_at)
        self._bar_count += len(records)
        metrics.BARS_READ.inc(len(records))
        metrics.HELD_MINUTES.set(loader.minute_count)
        self._close_silent(loader, now)
        if now >= self._retry_at_ms and (flush := loader.due(now)) is not None:
            try:
                self._flush(flush)
            except TransientError as error:
                metrics.FLUSHES.labels("failed").inc()
                log.warning("facts not written yet", reason=str(error), held_minutes=loader.minute_count)
                self._retry_at_ms = self._clock() + FLUSH_RETRY_MS
                if loader.minute_count > MOST_MINUTES:
                    self._source.pause()
        self._progress.tick()

    def _close_silent(self, loader: Loader, now: int) -> None:
        """Where no further bar comes, let windows close that all bars are known to have come of."""
        if not loader.is_waiting(now):
            self._bar_progress.forget()
            return
        until_ms = self._bar_progress.look(now, loader.is_due, self._source.has_reached)
        if until_ms is not None:
            loader.watermark.close(until_ms)
            log.info("windows close without a further bar", until_ms=until_ms)

    def _flush(self, flush: Flush) -> None:
        """Write the rows, and only then commit the offsets."""
        loader = self._loader
        assert loader is not None  # noqa: S101
        began = time.monotonic()
        from_late, lacking = self._rebuild(flush.late)
        self._tables.write(flush.rows, from_late)
        loader.written(flush, self._waiting(lacking))
        self._source.commit(loader.positions())
        self._source.resume()
        rows = len(flush.rows) + len(from_late)
        metrics.FACTS_UNTIL.set(flush.until_ms / 1000)
        if not rows:
            return  # the warehouse may sleep on
        self._flush_count += 1
        self._row_count += rows
        late_bars = _bar_count(flush.late) - _bar_count(lacking)
        self._late_count += late_bars
        metrics.LATE_BARS.inc(late_bars)
        metrics.FLUSHES.labels("written").inc()
        metrics.FLUSH_SECONDS.observe(time.monotonic() - began)
        metrics.FACTS.inc(rows)
        log.info("facts written", until_ms=flush.until_ms, rows=rows, late_bars=late_bars)
        self._in_the_shadow()
        self._note_use(flush)

    def _rebuild(self, late: list[LateWindow]) -> tuple[Rows, list[LateWindow]]:
        """Make the windows of late bars anew; return their rows, and the windows that lack bars."""
        rows = Rows([], [])
        if not late:
            return rows, []
        last_offsets = self._tables.last_offsets()  # first: what is told here must be among the bars
        stored, written = self._tables.bars_of(late), self._tables.written(late)
        lacking = []
        for window in late:
            whole = window.rebuilt(stored[window], last_offsets, written)
            if whole is None:
                lacking.append(window)
            else:
                rows.minutes.extend(whole.minutes)
                rows.five_minutes.extend(whole.five_minutes)
        return rows, lacking

    def _waiting(self, lacking: list[LateWindow]) -> list[LateWindow]:
        """Return those of the windows that lack bars which wait on; the others are given up."""
        now = self._clock()
        waiting: list[LateWindow] = []
        lost: list[LateWindow] = []
        for window in lacking:
            if window.waits_since_ms is None:
                window.waits_since_ms = now
            is_over = now - window.waits_since_ms >= LATE_GIVE_UP_MS
            (lost if is_over else waiting).append(window)
        if waiting:
            log.warning(
                "late bars wait for FACT_TICKS_1S to have their windows whole", bars=_bar_count(waiting)
            )
        if lost:
            metrics.LATE_BARS_LOST.inc(_bar_count(lost))
            log.error(
                "late bars are in no row: FACT_TICKS_1S has their windows in part only",
                bar_ids=[bar_id for window in lost for bar_id in window.bars][:20],
                bars=_bar_count(lost),
            )
        return waiting

    def _in_the_shadow(self) -> None:
        """Do what else the warehouse has to do, while it is awake for a flush; else at the next."""
        now = self._clock()
        if self._purged_at_ms is None or now - self._purged_at_ms >= PURGE_EVERY_MS:
            try:
                self._tables.purge(self._settings.snowflake_keep_1s_hours)
            except TransientError as error:
                log.warning("old 1 s bars not deleted yet", reason=str(error))
            else:
                self._purged_at_ms = now

    def _note_use(self, flush: Flush) -> None:
        spent_s = self._tables.execution_s - self._execution_s
        self._execution_s = self._tables.execution_s
        metrics.EXECUTION_SECONDS.labels(JOB).inc(spent_s)
        lag_ms = now_ms() - flush.until_ms
        usage.note(Use(JOB, now_ms(), spent_s, lag_ms if lag_ms < LIVE_MS else None))

    def _active(self, found: dict[int, Resumed]) -> None:
        self._loader = Loader(
            self._settings.snowflake_flush_minutes, self._raw_partitions, self._shard, self._clock()
        )
        for partition, resumed in found.items():
            self._loader.resume(partition, resumed)

    def _standby(self) -> None:
        self._loader = None


def _bar_count(windows: Iterable[LateWindow]) -> int:
    return sum(len(window.bars) for window in windows)


def main(argv: list[str]) -> int:
    """Parse the command line and run the loader."""
    parser = argparse.ArgumentParser(
        prog="python -m glue.rollup",
        description="Write minute and five-minute facts: ticks.agg.1s to CORE.FACT_TICKS_60S and _300S.",
        epilog="A second one of the same shard stands by. Settings come from the environment or .env; see "
        ".env.example.",
    )
    parser.add_argument("--once", action="store_true", help="read to the end of the topic, write, and exit")
    parser.add_argument("--final", action="store_true", help="with --once: windows that have not ended, too")
    parser.add_argument("--shard", help="i/n: of n loaders the one of every n-th symbol (ROLLUP_SHARD)")
    options = parser.parse_args(argv)
    if options.final and not options.once:
        raise SettingsError("--final goes with --once")
    settings = Settings.load(rollup_shard=options.shard)
    logs.configure(settings)
    stop = StopSignal()
    usage.trim(now_ms())
    rollup = Rollup(settings, stop, FactTables(settings))
    with present(JOB, metrics.serve(metrics.ROLLUP, settings.metrics_host, settings.rollup_metrics_port)):
        rollup.run(once=options.once, is_final=options.final)
    return 0


if __name__ == "__main__":
    run(main)
