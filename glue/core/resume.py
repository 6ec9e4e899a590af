"""Where a feed stands: which lines were taken in, and which of the lines sent again are old ones."""

from collections.abc import Sequence

import msgspec

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
