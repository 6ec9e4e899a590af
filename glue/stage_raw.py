"""Raw bins for the warehouse: ticks.raw to gzip NDJSON files, to RAW.RAW_STAGE, to RAW.TICKS_RAW."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from glue import log as logs
from glue import metrics, usage
from glue.cli import StopSignal, run
from glue.core.loads import LoadSchedule
from glue.core.partition import is_watermark
from glue.core.staged import LARGEST_SUM, Place, is_storable, line_of
from glue.core.usage import Use
from glue.errors import TapelineError, TransientError
from glue.intake import now_ms
from glue.io.kafka import topic_id
from glue.io.kafka_active import ELECTED_WITHIN_POLLS, POLL_S, Committed, NotCommitted
from glue.io.kafka_raw import KafkaRawSource, RawRecord
from glue.io.lane import Lane, resumed
from glue.io.raw_tables import JOB, RawTables
from glue.io.spool import Spool, telling
from glue.presence import present
from glue.progress import Progress
from glue.settings import Settings

RETRY_S = 0.5
FILES_A_COPY = 16
MOST_FILES = 100
"""While the warehouse is down, no more is read once a partition has so many files; their bounds are committed
as metadata, for which the broker has 4 KiB."""
log = structlog.get_logger()


class RawLoader:
    """Reads bins as the active member of its group, and brings them to the warehouse as files.

    `clock` gives wall time in ms.
    """

    def __init__(
        self,
        settings: Settings,
        stop: StopSignal,
        tables: RawTables,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._tables = tables
        self._clock = clock
        self._source: KafkaRawSource
        self._topic_id = ""
        self._spool: Spool
        self._lanes: dict[int, Lane] | None = None
        self._doubtful: set[str] = set()
        """Files that may be in the warehouse already."""
        self._schedule = LoadSchedule(
            settings.snowflake_raw_minutes * 60_000,
            (settings.snowflake_flush_minutes + 1) * 60_000,  # by then a rollup has flushed, if there is one
            clock(),
        )
        self._bin_count = self._file_count = self._row_count = 0
        self._execution_s = 0.0
        self._progress = Progress(JOB, self.fields, ("bins",))

    def run(self, *, once: bool = False) -> None:
        """Run until a signal comes; `once` until the end of the topic.

        Raises:
            TapelineError: the broker or the warehouse refuses for good.
        """
        self._tables.open()
        try:
            while not self._stop:
                try:
                    with self.reading():
                        if self._read(once=once):
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
        return {
            "bins": self._bin_count,
            "files_waiting": sum(len(lane.files) for lane in (self._lanes or {}).values()),
            "files_loaded": self._file_count,
            "rows_loaded": self._row_count,
            "state": "standby" if self._lanes is None else "active",
            "execution_s": round(self._tables.execution_s, 2),
        }

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Be a member of the group for as long as the context lasts."""
        topic = self._settings.kafka_topic_raw
        self._topic_id = topic_id(self._settings, topic)
        self._spool = Spool(self._settings.log_dir / "raw", topic, self._topic_id)
        self._source = KafkaRawSource(self._settings, self._active, self._standby)
        try:
            yield
        finally:
            self._standby()
            self._source.close()

    def _read(self, *, once: bool) -> bool:
        """Read until a signal comes; return True when `once` has come to its end."""
        waited = 0
        while not self._stop:
            self.step()
            waited = waited + 1 if self._lanes is None else 0
            if once and self._lanes is not None and self._source.is_at_end:
                self._end_files(self._lanes)
                self._load(self._lanes)
                return True
            if once and waited > ELECTED_WITHIN_POLLS:
                group = self._settings.snowflake_raw_group
                raise TapelineError(f"another loader is active in group {group}; stop it first")
        return False

    def step(self) -> None:
        """Read what is there, end files that are full or whose time is over, and load when it is time to."""
        records = self._source.poll(POLL_S)
        lanes = self._lanes
        if lanes is not None:
            self._take(lanes, records)
            now = self._clock()
            if self._schedule.ends_files(now):
                self._end_files(lanes)
            is_full = any(len(lane.files) >= MOST_FILES for lane in lanes.values())
            if is_full:
                self._source.pause()
                self._schedule.want(now)
            self._load_if_due(lanes, now, is_full=is_full)
            metrics.RAW_FILES_WAITING.set(sum(len(lane.files) for lane in lanes.values()))
        self._progress.tick()

    def _take(self, lanes: dict[int, Lane], records: list[RawRecord]) -> None:
        most_bytes = self._settings.snowflake_raw_file_mb << 20
        has_ended = False
        with telling(self._spool.folder):
            for record in records:
                lane = lanes[record.partition]
                tick_bin, offset = record.tick_bin, record.offset
                lane.next_offset = offset + 1
                if tick_bin is None or not is_storable(tick_bin):
                    if tick_bin is None or not is_watermark(tick_bin.symbol):
                        self._skip(record)
                    continue
                if tick_bin.notional > LARGEST_SUM:
                    self._tell_cut(tick_bin.bin_id)
                lane.add(self._spool, line_of(tick_bin, record.partition, offset), offset)
                self._bin_count += 1
                if lane.owed:
                    has_ended |= self._pay(lane, offset)
                elif lane.part is not None and lane.part.size >= most_bytes:
                    lane.end(self._spool)
                    has_ended = True
        metrics.BINS_READ.inc(len(records))
        if has_ended:
            self._commit(lanes)

    def _pay(self, lane: Lane, offset: int) -> bool:
        """End a file where a predecessor's ended, whose bounds are settled."""
        if offset < lane.owed[0].last:
            return False
        owed = lane.owed.pop(0)
        lane.end(self._spool)
        if lane.files[-1] != owed:
            raise TapelineError(f"{owed.name} was made anew as {lane.files[-1]}, not as {owed}")
        self._doubtful.add(owed.name)
        self._schedule.want(self._clock())
        return True

    def _tell_cut(self, bin_id: str) -> None:
        metrics.NOTIONAL_CUT.labels(JOB).inc()
        log.warning("NOTIONAL is stored as the largest number that fits", bin_id=bin_id)

    def _skip(self, record: RawRecord) -> None:
        metrics.BINS_UNREADABLE.inc()
        if record.tick_bin is not None:
            log.warning(
                "a record that RAW.TICKS_RAW cannot hold, skipped",
                partition=record.partition,
                offset=record.offset,
            )

    def _end_files(self, lanes: dict[int, Lane]) -> None:
        for lane in lanes.values():
            if not lane.owed:
                lane.end(self._spool)
        self._commit(lanes)

    def _commit(self, lanes: dict[int, Lane]) -> None:
        """Settle the bounds of files, before the warehouse sees them, and what is loaded."""
        self._source.commit({p: lane.place(self._topic_id) for p, lane in lanes.items()})

    def _load_if_due(self, lanes: dict[int, Lane], now: int, *, is_full: bool) -> None:
        if not any(lane.files for lane in lanes.values()):
            self._schedule.done()
            return
        try:
            if self._schedule.is_due(now, lambda: True if is_full else self._tables.is_awake()):
                self._load(lanes)
        except NotCommitted:
            raise
        except TransientError as error:
            metrics.LOADS.labels("failed").inc()
            log.warning("bins not loaded yet", reason=str(error), **self.fields())
            self._schedule.failed(self._clock())

    def _load(self, lanes: dict[int, Lane]) -> None:
        """Load all files that are ended, and forget each when its rows are known to be there."""
        self._commit(lanes)
        waiting = sorted(span for lane in lanes.values() for span in lane.files)
        rows = 0
        for i in range(0, len(waiting), FILES_A_COPY):
            if self._stop:
                return
            batch = waiting[i : i + FILES_A_COPY]
            rows += self._tables.bring(batch, self._spool, self._doubtful)
            for lane in lanes.values():
                lane.files = [span for span in lane.files if span not in batch]
            self._commit(lanes)
            for span in batch:
                self._spool.remove(span)
                self._doubtful.discard(span.name)
        if waiting:
            self._file_count += len(waiting)
            self._row_count += rows
            metrics.RAW_ROWS.inc(rows)
            metrics.LOADS.labels("loaded").inc()
            self._note_use()
            log.info("bins loaded", files=len(waiting), rows=rows)
        self._schedule.done()
        self._source.resume()

    def _note_use(self) -> None:
        spent_s = self._tables.execution_s - self._execution_s
        self._execution_s = self._tables.execution_s
        metrics.EXECUTION_SECONDS.labels(JOB).inc(spent_s)
        usage.note(Use(JOB, now_ms(), spent_s))

    def _active(self, found: dict[int, Committed]) -> dict[int, int]:
        """Go on where a predecessor stopped: with its files where they are, else by making them anew."""
        self._spool.open()
        lanes = {
            p: resumed(Place.parse(self._topic_id, p, at.offset, at.metadata), p, at.first_kept, self._spool)
            for p, at in found.items()
        }
        self._doubtful = {span.name for lane in lanes.values() for span in lane.files}
        if any(lane.files or lane.owed for lane in lanes.values()):
            self._schedule.want(self._clock())
        self._lanes = lanes
        return {p: lane.start for p, lane in lanes.items()}

    def _standby(self) -> None:
        for lane in (self._lanes or {}).values():
            lane.close()
        self._lanes = None


def main(argv: list[str]) -> int:
    """Parse the command line and run the loader."""
    parser = argparse.ArgumentParser(
        prog="python -m glue.stage_raw",
        description="Load raw bins hourly: ticks.raw to gzip NDJSON files, RAW.RAW_STAGE and RAW.TICKS_RAW.",
        epilog="A second one stands by. Settings come from the environment or .env; see .env.example.",
    )
    parser.add_argument("--once", action="store_true", help="read to the end of the topic, load, and exit")
    options = parser.parse_args(argv)
    settings = Settings.load()
    logs.configure(settings)
    stop = StopSignal()
    usage.trim(now_ms())
    loader = RawLoader(settings, stop, RawTables(settings))
    with present(
        JOB, metrics.serve(metrics.STAGE_RAW, settings.metrics_host, settings.stage_raw_metrics_port)
    ):
        loader.run(once=options.once)
    return 0


if __name__ == "__main__":
    run(main)
