"""A feed: a source, how it is disturbed, its mode and its clock; opens the tapes that connections read."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from glue.feeds.chunks import ChunkEncoder
from glue.feeds.disturb import disturb
from glue.feeds.lines import Entry, Source
from glue.feeds.tape import Tape

END_LINE = b'{"type":"end"}\n'
_ENCODING_VERSION = "lines/1"


class Disturbance(msgspec.Struct, frozen=True):
    """What `glue.feeds.disturb` does to a source."""

    disorder_ms: int = 0
    late_rate: float = 0.0
    seed: int = 0


class Keep(msgspec.Struct, frozen=True):
    """How much of its past a live feed keeps, and how much of a file is encoded once for all clients."""

    ms: int = 3_600_000
    bytes: int = 512 * 2**20


class Feed:
    """A source as clients see it. Every connection gets the same lines; `feed_id` names them.

    Live (`base_ms` given): the event times are moved so that the source starts at `base_ms`, and lines go
    out when the wall clock `now_ms` gets there. Historical: as recorded, `speed` times as fast per
    connection, 0 = unpaced.
    """

    resume = "since"

    def __init__(
        self,
        source: Source,
        *,
        now_ms: Callable[[], float],
        base_ms: int | None = None,
        speed: float = 1.0,
        disturbance: Disturbance | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.source = source
        self.now_ms = now_ms
        self.speed = speed
        self.keep = keep or Keep()
        self.is_live = base_ms is not None
        self.mode: Literal["live", "historical"] = "live" if self.is_live else "historical"
        self._disturbance = disturbance or Disturbance()
        self.first_wall_ms = source.first_ms if base_ms is None else base_ms
        self._offset_ms = None if base_ms is None else base_ms - source.first_ms
        self.disorder_ms = source.disorder_ms + self._disturbance.disorder_ms
        self.feed_id = self._feed_id()
        is_kept_whole = source.is_finite and source.estimated_bytes <= self.keep.bytes
        self.shared: Tape | None = self._new_tape() if self.is_live or is_kept_whole else None

    @property
    def hello_line(self) -> bytes:
        """The first line of every connection."""
        hello = {"type": "hello", "feed_id": self.feed_id, "mode": self.mode, "resume": self.resume}
        return msgspec.json.encode(hello) + b"\n"

    def heartbeat_line(self, clock_ms: int) -> bytes:
        """Return the heartbeat for a connection that got every line due by `clock_ms`.

        Its word, that no older tick is to come, holds for all but lines made late on purpose and wrong
        stamps of a file: a line still to come is due later, and at most `disorder_ms` behind when it is due.
        """
        return b'{"type":"heartbeat","event_ts":%.3f}\n' % ((clock_ms - self.disorder_ms) / 1000)

    def open_tape(self) -> Tape:
        """Return the tape for one connection: the shared one, or its own where none can be kept for all.

        A historical feed without an end, or too large to keep, is read by each connection for itself.
        """
        return self.shared or self._new_tape()

    def trim(self) -> None:
        """Let a live feed forget what is older or larger than it keeps."""
        if self.is_live and self.shared is not None:
            self.shared.trim(int(self.now_ms()), self.keep.ms, self.keep.bytes)

    def _new_tape(self) -> Tape:
        return Tape(self._entries(), ChunkEncoder(self._offset_ms))

    def _entries(self) -> Iterator[Entry]:
        how = self._disturbance
        return disturb(
            self.source.entries(), disorder_ms=how.disorder_ms, late_rate=how.late_rate, seed=how.seed
        )

    def _feed_id(self) -> str:
        how = self._disturbance
        # The seed decides nothing where nothing is drawn.
        drawn = [how.disorder_ms, how.late_rate, how.seed] if how.disorder_ms or how.late_rate else []
        parts = [_ENCODING_VERSION, self.mode, self._offset_ms, self.source.identity, drawn]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
