"""The binner: feed lines in, closed bins, watermark records and dead letters out, in publishing order.

Every line is decided by the lines before it (and, on a live feed, the wall clock it is given): how lines
are cut into chunks changes nothing.
"""

from collections.abc import Iterable
from typing import Literal

from glue.core.bins import TickBin, watermark_record
from glue.core.dead_letters import DeadLetter, Reason, line_sha256, line_text
from glue.core.introduction import Feed
from glue.core.open_bins import Closing, OpenBins
from glue.core.partition import watermark_symbols
from glue.core.resume import Base, Mark, Places, Position, ResentLines, Snapshot, is_after
from glue.core.ticks import BadLine, Control, Line, Tick, decode_chunk, event_time_ms, is_symbol
from glue.core.watermarks import BAR_MS, Held, JumpGuard, Rules, Verdict

Output = TickBin | DeadLetter
NEVER = -1_000_000
"""Before any event time and any watermark."""
MAX_MARKS = 1000


class Rebuild:
    """What guides a binner while the lines from before a restart come again."""

    def __init__(self, base: Base, open_after_ms: int) -> None:
        self.base = base
        self.open_after_ms = open_after_ms
        """Bins that end after this were open at the snapshot, or closed by their symbol alone."""
        self.is_past_base = False


class Binner:
    """One feed's bins by the watermark rules of docs/ARCHITECTURE.md.

    Invariants: W(s), M and W never go back; a bin closes as soon as its end is at or below
    max(W(s), W) - L, so a closed bin never opens again; a watermark record comes after every bin that it
    says is closed. `is_deterministic` leaves `ingest_ts_ms` null, so that two runs give equal output.
    """

    def __init__(self, feed: Feed, rules: Rules, *, is_deterministic: bool = False) -> None:
        self.feed = feed
        self.rules = rules
        self.is_ended = False
        self.newest_ms = NEVER
        """M: highest event time accepted of any symbol (live: never beyond the wall clock)."""
        self.watermark_ms = NEVER
        """W of the feed; NEVER before the first tick or heartbeat."""
        self.line_count = 0
        self.tick_count = 0
        self.resent_count = 0
        self._is_live = feed.mode == "live"
        self._is_deterministic = is_deterministic
        self._details: dict[Reason, str] = {
            "late": f"more than {rules.late_ms} ms behind its symbol's newest tick",
            "closed": "its bin is already closed",
        }
        self._symbol_watermarks: dict[str, int] = {}
        self._open = OpenBins(rules.bin_ms)
        self._bars_end_ms = NEVER  # end of the newest bar that a bin was opened for
        self._second: int | None = None  # last whole second that W - L has reached
        self._guard = JumpGuard(rules.max_jump_ms)
        self._out: list[Output] = []
        self._now_ms = 0
        self._lines: list[Line] = []  # of the chunk at hand
        self._places = Places(feed)
        self._place_before_held = Position()
        self._marks: dict[int, Mark] = {}
        self._resent: ResentLines | None = None
        self._rebuild: Rebuild | None = None  # while lines from before a restart come again

    # What goes in

    def process(self, chunk: bytes, now_ms: int) -> list[Output]:
        """Take in a chunk of whole lines read at `now_ms` (wall clock, ms since 1970 UTC)."""
        raws, lines = decode_chunk(chunk)
        self._begin(lines, now_ms)
        for i, line in enumerate(lines):
            if isinstance(line, Tick) and not self._is_known(line.symbol):
                line = lines[i] = BadLine("symbol does not match [A-Za-z0-9_./:-]{1,32}", line.seq)
            if self._resent is not None and self._is_resent(line, i, raws[i]):
                continue
            if self.is_ended:
                self._invalid("line after the end of the feed", raws[i], i)
            elif isinstance(line, Tick):
                self._tick(line, raws[i], i)
            elif isinstance(line, BadLine):
                self._invalid(line.detail, raws[i], i)
            else:
                self._control(line, raws[i], i)
        return self._finish()

    def refuse(self, start: bytes, sha256: str, detail: str, now_ms: int) -> list[Output]:
        """Dead-letter a line too long to be kept: its start, and the SHA-256 of all of it."""
        self._begin([BadLine(detail)], now_ms)
        if self._resent is None or not self._is_resent(self._lines[0], 0, start, sha256):
            self._dead_letter("invalid", detail, start, 0, sha256=sha256)
        return self._finish()

    def close_idle(self, now_ms: int) -> list[Output]:
        """Close all open bins and bars of a connected feed that has been silent for too long.

        On a live feed no further than the wall clock: bars that a clock ahead of it opened close later.
        """
        self._begin([], now_ms)
        self._close_everything(up_to_ms=now_ms if self._is_live else None)
        return self._finish()

    def end(self, now_ms: int) -> list[Output]:
        """Close all bins and bars: the feed is over."""
        self._begin([], now_ms)
        self._end(0)
        return self._finish()

    def expect_resend(self) -> None:
        """Skip the old ones among the lines that a numbered feed sends again after a reconnect."""
        if not self.feed.is_numbered:
            return
        self._begin([], self._now_ms)
        if self._guard.is_holding:  # held ticks come again, as new ones
            self._guard = JumpGuard(self.rules.max_jump_ms)
            self._places.go_back(self._place_before_held)
        if self._rebuild is not None:  # broken off while rebuilding: begin again
            self._open = OpenBins(self.rules.bin_ms)
            self._symbol_watermarks.clear()
            self._places = Places(self.feed, self._places.position)
            self._rebuild.is_past_base = False
        self._resent = ResentLines(self._places.position)

    def restore(self, snapshot: Snapshot, base: Base) -> None:
        """Go on where an earlier process stood; the feed must send again from `resume_ms`.

        Old lines whose bin was open then build it again, all other old lines are skipped: what they led to
        was published before the snapshot.
        """
        self.newest_ms = snapshot.newest_ms
        self.watermark_ms = snapshot.watermark_ms
        if snapshot.watermark_ms != NEVER:
            self._second = (snapshot.watermark_ms - self.rules.late_ms) // BAR_MS
        self._bars_end_ms = snapshot.bars_end_ms
        self._places = Places(self.feed, snapshot.position)
        self._marks = {mark.seq: mark for mark in snapshot.marks}
        self._resent = ResentLines(snapshot.position)
        self._rebuild = Rebuild(base, open_after_ms=snapshot.watermark_ms - self.rules.late_ms)

    # What it knows

    def snapshot(self) -> Snapshot:
        """Return where the binner stands now; `restore` also needs the newest base before it."""
        return Snapshot(
            position=self._decided,
            newest_ms=self.newest_ms,
            watermark_ms=self.watermark_ms,
            bars_end_ms=self._bars_end_ms,
            marks=list(self._marks.values()),
        )

    def base(self) -> Base:
        """Return the W(s) of all symbols; snapshots from now on tell only what came after."""
        if self._rebuild is not None:
            return self._rebuild.base
        resume_ms = self.resume_ms
        may_be_open = (m for m in self._marks.values() if resume_ms is None or m.event_ms >= resume_ms)
        kept = sorted(may_be_open, key=lambda mark: mark.event_ms)[:MAX_MARKS]
        self._marks = {mark.seq: mark for mark in kept}
        return Base(
            position=self._decided, resume_ms=resume_ms, symbol_watermarks=dict(self._symbol_watermarks)
        )

    @property
    def needs_base(self) -> bool:
        """Whether so much came since the last base that a new one is due."""
        return self._rebuild is None and len(self._marks) > MAX_MARKS

    @property
    def _decided(self) -> Position:
        """The place up to which lines are decided: held ticks are not, they must come again."""
        return self._place_before_held if self._guard.is_holding else self._places.position

    @property
    def resume_ms(self) -> int | None:
        """Event time from which the feed must send again so that nothing is missed; None: its start."""
        if self._rebuild is not None:
            return self._rebuild.base.resume_ms
        if self.watermark_ms == NEVER or (self.newest_ms == NEVER and not self._is_live):
            return None
        closed_to = self.watermark_ms - self.rules.late_ms
        if self.newest_ms != NEVER:
            # A heartbeat or an idle close may be ahead of all ticks; lines older than it may still come.
            closed_to = min(closed_to, self.newest_ms)
        not_closed = closed_to - closed_to % self.rules.bin_ms
        oldest = self._open.oldest_start_ms
        return max(0, not_closed if oldest is None else min(not_closed, oldest))

    @property
    def open_bin_count(self) -> int:
        """Bins that still take ticks."""
        return len(self._open)

    @property
    def has_open_bars(self) -> bool:
        """Whether a bin or bar waits for the watermark to move on."""
        return self._bars_end_ms != NEVER and self._bars_end_ms > self.watermark_ms - self.rules.late_ms

    # Lines

    def _begin(self, lines: list[Line], now_ms: int) -> None:
        self._places.begin(lines)
        self._lines = lines
        self._now_ms = now_ms
        self.line_count += len(lines)

    def _finish(self) -> list[Output]:
        out, self._out = self._out, []
        return out

    def _is_resent(self, line: Line, i: int, raw: bytes, sha256: str | None = None) -> bool:
        assert self._resent is not None  # noqa: S101
        is_resent = self._resent.is_resent(line)
        if is_resent:
            self.resent_count += 1
            self._places.skip(i)
            if self._rebuild is not None:
                if isinstance(line, Tick):
                    self._take_again(line, self._rebuild)
                elif isinstance(line, BadLine) and self._resent.has_reached:
                    self._places.take_id(sha256 or line_sha256(raw.rstrip(b"\r")))
        elif self._resent.is_over:
            if self._rebuild is not None:
                self._end_rebuild(self._rebuild)
            self._resent = None
        return is_resent

    def _take_again(self, tick: Tick, rebuild: Rebuild) -> None:
        """Let an old tick grow W(s) as it did, and put it into its bin if that was open at the snapshot."""
        event_ms = event_time_ms(tick.event_ts)
        base = rebuild.base
        if not rebuild.is_past_base and is_after(tick, base.position):
            self._symbol_watermarks = dict(base.symbol_watermarks)
            rebuild.is_past_base = True
        mark = self._marks.get(tick.seq) if tick.seq is not None else None
        reached_ms = mark.reached_ms if mark is not None else event_ms
        if reached_ms is None or (base.resume_ms is not None and event_ms < base.resume_ms):
            return
        newest = self._symbol_watermarks.get(tick.symbol, NEVER)
        lateness_ms = max(0, newest - event_ms)
        if lateness_ms > self.rules.late_ms:  # before the base marks are not complete
            return
        if event_ms - event_ms % self.rules.bin_ms + self.rules.bin_ms > rebuild.open_after_ms:
            self._put(tick, event_ms, lateness_ms)
        if reached_ms > newest:
            self._symbol_watermarks[tick.symbol] = reached_ms

    def _end_rebuild(self, rebuild: Rebuild) -> None:
        """Drop rebuilt bins that W(s) had closed: they were published before the snapshot."""
        if not rebuild.is_past_base:
            self._symbol_watermarks = dict(rebuild.base.symbol_watermarks)
        self._rebuild = None
        watermarks, late_ms = self._symbol_watermarks, self.rules.late_ms
        self._open.drop(lambda symbol, end_ms: end_ms <= watermarks[symbol] - late_ms)

    def _control(self, line: Control, raw: bytes, i: int) -> None:
        if line.type == "end":
            self._end(i)
        elif line.type == "hello":
            self._invalid("hello is not the first line", raw, i)
        elif line.event_ts is None:
            self._invalid("heartbeat without event_ts", raw, i)
        else:
            event_ms = event_time_ms(line.event_ts)
            if self._is_live:
                self._advance(min(event_ms, self._now_ms))
            elif self.newest_ms != NEVER and event_ms > self.rules.max_jump_ms + max(
                self.newest_ms, self.watermark_ms
            ):
                self._dead_letter("future", "heartbeat jumps ahead", raw, i, event_ms=event_ms)
            else:
                # A held tick came before this word: the watermark waits where its bin can still take it.
                held_ms = self._guard.oldest_held_ms
                self._advance(event_ms if held_ms is None else min(event_ms, held_ms))

    def _tick(self, tick: Tick, raw: bytes, i: int) -> None:
        event_ms = round(tick.event_ts * 1e6) // 1000
        if self._is_live:
            if event_ms > self._now_ms + self.rules.max_future_ms:
                self._dead_letter("future", "ahead of the wall clock", raw, i, tick)
                return
        elif (
            event_ms > self.newest_ms + self.rules.max_jump_ms
            or self.newest_ms == NEVER
            or self._guard.is_holding
        ):
            self._guarded(Held(tick, raw, event_ms), i)
            return
        self._take(tick, raw, i, event_ms)

    def _guarded(self, tick: Held, i: int) -> None:
        was_holding = self._guard.is_holding
        verdict = self._guard.take(tick, self.newest_ms if self.newest_ms != NEVER else None)
        if self._guard.is_holding and (not was_holding or verdict.future or verdict.accepted):
            self._place_before_held = self._places.before(i)
        self._carry_out(verdict, i)

    def _carry_out(self, verdict: Verdict, i: int) -> None:
        for held in verdict.future:
            self._dead_letter("future", "jump that no other tick confirmed", held.raw, i, held.tick)
        for held in verdict.accepted:
            self._take(held.tick, held.raw, i, held.event_ms)

    def _take(self, tick: Tick, raw: bytes, i: int, event_ms: int) -> None:
        # No tick of a live feed raises a watermark beyond the wall clock.
        reached_ms = self._now_ms if self._is_live and event_ms > self._now_ms else event_ms
        refused = self._accept(tick, event_ms, reached_ms)
        if refused is not None:
            self._dead_letter(refused, self._details[refused], raw, i, tick)
        elif reached_ms < event_ms:
            self._mark(tick, event_ms, reached_ms)

    def _accept(self, tick: Tick, event_ms: int, reached_ms: int) -> Literal["late", "closed"] | None:
        """Put a tick into its bin and raise the watermarks to `reached_ms`, or say why it is too late."""
        rules = self.rules
        symbol = tick.symbol
        newest = self._symbol_watermarks.get(symbol, NEVER)
        lateness_ms = newest - event_ms if newest > event_ms else 0
        if lateness_ms > rules.late_ms:
            return "late"
        start = event_ms - event_ms % rules.bin_ms
        if start + rules.bin_ms <= max(newest, self.watermark_ms) - rules.late_ms:
            return "closed"

        self.tick_count += 1
        self._put(tick, event_ms, lateness_ms)
        if reached_ms > newest:
            self._symbol_watermarks[symbol] = reached_ms
            if reached_ms > self.newest_ms:
                self.newest_ms = reached_ms
                self._advance(reached_ms - rules.skew_ms)
            if reached_ms > self.watermark_ms:
                # Its own newest tick is ahead of W, by at most S.
                after_ms = max(newest, self.watermark_ms) - rules.late_ms
                self._publish(self._open.close_symbol(symbol, after_ms, reached_ms - rules.late_ms))
        return None

    def _put(self, tick: Tick, event_ms: int, lateness_ms: int) -> None:
        self._open.put(tick, event_ms, lateness_ms)
        if event_ms >= self._bars_end_ms:
            self._bars_end_ms = event_ms - event_ms % BAR_MS + BAR_MS

    # Closing

    def _advance(self, watermark_ms: int) -> None:
        """Raise W, close what that closes, then tell every partition when a second is complete."""
        if watermark_ms <= self.watermark_ms:
            return
        self.watermark_ms = watermark_ms
        rules = self.rules
        self._publish(self._open.close(watermark_ms - rules.late_ms))
        second = (watermark_ms - rules.late_ms) // BAR_MS
        if self._second is not None and second > self._second:
            for symbol in watermark_symbols(rules.partitions):
                self._out.append(watermark_record(symbol, watermark_ms, rules.bin_ms, self._ingest_ts_ms()))
        self._second = second

    def _publish(self, closing: Iterable[Closing]) -> None:
        ingest = self._ingest_ts_ms()
        for symbol, start, open_bin in closing:
            self._out.append(open_bin.closed(symbol, start, self.rules.bin_ms, self.watermark_ms, ingest))

    def _close_everything(self, up_to_ms: int | None = None) -> None:
        if self._bars_end_ms != NEVER:
            enough_ms = self._bars_end_ms + self.rules.late_ms
            self._advance(enough_ms if up_to_ms is None else min(enough_ms, up_to_ms))

    def _end(self, i: int) -> None:
        if self._rebuild is not None:
            self._end_rebuild(self._rebuild)
        verdict = self._guard.end(self.newest_ms if self.newest_ms != NEVER else None)
        self._carry_out(verdict, i)
        self._close_everything()
        self.is_ended = True

    def _mark(self, tick: Tick, event_ms: int, reached_ms: int | None) -> None:
        if self.feed.is_numbered and tick.seq is not None:
            self._marks[tick.seq] = Mark(tick.seq, event_ms, reached_ms)

    def _ingest_ts_ms(self) -> int | None:
        return None if self._is_deterministic else self._now_ms

    def _is_known(self, symbol: str) -> bool:
        return symbol in self._symbol_watermarks or is_symbol(symbol)

    # Dead letters and position

    def _invalid(self, detail: str, raw: bytes, i: int) -> None:
        self._dead_letter("invalid", detail, raw, i)

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
        raw = raw.rstrip(b"\r")
        sha256 = sha256 or line_sha256(raw)
        line = tick or self._lines[i]
        number = line.seq if isinstance(line, Tick) else None
        lateness_ms = None
        if tick is not None:
            event_ms = event_time_ms(tick.event_ts)
            self._mark(tick, event_ms, None)
            lateness_ms = max(0, self._symbol_watermarks.get(tick.symbol, NEVER) - event_ms)
        self._out.append(
            DeadLetter(
                dlt_id=self._places.dead_letter_id(number, sha256, i),
                reason=reason,
                detail=detail,
                symbol=tick.symbol if tick is not None else None,
                event_ts_ms=event_ms,
                lateness_ms=lateness_ms,
                watermark_ms=self.watermark_ms if self.watermark_ms != NEVER else None,
                seq=line.seq,
                line=line_text(raw),
                line_sha256=sha256,
                ingest_ts_ms=self._ingest_ts_ms(),
            )
        )
