"""One feed on its way: its binner, the sink it publishes to, and when to commit."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import structlog

from glue import metrics
from glue.core.binner import Binner, Output
from glue.core.dead_letters import DeadLetter
from glue.core.introduction import Feed
from glue.core.partition import is_watermark
from glue.core.resume import Base
from glue.core.ticks import Tick, decode_chunk, event_time_ms
from glue.core.watermarks import Rules
from glue.core.windows import NEVER
from glue.errors import TapelineError
from glue.io.jsonl import JsonlSink
from glue.io.kafka import partition_count
from glue.io.kafka_sink import KafkaSink
from glue.io.state_topic import Checkpoint, State, read_state
from glue.settings import Settings

BASE_EVERY_S = 5.0
"""How often a checkpoint is complete in itself; a restart reads the feed again from the last such."""
LIVE_PIECE_BYTES = 4096
log = structlog.get_logger()


class Sink(Protocol):
    """Where the output of a feed goes."""

    @property
    def partitions(self) -> int:
        """Partitions that watermark records must reach."""

    def publish(self, outputs: list[Output]) -> None:
        """Take records, in order."""

    def commit(self, checkpoint: Checkpoint, base: Base | None) -> None:
        """Make what was published final, with what a later run needs to go on."""

    def finish(self) -> None:
        """Close after the last commit."""

    def abandon(self) -> None:
        """Close after a failure and give up what is not committed."""


class Intake:
    """Lines in, committed records out; goes on from the feed's checkpoint where the topics hold one."""

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        bins_path: Path | None,
        dlt_path: Path,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._sink: Sink
        self._others: list[Checkpoint] = []
        checkpoint, base = None, None
        if bins_path is not None:
            self._sink = JsonlSink(bins_path, dlt_path)
        else:
            # A worker that cannot go on fences nobody.
            self._find_own(feed, read_state(settings, is_whole=False))
            self._sink = KafkaSink(settings, feed.feed_id, dlt_path, is_stopping)  # fences an older worker
            state = read_state(settings)
            checkpoint = self._find_own(feed, state)
            base = state.bases.get((feed.feed_id, settings.shard))
            self._others = [c for c in state.checkpoints.values() if c.feed_id != feed.feed_id]
        rules = Rules(
            bin_ms=settings.replay_bin_ms,
            late_ms=settings.replay_max_late_ms,
            skew_ms=settings.replay_symbol_skew_ms,
            max_future_ms=settings.replay_max_future_ms,
            max_jump_ms=settings.replay_max_jump_ms,
            partitions=self._sink.partitions,
        )
        # Files of a historical feed carry no wall time, so that two runs write the same bytes.
        is_file_of_history = bins_path is not None and feed.mode == "historical"
        self.binner = Binner(feed, rules, settings.shard, is_deterministic=is_file_of_history)
        self.is_resumable = bins_path is None and feed.is_numbered
        self.is_resumed = checkpoint is not None and base is not None and self.is_resumable
        if self.is_resumed and checkpoint and base:
            self.binner.restore(checkpoint.snapshot, base)
            log.info("resuming", feed_id=feed.feed_id, since_ms=self.binner.resume_ms)
        elif checkpoint is not None and feed.mode == "historical":
            self._others.append(checkpoint)
        elif checkpoint is not None:
            log.warning("this feed cannot be resumed: what it sent while no worker ran is missing")
        self.counts: Counter[str] = Counter()
        self._is_first = True
        self._is_dirty = False
        self._closes_bars = False
        self._committed_at = time.monotonic()
        self._base_at = float("-inf")

    def take(self, data: bytes) -> bool:
        """Take whole lines; return whether there was more than blank ones."""
        if self._is_first and self._others:
            self._refuse_if_behind(data)
        binner = self.binner
        lines, ticks, resent = binner.line_count, binner.tick_count, binner.resent_count
        # A live feed's bins go out, and are stamped, a few lines at a time, also when many came at once.
        for piece in _pieces(data, LIVE_PIECE_BYTES if binner.feed.mode == "live" else len(data)):
            self._publish(binner.process(piece, now_ms()))
        metrics.LINES.inc(binner.line_count - lines)
        metrics.TICKS.inc(binner.tick_count - ticks)
        metrics.RESENT.inc(binner.resent_count - resent)
        return binner.line_count > lines

    def refuse(self, start: bytes, sha256: str, length: int) -> None:
        """Dead-letter a line that is too long to be a tick."""
        detail = f"a line of {length} bytes is too long"
        self._publish(self.binner.refuse(start, sha256, detail, now_ms()))

    def close_idle(self) -> None:
        """Close open bins and bars of a feed that has fallen silent."""
        if self.binner.has_open_bars:
            self._publish(self.binner.close_idle(now_ms()))

    def end(self) -> None:
        """Close everything: the feed is over."""
        self._publish(self.binner.end(now_ms()))

    def commit_if_due(self) -> None:
        """Commit when REPLAY_COMMIT_MS have passed since the last time and there is something new.

        Watermark records of a live feed do not wait: bars close by them.
        """
        due_at = self._committed_at + self._settings.replay_commit_ms / 1000
        if self._is_dirty and (self._closes_bars or time.monotonic() >= due_at):
            self._commit()

    def finish(self) -> None:
        """Commit what is left and close; publish open bins that no later run could build again."""
        if not self.binner.is_ended and not self.is_resumable:
            count = self.binner.open_bin_count
            if count:
                log.warning("closing bins before their time: this feed cannot be resumed", bins=count)
            self._publish(self.binner.end(now_ms()))
        self._commit()
        self._sink.finish()

    def abandon(self) -> None:
        """Close after a failure; the next run goes on from the last commit."""
        self._sink.abandon()

    def is_superseded(self) -> bool:
        """Tell, of a fenced worker, whether another one has its feed."""
        return isinstance(self._sink, KafkaSink) and self._sink.is_superseded()

    def fields(self) -> dict[str, object]:
        """Return what progress and the last log event show."""
        binner = self.binner
        is_timed = binner.feed.mode == "live" and binner.watermark_ms != NEVER
        return {
            "ticks": binner.tick_count,
            "bins": self.counts["bins"],
            "watermark_lag_ms": now_ms() - binner.watermark_ms if is_timed else None,
            "open_bins": binner.open_bin_count,
            **{k: n for k, n in sorted(self.counts.items()) if k != "bins"},
        }

    def _find_own(self, feed: Feed, state: State) -> Checkpoint | None:
        """Return the feed's checkpoint of this shard; the number of workers must be what it was."""
        own, shard = None, self._settings.shard
        for checkpoint in state.checkpoints.values():
            if checkpoint.feed_id != feed.feed_id:
                continue
            if checkpoint.shard.count != shard.count:
                raise TapelineError(
                    f"REPLAY_SHARD is {shard}, but {checkpoint.shard.count} worker(s) wrote this feed to the "
                    "topics so far: go on with as many, or start again with --fresh"
                )
            if checkpoint.shard == shard:
                own = checkpoint
        if own is not None:
            self._refuse_other_settings(own)
        return own

    def _refuse_other_settings(self, checkpoint: Checkpoint) -> None:
        settings = self._settings
        for name, was, now in (
            ("REPLAY_MAX_LATE_MS", checkpoint.late_ms, settings.replay_max_late_ms),
            ("REPLAY_BIN_MS", checkpoint.bin_ms, settings.replay_bin_ms),
            (
                "the number of partitions",
                checkpoint.partitions,
                partition_count(settings, settings.kafka_topic_raw),
            ),
        ):
            if was != now:
                raise TapelineError(
                    f"{name} is {now}, but the topics were written with {was}; set it back, or start again "
                    "with --fresh"
                )

    def _refuse_if_behind(self, data: bytes) -> None:
        """One run, one feed: older data than what these topics already hold would all be late."""
        tick = next((line for line in decode_chunk(data) if isinstance(line, Tick)), None)
        if tick is None:
            return
        self._is_first = False
        event_ms = event_time_ms(tick.event_ts)
        for other in self._others:
            if other.snapshot.watermark_ms <= event_ms:
                continue
            own_id = self.binner.feed.feed_id
            if other.feed_id == own_id:
                what = f"this feed ({own_id}) already, and it cannot be resumed: all would be there twice"
            else:
                what = (
                    f"feed {other.feed_id}, which is ahead of this one ({own_id}): all its bars would come "
                    "too late"
                )
            raise TapelineError(
                f"the topics hold {what}. Start with --fresh to empty the topics, name others "
                "(KAFKA_TOPIC_RAW, AGG_OUTPUT_TOPIC, KAFKA_TOPIC_DLT, KAFKA_TOPIC_STATE), or serve the ticks "
                "with --realtime"
            )

    def _publish(self, outputs: list[Output]) -> None:
        if not outputs:
            return
        self._sink.publish(outputs)
        self._is_dirty = True
        bins = 0
        for output in outputs:
            if isinstance(output, DeadLetter):
                self.counts[output.reason] += 1
                metrics.DEAD_LETTERS.labels(output.reason).inc()
            elif is_watermark(output.symbol):
                self._closes_bars = self.binner.feed.mode == "live"
            else:
                bins += 1
        self.counts["bins"] += bins
        metrics.BINS.inc(bins)

    def _commit(self) -> None:
        binner = self.binner
        started_at = time.monotonic()
        base = None
        if binner.needs_base or started_at > self._base_at + BASE_EVERY_S:
            base = binner.base()
            self._base_at = started_at
        self._sink.commit(
            Checkpoint(
                feed_id=binner.feed.feed_id,
                shard=binner.shard,
                mode=binner.feed.mode,
                snapshot=binner.snapshot(),
                late_ms=binner.rules.late_ms,
                bin_ms=binner.rules.bin_ms,
                partitions=binner.rules.partitions,
                is_ended=binner.is_ended,
                updated_ms=now_ms(),
            ),
            base,
        )
        self._is_dirty = self._closes_bars = False
        self._committed_at = time.monotonic()
        metrics.COMMIT_SECONDS.observe(self._committed_at - started_at)
        metrics.OPEN_BINS.set(binner.open_bin_count)
        if binner.watermark_ms != NEVER:
            metrics.FEED_WATERMARK.set(binner.watermark_ms / 1000)


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut whole lines into pieces of about `size` bytes, each of whole lines."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + size) + 1 or data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def now_ms() -> int:
    """Return the wall clock, ms since 1970 UTC."""
    return time.time_ns() // 1_000_000
