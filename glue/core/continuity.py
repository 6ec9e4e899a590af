"""Going on exactly: what a binner must keep so that a lost connection or a new process changes nothing."""

from glue.core.dead_letters import line_sha256
from glue.core.introduction import Feed
from glue.core.rebuild import Rebuild
from glue.core.resume import Base, Mark, Places, Position, ResentLines, Snapshot
from glue.core.ticks import BadLine, Chunk, Line, Tick
from glue.core.windows import NEVER, Windows

MAX_MARKS = 1000
"""Marks since the last base that make a new one due."""


class Continuity:
    """Which lines were decided, which come again, and the snapshots that a later process goes on from."""

    def __init__(self, feed: Feed, windows: Windows) -> None:
        self.feed = feed
        self.places = Places(feed)
        self.resent_count = 0
        self._windows = windows
        self._marks: dict[int, Mark] = {}
        self._new_marks = 0  # since the last base
        self._base_resume_ms: int | None = None
        # While ticks are held: ids of bad lines, which come again with them.
        self._refused: dict[str, None] = {}
        self._before_held: Position | None = None  # while ticks wait for a decision
        self._resent: ResentLines | None = None
        self._rebuild: Rebuild | None = None  # while lines from before a restart come again
        self._is_restored = False  # and the lines of an earlier process still come again

    # Lines that come again

    @property
    def is_behind(self) -> bool:
        """Whether old lines may still come."""
        return self._resent is not None

    @property
    def awaits_old_ticks(self) -> bool:
        """Whether old ticks are still to come: until then the feed is not silent, however long it takes."""
        return self._resent is not None and not self._resent.has_reached

    def expect_resend(self) -> None:
        """Skip the old ones among the lines that the feed sends again; held ticks come again as new ones."""
        if self._before_held is not None:
            self.places.go_back(self._before_held)
            self._before_held = None
        if self._rebuild is not None:
            self._rebuild.begin_again()
        if self._is_restored:
            self.places = Places(self.feed, self.places.position)
        self._resent = ResentLines(self.places.position)

    def restore(self, snapshot: Snapshot, base: Base) -> None:
        """Go on where an earlier process stood."""
        windows = self._windows
        windows.restore(snapshot.newest_ms, snapshot.watermark_ms, snapshot.bars_end_ms)
        self.places = Places(self.feed, snapshot.position)
        self._marks = {mark.seq: mark for mark in snapshot.marks}
        self._refused = dict.fromkeys(snapshot.refused)
        self._resent = ResentLines(snapshot.position)
        self._base_resume_ms = base.resume_ms
        self._rebuild = Rebuild(windows, snapshot, base, self._marks)
        self._is_restored = True

    def is_resent(self, line: Line, i: int, chunk: Chunk, sha256: str | None = None) -> bool:
        """Tell whether line `i` is an old one, and let it rebuild what it led to."""
        if self._resent is None:
            return False
        is_resent = self._resent.is_resent(line)
        if is_resent:
            self.resent_count += 1
            self.places.skip(i)
            if isinstance(line, Tick):
                if self._rebuild is not None:
                    self._rebuild.take(line)
            elif isinstance(line, BadLine) and self._resent.has_reached and self._is_restored:
                self.places.take_id(sha256 or line_sha256(chunk.raw(i).rstrip(b"\r")))
        if self._resent.has_reached:
            self.end_rebuild()
        if self._resent.is_over:
            self._resent = None
            self._is_restored = False
        return is_resent

    def end_rebuild(self) -> None:
        """Take the open bins as they are now: all old ticks have come."""
        if self._rebuild is not None:
            self._rebuild.end()
            self._rebuild = None

    # What a later process needs

    def hold_before(self, i: int) -> None:
        """Remember the place before line `i`: from there on lines are not decided yet."""
        self._before_held = self.places.before(i)

    def hold_nothing(self) -> None:
        """All lines so far are decided."""
        self._before_held = None
        self._refused.clear()

    def is_refused_before(self, dlt_id: str) -> bool:
        """Tell of a bad line whether it came before, after a held tick, and remember it for the next time."""
        if dlt_id in self._refused:
            return True
        if self._before_held is not None and self.feed.is_numbered:
            self._refused[dlt_id] = None
        return False

    def mark(self, tick: Tick, event_ms: int, reached_ms: int | None) -> None:
        """Remember a tick that did not simply count, unless a rebuild leaves it out by its time alone."""
        if self._base_resume_ms is not None and event_ms < self._base_resume_ms:
            return
        if self.feed.is_numbered and tick.seq is not None and self._windows.owns(tick.symbol):
            self._marks[tick.seq] = Mark(tick.seq, event_ms, reached_ms)
            self._new_marks += 1

    def snapshot(self) -> Snapshot:
        """Return where the binner stands now; `restore` also needs the newest base before it."""
        windows = self._windows
        return Snapshot(
            position=self._decided,
            newest_ms=windows.newest_ms,
            watermark_ms=windows.watermark_ms,
            bars_end_ms=windows.bars_end_ms,
            opened_by=self._opened_by,
            refused=list(self._refused),
            marks=list(self._marks.values()),
        )

    def base(self) -> Base:
        """Return the W(s) of all symbols; snapshots from now on tell only what came after."""
        if self._rebuild is not None:
            return self._rebuild.base
        opened_by, resume_ms = self._opened_by, self.resume_ms
        self._marks = {
            seq: mark
            for seq, mark in self._marks.items()
            if opened_by is not None
            and seq >= opened_by
            and (resume_ms is None or mark.event_ms >= resume_ms)
        }
        self._new_marks = 0
        self._base_resume_ms = resume_ms
        return Base(
            position=self._decided,
            resume_ms=resume_ms,
            symbol_watermarks=self._windows.symbol_watermarks(),
        )

    @property
    def needs_base(self) -> bool:
        """Whether so much came since the last base that a new one is due."""
        return self._rebuild is None and self._new_marks > MAX_MARKS

    @property
    def resume_ms(self) -> int | None:
        """Event time from which the feed must send again so that nothing is missed; None: its start."""
        if self._rebuild is not None:
            return self._rebuild.base.resume_ms
        windows = self._windows
        is_live = self.feed.mode == "live"
        if windows.watermark_ms == NEVER or (windows.newest_ms == NEVER and not is_live):
            return None
        closed_to = windows.watermark_ms - windows.rules.late_ms
        if windows.newest_ms != NEVER:
            # A heartbeat or an idle close may be ahead of all ticks; lines older than it may still come.
            closed_to = min(closed_to, windows.newest_ms)
        not_closed = closed_to - closed_to % windows.rules.bin_ms
        oldest = windows.open.oldest_start_ms
        return max(0, not_closed if oldest is None else min(not_closed, oldest))

    @property
    def _opened_by(self) -> int | None:
        return self._windows.open.opened_by if self._rebuild is None else self._rebuild.opened_by

    @property
    def _decided(self) -> Position:
        """The place up to which lines are decided: held ticks are not, they must come again."""
        return self.places.position if self._before_held is None else self._before_held
