"""The binner: feed lines in, closed bins, watermark records and dead letters out, in publishing order.

Every line is decided by the lines before it (and, on a live feed, the wall clock it is given): how lines
are cut into chunks changes nothing.
"""

from glue.core.bins import TickBin
from glue.core.continuity import Continuity
from glue.core.dead_letters import DeadLetter, Reason, line_sha256, line_text
from glue.core.introduction import Feed
from glue.core.partition import Shard
from glue.core.resume import Base, Snapshot
from glue.core.ticks import BadLine, Chunk, Control, Line, Tick, event_time_ms, is_symbol
from glue.core.watermarks import Held, JumpGuard, Rules, Verdict
from glue.core.windows import NEVER, Windows

Output = TickBin | DeadLetter


class Binner:
    """One feed's lines, or one shard's part of them, by the rules of docs/ARCHITECTURE.md.

    Each shard takes in all lines and puts out what belongs to its partitions; dead letters without a
    symbol belong to shard 0. `is_deterministic` leaves `ingest_ts_ms` null, so that two runs give equal
    output.
    """

    def __init__(
        self, feed: Feed, rules: Rules, shard: Shard | None = None, *, is_deterministic: bool = False
    ) -> None:
        self.feed = feed
        self.rules = rules
        self.shard = shard or Shard()
        self.windows = Windows(rules, self.shard, is_live=feed.mode == "live")
        self.is_ended = False
        self.line_count = 0
        self._is_live = feed.mode == "live"
        self._is_deterministic = is_deterministic
        self._details: dict[Reason, str] = {
            "late": f"more than {rules.late_ms} ms behind its symbol's newest tick",
            "closed": "its bin is already closed",
        }
        self._continuity = Continuity(feed, self.windows)
        self._guard = JumpGuard(rules.max_jump_ms)
        self._out: list[Output] = []
        self._now_ms = 0
        self._chunk = Chunk(b"")

    # What goes in

    def process(self, chunk: bytes, now_ms: int) -> list[Output]:
        """Take in a chunk of whole lines read at `now_ms` (wall clock, ms since 1970 UTC)."""
        self._begin(Chunk(chunk), now_ms)
        lines, take_quiet = self._chunk.lines, self.windows.take_quiet
        i, count = 0, len(lines)
        while i < count:
            if not (self._continuity.is_behind or self.is_ended or self._guard.is_holding):
                i = take_quiet(lines, i)
                if i == count:
                    break
            self._line(lines[i], i)
            i += 1
        return self._finish()

    def refuse(self, start: bytes, sha256: str, detail: str, now_ms: int) -> list[Output]:
        """Dead-letter a line too long to be kept: its start, and the SHA-256 of all of it."""
        self._begin(Chunk(start, [BadLine(detail)]), now_ms)
        if not self._continuity.is_resent(self._chunk.lines[0], 0, self._chunk, sha256):
            self._dead_letter("invalid", detail, start, 0, sha256=sha256)
        return self._finish()

    def close_idle(self, now_ms: int) -> list[Output]:
        """Close all open bins and bars of a connected feed that has been silent for too long.

        On a live feed no further than the wall clock: bars that a clock ahead of it opened close later.
        """
        if self._continuity.awaits_old_ticks:
            return []
        self._begin(Chunk(b""), now_ms)
        self.windows.close_everything(up_to_ms=now_ms if self._is_live else None)
        return self._finish()

    def end(self, now_ms: int) -> list[Output]:
        """Close all bins and bars: the feed is over."""
        self._begin(Chunk(b""), now_ms)
        self._end(0)
        return self._finish()

    def expect_resend(self) -> None:
        """Skip the old ones among the lines that a numbered feed sends again after a reconnect."""
        if not self.feed.is_numbered:
            return
        self._begin(Chunk(b""), self._now_ms)
        self._guard = JumpGuard(self.rules.max_jump_ms)
        self._continuity.expect_resend()

    def restore(self, snapshot: Snapshot, base: Base) -> None:
        """Go on where an earlier process stood; the feed must send again from `resume_ms`.

        Old lines whose bin was open then build it again, all other old lines are skipped: what they led to
        was published before the snapshot.
        """
        self._continuity.restore(snapshot, base)

    # What it knows

    @property
    def newest_ms(self) -> int:
        """M: highest event time accepted of any symbol."""
        return self.windows.newest_ms

    @property
    def watermark_ms(self) -> int:
        """W of the feed; NEVER before the first tick or heartbeat."""
        return self.windows.watermark_ms

    @property
    def tick_count(self) -> int:
        """Ticks taken into bins."""
        return self.windows.tick_count

    @property
    def resent_count(self) -> int:
        """Lines that came again and were skipped."""
        return self._continuity.resent_count

    def snapshot(self) -> Snapshot:
        """Return where the binner stands now; `restore` also needs the newest base before it."""
        return self._continuity.snapshot()

    def base(self) -> Base:
        """Return the W(s) of all symbols; snapshots from now on tell only what came after."""
        return self._continuity.base()

    @property
    def needs_base(self) -> bool:
        """Whether so much came since the last base that a new one is due."""
        return self._continuity.needs_base

    @property
    def resume_ms(self) -> int | None:
        """Event time from which the feed must send again so that nothing is missed; None: its start."""
        return self._continuity.resume_ms

    @property
    def open_bin_count(self) -> int:
        """Bins that still take ticks."""
        return len(self.windows.open)

    @property
    def has_open_bars(self) -> bool:
        """Whether a bin or bar waits for the watermark to move on."""
        return self.windows.has_open_bars

    # Lines

    def _begin(self, chunk: Chunk, now_ms: int) -> None:
        self._continuity.places.begin(chunk.lines)
        self._chunk = chunk
        self._now_ms = now_ms
        self.line_count += len(chunk.lines)
        self.windows.begin(now_ms, None if self._is_deterministic else now_ms)

    def _finish(self) -> list[Output]:
        self._collect()
        out, self._out = self._out, []
        return out

    def _collect(self) -> None:
        """Move what has closed to the output, so that a dead letter comes after it."""
        closed = self.windows.closed
        if closed:
            self._out += closed
            closed.clear()

    def _line(self, line: Line, i: int) -> None:
        if isinstance(line, Tick) and not (self.windows.is_known(line.symbol) or is_symbol(line.symbol)):
            line = BadLine("symbol does not match [A-Za-z0-9_./:-]{1,32}", line.seq)
            self._chunk.lines[i] = line
        if self._continuity.is_resent(line, i, self._chunk):
            return
        if self.is_ended:
            self._invalid("line after the end of the feed", i)
        elif isinstance(line, Tick):
            self._tick(line, i)
        elif isinstance(line, BadLine):
            self._invalid(line.detail, i)
        else:
            self._control(line, i)

    def _control(self, line: Control, i: int) -> None:
        if line.type == "end":
            self._end(i)
        elif line.type == "hello":
            self._invalid("hello is not the first line", i)
        elif line.event_ts is None:
            self._invalid("heartbeat without event_ts", i)
        else:
            self._heartbeat(event_time_ms(line.event_ts), i)

    def _heartbeat(self, event_ms: int, i: int) -> None:
        windows = self.windows
        if self._is_live:
            windows.advance(min(event_ms, self._now_ms))
        elif windows.newest_ms != NEVER and event_ms > self.rules.max_jump_ms + max(
            windows.newest_ms, windows.watermark_ms
        ):
            self._dead_letter("future", "heartbeat jumps ahead", self._chunk.raw(i), i, event_ms=event_ms)
        else:
            # A held tick came before this word: the watermark waits where its bin can still take it.
            held_ms = self._guard.oldest_held_ms
            windows.advance(event_ms if held_ms is None else min(event_ms, held_ms))

    def _tick(self, tick: Tick, i: int) -> None:
        event_ms = event_time_ms(tick.event_ts)
        if self._is_live:
            if event_ms > self._now_ms + self.rules.max_future_ms:
                self._dead_letter("future", "ahead of the wall clock", self._chunk.raw(i), i, tick)
                return
        else:
            newest_ms = self.windows.newest_ms
            is_jump = newest_ms == NEVER or event_ms > newest_ms + self.rules.max_jump_ms
            if is_jump or self._guard.is_holding:
                self._guarded(Held(tick, self._chunk.raw(i), event_ms), i)
                return
        self._take(tick, event_ms, i)

    def _guarded(self, tick: Held, i: int) -> None:
        was_holding = self._guard.is_holding
        newest_ms = self.windows.newest_ms
        verdict = self._guard.take(tick, newest_ms if newest_ms != NEVER else None)
        if not self._guard.is_holding:
            self._continuity.hold_nothing()
        elif not was_holding or verdict.future or verdict.accepted:
            self._continuity.hold_before(i)
        self._carry_out(verdict, i)

    def _carry_out(self, verdict: Verdict, i: int) -> None:
        for held in verdict.future:
            self._dead_letter("future", "jump that no other tick confirmed", held.raw, i, held.tick)
        for held in verdict.accepted:
            self._take(held.tick, held.event_ms, i, held.raw)

    def _take(self, tick: Tick, event_ms: int, i: int, raw: bytes | None = None) -> None:
        # No tick of a live feed raises a watermark beyond the wall clock.
        reached_ms = self._now_ms if self._is_live and event_ms > self._now_ms else event_ms
        refused = self.windows.take(tick, event_ms, reached_ms)
        if refused is not None:
            self._dead_letter(refused, self._details[refused], raw or self._chunk.raw(i), i, tick)
        elif reached_ms < event_ms:
            self._continuity.mark(tick, event_ms, reached_ms)

    def _end(self, i: int) -> None:
        self._continuity.end_rebuild()
        self._continuity.hold_nothing()
        newest_ms = self.windows.newest_ms
        self._carry_out(self._guard.end(newest_ms if newest_ms != NEVER else None), i)
        self.windows.close_everything()
        self.is_ended = True

    def _invalid(self, detail: str, i: int) -> None:
        self._dead_letter("invalid", detail, self._chunk.raw(i), i)

    def _dead_letter(
        self,
        reason: Reason,
        detail: str,
        raw: bytes,
        i: int,
        tick: Tick | None = None,
        *,
        event_ms: int | None = None,
        sha256: str | None = None,
    ) -> None:
        """Refuse a line: a tick, or whatever stands at index `i` of the chunk."""
        windows = self.windows
        if not (windows.owns(tick.symbol) if tick is not None else self.shard.index == 0):
            return
        self._collect()
        raw = raw.rstrip(b"\r")
        sha256 = sha256 or line_sha256(raw)
        line = tick or self._chunk.lines[i]
        number = line.seq if isinstance(line, Tick) else None
        dlt_id = self._continuity.places.dead_letter_id(number, sha256, i)
        if tick is None and self._continuity.is_refused_before(dlt_id):
            return
        lateness_ms = None
        if tick is not None:
            event_ms = event_time_ms(tick.event_ts)
            self._continuity.mark(tick, event_ms, None)
            lateness_ms = max(0, windows.watermark_of(tick.symbol) - event_ms)
        self._out.append(
            DeadLetter(
                dlt_id=dlt_id,
                reason=reason,
                detail=detail,
                symbol=tick.symbol if tick is not None else None,
                event_ts_ms=event_ms,
                lateness_ms=lateness_ms,
                watermark_ms=windows.watermark_ms if windows.watermark_ms != NEVER else None,
                seq=line.seq,
                line=line_text(raw),
                line_sha256=sha256,
                ingest_ts_ms=None if self._is_deterministic else self._now_ms,
            )
        )
