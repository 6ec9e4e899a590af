"""One partition of raw bins on its way to the warehouse, and how a successor takes it up."""

import structlog

from glue import metrics
from glue.core.staged import Place, Span
from glue.io.spool import Part, Spool

log = structlog.get_logger()


class Lane:
    """One partition on its way: files that are ended, the one that takes lines, and what may be committed."""

    def __init__(self, partition: int, at: int) -> None:
        self.partition = partition
        self.files: list[Span] = []
        """Ended and not yet known to be loaded, in their order."""
        self.owed: list[Span] = []
        """Their bounds were settled by a predecessor whose files are gone: the next files are to be these."""
        self.part: Part | None = None
        self.next_offset = at
        self._begin = at

    def place(self, topic: str) -> Place:
        """Return what may be committed."""
        settled = (*self.files, *self.owed)
        if settled:
            return Place(topic, settled[0].first, settled)
        if self.part is None:
            self._begin = self.next_offset
        return Place(topic, self._begin)

    def add(self, spool: Spool, line: bytes, offset: int) -> None:
        """Append a line to the file that takes lines."""
        if self.part is None:
            first = self.owed[0].first if self.owed else self._begin
            self.part = spool.part(self.partition, first)
        self.part.add(line, offset)

    def end(self, spool: Spool) -> None:
        """End the file that takes lines, if there is one."""
        if self.part is not None:
            span = spool.finish(self.part)
            self.part = None
            self.keep(span)

    def keep(self, span: Span) -> None:
        """Take in a file that is ended."""
        self.files.append(span)
        self._begin = span.last + 1
        self.next_offset = max(self.next_offset, self._begin)

    @property
    def start(self) -> int:
        """The offset to read from."""
        return self.owed[0].first if self.owed else self.next_offset

    def skip_to(self, offset: int) -> None:
        """Begin later: what comes before is gone."""
        self.next_offset = self._begin = offset

    def close(self) -> None:
        """Let go of the file that takes lines; whoever goes on finds it."""
        if self.part is not None:
            self.part.close()


def resumed(place: Place, partition: int, first_kept: int, spool: Spool) -> Lane:
    """Return the lane of a partition from what is committed and what is on disk.

    Files whose bounds are settled come first; one that is not on this disk is made anew, while the topic has
    its offsets (`first_kept` is the first that it has). After them come those that a predecessor had begun.
    """
    lane = Lane(partition, place.offset)
    for span in place.spans:
        if not lane.owed and (spool.has(span) or span.first < first_kept):
            lane.keep(span)
        else:
            lane.owed.append(span)
    if not lane.owed:
        for span in spool.left(partition, lane.next_offset, first_kept):
            lane.keep(span)
    spool.forget(partition, lane.files)
    if not lane.owed and lane.next_offset < first_kept:
        if lane.next_offset:  # else it is read for the first time
            metrics.BINS_MISSED.labels(partition).inc()
            log.error(
                "bins have fallen out of the retention before they were read",
                partition=partition,
                committed=lane.next_offset,
                first_kept=first_kept,
            )
        lane.skip_to(first_kept)
    return lane
