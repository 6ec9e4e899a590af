"""Going on after a restart: the feed sends its last lines again, and the open bins grow from them anew."""

from collections.abc import Mapping

from glue.core.resume import Base, Mark, Snapshot, is_after
from glue.core.ticks import Tick, event_time_ms
from glue.core.windows import Windows


class Rebuild:
    """Lets old ticks grow W(s) as they did, and puts those into bins that were open at the snapshot."""

    def __init__(self, windows: Windows, snapshot: Snapshot, base: Base, marks: Mapping[int, Mark]) -> None:
        self.base = base
        self._windows = windows
        self._marks = marks
        # Bins that end after this were open at the snapshot, or closed by their symbol alone.
        self._open_after_ms = snapshot.watermark_ms - windows.rules.late_ms
        self.opened_by = snapshot.opened_by
        self._is_past_base = False

    def take(self, tick: Tick) -> None:
        """Take a tick from before the snapshot once more."""
        windows, base = self._windows, self.base
        if not windows.owns(tick.symbol):  # M and W are in the snapshot
            return
        if not self._is_past_base and is_after(tick, base.position):
            self._pass_base()
        # A symbol's watermark that matters to an open bin is that of a tick in an open bin: all earlier ones
        # can be left out, and have to be, since marks of them are not kept.
        is_early = self.opened_by is None or tick.seq is None or tick.seq < self.opened_by
        if is_early and not self._is_past_base:
            return
        event_ms = event_time_ms(tick.event_ts)
        mark = self._marks.get(tick.seq) if tick.seq is not None else None
        reached_ms = mark.reached_ms if mark is not None else event_ms
        if reached_ms is None or (base.resume_ms is not None and event_ms < base.resume_ms):
            return
        newest = windows.watermark_of(tick.symbol)
        bin_ms = windows.rules.bin_ms
        if not is_early and event_ms - event_ms % bin_ms + bin_ms > self._open_after_ms:
            windows.put(tick, event_ms, max(0, newest - event_ms))
        if reached_ms > newest:
            windows.set_watermark_of(tick.symbol, reached_ms)

    def begin_again(self) -> None:
        """Forget what was rebuilt: the connection broke, and the same lines come once more."""
        self._windows.forget_ticks()
        self._is_past_base = False

    def end(self) -> None:
        """Drop rebuilt bins that W(s) had closed: they were published before the snapshot."""
        if not self._is_past_base:
            self._pass_base()
        windows = self._windows
        late_ms = windows.rules.late_ms
        windows.open.drop(lambda symbol, end_ms: end_ms <= windows.watermark_of(symbol) - late_ms)

    def _pass_base(self) -> None:
        """Go on with W(s) as it was at the base; so far it grew from a part of the lines only."""
        self._windows.set_symbol_watermarks(self.base.symbol_watermarks)
        self._is_past_base = True
