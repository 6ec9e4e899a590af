"""Where a feed stands: which lines were taken in, and which of the lines sent again are old ones."""

from collections.abc import Sequence

import msgspec

from glue.core.dead_letters import LineOccurrences
from glue.core.introduction import Feed
from glue.core.ticks import Control, Line, Tick


class Position(msgspec.Struct, frozen=True):
    """A place in a numbered feed: the last numbered line, and the unnumbered ones (bad lines) after it.

    `seq` is None before the first numbered line.
    """

    seq: int | None = None
    unnumbered: int = 0


def advance(position: Position, lines: Sequence[Line]) -> Position:
    """Return the position after some more lines; heartbeats, hello and end take no place."""
    seq, unnumbered = position.seq, position.unnumbered
    for i in range(len(lines) - 1, -1, -1):
        line = lines[i]
        if isinstance(line, Tick) and line.seq is not None:
            seq, unnumbered, lines = line.seq, 0, lines[i + 1 :]
            break
    return Position(seq, unnumbered + sum(not isinstance(line, Control) for line in lines))


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A numbered tick that did not simply count: refused, or believed only up to the wall clock then.

    `reached_ms` is how far it raised its symbol's watermark, None when it was refused.
    """

    seq: int
    event_ms: int
    reached_ms: int | None


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The W(s) of all symbols at one place of the feed. Large, so it is renewed now and then."""

    position: Position
    resume_ms: int | None
    symbol_watermarks: dict[str, int]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Where a binner stands between two chunks; with the base before it, all that a restart needs.

    `opened_by` is the number of the first tick that is in an open bin, None when no bin is open. `marks` are
    of ticks since then and since the base. `refused` are the ids of bad lines that come again together with
    held ticks. Times in ms.
    """

    position: Position
    newest_ms: int
    watermark_ms: int
    bars_end_ms: int
    opened_by: int | None
    marks: list[Mark]
    refused: list[str]


def is_after(tick: Tick, position: Position) -> bool:
    """Tell whether a numbered tick comes after a position."""
    return tick.seq is not None and (position.seq is None or tick.seq > position.seq)


class ResentLines:
    """Recognises the lines that came before a position when a feed sends them again, in order."""

    def __init__(self, position: Position) -> None:
        self._position = position
        self.has_reached = position.seq is None
        """Whether the last old number came: bad lines after it are counted, heartbeats are heard."""
        self._unnumbered_left = position.unnumbered
        self.is_over = False

    def is_resent(self, line: Line) -> bool:
        """Tell whether a line is an old one; `is_over` once the first new numbered line came."""
        if isinstance(line, Control):  # judged again, a heartbeat that was not believed might be
            return not self.has_reached
        if not isinstance(line, Tick) or line.seq is None:
            if not self.has_reached:
                return True
            self._unnumbered_left -= 1
            return self._unnumbered_left >= 0
        if self._position.seq is None or line.seq > self._position.seq:
            self.is_over = True
            return False
        self.has_reached = line.seq == self._position.seq
        return True


class Places:
    """Where the lines of the chunk at hand stand in their feed, and the ids of those that are refused."""

    def __init__(self, feed: Feed, position: Position | None = None) -> None:
        self._feed = feed
        self._position = position or Position()
        self._occurrences = LineOccurrences()
        self._lines: Sequence[Line] = ()
        self._counted = 0

    @property
    def position(self) -> Position:
        """The place after all lines so far."""
        return self.before(len(self._lines))

    def begin(self, lines: Sequence[Line]) -> None:
        """Go on with the next chunk."""
        self.before(len(self._lines))
        self._lines = lines
        self._counted = 0

    def before(self, index: int) -> Position:
        """Return the place before a line of the chunk; places only move on."""
        if index > self._counted and self._feed.is_numbered:
            moved = advance(self._position, self._lines[self._counted : index])
            if moved.seq != self._position.seq:
                self._occurrences.clear()
            self._position = moved
            self._counted = index
        return self._position

    def skip(self, index: int) -> None:
        """Leave out a line that came before: its place was counted then."""
        self._counted = index + 1

    def go_back(self, position: Position) -> None:
        """Stand at an earlier place: the lines after it will come again as new ones."""
        self._position = position

    def take_id(self, sha256: str) -> None:
        """Count a bad line whose dead letter an earlier process has written."""
        self._occurrences.next(sha256)

    def dead_letter_id(self, seq: int | None, sha256: str, index: int) -> str:
        """Return the id of a refused line, the same whenever the feed sends the line again.

        `seq` is the number of a tick, None for what is no tick: that is known by its hash, relative to the
        last numbered line on feeds that number their lines.
        """
        feed_id = self._feed.feed_id
        if not self._feed.is_numbered:
            return f"{feed_id}-{sha256[:16]}-{self._occurrences.next(sha256)}"
        if seq is not None:
            return f"{feed_id}-{seq}"
        after = self.before(index).seq
        place = after if after is not None else "start"
        return f"{feed_id}-{place}-{sha256[:16]}-{self._occurrences.next(sha256)}"
